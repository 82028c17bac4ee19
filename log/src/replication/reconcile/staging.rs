//! The receiver's side of a reconcile: saying what it holds, and numbering what comes.

use std::collections::BTreeSet;

use crate::body::Body;
use crate::digest::{self, DigestEntry, KeyHash, Scope};
use crate::error::ReadError;
use crate::id::{Epoch, EventId, Offset, StreamId, Version};
use crate::limits::DIGEST_ENTRIES_PER_FRAME_MAX;
use crate::mutant;
use crate::record::{Draft, Op, Record, Slot};
use crate::replication::session::Outbox;
use crate::replication::violation::{Fault, Violation};
use crate::store::Store;
use crate::wire::{BucketSet, Frame};

/// A receiver inside a reconcile.
#[derive(Clone, Debug)]
pub(in crate::replication) struct Staging {
    /// The epoch it stays in until the end.
    pub(in crate::replication) old: Epoch,
    new: Epoch,
    upto: Offset,
    /// The highest offset used in the old epoch.
    head: Offset,
    seq: u64,
    /// Frames durable so far.
    pub(in crate::replication) durable_seq: u64,
    has_listed: bool,
}

impl Staging {
    pub(in crate::replication) const fn new(
        old: Epoch,
        new: Epoch,
        upto: Offset,
        head: Offset,
    ) -> Self {
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
    pub(in crate::replication) const fn expect(&mut self, seq: u64) -> Result<(), Violation> {
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
    pub(in crate::replication) fn place(&mut self, drafts: Vec<Draft>) -> Vec<(Offset, Draft)> {
        let head = &mut self.head;
        let placed = drafts.into_iter().map(|draft| {
            *head = head.next().expect("offsets last");
            (*head, draft)
        });
        placed.collect()
    }

    /// The end mark: the new epoch.
    pub(in crate::replication) fn end(&self, upto: Offset) -> Result<Epoch, Violation> {
        if upto != self.upto || self.durable_seq != self.seq {
            return Err(Violation::Unexpected { frame: "End" });
        }
        Ok(self.new)
    }

    pub(in crate::replication) fn send_entries(
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
    pub(in crate::replication) fn gone(
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
            let is_kept = mutant::is_on("drop-withdrawn-in-reconcile");
            if keys.contains(&hash) && !digest::is_gone(&record) && !is_kept {
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
