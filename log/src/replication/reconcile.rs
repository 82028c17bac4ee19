//! Bringing a receiver to the sender's state when their histories do not join.
//!
//! ```text
//! sender                                              receiver
//!   Start{new epoch, Reconcile{upto}} ─────────────────▶ scans what it holds
//!   ◀───────────────── DigestList, or DigestBuckets when there are many keys
//!   DigestRequest{buckets that differ} ────────────────▶      (buckets only)
//!   ◀───────────────── DigestEntries … last
//!   Drop{1, keys only the receiver has} … ─────────────▶ written in the old epoch
//!   Stage{n, records that differ} … ───────────────────▶ written in the old epoch
//!   ◀───────────────── Staged{n}: durable up to there
//!   End{upto} ─────────────────────────────────────────▶ adopts the epoch and the place
//!   Records{upto, …} …                                   in one write
//! ```
//!
//! The sender's state is that at `upto`, the durable head when it began; what changed later follows
//! as records. Until `End` the receiver stays in its old epoch, where it numbers what it writes
//! behind what it holds; a crash leaves it there, with the progress kept, and the next session
//! reconciles what is still different.
//!
//! Facts that the receiver lacks are sent; facts that only the receiver has are kept. Answers to
//! requests are state like any other: the newest one per key. What only the receiver has becomes a
//! `Delete`, or, in the slots that have none, a record without a body (see [`crate::digest::is_gone`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::outgoing::Ready;
use super::stats::Traffic;
use super::violation::{Fault, Violation};
use super::{Outbox, flow::Mark};
use crate::body::Body;
use crate::digest::{self, Digest, DigestEntry, KeyHash, Scope, StateHash};
use crate::error::ReadError;
use crate::id::{Epoch, EventId, Offset, Revision, StreamId, Version};
use crate::limits::{
    DIGEST_BUCKETS, DIGEST_ENTRIES_MAX, DIGEST_ENTRIES_PER_FRAME_MAX, FRAME_DECODED_BYTES_MAX,
    FRAME_RECORDS_MAX, FRAME_TARGET_BYTES,
};
use crate::record::{Draft, Op, Record, Slot, Stored};
use crate::store::{ReadLimit, Store};
use crate::wire::frame::RecordsFrame;
use crate::wire::{BucketSet, Encoder, Frame};

// === the sender ===

/// How many versions of a key to look back for the one that the receiver says it holds.
const HISTORY_STEPS_MAX: usize = 8;

#[derive(Debug)]
pub(super) struct Sending {
    upto: Offset,
    seq: u64,
    step: Step,
}

#[derive(Debug)]
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
    pub(super) const fn new(upto: Offset) -> Self {
        Self {
            upto,
            seq: 0,
            step: Step::AwaitDigest,
        }
    }

    pub(super) const fn upto(&self) -> Offset {
        self.upto
    }

    pub(super) const fn sent_seq(&self) -> u64 {
        self.seq
    }

    pub(super) fn is_done(&self) -> bool {
        match &self.step {
            Step::AwaitDigest | Step::AwaitEntries { .. } => false,
            Step::Send { drops, differences } => drops.is_empty() && differences.is_empty(),
        }
    }

    pub(super) fn handle_list(
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

    pub(super) fn handle_buckets(
        &mut self,
        theirs: &digest::Buckets,
        store: &dyn Store,
        stream: &StreamId,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
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
        comparison.own.retain(|key, _| asked.contains(key.bucket()));
        if asked.is_empty() {
            self.step = comparison.finish();
            return Ok(());
        }
        out.urgent.push_back(Frame::DigestRequest(asked).encode());
        self.step = Step::AwaitEntries { asked, comparison };
        Ok(())
    }

    pub(super) fn handle_entries(
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
    pub(super) fn build(
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
#[derive(Debug, Default)]
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
    /// A record that says there is nothing.
    Gone { offset: Offset },
    /// It is not known any more; its present state follows as a record after `upto`.
    Later,
}

impl Comparison {
    fn new(store: &dyn Store, stream: &StreamId, upto: Offset) -> Result<Self, ReadError> {
        let mut own = BTreeMap::new();
        let mut failed = None;
        digest::scan(store, stream, Scope::All, |newest| {
            let newest = newest.record;
            let key = KeyHash::of(&newest);
            let slot = newest.header.op.slot();
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
            own.insert(key, then.map_or(Own::Later, |record| Own::of(&record)));
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
            if let Own::Present { state, .. } = own {
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
                Some(Own::Present { offset, .. } | Own::Gone { offset }) => {
                    self.differences.push(Difference { offset, held });
                }
                Some(Own::Later) => {}
                None if self.drops.len() >= DIGEST_ENTRIES_MAX => return Err(Violation::Digest),
                None => self.drops.push(entry.key),
            }
        }
        Ok(())
    }

    fn finish(self) -> Step {
        let mut differences = self.differences;
        for own in self.own.into_values() {
            if let Own::Present { offset, .. } = own {
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
    fn of(record: &Record) -> Self {
        let offset = record.header.offset;
        if digest::is_gone(record) {
            Self::Gone { offset }
        } else {
            Self::Present {
                offset,
                state: StateHash::of(record),
            }
        }
    }
}

// === the receiver ===

/// A receiver inside a reconcile.
#[derive(Debug)]
pub(super) struct Staging {
    /// The epoch it stays in until the end.
    pub(super) old: Epoch,
    new: Epoch,
    upto: Offset,
    /// The highest offset used in the old epoch.
    head: Offset,
    seq: u64,
    /// Frames durable so far.
    pub(super) durable_seq: u64,
    has_listed: bool,
}

impl Staging {
    pub(super) const fn new(old: Epoch, new: Epoch, upto: Offset, head: Offset) -> Self {
        Self {
            old,
            new,
            upto,
            head,
            seq: 0,
            durable_seq: 0,
            has_listed: false,
        }
    }

    /// The next frame must be this one.
    pub(super) const fn expect(&mut self, seq: u64) -> Result<(), Violation> {
        let expected = self.seq + 1;
        if seq != expected {
            return Err(Violation::Sequence {
                expected,
                found: seq,
            });
        }
        self.seq = seq;
        Ok(())
    }

    /// Numbers records behind what is held.
    pub(super) fn place(&mut self, drafts: Vec<Draft>) -> Vec<(Offset, Draft)> {
        let head = &mut self.head;
        let placed = drafts.into_iter().map(|draft| {
            *head = head.next().expect("offsets last");
            (*head, draft)
        });
        placed.collect()
    }

    /// The end mark: the new epoch.
    pub(super) fn end(&self, upto: Offset) -> Result<Epoch, Violation> {
        if upto != self.upto || self.durable_seq != self.seq {
            return Err(Violation::Unexpected { frame: "End" });
        }
        Ok(self.new)
    }

    pub(super) fn send_entries(
        &mut self,
        buckets: BucketSet,
        store: &dyn Store,
        stream: &StreamId,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        if std::mem::replace(&mut self.has_listed, true) || self.seq > 0 {
            return Err(Violation::Unexpected {
                frame: "DigestRequest",
            }
            .into());
        }
        let mut entries = Vec::new();
        digest::scan(store, stream, Scope::All, |stored| {
            let entry = DigestEntry::of(&stored.record);
            entries.extend(entry.filter(|entry| buckets.contains(entry.key.bucket())));
        })?;
        entries.sort_unstable();
        let mut pages = entries.chunks(DIGEST_ENTRIES_PER_FRAME_MAX).peekable();
        if pages.peek().is_none() {
            let none = Frame::DigestEntries {
                last: true,
                entries: Vec::new(),
            };
            out.bulk.push_back(none.encode());
        }
        while let Some(page) = pages.next() {
            let last = pages.peek().is_none();
            let frame = Frame::DigestEntries {
                last,
                entries: page.to_vec(),
            };
            out.bulk.push_back(frame.encode());
        }
        Ok(())
    }

    /// The records that say that keys which only the receiver has are gone.
    pub(super) fn gone(
        &self,
        keys: &[KeyHash],
        store: &dyn Store,
        stream: &StreamId,
    ) -> Result<Vec<Draft>, ReadError> {
        let keys: BTreeSet<&KeyHash> = keys.iter().collect();
        let mut drafts = Vec::with_capacity(keys.len());
        digest::scan(store, stream, Scope::State, |stored| {
            let record = stored.record;
            let hash = KeyHash::of(&record);
            if keys.contains(&hash) && !digest::is_gone(&record) {
                drafts.push(self.gone_draft(&hash, record));
            }
        })?;
        Ok(drafts)
    }

    fn gone_draft(&self, hash: &KeyHash, record: Record) -> Draft {
        let header = record.header;
        let op = match header.op.slot() {
            Slot::Object | Slot::Fact => Op::Delete,
            Slot::Status => Op::Status,
            Slot::Twin => Op::Twin,
            Slot::Request => Op::Apply,
        };
        // No writer named this event: both ends can derive its name.
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.new.uuid().as_bytes());
        hasher.update(hash.as_bytes());
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        Draft {
            id: EventId::new(uuid::Builder::from_custom_bytes(id).into_uuid()),
            cause: None,
            time: header.time,
            key: header.key,
            version: Some(Version::ZERO),
            op,
            body: Body::EMPTY,
        }
    }
}

const _: () = assert!(DIGEST_BUCKETS == u8::MAX as usize + 1);
