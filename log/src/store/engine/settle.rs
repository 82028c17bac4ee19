//! What waits in a stream for its end: tombstones, facts, requests and answers.
//!
//! | record | goes when the peer has it, its consumer has taken it, it is out of the window, and |
//! |---|---|
//! | fact | it is none of the newest that came from a peer (the oldest go sooner, when they are too many bytes) |
//! | `Delete` | everything it superseded is gone, and so is what else is kept of its key |
//! | `Delete` going up | … and the stream that comes down does not say that the object is there |
//! | request | it is answered, the answer is out of the window too, and its object is gone |
//! | answer | no request of its key is kept, and its object is gone |
//!
//! What else is kept of the key of a `Delete` is its status and twin, when they are older, and its
//! request or answer; and when the `Delete` comes down, the request that goes up. They go before it,
//! and a request before its answer. So whatever is left at any time says of the object what the whole
//! did: never that it is still there, never that a request waits.
//!
//! A reconcile makes a `Delete` of version zero of an object that only the receiver had, and empty
//! records of what else was only there: such a `Delete` takes along empty ones only.
//!
//! A record that waits for another is passed over; one that waits for the peer, the consumer or the
//! window ends the look at its stream, because all behind it wait for the same.

use bytes::Bytes;

use super::plan::fact_bytes;
use super::read::{Found, get_record};
use super::state::StreamState;
use super::trim::{Sweep, pending_of};
use super::{damaged, get};
use crate::batch::CursorName;
use crate::error::ReadError;
use crate::id::{Direction, Offset, Revision, StreamId, Version};
use crate::key::Key;
use crate::limits::FACTS_KEPT;
use crate::record::{Op, Slot};
use crate::store::codec::{self, Corrupt, StreamValue};
use crate::store::keys::{self, StreamNo};
use crate::store::kv::{Space, View};

/// The slots that end with the object, in the order in which they go.
const BURIED: [Slot; 3] = [Slot::Request, Slot::Status, Slot::Twin];

/// A stream as it was before the sweep.
#[derive(Clone, Copy)]
struct Line<'a> {
    name: &'a StreamId,
    state: &'a StreamState,
    /// Up to where its consumer has come.
    consumed: Revision,
}

impl Line<'_> {
    const fn no(&self) -> StreamNo {
        self.state.value.no
    }
}

impl<'a, V: View> Sweep<'a, V> {
    /// Up to which revision a stream's consumer has taken its records: all, when there is none.
    pub(super) fn consumed_upto(&mut self, name: &StreamId) -> Result<Revision, ReadError> {
        let (StreamId::Node(node, Direction::Up), Some(state)) =
            (name, self.published.streams.get(name))
        else {
            return Ok(Revision::MAX);
        };
        if !state.value.is_copy {
            return Ok(Revision::MAX);
        }
        if let Some(known) = self.consumed.get(&state.value.no) {
            return Ok(*known);
        }
        let key = keys::cursor(&CursorName::write_back(node));
        let place = get(self.view, Space::Meta, &key, codec::open_number)?;
        let place = Revision::new(place.unwrap_or(0));
        self.consumed.insert(state.value.no, place);
        Ok(place)
    }

    fn line(&mut self, name: &StreamId) -> Result<Option<Line<'a>>, ReadError> {
        let Some((name, state)) = self.published.streams.get_key_value(name) else {
            return Ok(None);
        };
        let consumed = self.consumed_upto(name)?;
        Ok(Some(Line {
            name,
            state,
            consumed,
        }))
    }

    /// The other stream of the node whose stream this is.
    fn other(&mut self, line: &Line<'_>) -> Result<Option<Line<'a>>, ReadError> {
        match line.name {
            StreamId::Cluster => Ok(None),
            StreamId::Node(node, direction) => {
                self.line(&StreamId::Node(node.clone(), direction.opposite()))
            }
        }
    }

    pub(super) fn pending(&mut self) -> Result<(), ReadError> {
        let published = self.published;
        // Up before down: what waits for the other stream of its node goes in one call.
        for (name, state) in published.streams.iter().rev() {
            if self.budget == 0 {
                self.trimmed.more = true;
                return Ok(());
            }
            let Some(line) = self.line(name)? else {
                continue;
            };
            self.settle(&line)?;
            if state.is_replicated(name) {
                self.surplus_facts(name, state.value.no)?;
            } else if state.value.is_copy {
                self.surplus_bytes(&line)?;
            }
        }
        Ok(())
    }

    fn settle(&mut self, line: &Line<'a>) -> Result<(), ReadError> {
        for waiting in pending_of(self.view, line.no()) {
            let (revision, key, pending) = waiting?;
            if self.settled.contains(&(line.no(), revision)) {
                continue;
            }
            let record = self.waiting_record(line.no(), revision, &key)?;
            if !self.has_served(line, &record) {
                return Ok(());
            }
            let is_over = match pending.slot {
                Slot::Fact => true,
                Slot::Request => self.is_over(line, &record)?,
                Slot::Object | Slot::Status | Slot::Twin => self.bury(line, &record)?,
            };
            if !is_over {
                continue;
            }
            if !self.spend() {
                return Ok(());
            }
            self.end(line, record)?;
        }
        Ok(())
    }

    fn waiting_record(
        &self,
        no: StreamNo,
        revision: Revision,
        key: &Bytes,
    ) -> Result<Found, ReadError> {
        get_record(self.view, no, revision)?.ok_or_else(|| {
            let missing = Corrupt("waiting record is missing");
            damaged(Space::Meta, key, missing)
        })
    }

    /// Whether nobody needs a newest record as such any more: the peer has it, its consumer has
    /// taken it, the window does not hold it, and what it superseded is gone.
    fn has_served(&self, line: &Line<'_>, record: &Found) -> bool {
        let header = &record.value.header;
        let value = &line.state.value;
        let is_acked = !line.state.is_replicated(line.name) || header.offset <= value.acked;
        // The last record of a copy tells its sender, at the next handshake, whose past it is.
        let is_head = value.is_copy && header.offset == value.received_head;
        let is_recent = value.is_copy && header.op == Op::Fact && is_recent(value, header.offset);
        // The newest goes after everything it superseded, or that would be back.
        let is_last = header.op == Op::Fact || record.revision < self.oldest_superseder;
        is_acked
            && !is_head
            && !is_recent
            && is_last
            && record.revision <= line.consumed
            && self.is_out_of_window(record.revision, header.time)
    }

    /// Removes what else is kept of the key of a tombstone. `false`: some of it must stay yet, and
    /// the tombstone with it.
    fn bury(&mut self, line: &Line<'a>, tombstone: &Found) -> Result<bool, ReadError> {
        let key = &tombstone.value.header.key;
        // One that a reconcile made speaks of its slot alone.
        let ends_object = tombstone.value.header.version > Version::ZERO;
        let other = self.other(line)?;
        let mut lines = Vec::with_capacity(2);
        match (line.name, other) {
            (StreamId::Node(_, Direction::Down), Some(up)) => lines.push(up),
            (StreamId::Node(_, Direction::Up), Some(down)) => match self.gone_since(&down, key)? {
                Some(since) => self.raise_history(line.name, since),
                // Without the tombstone the object would be back.
                None => return Ok(false),
            },
            (StreamId::Node(..) | StreamId::Cluster, _) => {}
        }
        lines.push(*line);
        for other in &lines {
            for slot in BURIED {
                let Some(record) = self.newest_of(other, key, slot)? else {
                    continue;
                };
                let is_state = slot != Slot::Request;
                let is_older = other.no() == line.no() && record.revision < tombstone.revision;
                if is_state && !(is_older && (ends_object || is_empty(&record))) {
                    continue;
                }
                if !self.has_served(other, &record)
                    || (slot == Slot::Request && !self.is_over(other, &record)?)
                    || !self.spend()
                {
                    return Ok(false);
                }
                let since = record.revision.max(tombstone.revision);
                self.end(other, record)?;
                self.raise_history(other.name, since);
            }
        }
        Ok(true)
    }

    /// Whether a request or an answer means nothing any more: see the table above.
    fn is_over(&mut self, line: &Line<'a>, record: &Found) -> Result<bool, ReadError> {
        let header = &record.value.header;
        let key = &header.key;
        let other = self.other(line)?;
        let since = match (line.name, other) {
            (StreamId::Node(_, Direction::Down), up) => {
                if let Some(up) = up
                    && self.newest_of(&up, key, Slot::Request)?.is_some()
                {
                    return Ok(false);
                }
                self.gone_since(line, key)?
            }
            (StreamId::Node(_, Direction::Up), Some(down)) => {
                let Some(answer) = self.newest_of(&down, key, Slot::Request)? else {
                    return Ok(false);
                };
                let answered = &answer.value.header;
                if answered.cause != Some(header.id)
                    || !self.is_out_of_window(answer.revision, answered.time)
                {
                    return Ok(false);
                }
                let gone = self.gone_since(&down, key)?;
                // What was accepted and is not there is still to come.
                gone.filter(|since| *since > Revision::ZERO || answered.op == Op::Reject)
                    .map(|since| since.max(answer.revision))
            }
            (StreamId::Node(_, Direction::Up) | StreamId::Cluster, _) => None,
        };
        if let Some(since) = since {
            self.raise_history(line.name, since.max(record.revision));
        }
        Ok(since.is_some())
    }

    /// Since when, zero if it is not known, a stream says that the object of a key is gone. `None`:
    /// it is there, or the window still holds its end.
    fn gone_since(&self, line: &Line<'_>, key: &Key) -> Result<Option<Revision>, ReadError> {
        let Some(object) = self.newest_of(line, key, Slot::Object)? else {
            return Ok(Some(Revision::ZERO));
        };
        let header = &object.value.header;
        let is_gone =
            header.op == Op::Delete && self.is_out_of_window(object.revision, header.time);
        Ok(is_gone.then_some(object.revision))
    }

    /// The newest record of a key and slot, unless this sweep has removed it.
    fn newest_of(
        &self,
        line: &Line<'_>,
        key: &Key,
        slot: Slot,
    ) -> Result<Option<Found>, ReadError> {
        let index_key = keys::newest(line.no(), key, slot);
        if self.unindexed.contains(&index_key) {
            return Ok(None);
        }
        match get(self.view, Space::Newest, &index_key, codec::open_newest)? {
            Some(newest) => get_record(self.view, line.no(), newest.revision),
            None => Ok(None),
        }
    }

    /// Removes a record that waited, or that a tombstone takes along.
    fn end(&mut self, line: &Line<'_>, record: Found) -> Result<(), ReadError> {
        if let Some(state) = self.stream_mut(line.name) {
            state.value.floor = state.value.floor.max(record.value.header.offset);
        }
        self.remove_settled(line.name, line.no(), record)
    }

    fn raise_history(&mut self, name: &StreamId, revision: Revision) {
        if let Some(state) = self.stream_mut(name) {
            state.value.history = state.value.history.max(revision);
        }
    }

    /// Drops the oldest facts over the quota, those first that the peer has; it never gets the
    /// others, and they are counted.
    fn surplus_facts(&mut self, name: &StreamId, no: StreamNo) -> Result<(), ReadError> {
        let swept = self.streams.get(name);
        let Some(state) = swept.or_else(|| self.published.streams.get(name)) else {
            return Ok(());
        };
        let acked = state.value.acked;
        let mut surplus = state.facts.saturating_sub(self.policy.facts_max);
        if surplus == 0 {
            return Ok(());
        }
        for waiting in pending_of(self.view, no) {
            let (revision, key, pending) = waiting?;
            if pending.slot != Slot::Fact || self.settled.contains(&(no, revision)) {
                continue;
            }
            if surplus == 0 || !self.spend() {
                return Ok(());
            }
            let record = self.waiting_record(no, revision, &key)?;
            let was_waiting = record.value.header.offset > acked;
            self.remove_settled(name, no, record)?;
            self.trimmed.facts_dropped += u64::from(was_waiting);
            surplus -= 1;
        }
        Ok(())
    }

    /// Drops the oldest facts over the bound of their bytes, as far as their consumer has taken them.
    fn surplus_bytes(&mut self, line: &Line<'a>) -> Result<(), ReadError> {
        let most = self.policy.facts_bytes_max;
        let bytes = |sweep: &Self| {
            let swept = sweep.streams.get(line.name).unwrap_or(line.state);
            swept.facts_bytes
        };
        if most == 0 || bytes(self) <= most {
            return Ok(());
        }
        for waiting in pending_of(self.view, line.no()) {
            let (revision, key, pending) = waiting?;
            if bytes(self) <= most || revision > line.consumed {
                return Ok(());
            }
            if pending.slot != Slot::Fact || self.settled.contains(&(line.no(), revision)) {
                continue;
            }
            let record = self.waiting_record(line.no(), revision, &key)?;
            // The last record of a copy tells whose past it is.
            if record.value.header.offset == line.state.value.received_head || !self.spend() {
                return Ok(());
            }
            self.end(line, record)?;
        }
        Ok(())
    }

    /// Removes a record that nothing supersedes, with its places in the indexes.
    fn remove_settled(
        &mut self,
        name: &StreamId,
        no: StreamNo,
        record: Found,
    ) -> Result<(), ReadError> {
        let header = &record.value.header;
        let slot = header.op.slot();
        if header.op == Op::Delete || matches!(slot, Slot::Request | Slot::Fact) {
            let key = Bytes::copy_from_slice(&keys::pending(no, record.revision));
            self.writes.remove(Space::Meta, key);
        }
        let index_key = keys::newest(no, &header.key, slot);
        let newest = get(self.view, Space::Newest, &index_key, codec::open_newest)?;
        if newest.is_some_and(|newest| newest.revision == record.revision)
            && self.unindexed.insert(index_key.clone())
        {
            self.writes.remove(Space::Newest, Bytes::from(index_key));
        }
        self.settled.insert((no, record.revision));
        let body = u32::try_from(record.value.body.len()).unwrap_or(u32::MAX);
        self.remove_record(record);
        if slot == Slot::Fact
            && let Some(state) = self.stream_mut(name)
        {
            state.facts = state.facts.saturating_sub(1);
            let bytes = u64::from(fact_bytes(body));
            state.facts_bytes = state.facts_bytes.saturating_sub(bytes);
        }
        Ok(())
    }
}

/// Whether a record says that there is nothing in its slot.
fn is_empty(record: &Found) -> bool {
    record.value.body.len() == 0 && record.value.header.cause.is_none()
}

/// Whether the sender of a copy may not have heard that the record at `offset` arrived. If it has to
/// reconcile before it does, it sends those facts again that this store cannot show. Offsets of an
/// epoch that is over mean nothing once a reconcile from it has ended.
fn is_recent(copy: &StreamValue, offset: Offset) -> bool {
    let is_reconciling = copy.received == Offset::ZERO;
    let (offset, head) = (offset.get(), copy.received_head.get());
    is_reconciling || (offset <= head && offset.saturating_add(FACTS_KEPT) > head)
}
