//! Loading what is kept in memory, and the checks that every open makes.

use std::path::Path;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::bodies::BodyCache;
use super::read::{Found, found};
use super::state::{Published, StreamState, WriterSide};
use super::trim::pending_of;
use super::{Engine, EngineOptions, damage, damaged, get, read_error};
use crate::error::{Damage, OpenError, ReadError, SyncError};
use crate::id::{Offset, Revision};
use crate::limits::{OPEN_CHECK_RECORDS_MAX, OPEN_CHECK_RECORDS_PER_STREAM_MAX};
use crate::record::Slot;
use crate::store::OpenReport;
use crate::store::codec::{self, BodyAt, Corrupt, STORE_FORMAT};
use crate::store::keys::{self, meta};
use crate::store::kv::{Kv, Space, View, Writes};

/// What to do about damage.
pub(crate) const RECOVERY: &str = "move the directory away and start again: an edge gets \
    everything back from its cloud and a cloud from its backup, differences only; \
    or restore the directory from a backup";

impl<K: Kv> Engine<K> {
    /// Opens the store in `kv`, or makes an empty one. `place` names it in errors.
    ///
    /// # Errors
    /// [`OpenError::Format`], [`OpenError::Damaged`] or [`OpenError::Engine`].
    pub fn open_kv(
        kv: K,
        options: EngineOptions,
        place: &Path,
    ) -> Result<(Self, OpenReport), OpenError> {
        let mut report = OpenReport::default();
        let unreadable = |error| cannot_open(place, error);
        let format = {
            let view = kv.durable();
            let key = keys::single(meta::FORMAT);
            get(&view, Space::Meta, &key, codec::open_number).map_err(unreadable)?
        };
        match format {
            None => {
                create(&kv, place)?;
                report.created = true;
            }
            Some(found) if found == u64::from(STORE_FORMAT) => {}
            Some(found) => {
                return Err(OpenError::Format {
                    path: place.to_owned(),
                    found: u32::try_from(found).unwrap_or(u32::MAX),
                    known: STORE_FORMAT,
                });
            }
        }
        let published = {
            let view = kv.durable();
            let published = load(&view).map_err(unreadable)?;
            report.records_checked = check_tails(&view, &published).map_err(unreadable)?;
            published
        };
        report.durable = published.marks.durable;
        report.streams = published.streams.len();
        let engine = Self {
            kv,
            writer: Mutex::new(WriterSide::default()),
            published: RwLock::new(published),
            bodies: Mutex::new(BodyCache::new(options.body_cache_bytes)),
        };
        Ok((engine, report))
    }

    /// Goes back to the durable state and takes writes again.
    pub(super) fn recover_locked(&self, writer: &mut WriterSide) -> Result<(), SyncError> {
        self.kv.recover().map_err(SyncError::Engine)?;
        let loaded = {
            let view = self.kv.durable();
            load(&view).map_err(|error| {
                SyncError::Engine(crate::error::EngineError {
                    action: "read the recovered store",
                    source: Box::new(error),
                })
            })?
        };
        let mut since_sync = writer.since_sync;
        since_sync.recover();
        *writer = WriterSide {
            since_sync,
            ..WriterSide::default()
        };
        self.bodies.lock().clear();
        let mut published = self.published.write();
        let stats = published.stats;
        *published = Published { stats, ..loaded };
        tracing::info!("store is writable again");
        Ok(())
    }
}

fn cannot_open(place: &Path, error: ReadError) -> OpenError {
    let path = place.to_owned();
    match error {
        ReadError::Damaged(damage) => OpenError::Damaged {
            path,
            recovery: RECOVERY,
            damage,
        },
        ReadError::Engine(source) => OpenError::Engine { path, source },
    }
}

fn create<K: Kv>(kv: &K, place: &Path) -> Result<(), OpenError> {
    for space in Space::ALL {
        let first = kv.durable().scan(space, &[], &[u8::MAX]).next().transpose();
        let first = first.map_err(|error| cannot_open(place, read_error(error)))?;
        if let Some((key, _)) = first {
            let damage = damage(
                space,
                &key,
                Corrupt("there are records but no format version"),
            );
            return Err(OpenError::Damaged {
                path: place.to_owned(),
                recovery: RECOVERY,
                damage,
            });
        }
    }
    let mut writes = Writes::default();
    let key = Bytes::copy_from_slice(&keys::single(meta::FORMAT));
    let value = codec::seal_number(&key, STORE_FORMAT.into());
    writes.put(Space::Meta, key, value);
    let engine = |source| OpenError::Engine {
        path: place.to_owned(),
        source,
    };
    kv.commit(writes).map_err(engine)?;
    kv.sync().map_err(engine)
}

/// Everything of [`Published`] that the map says.
fn load<V: View>(view: &V) -> Result<Published, ReadError> {
    let number = |kind| get(view, Space::Meta, &keys::single(kind), codec::open_number);
    let mut written = Revision::new(number(meta::WRITTEN)?.unwrap_or(0));
    let next_stream = number(meta::NEXT_STREAM)?.unwrap_or(0);
    let mut published = Published {
        next_stream: u32::try_from(next_stream).unwrap_or(u32::MAX),
        superseded_bytes: number(meta::GARBAGE_BYTES)?.unwrap_or(0),
        ..Published::default()
    };
    let (from, to) = keys::kind_range(meta::STREAM);
    for pair in view.scan(Space::Meta, &from, &to) {
        let (key, value) = pair.map_err(read_error)?;
        let corrupt = |corrupt| damaged(Space::Meta, &key, corrupt);
        let name = keys::parse_stream(&key)
            .ok_or(Corrupt("invalid stream name"))
            .map_err(corrupt)?;
        let mut state = StreamState::new(codec::open_stream(&key, &value).map_err(corrupt)?);
        let no = state.value.no;
        let (from, to) = (keys::log(no, Revision::ZERO), keys::after_stream(no));
        let last = view.scan(Space::Log, &from, &to).next_back().transpose();
        let last = last.map_err(read_error)?;
        if let Some((key, _)) = last {
            let revision = keys::log_revision(&key)
                .ok_or_else(|| damaged(Space::Log, &key, Corrupt("key is too short")))?;
            written = written.max(revision);
            if !state.value.is_copy {
                state.value.own_head = state.value.own_head.max(revision.as_own_offset());
            }
        }
        // What was trimmed from the end still counts.
        state.value.own_head = match state.value.is_copy {
            true => Offset::ZERO,
            false => state.value.own_head.max(state.value.floor),
        };
        for waiting in pending_of(view, no) {
            let (_, _, pending) = waiting?;
            state.facts += u64::from(pending.slot == Slot::Fact);
            state.facts_bytes += u64::from(pending.bytes);
        }
        state.durable_head = state.head();
        published.names.insert(no, name.clone());
        published.streams.insert(name, state);
    }
    let (from, to) = keys::kind_range(meta::DROPPED);
    for pair in view.scan(Space::Meta, &from, &to) {
        let (key, _) = pair.map_err(read_error)?;
        let no = keys::parse_dropped(&key)
            .ok_or_else(|| damaged(Space::Meta, &key, Corrupt("key is too short")))?;
        published.dropped.insert(no);
    }
    published.marks.written = written;
    published.marks.durable = written;
    Ok(published)
}

/// Checks the newest records of each stream against their checksums and the indexes.
fn check_tails<V: View>(view: &V, published: &Published) -> Result<u64, ReadError> {
    let mut checked = 0;
    for state in published.streams.values() {
        let no = state.value.no;
        let (from, to) = (keys::log(no, Revision::ZERO), keys::after_stream(no));
        let left = OPEN_CHECK_RECORDS_MAX.saturating_sub(checked);
        let tail = view.scan(Space::Log, &from, &to).rev();
        for pair in tail.take(left.min(OPEN_CHECK_RECORDS_PER_STREAM_MAX)) {
            let (key, value) = pair.map_err(read_error)?;
            check_record(view, state, &found(key, &value)?).map_err(ReadError::Damaged)?;
            checked += 1;
        }
    }
    Ok(checked as u64)
}

/// Checks one record against what else the store says.
pub(super) fn check_record<V: View>(
    view: &V,
    state: &StreamState,
    found: &Found,
) -> Result<(), Damage> {
    let Found {
        key,
        revision,
        value,
    } = found;
    let wrong = |what| Err(damage(Space::Log, key, Corrupt(what)));
    let header = &value.header;
    if value.prev >= *revision || value.since > *revision {
        return wrong("a record names a later one as its past");
    }
    if !state.value.is_copy && header.offset != revision.as_own_offset() {
        return wrong("offset and revision of an own record differ");
    }
    // In a copy, what came in an epoch before keeps its number, and the head starts over.
    if !state.value.is_copy && header.offset > state.head() {
        return wrong("a record is above the head of its stream");
    }
    let index_key = keys::newest(state.value.no, &header.key, header.op.slot());
    let newest = match get(view, Space::Newest, &index_key, codec::open_newest) {
        Ok(newest) => newest,
        Err(ReadError::Damaged(damage)) => return Err(damage),
        Err(ReadError::Engine(_)) => return wrong("the newest index cannot be read"),
    };
    match newest {
        Some(newest) if newest.revision >= *revision => {}
        Some(_) => return wrong("the newest index names an older record"),
        None => return wrong("the newest index does not know the record's key"),
    }
    if let BodyAt::Hashed { hash, .. } = value.body {
        let key = keys::references(&hash);
        match get(view, Space::Meta, &key, codec::open_number) {
            Ok(Some(1..)) => {}
            Ok(_) => return wrong("the body of a record has no references"),
            Err(ReadError::Damaged(damage)) => return Err(damage),
            Err(ReadError::Engine(_)) => return wrong("a reference count cannot be read"),
        }
    }
    Ok(())
}
