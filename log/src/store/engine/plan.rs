//! Planning a batch: places, indexes, references and rows become one set of writes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

use super::append::{Changes, Outcome};
use super::ended::ended_with;
use super::get;
use super::read::get_record;
use super::state::{Published, StreamState};
use crate::batch::{Batch, Entry, Place, Row, StreamChange};
use crate::body::{Body, BodyHash};
use crate::error::{AppendError, ReadError};
use crate::id::{Epoch, Offset, Revision, StreamId, Version, WallTime};
use crate::key::Key;
use crate::limits::BODY_INLINE_BYTES_MAX;
use crate::record::{Op, Slot};
use crate::store::codec::{
    self, Arena, BodyAt, LogValue, Newest, Pending, StreamValue, Superseded,
};
use crate::store::keys::{self, StreamNo, meta};
use crate::store::kv::{Space, View, Writes};
use crate::store::{Appended, header_at};

/// What an entry of the newest index takes, about.
const NEWEST_BYTES: usize = 96;
/// What a superseded record costs on disk beside its body, about.
const RECORD_OVERHEAD_BYTES: u32 = 128;

pub(super) struct Plan<'a, V> {
    view: &'a V,
    published: &'a Published,
    writes: Writes,
    /// Writes to `meta`, where a later one of a batch replaces an earlier one.
    meta: BTreeMap<Bytes, Option<Bytes>>,
    /// The newest entries that the batch makes, in the order of the batch, and where each is.
    newest: Vec<(Bytes, Newest)>,
    positions: HashMap<Bytes, usize>,
    /// The index key of the entry at hand.
    index_key: Vec<u8>,
    log_arena: Arena,
    newest_arena: Arena,
    meta_arena: Arena,
    references: BTreeMap<BodyHash, u64>,
    bodies: BTreeMap<BodyHash, Body>,
    /// Tombstones of the batch that a reconcile made: they end their slot alone.
    slot_ends: BTreeSet<Revision>,
    /// Hashes by address and length: a body shared by many entries is hashed once.
    hashes: HashMap<(*const u8, usize), BodyHash>,
    appended: Appended,
    changes: Changes,
}

impl<'a, V: View> Plan<'a, V> {
    pub(super) fn new(view: &'a V, published: &'a Published, batch: &Batch) -> Self {
        let entries = batch.entries.len();
        let inline = |body: &Body| body.len().min(BODY_INLINE_BYTES_MAX);
        let log_bytes = batch
            .entries
            .iter()
            .map(|entry| codec::HEAD_BYTES + entry.draft.key.name.len() + inline(&entry.draft.body))
            .sum();
        Self {
            view,
            published,
            writes: Writes(Vec::with_capacity(entries * 2 + 8)),
            meta: BTreeMap::new(),
            newest: Vec::with_capacity(entries),
            positions: HashMap::with_capacity(entries),
            index_key: Vec::new(),
            log_arena: Arena::with_capacity(log_bytes),
            newest_arena: Arena::with_capacity(entries * NEWEST_BYTES),
            meta_arena: Arena::default(),
            references: BTreeMap::new(),
            bodies: BTreeMap::new(),
            slot_ends: BTreeSet::new(),
            hashes: HashMap::new(),
            appended: Appended {
                revisions: Vec::with_capacity(entries),
                since: Vec::with_capacity(entries),
            },
            changes: Changes {
                streams: BTreeMap::new(),
                dropped: Vec::new(),
                written: published.marks.written,
                next_stream: published.next_stream,
                superseded_bytes: published.superseded_bytes,
                stats: published.stats,
            },
        }
    }

    fn open_stream(&mut self, name: &StreamId) -> Option<&mut StreamState> {
        if !self.changes.streams.contains_key(name) {
            let state = self.published.streams.get(name)?.clone();
            self.changes.streams.insert(name.clone(), Some(state));
        }
        self.changes.streams.get_mut(name)?.as_mut()
    }

    pub(super) fn change_stream(&mut self, change: &StreamChange) -> Result<(), AppendError> {
        let name = match change {
            StreamChange::Open { stream, .. }
            | StreamChange::Received { stream, .. }
            | StreamChange::Acked { stream, .. }
            | StreamChange::Drop { stream } => stream,
        };
        let not_open = || AppendError::NotOpen {
            stream: name.clone(),
        };
        match change {
            StreamChange::Open { epoch, .. } => match self.open_stream(name) {
                Some(state) if state.value.epoch == *epoch => return Ok(()),
                Some(state) => {
                    let value = &mut state.value;
                    value.epoch = *epoch;
                    value.acked = Offset::ZERO;
                    value.received = Offset::ZERO;
                    value.received_head = Offset::ZERO;
                    state.durable_head = state.durable_head.min(state.head());
                }
                None => self.new_stream(name, *epoch),
            },
            StreamChange::Received { upto, .. } => {
                let value = &mut self.open_stream(name).ok_or_else(not_open)?.value;
                value.received = value.received.max(*upto);
                value.is_copy = true;
            }
            StreamChange::Acked { upto, .. } => {
                let value = &mut self.open_stream(name).ok_or_else(not_open)?.value;
                value.acked = value.acked.max(*upto);
            }
            StreamChange::Drop { .. } => self.drop_stream(name),
        }
        self.save_stream(name);
        Ok(())
    }

    fn new_stream(&mut self, name: &StreamId, epoch: Epoch) {
        let no = self.changes.next_stream;
        self.changes.next_stream = no
            .checked_add(1)
            .filter(|next| *next < u32::MAX)
            .expect("stream numbers last");
        let next_key = Bytes::copy_from_slice(&keys::single(meta::NEXT_STREAM));
        let next = codec::seal_number(&next_key, self.changes.next_stream.into());
        self.meta.insert(next_key, Some(next));
        let state = StreamState::new(StreamValue {
            no: StreamNo(no),
            epoch,
            own_head: Offset::ZERO,
            received_head: Offset::ZERO,
            is_copy: false,
            received: Offset::ZERO,
            acked: Offset::ZERO,
            floor: Offset::ZERO,
            history: Revision::ZERO,
        });
        self.changes.streams.insert(name.clone(), Some(state));
    }

    fn drop_stream(&mut self, name: &StreamId) {
        let Some(state) = self.open_stream(name) else {
            return;
        };
        let no = state.value.no;
        self.changes.streams.insert(name.clone(), None);
        self.changes.dropped.push(no);
        let dropped_key = Bytes::copy_from_slice(&keys::dropped(no));
        let mark = codec::seal_bytes(&dropped_key, &[]);
        self.meta.insert(dropped_key, Some(mark));
    }

    /// Writes the stream's row as it now is.
    fn save_stream(&mut self, name: &StreamId) {
        let key = Bytes::from(keys::stream(name));
        let value = match self.changes.streams.get(name) {
            Some(Some(state)) => Some(codec::seal_stream(&key, &state.value)),
            Some(None) => None,
            None => return,
        };
        self.meta.insert(key, value);
    }

    pub(super) fn entry(&mut self, entry: &Entry) -> Result<(), AppendError> {
        let draft = &entry.draft;
        let mut revision = self.take_revision();
        let no = self.place(entry, revision)?;
        let mut before = self.newest(no, &draft.key, draft.op.slot())?;
        if draft.op == Op::Put
            && let Some(end) = before
            && self.ends_object(no, end)?
        {
            for slot in [Slot::Status, Slot::Twin] {
                let kept = self.newest(no, &draft.key, slot)?;
                if let Some(kept) = kept.filter(|it| it.revision < end.revision && it.len > 0) {
                    self.record(no, &ended_with(entry, slot), revision, Some(kept));
                    revision = self.take_revision();
                    self.own_head(entry, revision);
                }
            }
            before = self.newest(no, &draft.key, draft.op.slot())?;
        }
        let since = self.record(no, entry, revision, before);
        self.appended.revisions.push(revision);
        self.appended.since.push(since);
        Ok(())
    }

    fn take_revision(&mut self) -> Revision {
        let revision = self.changes.written.next().expect("revisions last");
        self.changes.written = revision;
        revision
    }

    /// The newest of a key and slot, in the batch or before it. Leaves its index key at hand.
    fn newest(
        &mut self,
        no: StreamNo,
        key: &Key,
        slot: Slot,
    ) -> Result<Option<Newest>, AppendError> {
        self.index_key.clear();
        keys::put_newest(&mut self.index_key, no, key, slot);
        match self.positions.get(self.index_key.as_slice()) {
            Some(position) => Ok(self.newest.get(*position).map(|(_, newest)| *newest)),
            None => Ok(get(
                self.view,
                Space::Newest,
                &self.index_key,
                codec::open_newest,
            )?),
        }
    }

    /// Whether the newest of an object's slot ends the object, and not that slot alone.
    fn ends_object(&self, no: StreamNo, newest: Newest) -> Result<bool, AppendError> {
        if newest.op != Op::Delete || self.slot_ends.contains(&newest.revision) {
            return Ok(false);
        }
        let end = get_record(self.view, no, newest.revision)?;
        Ok(end.is_none_or(|end| end.value.header.version > Version::ZERO))
    }

    /// Writes the record whose index key is at hand; returns since when its key is there.
    fn record(
        &mut self,
        no: StreamNo,
        entry: &Entry,
        revision: Revision,
        before: Option<Newest>,
    ) -> Revision {
        let draft = &entry.draft;
        let slot = draft.op.slot();
        let since = before
            .filter(|before| before.op != Op::Delete)
            .map_or(revision, |before| before.since);
        self.supersede(no, slot, before, revision, draft.time);
        if draft.op == Op::Delete || matches!(slot, Slot::Request | Slot::Fact) {
            let key = Bytes::copy_from_slice(&keys::pending(no, revision));
            let pending = Pending {
                slot,
                time: draft.time,
                bytes: match slot {
                    Slot::Fact => fact_bytes(body_len(&draft.body)),
                    Slot::Object | Slot::Status | Slot::Twin | Slot::Request => 0,
                },
            };
            let value = codec::seal_pending(&key, &pending);
            self.meta.insert(key, Some(value));
        }
        let header = header_at(entry, revision);
        if draft.op == Op::Delete && header.version == Version::ZERO {
            self.slot_ends.insert(revision);
        }
        let value = LogValue {
            header,
            prev: before.map_or(Revision::ZERO, |before| before.revision),
            since,
            body: self.place_body(&draft.body),
        };
        let key = self.log_arena.key(&keys::log(no, revision));
        let sealed = codec::seal_record(&mut self.log_arena, &key, &value);
        self.writes.put(Space::Log, key, sealed);

        let len = body_len(&draft.body);
        self.index(Newest {
            revision,
            since,
            op: draft.op,
            len,
        });
        self.changes.stats.records += 1;
        self.changes.stats.body_bytes += u64::from(len);
        since
    }

    /// Takes the entry's place in its stream.
    fn place(&mut self, entry: &Entry, revision: Revision) -> Result<StreamNo, AppendError> {
        let stream = &entry.stream;
        let state = self
            .open_stream(stream)
            .ok_or_else(|| AppendError::NotOpen {
                stream: stream.clone(),
            })?;
        let value = &mut state.value;
        match entry.place {
            Place::Next => value.own_head = revision.as_own_offset(),
            Place::At(offset) => {
                let head = value.received_head;
                if offset <= head {
                    return Err(AppendError::Order {
                        stream: stream.clone(),
                        offset,
                        head,
                    });
                }
                value.received_head = offset;
                value.is_copy = true;
            }
        }
        if entry.draft.op == Op::Fact {
            state.facts += 1;
            state.facts_bytes += u64::from(fact_bytes(body_len(&entry.draft.body)));
        }
        Ok(state.value.no)
    }

    /// The head of an own stream follows the revisions that its records take.
    fn own_head(&mut self, entry: &Entry, revision: Revision) {
        if let (Place::Next, Some(state)) = (entry.place, self.open_stream(&entry.stream)) {
            state.value.own_head = revision.as_own_offset();
        }
    }

    /// Makes the entry at hand the newest of its key.
    fn index(&mut self, newest: Newest) {
        let known = self.positions.get(self.index_key.as_slice()).copied();
        match known.and_then(|position| self.newest.get_mut(position)) {
            Some((_, before)) => *before = newest,
            None => {
                let key = self.newest_arena.key(&self.index_key);
                self.positions.insert(key.clone(), self.newest.len());
                self.newest.push((key, newest));
            }
        }
    }

    /// Notes that the record `before` is superseded, for the history window.
    fn supersede(
        &mut self,
        no: StreamNo,
        slot: Slot,
        before: Option<Newest>,
        by: Revision,
        time: WallTime,
    ) {
        let Some(before) = before.filter(|_| slot.is_state()) else {
            return;
        };
        let bytes = before.len.saturating_add(RECORD_OVERHEAD_BYTES);
        let key = self.meta_arena.key(&keys::superseded(by));
        let superseded = Superseded {
            stream: no,
            revision: before.revision,
            time,
            bytes,
        };
        let value = codec::seal_superseded(&mut self.meta_arena, &key, &superseded);
        self.writes.put(Space::Meta, key, value);
        self.changes.superseded_bytes += u64::from(bytes);
        if before.op == Op::Delete || slot == Slot::Request {
            let pending = Bytes::copy_from_slice(&keys::pending(no, before.revision));
            self.meta.insert(pending, None);
        }
    }

    fn place_body(&mut self, body: &Body) -> BodyAt {
        if body.len() <= BODY_INLINE_BYTES_MAX {
            return BodyAt::Inline(body.clone());
        }
        let place = (body.bytes().as_ptr(), body.len());
        let hash = *self.hashes.entry(place).or_insert_with(|| body.hash());
        *self.references.entry(hash).or_default() += 1;
        self.bodies.entry(hash).or_insert_with(|| body.clone());
        BodyAt::Hashed {
            hash,
            len: body_len(body),
        }
    }

    pub(super) fn finish(mut self, batch: &Batch) -> Result<Outcome, ReadError> {
        for (name, offset) in &batch.cursors {
            let key = Bytes::from(keys::cursor(name));
            let value = codec::seal_number(&key, offset.get());
            self.meta.insert(key, Some(value));
        }
        for Row { table, key, value } in &batch.rows {
            let key = Bytes::from(keys::row(*table, key));
            let value = value.as_ref().map(|value| codec::seal_bytes(&key, value));
            self.meta.insert(key, value);
        }
        for (key, newest) in std::mem::take(&mut self.newest) {
            let value = codec::seal_newest(&mut self.newest_arena, &key, &newest);
            self.writes.put(Space::Newest, key, value);
        }
        self.finish_references()?;
        self.finish_streams();
        if self.changes.superseded_bytes != self.published.superseded_bytes {
            self.put_number(meta::GARBAGE_BYTES, self.changes.superseded_bytes);
        }
        if !self.changes.dropped.is_empty() {
            // The records that say how far revisions are may be the ones that go.
            self.put_number(meta::WRITTEN, self.changes.written.get());
        }
        for (key, value) in std::mem::take(&mut self.meta) {
            match value {
                Some(value) => self.writes.put(Space::Meta, key, value),
                None => self.writes.remove(Space::Meta, key),
            }
        }
        let Self {
            writes,
            bodies,
            appended,
            changes,
            ..
        } = self;
        Ok(Outcome {
            writes,
            bodies,
            appended,
            changes,
        })
    }

    fn put_number(&mut self, kind: u8, number: u64) {
        let key = Bytes::copy_from_slice(&keys::single(kind));
        let value = codec::seal_number(&key, number);
        self.meta.insert(key, Some(value));
    }

    /// One count per body, and the body itself when it is new.
    fn finish_references(&mut self) -> Result<(), ReadError> {
        for (hash, added) in std::mem::take(&mut self.references) {
            let key = keys::references(&hash);
            let count = get(self.view, Space::Meta, &key, codec::open_number)?;
            if count.is_none() {
                let body = self.bodies.get(&hash).expect("a counted body is at hand");
                let value = codec::seal_bytes(hash.as_bytes(), body.bytes());
                self.writes.put(
                    Space::Bodies,
                    Bytes::copy_from_slice(hash.as_bytes()),
                    value,
                );
            }
            let value = codec::seal_number(&key, count.unwrap_or(0) + added);
            self.writes
                .put(Space::Meta, Bytes::copy_from_slice(&key), value);
        }
        Ok(())
    }

    /// The head of a stream this store writes is in its log; of a copy it is in the stream's row.
    fn finish_streams(&mut self) {
        let received: Vec<StreamId> = self
            .changes
            .streams
            .iter()
            .filter(|(_, state)| state.as_ref().is_some_and(|state| state.value.is_copy))
            .map(|(name, _)| name.clone())
            .collect();
        for name in received {
            self.save_stream(&name);
        }
    }
}

/// What a fact of such a body counts for.
pub(super) const fn fact_bytes(body: u32) -> u32 {
    body.saturating_add(RECORD_OVERHEAD_BYTES)
}

/// Bodies are bounded far below 4 GiB, see [`super::admit`].
fn body_len(body: &Body) -> u32 {
    u32::try_from(body.len()).expect("a body is within its limit")
}
