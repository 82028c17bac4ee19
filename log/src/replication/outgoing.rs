//! The sender of the own stream: coalesced records within the window, as deltas against what the
//! receiver holds.
//!
//! Records go in stream order, whatever their class: a receiver's offsets only grow (LOG-1), so a
//! frame that ran ahead could not be followed by the ones it overtook. A page is small, and each
//! key is in it once; what makes urgent things wait is a long frame, and control frames pass those.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::flow::{Mark, Size, Window};
use super::reconcile::Sending;
use super::stats::Traffic;
use super::violation::{Fault, Violation};
use super::{CloseCode, Start};
use crate::body::Body;
use crate::error::ReadError;
use crate::id::{Epoch, Offset, StreamId};
use crate::limits::{FRAME_DECODED_BYTES_MAX, FRAME_TARGET_BYTES, REWINDS_MAX};
use crate::mutant;
use crate::record::{Op, Record};
use crate::store::{Coalesced, ReadLimit, Store};
use crate::wire::frame::RecordsFrame;
use crate::wire::{Begin, Encoder, Frame};

/// How many versions of a key to look back for one that the receiver holds.
const BASE_STEPS_MAX: usize = 4;
/// Offsets remembered within one run of pages; beyond it, bodies go without a base.
const RUN_OFFSETS_MAX: usize = 65_536;

/// What a frame is doing before it leaves.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) bytes: Bytes,
    pub(super) mark: Mark,
    pub(super) decoded: usize,
}

#[derive(Clone, Debug)]
pub(super) enum State {
    /// The handshake is not over, or a new epoch is not yet durable.
    Waiting,
    /// Records flow.
    Streaming,
    /// Digests are compared, then differences flow.
    Reconciling(Box<Sending>),
}

#[derive(Clone, Debug)]
pub(super) struct Sender {
    stream: StreamId,
    encoder: Arc<Encoder>,
    pub(super) state: State,
    epoch: Option<Epoch>,
    /// The store may have more than was read.
    is_dirty: bool,
    /// Where the session started; nothing before is sent again.
    base: Offset,
    /// Frames have been built up to here.
    built: Offset,
    /// Frames have left up to here.
    flown: Offset,
    window: Window,
    waiting: Option<Ready>,
    /// The floor when the session started.
    floor: Offset,
    /// The receiver holds exactly what the store says of this offset.
    settled: Offset,
    /// Offsets sent after `settled`: pages of a run that has not caught up leave out versions that
    /// are superseded already, so not everything up to `built` is held.
    run: BTreeSet<Offset>,
    /// A base was not held: none is used until the run has caught up.
    is_plain: bool,
    pub(super) rewinds: u32,
}

impl Sender {
    pub(super) fn new(stream: StreamId, encoder: Arc<Encoder>) -> Self {
        Self {
            stream,
            encoder,
            state: State::Waiting,
            epoch: None,
            is_dirty: true,
            base: Offset::ZERO,
            built: Offset::ZERO,
            flown: Offset::ZERO,
            window: Window::default(),
            waiting: None,
            floor: Offset::ZERO,
            settled: Offset::ZERO,
            run: BTreeSet::new(),
            is_plain: false,
            rewinds: 0,
        }
    }

    pub(super) const fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// The stream goes on as the receiver has been told.
    pub(super) fn start(&mut self, epoch: Epoch, begin: Begin, floor: Offset) -> Start {
        self.epoch = Some(epoch);
        self.floor = floor;
        match begin {
            Begin::Resume { after, upto: _ } => {
                self.follow(after);
                Start::Resume { after }
            }
            Begin::Reconcile { upto } => {
                self.state = State::Reconciling(Box::new(Sending::new(upto)));
                Start::Reconcile
            }
        }
    }

    fn follow(&mut self, after: Offset) {
        self.state = State::Streaming;
        self.base = after;
        self.built = after;
        self.flown = after;
        self.settled = after;
        self.is_dirty = true;
    }

    pub(super) const fn handle_stored(&mut self) {
        self.is_dirty = true;
    }

    pub(super) fn handle_ack(&mut self, upto: Offset) -> Result<(), Violation> {
        if upto > self.flown {
            return Err(Violation::NeverSent { upto });
        }
        self.window.place_reached(upto);
        Ok(())
    }

    pub(super) fn handle_staged(&mut self, seq: u64) -> Result<(), Violation> {
        match &self.state {
            State::Reconciling(sending) if seq <= sending.sent_seq() => {
                self.window.staged(seq);
                Ok(())
            }
            State::Reconciling(_) | State::Waiting | State::Streaming => {
                Err(Violation::Unexpected { frame: "Staged" })
            }
        }
    }

    pub(super) fn handle_rewind(&mut self, after: Offset) -> Result<(), Violation> {
        if !matches!(self.state, State::Streaming) || after < self.base || after > self.flown {
            return Err(Violation::NeverSent { upto: after });
        }
        self.rewinds += 1;
        if self.rewinds > REWINDS_MAX {
            return Err(Violation::Rewinds);
        }
        self.window.rewind(after);
        self.waiting = None;
        self.built = after;
        self.flown = after;
        self.run.clear();
        self.is_plain = true;
        self.is_dirty = true;
        Ok(())
    }

    pub(super) const fn flown(&self) -> Offset {
        self.flown
    }

    pub(super) const fn under_way(&self) -> usize {
        self.window.bytes()
    }

    /// The next frame, if there is one and the window has room for it.
    pub(super) fn next(
        &mut self,
        store: &dyn Store,
        traffic: &mut Traffic,
    ) -> Result<Option<Bytes>, Fault> {
        if self.waiting.is_none() && !self.window.is_full() {
            self.waiting = self.build(store, traffic)?;
        }
        let Some(ready) = &self.waiting else {
            return Ok(None);
        };
        let size = Size {
            wire: ready.bytes.len(),
            decoded: ready.decoded,
        };
        if !self.window.admits(size) {
            return Ok(None);
        }
        let Some(Ready { bytes, mark, .. }) = self.waiting.take() else {
            return Ok(None);
        };
        self.window.push(mark, size);
        if let Mark::Place(upto) = mark {
            self.flown = upto;
        }
        Ok(Some(bytes))
    }

    fn build(&mut self, store: &dyn Store, traffic: &mut Traffic) -> Result<Option<Ready>, Fault> {
        match &mut self.state {
            State::Waiting => Ok(None),
            State::Streaming if self.is_dirty => self.build_records(store, traffic),
            State::Streaming => Ok(None),
            State::Reconciling(sending) => {
                let ready = sending.build(store, &self.stream, &self.encoder, traffic)?;
                if ready.is_some() || !sending.is_done() || self.window.bytes() > 0 {
                    return Ok(ready);
                }
                // Everything staged is durable at the receiver: no batch of its store can hold
                // records of two epochs.
                let upto = sending.upto();
                self.follow(upto);
                let bytes = Frame::End { upto }.encode();
                Ok(Some(Ready {
                    bytes,
                    mark: Mark::Place(upto),
                    decoded: 0,
                }))
            }
        }
    }

    fn build_records(
        &mut self,
        store: &dyn Store,
        traffic: &mut Traffic,
    ) -> Result<Option<Ready>, Fault> {
        let page = store.read_coalesced(&self.stream, self.built, ReadLimit::FRAME)?;
        self.check_floor(store)?;
        let Coalesced {
            records,
            upto,
            is_complete,
        } = page;
        if records.is_empty() {
            self.is_dirty = false;
            return Ok(None);
        }
        let mut frame = RecordsFrame::new(self.built);
        let (mut decoded, mut reached, mut is_cut) = (0, upto, false);
        let mut sent = Vec::with_capacity(records.len());
        let is_first = self.built == self.base && self.base > Offset::ZERO;
        let skipped = usize::from(is_first && mutant::is_on("skip-record-on-resume"));
        for stored in records.iter().skip(skipped) {
            let record = &stored.record;
            if record.header.op == Op::Delete && mutant::is_on("drop-tombstone") {
                continue;
            }
            if record.header.op == Op::Fact && mutant::is_on("drop-fact") {
                continue;
            }
            if frame.count() > 0
                && (frame.len() >= FRAME_TARGET_BYTES
                    || decoded + record.body.len() > FRAME_DECODED_BYTES_MAX)
            {
                is_cut = true;
                break;
            }
            let base = self.base(store, record)?;
            let encoded = self.encoder.encode(&record.body, base.as_ref());
            frame.push(&record.header, &encoded);
            traffic.record(encoded.encoding, record.body.len(), encoded.wire.len());
            decoded += record.body.len();
            reached = record.header.offset;
            sent.push(reached);
        }
        let has_caught_up = is_complete && !is_cut;
        let upto = if is_cut { reached } else { upto };
        if has_caught_up {
            self.settled = upto;
            self.run.clear();
            self.is_plain = false;
        } else if self.run.len() < RUN_OFFSETS_MAX {
            self.run.extend(sent);
        }
        self.is_dirty = !has_caught_up;
        let bytes = frame.finish(upto);
        self.built = upto;
        Ok(Some(Ready {
            bytes,
            mark: Mark::Place(upto),
            decoded,
        }))
    }

    /// A receiver that lost what it once had is below tombstones that may be trimmed at any time.
    /// When one went while records were on their way, the receiver could keep what is gone.
    fn check_floor(&self, store: &dyn Store) -> Result<(), Fault> {
        match store.stream(&self.stream)? {
            Some(info) if Some(info.epoch) == self.epoch => {
                if info.floor > self.built.max(self.floor) {
                    return Err(Fault::End(
                        CloseCode::GoingAway,
                        "history was trimmed under a slow resume",
                    ));
                }
                Ok(())
            }
            Some(_) | None => Err(Fault::End(
                CloseCode::Fenced,
                "the stream has moved to another epoch",
            )),
        }
    }

    /// The body that the receiver holds for the record's key, as far as this end can know.
    fn base(&self, store: &dyn Store, record: &Record) -> Result<Option<Body>, ReadError> {
        let slot = record.header.op.slot();
        if self.is_plain || record.body.is_empty() || !slot.is_state() {
            return Ok(None);
        }
        let mut upto = self.built;
        for _ in 0..BASE_STEPS_MAX {
            let held = store.held_at(&self.stream, &record.header.key, slot, upto)?;
            let Some(held) = held else { return Ok(None) };
            let offset = held.record.header.offset;
            if offset <= self.settled || self.run.contains(&offset) {
                return Ok(Some(held.record.body));
            }
            upto = Offset::new(offset.get().saturating_sub(1));
        }
        Ok(None)
    }
}
