//! The history window.
//!
//! Superseded records wait in a queue ordered by the revision that superseded them; tombstones,
//! facts, requests and answers in one per stream (see `settle`). Of each key the oldest record goes
//! first, so what is left of its history has no gaps; each call removes a bounded number of records
//! and the next one goes on where it ended.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::read::{Found, found, get_record};
use super::state::{Published, StreamState, WriterSide};
use super::{Engine, damaged, get, read_error};
use crate::body::BodyHash;
use crate::error::{ReadError, TrimError};
use crate::id::{Revision, StreamId, WallTime};
use crate::store::codec::{self, BodyAt, Corrupt, Pending};
use crate::store::keys::{self, StreamNo, meta};
use crate::store::kv::{Kv, Space, View, Writes};
use crate::store::{TrimPolicy, Trimmed};

impl<K: Kv> Engine<K> {
    pub(super) fn trim_locked(
        &self,
        writer: &mut WriterSide,
        policy: &TrimPolicy,
    ) -> Result<Trimmed, TrimError> {
        let outcome = {
            let view = self.kv.written();
            let published = self.published.read();
            let mut sweep = Sweep::new(&view, &published, policy, writer.trimmed_upto);
            sweep.dropped_streams()?;
            sweep.superseded()?;
            sweep.pending()?;
            sweep.finish()?
        };
        writer.trimmed_upto = outcome.trimmed_upto;
        if outcome.writes.0.is_empty() {
            return Ok(outcome.trimmed);
        }
        self.kv
            .commit(outcome.writes)
            .inspect_err(|error| self.fail(error))
            .map_err(TrimError::Engine)?;
        let trimmed = outcome.trimmed;
        let mut bodies = self.bodies.lock();
        outcome.freed.iter().for_each(|hash| bodies.remove(hash));
        drop(bodies);
        self.published.write().trimmed(outcome.changes);
        // Readers see the room only after a sync, and the disk gets it only then.
        self.sync_locked().map_err(TrimError::Engine)?;
        writer.since_sync.trim();
        Ok(trimmed)
    }
}

impl Published {
    fn trimmed(&mut self, changes: Changes) {
        let Changes {
            superseded_bytes,
            streams,
            finished,
        } = changes;
        self.unsynced = true;
        self.superseded_bytes = superseded_bytes;
        self.streams.extend(streams);
        for no in finished {
            self.dropped.remove(&no);
        }
    }
}

struct Outcome {
    writes: Writes,
    trimmed: Trimmed,
    trimmed_upto: Revision,
    freed: Vec<BodyHash>,
    changes: Changes,
}

/// What a trim changes of the published state.
struct Changes {
    superseded_bytes: u64,
    streams: BTreeMap<StreamId, StreamState>,
    finished: Vec<StreamNo>,
}

pub(super) struct Sweep<'a, V> {
    pub(super) view: &'a V,
    pub(super) published: &'a Published,
    pub(super) policy: &'a TrimPolicy,
    /// Revisions above this one are inside the window.
    window_end: Revision,
    pub(super) writes: Writes,
    pub(super) trimmed: Trimmed,
    /// Removals still allowed in this call.
    pub(super) budget: usize,
    trimmed_upto: Revision,
    /// Everything superseded below this revision is gone.
    pub(super) oldest_superseder: Revision,
    superseded_bytes: u64,
    pub(super) streams: BTreeMap<StreamId, StreamState>,
    finished: Vec<StreamNo>,
    dereferenced: BTreeMap<BodyHash, u64>,
    freed: Vec<BodyHash>,
    /// Newest entries removed by this sweep.
    pub(super) unindexed: BTreeSet<Vec<u8>>,
    /// Records removed by this sweep that did not wait in the queue of superseded ones.
    pub(super) settled: BTreeSet<(StreamNo, Revision)>,
    /// Up to where the consumers of copies have come, as far as asked.
    pub(super) consumed: BTreeMap<StreamNo, Revision>,
}

impl<'a, V: View> Sweep<'a, V> {
    fn new(
        view: &'a V,
        published: &'a Published,
        policy: &'a TrimPolicy,
        trimmed_upto: Revision,
    ) -> Self {
        let written = published.marks.written.get();
        Self {
            view,
            published,
            policy,
            window_end: Revision::new(written.saturating_sub(policy.keep_revisions)),
            writes: Writes::default(),
            trimmed: Trimmed::default(),
            budget: policy.records_per_call_max.max(1),
            trimmed_upto,
            oldest_superseder: Revision::MAX,
            superseded_bytes: published.superseded_bytes,
            streams: BTreeMap::new(),
            finished: Vec::new(),
            dereferenced: BTreeMap::new(),
            freed: Vec::new(),
            unindexed: BTreeSet::new(),
            settled: BTreeSet::new(),
            consumed: BTreeMap::new(),
        }
    }

    /// Takes one unit of work; `false`: the call has done its share.
    pub(super) fn spend(&mut self) -> bool {
        if self.budget == 0 {
            self.trimmed.more = true;
            return false;
        }
        self.budget -= 1;
        true
    }

    pub(super) fn is_out_of_window(&self, revision: Revision, time: WallTime) -> bool {
        revision <= self.window_end && time < self.policy.keep_since
    }

    pub(super) fn stream_mut(&mut self, name: &StreamId) -> Option<&mut StreamState> {
        if !self.streams.contains_key(name) {
            let state = self.published.streams.get(name)?.clone();
            self.streams.insert(name.clone(), state);
        }
        self.streams.get_mut(name)
    }

    fn dropped_streams(&mut self) -> Result<(), ReadError> {
        for &no in &self.published.dropped {
            if !self.remove_stream(no)? {
                return Ok(());
            }
            self.writes
                .remove(Space::Meta, Bytes::copy_from_slice(&keys::dropped(no)));
            self.finished.push(no);
        }
        Ok(())
    }

    /// Removes what a dropped stream left; `false`: some of it is still there.
    fn remove_stream(&mut self, no: StreamNo) -> Result<bool, ReadError> {
        let view = self.view;
        let from = no.0.to_be_bytes();
        let to = keys::after_stream(no);
        for pair in view.scan(Space::Log, &from, &to) {
            if !self.spend() {
                return Ok(false);
            }
            let (key, value) = pair.map_err(read_error)?;
            self.remove_record(found(key, &value)?);
        }
        for pair in view.scan(Space::Newest, &from, &to) {
            if !self.spend() {
                return Ok(false);
            }
            let (key, _) = pair.map_err(read_error)?;
            self.writes.remove(Space::Newest, key);
        }
        let (from, to) = pending_range(no);
        for pair in view.scan(Space::Meta, &from, &to) {
            if !self.spend() {
                return Ok(false);
            }
            let (key, _) = pair.map_err(read_error)?;
            self.writes.remove(Space::Meta, key);
        }
        Ok(true)
    }

    pub(super) fn remove_record(&mut self, record: Found) {
        self.trimmed.records += 1;
        if let BodyAt::Hashed { hash, .. } = record.value.body {
            *self.dereferenced.entry(hash).or_default() += 1;
        }
        self.writes.remove(Space::Log, record.key);
    }

    fn superseded(&mut self) -> Result<(), ReadError> {
        let view = self.view;
        let (_, to) = keys::kind_range(meta::SUPERSEDED);
        let from = keys::superseded(self.trimmed_upto.next().unwrap_or(Revision::MAX));
        for pair in view.scan(Space::Meta, &from, &to) {
            let (key, value) = pair.map_err(read_error)?;
            let corrupt = |corrupt| damaged(Space::Meta, &key, corrupt);
            let by = keys::parse_superseded(&key)
                .ok_or(Corrupt("key is too short"))
                .map_err(corrupt)?;
            let entry = codec::open_superseded(&key, &value).map_err(corrupt)?;
            let is_over =
                self.policy.bytes_max > 0 && self.superseded_bytes > self.policy.bytes_max;
            let name = self.published.names.get(&entry.stream);
            let is_awaited = match name {
                Some(name) => entry.revision > self.consumed_upto(name)?,
                None => false,
            };
            let may_go = is_over || self.is_out_of_window(by, entry.time);
            if is_awaited || !may_go || !self.spend() {
                self.oldest_superseder = by;
                return Ok(());
            }
            self.superseded_bytes = self.superseded_bytes.saturating_sub(entry.bytes.into());
            self.trimmed_upto = by;
            self.writes.remove(Space::Meta, key);
            // A dropped stream's records are removed with the stream.
            let Some(name) = name else { continue };
            let Some(record) = get_record(view, entry.stream, entry.revision)? else {
                let key = keys::log(entry.stream, entry.revision);
                return Err(damaged(
                    Space::Log,
                    &key,
                    Corrupt("superseded record is missing"),
                ));
            };
            self.remove_record(record);
            if let Some(state) = self.stream_mut(name) {
                state.value.history = state.value.history.max(by);
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Outcome, ReadError> {
        for (hash, gone) in std::mem::take(&mut self.dereferenced) {
            let key = keys::references(&hash);
            let count = get(self.view, Space::Meta, &key, codec::open_number)?;
            let Some(left) = count.and_then(|count| count.checked_sub(gone)) else {
                return Err(damaged(
                    Space::Meta,
                    &key,
                    Corrupt("too few references to a body"),
                ));
            };
            let key = Bytes::copy_from_slice(&key);
            if left > 0 {
                let value = codec::seal_number(&key, left);
                self.writes.put(Space::Meta, key, value);
                continue;
            }
            self.writes.remove(Space::Meta, key);
            self.writes
                .remove(Space::Bodies, Bytes::copy_from_slice(hash.as_bytes()));
            self.trimmed.bodies += 1;
            self.freed.push(hash);
        }
        for (name, state) in &self.streams {
            let key = Bytes::from(keys::stream(name));
            let value = codec::seal_stream(&key, &state.value);
            self.writes.put(Space::Meta, key, value);
        }
        if !self.writes.0.is_empty() {
            // The records that say how far revisions are may be among the removed ones.
            self.put_number(meta::WRITTEN, self.published.marks.written.get());
            self.put_number(meta::GARBAGE_BYTES, self.superseded_bytes);
        }
        let Self {
            superseded_bytes,
            streams,
            finished,
            ..
        } = self;
        let changes = Changes {
            superseded_bytes,
            streams,
            finished,
        };
        let Self {
            writes,
            trimmed,
            trimmed_upto,
            freed,
            ..
        } = self;
        Ok(Outcome {
            writes,
            trimmed,
            trimmed_upto,
            freed,
            changes,
        })
    }

    fn put_number(&mut self, kind: u8, number: u64) {
        let key = Bytes::copy_from_slice(&keys::single(kind));
        let value = codec::seal_number(&key, number);
        self.writes.put(Space::Meta, key, value);
    }
}

/// What waits in a stream, oldest first: revision, key, value.
pub(super) fn pending_of<V: View>(
    view: &V,
    no: StreamNo,
) -> impl Iterator<Item = Result<(Revision, Bytes, Pending), ReadError>> + '_ {
    let (from, to) = pending_range(no);
    view.scan(Space::Meta, &from, &to).map(|pair| {
        let (key, value) = pair.map_err(read_error)?;
        let corrupt = |corrupt| damaged(Space::Meta, &key, corrupt);
        let revision = keys::parse_pending(&key)
            .ok_or(Corrupt("key is too short"))
            .map_err(corrupt)?;
        let pending = codec::open_pending(&key, &value).map_err(corrupt)?;
        Ok((revision, key, pending))
    })
}

/// The range of what waits in a stream.
fn pending_range(no: StreamNo) -> ([u8; 5], [u8; 5]) {
    let mut from = [meta::PENDING; 5];
    from[1..].copy_from_slice(&no.0.to_be_bytes());
    let mut to = [meta::PENDING; 5];
    to[1..].copy_from_slice(&keys::after_stream(no));
    (from, to)
}
