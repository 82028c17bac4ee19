//! The log over an ordered map: every rule of the [`Store`] contract, once, for every [`Kv`].
//!
//! Split by concern: `admit` checks a batch, `plan` turns it into writes, `append` applies it;
//! `read` reads; `trim` applies the history window and `settle` ends what waits in it; `open` loads and checks, `verify` checks
//! everything; `state` is what is kept in memory.
//!
//! # Which numbers may be used again
//! Revisions continue after the highest one that survived (or that `trim` noted). A crash, or a
//! recovery after a failed write, can only lose records above the durable watermark. Reads for
//! anybody but the writer come from the durable view, and acknowledgements, answers and frames are
//! made of such reads only; so a number that is given again was never seen outside.

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::batch::{Batch, CursorName, Table};
use crate::body::{Body, BodyHash};
use crate::error::{AppendError, Damage, EngineError, ReadError, SyncError, TrimError};
use crate::id::{Offset, Revision, StreamId};
use crate::key::Key;
use crate::record::{Slot, Stored};
use crate::store::codec::{self, Corrupt};
use crate::store::kv::{DamagedFile, Kv, Space, View};
use crate::store::{
    Appended, Coalesced, ReadLimit, Store, StoreStats, StreamInfo, TrimPolicy, Trimmed, Watermarks,
    keys,
};

mod admit;
mod append;
mod bodies;
mod ended;
mod open;
mod plan;
mod read;
mod settle;
mod state;
#[cfg(test)]
mod tests;
mod trim;
mod verify;

pub(crate) use open::RECOVERY;
pub use verify::VerifyReport;

use bodies::BodyCache;
use state::{Published, SinceSync, WriterSide};

/// How much memory the engine itself may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Bytes of hashed bodies kept in memory.
    pub body_cache_bytes: usize,
}

/// A [`Store`] over an ordered map.
///
/// `append`, `sync`, `trim` and `try_recover` exclude each other; reads never wait for them except
/// for the moment in which their outcome is published.
#[derive(Debug)]
pub struct Engine<K> {
    kv: K,
    writer: Mutex<WriterSide>,
    published: RwLock<Published>,
    bodies: Mutex<BodyCache>,
}

impl<K: Kv> Engine<K> {
    /// The map below.
    pub const fn kv(&self) -> &K {
        &self.kv
    }

    /// Locks the writing side, unless the store is read-only.
    fn writing(&self) -> Result<MutexGuard<'_, WriterSide>, ReadOnly> {
        let writer = self.writer.lock();
        match &self.published.read().read_only {
            Some(reason) => Err(ReadOnly {
                reason: reason.clone(),
            }),
            None => Ok(writer),
        }
    }

    /// Stops all writing: what the disk holds is not known any more.
    fn fail(&self, error: &EngineError) {
        let reason = describe(error);
        tracing::error!(%reason, "store is read-only after a failed write");
        self.published.write().read_only = Some(reason);
    }

    fn sync_locked(&self) -> Result<Revision, EngineError> {
        let written = {
            let published = self.published.read();
            if !published.unsynced {
                return Ok(published.marks.durable);
            }
            published.marks.written
        };
        self.kv.sync().inspect_err(|error| self.fail(error))?;
        self.published.write().synced(written);
        Ok(written)
    }

    /// The number of a stream, its durable head and whether it is a copy.
    fn lookup(&self, stream: &StreamId) -> Option<(keys::StreamNo, Offset)> {
        let published = self.published.read();
        let state = published.streams.get(stream)?;
        Some((state.value.no, state.durable_head))
    }
}

/// The store only reads.
struct ReadOnly {
    reason: String,
}

/// An engine error with its causes, for people.
fn describe(error: &EngineError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What an engine's failure to read means: damage, when it says so.
fn read_error(error: EngineError) -> ReadError {
    match error.source.downcast::<DamagedFile>() {
        Ok(file) => ReadError::Damaged(Damage {
            place: file.place,
            what: file.what,
        }),
        Err(source) => ReadError::Engine(EngineError {
            action: error.action,
            source,
        }),
    }
}

/// Names a damaged value for people.
fn damaged(space: Space, key: &[u8], corrupt: Corrupt) -> ReadError {
    ReadError::Damaged(damage(space, key, corrupt))
}

fn damage(space: Space, key: &[u8], Corrupt(what): Corrupt) -> Damage {
    let named = match space {
        Space::Log => keys::log_revision(key).map(|revision| format!("revision {revision}")),
        Space::Newest => keys::parse_newest(key).map(|(key, slot)| format!("{key} ({slot:?})")),
        Space::Bodies | Space::Meta => None,
    };
    let named = named.unwrap_or_else(|| {
        key.iter().fold(String::from("key "), |mut text, byte| {
            use std::fmt::Write as _;
            let _ = write!(text, "{byte:02x}");
            text
        })
    });
    Damage {
        place: format!("keyspace {}, {named}", space.name()),
        what,
    }
}

/// Reads a value and opens it.
fn get<V: View, T>(
    view: &V,
    space: Space,
    key: &[u8],
    open: impl FnOnce(&[u8], &Bytes) -> Result<T, Corrupt>,
) -> Result<Option<T>, ReadError> {
    view.get(space, key)
        .map_err(read_error)?
        .map(|value| open(key, &value).map_err(|corrupt| damaged(space, key, corrupt)))
        .transpose()
}

impl<K: Kv> Store for Engine<K> {
    fn append(&self, batch: &Batch) -> Result<Appended, AppendError> {
        let mut writer = self
            .writing()
            .map_err(|ReadOnly { reason }| AppendError::ReadOnly { reason })?;
        let appended = self.append_locked(batch)?;
        writer.since_sync.append();
        Ok(appended)
    }

    fn sync(&self) -> Result<Revision, SyncError> {
        let mut writer = self.writer.lock();
        let (durable, read_only) = {
            let published = self.published.read();
            (published.marks.durable, published.read_only.clone())
        };
        // Whatever the answer, whoever appended knows then.
        match (std::mem::take(&mut writer.since_sync), read_only) {
            (SinceSync::Lost, _) => Err(SyncError::ReadOnly {
                reason: "a recovery has taken back what was written".to_owned(),
            }),
            // A trim has synced it, before the write that failed.
            (SinceSync::Durable, Some(_)) => Ok(durable),
            (SinceSync::Nothing | SinceSync::Unsynced, Some(reason)) => {
                Err(SyncError::ReadOnly { reason })
            }
            (SinceSync::Nothing | SinceSync::Unsynced | SinceSync::Durable, None) => {
                self.sync_locked().map_err(SyncError::Engine)
            }
        }
    }

    fn watermarks(&self) -> Watermarks {
        self.published.read().marks
    }

    fn stream(&self, stream: &StreamId) -> Result<Option<StreamInfo>, ReadError> {
        Ok(self
            .published
            .read()
            .streams
            .get(stream)
            .map(state::StreamState::info))
    }

    fn streams(&self) -> Result<Vec<StreamId>, ReadError> {
        Ok(self.published.read().streams.keys().cloned().collect())
    }

    fn read(
        &self,
        stream: &StreamId,
        after: Revision,
        limit: ReadLimit,
    ) -> Result<Vec<Stored>, ReadError> {
        self.read_log(stream, after, limit)
    }

    fn read_coalesced(
        &self,
        stream: &StreamId,
        after: Offset,
        limit: ReadLimit,
    ) -> Result<Coalesced, ReadError> {
        self.read_newest_after(stream, after, limit)
    }

    fn newest(
        &self,
        stream: &StreamId,
        key: &Key,
        slot: Slot,
    ) -> Result<Option<Stored>, ReadError> {
        let Some((no, _)) = self.lookup(stream) else {
            return Ok(None);
        };
        let view = self.kv.written();
        let index_key = keys::newest(no, key, slot);
        match get(&view, Space::Newest, &index_key, codec::open_newest)? {
            Some(newest) => self.stored_at(&view, no, newest.revision).map(Some),
            None => Ok(None),
        }
    }

    fn held_at(
        &self,
        stream: &StreamId,
        key: &Key,
        slot: Slot,
        upto: Offset,
    ) -> Result<Option<Stored>, ReadError> {
        self.walk_back(stream, key, slot, upto)
    }

    fn scan_newest(
        &self,
        stream: &StreamId,
        after: Option<(&Key, Slot)>,
        limit: ReadLimit,
    ) -> Result<Vec<Stored>, ReadError> {
        self.scan_index(stream, after, limit)
    }

    fn body(&self, hash: &BodyHash) -> Result<Option<Body>, ReadError> {
        if let Some(body) = self.bodies.lock().get(hash) {
            return Ok(Some(body));
        }
        if let Some(body) = self.load_body(&self.kv.written(), hash)? {
            return Ok(Some(body));
        }
        self.load_body(&self.kv.durable(), hash)
    }

    fn cursor(&self, name: &CursorName) -> Result<Option<Offset>, ReadError> {
        let key = keys::cursor(name);
        let number = get(&self.kv.written(), Space::Meta, &key, codec::open_number)?;
        Ok(number.map(Offset::new))
    }

    fn rows(
        &self,
        table: Table,
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        let view = self.kv.written();
        let pairs = view
            .scan(
                Space::Meta,
                &keys::row(table, from),
                &keys::after_rows(table),
            )
            .take(limit);
        pairs
            .map(|pair| {
                let (key, value) = pair.map_err(read_error)?;
                let value = codec::open_bytes(&key, &value)
                    .map_err(|corrupt| damaged(Space::Meta, &key, corrupt))?;
                Ok((keys::row_key(table, &key), value))
            })
            .collect()
    }

    fn trim(&self, policy: &TrimPolicy) -> Result<Trimmed, TrimError> {
        let mut writer = self
            .writing()
            .map_err(|ReadOnly { reason }| TrimError::ReadOnly { reason })?;
        self.trim_locked(&mut writer, policy)
    }

    fn try_recover(&self) -> Result<(), SyncError> {
        let mut writer = self.writer.lock();
        if self.published.read().read_only.is_none() {
            return Ok(());
        }
        self.recover_locked(&mut writer)
    }

    fn read_only(&self) -> Option<String> {
        self.published.read().read_only.clone()
    }

    fn stats(&self) -> StoreStats {
        let published = self.published.read();
        StoreStats {
            read_only: published.read_only.is_some(),
            ..published.stats
        }
    }
}
