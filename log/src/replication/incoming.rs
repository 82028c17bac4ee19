//! The receiver of the peer's stream: checks that frames follow each other, decodes bodies against
//! what is held, asks for durable writes, and acknowledges what became durable.

use std::collections::BTreeMap;

use super::ack::Purpose;
use super::flow::Uncommitted;
use super::invariant::Invariant;
use super::reconcile::Staging;
use super::stats::Traffic;
use super::violation::{Fault, Violation};
use super::{CloseCode, Incoming, Outbox, SessionWrite, Start, resume};
use crate::body::Body;
use crate::digest::{self, Digest, DigestEntry, Scope};
use crate::error::ReadError;
use crate::id::{Epoch, Offset, StreamId};
use crate::key::Key;
use crate::limits::{DIGEST_LIST_KEYS_MAX, REWINDS_MAX};
use crate::mutant;
use crate::record::{Draft, Slot};
use crate::store::Store;
use crate::wire::{Begin, BodyError, Frame, Held, WireRecord};

#[derive(Clone, Debug)]
pub(super) enum State {
    /// The peer has not said how its stream goes on.
    Waiting,
    /// Records follow each other.
    Streaming { epoch: Epoch },
    /// Differences come in, for the old epoch; the new one is adopted at the end.
    Reconciling(Staging),
}

#[derive(Clone, Debug)]
pub(super) struct Receiver {
    stream: StreamId,
    held: Option<Held>,
    pub(super) state: State,
    /// Contiguous up to here, durable or not.
    received: Offset,
    /// Durable up to here.
    durable: Offset,
    /// Where the peer's stream ended as the session began.
    goal: Offset,
    /// All of that is durable.
    caught_up: bool,
    ack_due: bool,
    staged_due: Option<u64>,
    /// Asked the sender to go back; frames from before the request are thrown away.
    is_rewinding: bool,
    rewinds: u32,
    /// Bodies of writes under way, with the number of the write: what the store's newest will be.
    overlay: BTreeMap<(Key, Slot), (u64, Body)>,
    uncommitted: Uncommitted,
}

impl Receiver {
    pub(super) fn new(stream: StreamId) -> Self {
        Self {
            stream,
            held: None,
            state: State::Waiting,
            received: Offset::ZERO,
            durable: Offset::ZERO,
            goal: Offset::ZERO,
            caught_up: false,
            ack_due: false,
            staged_due: None,
            is_rewinding: false,
            rewinds: 0,
            overlay: BTreeMap::new(),
            uncommitted: Uncommitted::default(),
        }
    }

    /// What to say in the handshake. Nothing, while the store is read-only: a recovery may take
    /// back what was written, and the peer would never send it again.
    pub(super) fn describe(&mut self, store: &dyn Store) -> Result<Option<Held>, Fault> {
        if store.read_only().is_some() {
            return Err(Fault::End(CloseCode::Storage, "the store is read-only"));
        }
        self.held = resume::held(store, &self.stream)?;
        Ok(self.held)
    }

    /// The peer says how its stream goes on.
    pub(super) fn handle_start(
        &mut self,
        epoch: Epoch,
        begin: Begin,
        store: &dyn Store,
        out: &mut Outbox,
    ) -> Result<Start, Fault> {
        if !matches!(self.state, State::Waiting) {
            return Err(Violation::Unexpected { frame: "Start" }.into());
        }
        match (begin, self.held) {
            (Begin::Resume { after, upto }, Some(held)) if held.epoch == epoch => {
                if after != held.have {
                    return Err(Violation::Start.into());
                }
                self.goal = upto;
                self.resume(epoch, after, store, out);
                Ok(Start::Resume { after })
            }
            (
                Begin::Resume {
                    after: Offset::ZERO,
                    upto,
                },
                held,
            ) if held.is_none_or(|held| held.empty) => {
                self.state = State::Streaming { epoch };
                self.goal = upto;
                if held.is_none() && upto == Offset::ZERO {
                    // That there is nothing is news, too.
                    self.reach(epoch, Offset::ZERO, out);
                } else {
                    self.caught_up = upto == Offset::ZERO;
                }
                Ok(Start::Resume {
                    after: Offset::ZERO,
                })
            }
            (Begin::Reconcile { upto }, Some(held)) if held.epoch != epoch => {
                let head = store
                    .stream(&self.stream)?
                    .map_or(held.have, |info| info.head);
                self.state = State::Reconciling(Staging::new(held.epoch, epoch, upto, head));
                self.goal = upto;
                self.send_digest(store, out)?;
                Ok(Start::Reconcile)
            }
            (Begin::Resume { .. } | Begin::Reconcile { .. }, _) => Err(Violation::Start.into()),
        }
    }

    fn resume(&mut self, epoch: Epoch, after: Offset, store: &dyn Store, out: &mut Outbox) {
        self.state = State::Streaming { epoch };
        self.received = after;
        let marks = store.watermarks();
        if marks.written == marks.durable {
            self.durable = after;
            self.caught_up = after >= self.goal;
            self.ack_due = after > Offset::ZERO;
        } else {
            // What the session before received may not be synced yet: an empty write waits for it.
            self.reach(epoch, after, out);
        }
    }

    /// Asks for a write that brings no records, only a place.
    fn reach(&mut self, epoch: Epoch, upto: Offset, out: &mut Outbox) {
        let incoming = Incoming {
            epoch,
            records: Vec::new(),
            upto: Some(upto),
            caught_up: upto >= self.goal,
        };
        let purpose = Purpose::Place {
            upto,
            decoded: 0,
            ends: false,
        };
        out.write(SessionWrite::Incoming(incoming), purpose);
    }

    fn send_digest(&self, store: &dyn Store, out: &mut Outbox) -> Result<(), Fault> {
        let mut entries = Vec::new();
        let mut digest = Digest::default();
        digest::scan(store, &self.stream, Scope::All, |stored| {
            let Some(entry) = DigestEntry::of(&stored.record) else {
                return;
            };
            digest.add(&entry);
            if entries.len() <= DIGEST_LIST_KEYS_MAX {
                entries.push(entry);
            }
        })?;
        out.bulk
            .push_back(if entries.len() <= DIGEST_LIST_KEYS_MAX {
                entries.sort_unstable();
                Frame::DigestList(entries).encode()
            } else {
                Frame::DigestBuckets(Box::new(*digest.buckets())).encode()
            });
        Ok(())
    }

    /// `Records`.
    pub(super) fn handle_records(
        &mut self,
        after: Offset,
        upto: Offset,
        records: &[WireRecord<'_>],
        store: &dyn Store,
        out: &mut Outbox,
        traffic: &mut Traffic,
    ) -> Result<(), Fault> {
        let State::Streaming { epoch } = self.state else {
            return Err(Violation::Unexpected { frame: "Records" }.into());
        };
        if after != self.received {
            if self.is_rewinding {
                return Ok(());
            }
            if upto <= self.received {
                // Seen before: applied once (SYNC-2), acknowledged again.
                self.ack_due = self.durable > Offset::ZERO;
                return Ok(());
            }
            return Err(Violation::Gap {
                received: self.received,
                after,
            }
            .into());
        }
        let Some((drafts, decoded)) = self.open_all(records, store, traffic)? else {
            self.rewinds += 1;
            if self.is_rewinding || self.rewinds > REWINDS_MAX {
                return Err(Violation::Body(BodyError::Base).into());
            }
            self.is_rewinding = true;
            out.urgent.push_back(
                Frame::Rewind {
                    after: self.received,
                }
                .encode(),
            );
            return Ok(());
        };
        self.is_rewinding = false;
        self.ack_due |= mutant::is_on("ack-before-durable");
        self.uncommitted.add(decoded)?;
        self.received = upto;
        let placed: Vec<_> = records
            .iter()
            .map(|record| record.header.offset)
            .zip(drafts)
            .collect();
        let purpose = Purpose::Place {
            upto,
            decoded,
            ends: false,
        };
        self.write(
            Incoming {
                epoch,
                records: placed,
                upto: Some(upto),
                caught_up: upto >= self.goal,
            },
            purpose,
            out,
        );
        Ok(())
    }

    /// Asks for a write, and remembers its bodies until it is durable.
    fn write(&mut self, incoming: Incoming, purpose: Purpose, out: &mut Outbox) {
        let bodies: Vec<_> = incoming
            .records
            .iter()
            .filter(|(_, draft)| draft.op.slot().is_state())
            .map(|(_, draft)| ((draft.key.clone(), draft.op.slot()), draft.body.clone()))
            .collect();
        let number = out.write(SessionWrite::Incoming(incoming), purpose);
        self.overlay
            .extend(bodies.into_iter().map(|(key, body)| (key, (number, body))));
    }

    /// `Stage` and `Drop`.
    pub(super) fn handle_stage(
        &mut self,
        seq: u64,
        records: &[WireRecord<'_>],
        store: &dyn Store,
        out: &mut Outbox,
        traffic: &mut Traffic,
    ) -> Result<(), Fault> {
        self.staging("Stage")?.expect(seq)?;
        let Some((drafts, decoded)) = self.open_all(records, store, traffic)? else {
            return Err(Violation::Body(BodyError::Base).into());
        };
        self.stage(seq, drafts, decoded, out)
    }

    /// `Drop`.
    pub(super) fn handle_drop(
        &mut self,
        seq: u64,
        keys: &[digest::KeyHash],
        store: &dyn Store,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        let stream = self.stream.clone();
        let staging = self.staging("Drop")?;
        staging.expect(seq)?;
        let drafts = staging.gone(keys, store, &stream)?;
        self.stage(seq, drafts, 0, out)
    }

    fn stage(
        &mut self,
        seq: u64,
        drafts: Vec<Draft>,
        decoded: usize,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        self.uncommitted.add(decoded)?;
        let staging = self.staging("Stage")?;
        let incoming = Incoming {
            epoch: staging.old,
            records: staging.place(drafts),
            upto: None,
            caught_up: false,
        };
        self.write(incoming, Purpose::Staged { seq, decoded }, out);
        Ok(())
    }

    fn staging(&mut self, frame: &'static str) -> Result<&mut Staging, Violation> {
        match &mut self.state {
            State::Reconciling(staging) => Ok(staging),
            State::Waiting | State::Streaming { .. } => Err(Violation::Unexpected { frame }),
        }
    }

    /// `DigestRequest`.
    pub(super) fn handle_digest_request(
        &mut self,
        buckets: crate::wire::BucketSet,
        store: &dyn Store,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        let stream = self.stream.clone();
        self.staging("DigestRequest")?
            .send_entries(buckets, store, &stream, out)
    }

    /// `End`.
    pub(super) fn handle_end(&mut self, upto: Offset, out: &mut Outbox) -> Result<(), Fault> {
        let staging = self.staging("End")?;
        let epoch = staging.end(upto)?;
        self.state = State::Streaming { epoch };
        self.received = upto;
        let purpose = Purpose::Place {
            upto,
            decoded: 0,
            ends: true,
        };
        let incoming = Incoming {
            epoch,
            records: Vec::new(),
            upto: Some(upto),
            caught_up: true,
        };
        self.write(incoming, purpose, out);
        Ok(())
    }

    /// A write of this end is durable.
    pub(super) fn handle_written(&mut self, number: u64, purpose: Purpose) {
        let decoded = match purpose {
            Purpose::Place {
                upto,
                decoded,
                ends,
            } => {
                Invariant::AppliedOnce.check(ends || upto >= self.durable);
                self.durable = upto;
                self.caught_up |= upto >= self.goal;
                self.ack_due |= ends || upto > Offset::ZERO;
                decoded
            }
            Purpose::Staged { seq, decoded } => {
                self.staged_due = Some(seq);
                if let State::Reconciling(staging) = &mut self.state {
                    staging.durable_seq = seq;
                }
                decoded
            }
            Purpose::Barrier | Purpose::Opened | Purpose::Acked => return,
        };
        self.uncommitted.remove(decoded);
        self.overlay.retain(|_, (write, _)| *write > number);
    }

    /// The acknowledgement that is due, if any: one for however many writes.
    pub(super) fn take_ack(&mut self) -> Option<Frame<'static>> {
        if let Some(seq) = self.staged_due.take() {
            return Some(Frame::Staged { seq });
        }
        if !std::mem::take(&mut self.ack_due) {
            return None;
        }
        if mutant::is_on("ack-before-durable") {
            return Some(Frame::Ack {
                upto: self.received,
            });
        }
        Invariant::AckedDurable.check(self.durable <= self.received);
        Some(Frame::Ack { upto: self.durable })
    }

    pub(super) const fn durable(&self) -> Offset {
        self.durable
    }

    /// Whether everything that the peer had as the session began is durable.
    pub(super) const fn has_caught_up(&self) -> bool {
        self.caught_up
    }

    /// Decodes the records of a frame and counts their bytes; `None` when a base is not held.
    fn open_all(
        &self,
        records: &[WireRecord<'_>],
        store: &dyn Store,
        traffic: &mut Traffic,
    ) -> Result<Option<(Vec<Draft>, usize)>, Fault> {
        let mut drafts: Vec<Draft> = Vec::with_capacity(records.len());
        let mut decoded = 0;
        for WireRecord { header, body: wire } in records {
            let slot = header.op.slot();
            let base = match wire.base() {
                None => None,
                Some(short) => self.held_body(&header.key, slot, store)?.filter(|held| {
                    held.hash().short() == short || mutant::is_on("unchecked-delta-base")
                }),
            };
            let body = match wire.open(base.as_ref()) {
                Ok(body) => body,
                Err(BodyError::Base) => return Ok(None),
                Err(error) => return Err(Violation::Body(error).into()),
            };
            decoded += wire.decoded_len();
            traffic.record(wire.encoding(), body.len(), wire.wire_len());
            drafts.push(Draft {
                id: header.id,
                cause: header.cause,
                time: header.time,
                key: header.key.clone(),
                version: Some(header.version),
                op: header.op,
                body,
            });
        }
        Ok(Some((drafts, decoded)))
    }

    fn held_body(
        &self,
        key: &Key,
        slot: Slot,
        store: &dyn Store,
    ) -> Result<Option<Body>, ReadError> {
        if let Some((_, body)) = self.overlay.get(&(key.clone(), slot)) {
            return Ok(Some(body.clone()));
        }
        Ok(store
            .newest(&self.stream, key, slot)?
            .map(|stored| stored.record.body))
    }
}
