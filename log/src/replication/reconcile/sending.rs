//! The sender's side of a reconcile: what differs, and sending it.

use std::collections::{BTreeMap, VecDeque};

use crate::body::Body;
use crate::digest::{self, Digest, DigestEntry, KeyHash, Standing, StateHash};
use crate::error::ReadError;
use crate::id::{Direction, Offset, Revision, StreamId};
use crate::limits::{
    DIGEST_ENTRIES_MAX, DIGEST_ENTRIES_PER_FRAME_MAX, FRAME_DECODED_BYTES_MAX, FRAME_RECORDS_MAX,
    FRAME_TARGET_BYTES,
};
use crate::record::{Op, Record, Slot, Stored};
use crate::replication::flow::Mark;
use crate::replication::outgoing::Ready;
use crate::replication::stats::Traffic;
use crate::replication::violation::{Fault, Violation};
use crate::store::{ReadLimit, Store};
use crate::wire::frame::RecordsFrame;
use crate::wire::{BucketSet, Encoder, Frame};

/// How many versions of a key to look back for the one that the receiver says it holds.
const HISTORY_STEPS_MAX: usize = 8;

#[derive(Clone, Debug)]
pub(in crate::replication) struct Sending {
    upto: Offset,
    seq: u64,
    step: Step,
}

#[derive(Clone, Debug)]
enum Step {
    /// The receiver has not said what it holds.
    AwaitDigest,
    /// It is listing the buckets asked for.
    AwaitEntries {
        asked: BucketSet,
        comparison: Comparison,
    },
    /// Differences are being sent.
    Send {
        drops: Vec<KeyHash>,
        differences: VecDeque<Difference>,
    },
}

/// A record that the receiver lacks, or has in another state.
#[derive(Clone, Copy, Debug)]
struct Difference {
    offset: Offset,
    /// The short hash of the body that the receiver has.
    held: Option<[u8; 8]>,
}

impl Sending {
    pub(in crate::replication) const fn new(upto: Offset) -> Self {
        Self {
            upto,
            seq: 0,
            step: Step::AwaitDigest,
        }
    }

    pub(in crate::replication) const fn upto(&self) -> Offset {
        self.upto
    }

    pub(in crate::replication) const fn sent_seq(&self) -> u64 {
        self.seq
    }

    pub(in crate::replication) fn is_done(&self) -> bool {
        match &self.step {
            Step::AwaitDigest | Step::AwaitEntries { .. } => false,
            Step::Send { drops, differences } => drops.is_empty() && differences.is_empty(),
        }
    }

    pub(in crate::replication) fn handle_list(
        &mut self,
        entries: &[DigestEntry],
        store: &dyn Store,
        stream: &StreamId,
    ) -> Result<(), Fault> {
        self.awaits_digest("DigestList")?;
        let mut comparison = Comparison::new(store, stream, self.upto)?;
        comparison.add(entries)?;
        self.step = comparison.finish();
        Ok(())
    }

    /// Returns what to ask the receiver for, if anything.
    pub(in crate::replication) fn handle_buckets(
        &mut self,
        theirs: &digest::Buckets,
        store: &dyn Store,
        stream: &StreamId,
    ) -> Result<Option<Frame<'static>>, Fault> {
        self.awaits_digest("DigestBuckets")?;
        let mut comparison = Comparison::new(store, stream, self.upto)?;
        let ours = comparison.digest();
        let mut asked = BucketSet::default();
        for bucket in 0..=u8::MAX {
            let index = usize::from(bucket);
            if ours.buckets().get(index) != theirs.get(index) {
                asked.insert(bucket);
            }
        }
        comparison
            .own
            .retain(|key, own| asked.contains(key.bucket()) || own.is_sent_always());
        if asked.is_empty() {
            self.step = comparison.finish();
            return Ok(None);
        }
        self.step = Step::AwaitEntries { asked, comparison };
        Ok(Some(Frame::DigestRequest(asked)))
    }

    pub(in crate::replication) fn handle_entries(
        &mut self,
        entries: &[DigestEntry],
        last: bool,
    ) -> Result<(), Fault> {
        let Step::AwaitEntries { asked, comparison } = &mut self.step else {
            return Err(Violation::Unexpected {
                frame: "DigestEntries",
            }
            .into());
        };
        if !entries
            .iter()
            .all(|entry| asked.contains(entry.key.bucket()))
        {
            return Err(Violation::Digest.into());
        }
        comparison.add(entries)?;
        if last {
            self.step = std::mem::take(comparison).finish();
        }
        Ok(())
    }

    const fn awaits_digest(&self, frame: &'static str) -> Result<(), Violation> {
        match self.step {
            Step::AwaitDigest => Ok(()),
            Step::AwaitEntries { .. } | Step::Send { .. } => Err(Violation::Unexpected { frame }),
        }
    }

    /// The next frame of differences.
    pub(in crate::replication) fn build(
        &mut self,
        store: &dyn Store,
        stream: &StreamId,
        encoder: &Encoder,
        traffic: &mut Traffic,
    ) -> Result<Option<Ready>, ReadError> {
        let Step::Send { drops, differences } = &mut self.step else {
            return Ok(None);
        };
        if !drops.is_empty() {
            self.seq += 1;
            let rest = drops.split_off(drops.len().min(DIGEST_ENTRIES_PER_FRAME_MAX));
            let keys = std::mem::replace(drops, rest);
            let bytes = Frame::Drop {
                seq: self.seq,
                keys,
            }
            .encode();
            return Ok(Some(Ready {
                bytes,
                mark: Mark::Staged(self.seq),
                decoded: 0,
            }));
        }
        let mut frame = RecordsFrame::stage();
        let mut decoded = 0;
        while let Some(difference) = differences.front() {
            // What is superseded and trimmed by now follows as a record after `upto`.
            if let Some(Stored { record, .. }) = at(store, stream, difference.offset)? {
                let is_full = frame.len() >= FRAME_TARGET_BYTES
                    || frame.count() == FRAME_RECORDS_MAX
                    || decoded + record.body.len() > FRAME_DECODED_BYTES_MAX;
                if frame.count() > 0 && is_full {
                    break;
                }
                let base = base(store, stream, &record, difference.held)?;
                let encoded = encoder.encode(&record.body, base.as_ref());
                frame.push(&record.header, &encoded);
                traffic.record(encoded.encoding, record.body.len(), encoded.wire.len());
                decoded += record.body.len();
            }
            differences.pop_front();
        }
        if frame.count() == 0 {
            return Ok(None);
        }
        self.seq += 1;
        let bytes = frame.finish_stage(self.seq);
        Ok(Some(Ready {
            bytes,
            mark: Mark::Staged(self.seq),
            decoded,
        }))
    }
}

/// The record of a stream that this store writes, by its offset.
fn at(store: &dyn Store, stream: &StreamId, offset: Offset) -> Result<Option<Stored>, ReadError> {
    let after = Revision::new(offset.get().saturating_sub(1));
    let found = store.read(
        stream,
        after,
        ReadLimit {
            records: 1,
            bytes: 0,
        },
    )?;
    Ok(found
        .into_iter()
        .next()
        .filter(|stored| stored.record.header.offset == offset))
}

/// The body that the receiver says it holds, if this store has it: in the record itself, or in the
/// history of its key.
fn base(
    store: &dyn Store,
    stream: &StreamId,
    record: &Record,
    held: Option<[u8; 8]>,
) -> Result<Option<Body>, ReadError> {
    let Some(held) = held.filter(|_| !record.body.is_empty()) else {
        return Ok(None);
    };
    if record.body.hash().short() == held {
        return Ok(Some(record.body.clone()));
    }
    let slot = record.header.op.slot();
    let mut offset = record.header.offset;
    for _ in 0..HISTORY_STEPS_MAX {
        let before = Offset::new(offset.get().saturating_sub(1));
        let older = store.held_at(stream, &record.header.key, slot, before)?;
        let Some(Stored { record: older, .. }) = older else {
            return Ok(None);
        };
        if older.body.hash().short() == held {
            return Ok(Some(older.body));
        }
        offset = older.header.offset;
    }
    Ok(None)
}

/// The sender's entries, from which those the receiver lists are struck off.
#[derive(Clone, Debug, Default)]
struct Comparison {
    own: BTreeMap<KeyHash, Own>,
    last: Option<KeyHash>,
    drops: Vec<KeyHash>,
    differences: Vec<Difference>,
}

/// What the sender has of a key at `upto`.
#[derive(Clone, Copy, Debug)]
enum Own {
    /// Something.
    Present { offset: Offset, state: StateHash },
    /// Something that is newer than the end of its object: it must come after that at the receiver,
    /// too.
    Since { offset: Offset, state: StateHash },
    /// A record that says there is nothing.
    Gone { offset: Offset },
    /// The node says that it has finished with an object, which the receiver may not know.
    Finished { offset: Offset },
    /// A request that is answered and over: the receiver had it, and must not decide it again.
    Settled { state: StateHash },
    /// It does not matter: its object is gone, or its present state is not known any more and
    /// follows as a record after `upto`.
    Any,
}

impl Comparison {
    fn new(store: &dyn Store, stream: &StreamId, upto: Offset) -> Result<Self, ReadError> {
        let mut own = BTreeMap::new();
        let mut failed = None;
        let is_up = matches!(stream, StreamId::Node(_, Direction::Up));
        digest::scan_standing(store, stream, |newest, standing| {
            let newest = newest.record;
            let key = KeyHash::of(&newest);
            let slot = newest.header.op.slot();
            match standing {
                Standing::Counts | Standing::Since => {}
                Standing::Settled => {
                    let state = StateHash::of(&newest);
                    own.insert(key, Own::Settled { state });
                    return;
                }
                Standing::Buried => {
                    own.insert(key, Own::Any);
                    return;
                }
            }
            let then = if newest.header.offset <= upto {
                Some(newest)
            } else if slot == Slot::Fact {
                return;
            } else {
                match store.held_at(stream, &newest.header.key, slot, upto) {
                    Ok(then) => then.map(|stored| stored.record),
                    Err(error) => {
                        failed.get_or_insert(error);
                        return;
                    }
                }
            };
            let mut then = then.map_or(Own::Any, |record| Own::of(&record, is_up));
            if let Own::Present { offset, state } = then
                && standing == Standing::Since
            {
                then = Own::Since { offset, state };
            }
            own.insert(key, then);
        })?;
        match failed {
            None => Ok(Self {
                own,
                ..Self::default()
            }),
            Some(error) => Err(error),
        }
    }

    fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        for (key, own) in &self.own {
            if let Own::Present { state, .. } | Own::Since { state, .. } | Own::Settled { state } =
                own
            {
                digest.add(&DigestEntry {
                    key: *key,
                    state: *state,
                });
            }
        }
        digest
    }

    fn add(&mut self, theirs: &[DigestEntry]) -> Result<(), Violation> {
        for entry in theirs {
            if self.last.is_some_and(|last| last >= entry.key) {
                return Err(Violation::Digest);
            }
            self.last = Some(entry.key);
            let held = Some(entry.state.body);
            match self.own.remove(&entry.key) {
                Some(Own::Present { state, .. }) if state == entry.state => {}
                Some(
                    Own::Present { offset, .. }
                    | Own::Since { offset, .. }
                    | Own::Gone { offset }
                    | Own::Finished { offset },
                ) => {
                    self.differences.push(Difference { offset, held });
                }
                Some(Own::Settled { .. } | Own::Any) => {}
                None if self.drops.len() >= DIGEST_ENTRIES_MAX => return Err(Violation::Digest),
                None => self.drops.push(entry.key),
            }
        }
        Ok(())
    }

    fn finish(self) -> Step {
        let mut differences = self.differences;
        for own in self.own.into_values() {
            if let Own::Present { offset, .. }
            | Own::Since { offset, .. }
            | Own::Finished { offset } = own
            {
                differences.push(Difference { offset, held: None });
            }
        }
        differences.sort_unstable_by_key(|difference| difference.offset);
        Step::Send {
            drops: self.drops,
            differences: differences.into(),
        }
    }
}

impl Own {
    /// Whether the digest does not tell if the receiver has it.
    const fn is_sent_always(&self) -> bool {
        matches!(self, Self::Finished { .. } | Self::Since { .. })
    }

    fn of(record: &Record, is_up: bool) -> Self {
        let offset = record.header.offset;
        if is_up && record.header.op == Op::Delete {
            Self::Finished { offset }
        } else if digest::is_gone(record) {
            Self::Gone { offset }
        } else {
            Self::Present {
                offset,
                state: StateHash::of(record),
            }
        }
    }
}
