//! The machine as a whole: inputs, outputs, and which part answers which frame.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::ack::{PeerPlace, Purpose, Writes};
use super::handshake::Handshake;
use super::incoming::Receiver;
use super::keepalive::{Keepalive, Verdict};
use super::outgoing::{self, Sender};
use super::reconcile::Sending;
use super::stats::SessionStats;
use super::violation::{Fault, Violation};
use super::{Close, CloseCode, Effect, Moment, SessionConfig, SessionWrite};
use crate::digest::Buckets;
use crate::id::{Offset, StreamId};
use crate::limits::{CLOSE_REASON_BYTES_MAX, FRAME_BYTES_MAX, FRAME_PART_BYTES};
use crate::store::Store;
use crate::wire::{Frame, WireError};

/// See the [module documentation](super). A copy goes its own way: what a model checker needs.
#[derive(Clone, Debug)]
pub struct Session {
    pub(super) config: SessionConfig,
    phase: Phase,
    pub(super) outgoing: Sender,
    pub(super) incoming: Receiver,
    /// How far the peer is with the own stream.
    pub(super) peer_place: PeerPlace,
    pub(super) out: Outbox,
    keepalive: Keepalive,
    /// The rest of a long frame that is being sent.
    sending_part: Bytes,
    /// The front of a long frame that is being received.
    received_parts: Vec<u8>,
    stats: SessionStats,
}

#[derive(Clone, Debug)]
enum Phase {
    /// Not both sides have said how their streams go on.
    Handshake(Handshake),
    /// Records flow.
    Open,
    /// Nothing more is heard or decided.
    Closed,
}

/// What waits for the shell.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    /// Control frames: before everything else.
    pub(super) urgent: VecDeque<Bytes>,
    /// Digests: before records, sliced when long.
    pub(super) bulk: VecDeque<Bytes>,
    pub(super) effects: VecDeque<Effect>,
    writes: Writes,
}

impl Outbox {
    /// Asks for a write; returns its number.
    pub(super) fn write(&mut self, write: SessionWrite, purpose: Purpose) -> u64 {
        self.effects.push_back(Effect::Write(write));
        self.writes.push(purpose)
    }
}

impl Session {
    /// A session at the start of its handshake. The edge speaks first.
    #[must_use]
    pub fn new(config: SessionConfig, now: Moment, store: &dyn Store) -> Self {
        let sends = config.role.sends();
        let own = StreamId::Node(config.node.clone(), sends);
        let theirs = StreamId::Node(config.node.clone(), sends.opposite());
        let mut session = Self {
            phase: Phase::Handshake(Handshake::new(now)),
            outgoing: Sender::new(own, config.encoder.clone()),
            incoming: Receiver::new(theirs),
            peer_place: PeerPlace::default(),
            out: Outbox::default(),
            keepalive: Keepalive::new(config.role, now),
            sending_part: Bytes::new(),
            received_parts: Vec::new(),
            stats: SessionStats::default(),
            config,
        };
        let said = session.say_hello(store);
        session.settle(said);
        session
    }

    /// One whole message from the peer.
    pub fn handle_frame(&mut self, now: Moment, frame: &[u8], store: &dyn Store) {
        if self.is_closed() {
            return;
        }
        self.keepalive.heard(now);
        self.stats.received.frame(frame.len());
        let handled = self.handle_message(now, frame, store);
        self.settle(handled);
    }

    /// The oldest outstanding [`Effect::Write`] is durable.
    ///
    /// # Panics
    /// When there is none.
    pub fn handle_written(&mut self, now: Moment, store: &dyn Store) {
        if self.is_closed() {
            return;
        }
        let (number, purpose) = self.out.writes.pop();
        match purpose {
            Purpose::Place { .. } | Purpose::Staged { .. } => {
                self.incoming.handle_written(number, purpose);
            }
            Purpose::Barrier => {
                let settled = self.handle_barrier(now, store);
                self.settle(settled);
            }
            Purpose::Opened => {
                let opened = self.handle_opened(store);
                self.settle(opened);
            }
            Purpose::Acked => self.peer_place.is_written(),
        }
        self.write_acked(now);
    }

    /// The own stream may have more durable records than before.
    pub fn handle_stored(&mut self, _now: Moment, _store: &dyn Store) {
        self.outgoing.handle_stored();
    }

    /// A moment given by `poll_timeout` has come.
    pub fn handle_timeout(&mut self, now: Moment, _store: &dyn Store) {
        match &self.phase {
            Phase::Closed => return,
            Phase::Handshake(handshake) if now >= handshake.deadline => {
                self.close(CloseCode::Timeout, "the handshake took too long", None);
                return;
            }
            Phase::Handshake(_) | Phase::Open => {}
        }
        match self.keepalive.handle_timeout(now) {
            Verdict::Fine => {}
            Verdict::Ask => self.out.urgent.push_back(Frame::Ping.encode()),
            Verdict::Tell => self.out.urgent.push_back(Frame::Pong.encode()),
            Verdict::Dead => self.close(CloseCode::Timeout, "nothing was heard for too long", None),
        }
        self.write_acked(now);
    }

    /// End the session from this side, telling the peer.
    pub fn close(&mut self, code: CloseCode, reason: &str, retry_after: Option<Duration>) {
        if self.is_closed() {
            return;
        }
        let reason = shorten(reason).to_owned();
        self.out.urgent.clear();
        self.out.urgent.push_back(
            Frame::Close {
                code,
                reason: &reason,
                retry_after,
            }
            .encode(),
        );
        self.end(Close {
            code,
            reason,
            retry_after,
            by_peer: false,
        });
    }

    /// What the shell must do next.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.out.effects.pop_front()
    }

    /// The next message for the peer. Reads from the store, and encodes, only as much as the
    /// window allows.
    pub fn poll_frame(&mut self, now: Moment, store: &dyn Store) -> Option<Bytes> {
        let frame = match self.next_frame(store) {
            Ok(frame) => frame,
            Err(fault) => {
                self.settle(Err(fault));
                self.out.urgent.pop_front()
            }
        }?;
        self.stats.sent.frame(frame.len());
        self.keepalive.told(now);
        Some(frame)
    }

    /// When to call [`Session::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        let phase = match &self.phase {
            Phase::Closed => return None,
            Phase::Handshake(handshake) => Some(handshake.deadline),
            Phase::Open => self.peer_place.deadline(),
        };
        let keepalive = self.keepalive.deadline();
        Some(phase.map_or(keepalive, |deadline| deadline.min(keepalive)))
    }

    /// Counters and places, for metrics and status.
    #[must_use]
    pub fn stats(&self) -> SessionStats {
        SessionStats {
            sent_upto: self.outgoing.flown(),
            acked_upto: self.peer_place.acked(),
            received_upto: self.incoming.durable(),
            caught_up: self.incoming.has_caught_up(),
            under_way_bytes: self.outgoing.under_way(),
            rewinds: self.outgoing.rewinds,
            ..self.stats
        }
    }

    /// Everything that decides what the session does next, and nothing that only counts: two
    /// sessions with equal observations answer equal inputs equally.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn observe(&self) -> String {
        let Self {
            config,
            phase,
            outgoing,
            incoming,
            peer_place,
            out,
            keepalive,
            sending_part,
            received_parts,
            stats: _,
        } = self;
        format!(
            "{:?} {} {phase:?} {outgoing:?} {incoming:?} {peer_place:?} {out:?} {keepalive:?} \
             {sending_part:?} {received_parts:?}",
            config.role, config.spare_epoch,
        )
    }

    /// Whether the session has ended.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    pub(super) const fn handshake(&self) -> Option<&Handshake> {
        match &self.phase {
            Phase::Handshake(handshake) => Some(handshake),
            Phase::Open | Phase::Closed => None,
        }
    }

    pub(super) const fn handshake_mut(&mut self) -> Option<&mut Handshake> {
        match &mut self.phase {
            Phase::Handshake(handshake) => Some(handshake),
            Phase::Open | Phase::Closed => None,
        }
    }

    pub(super) fn open_phase(&mut self) {
        self.phase = Phase::Open;
    }

    fn next_frame(&mut self, store: &dyn Store) -> Result<Option<Bytes>, Fault> {
        if let Some(frame) = self.out.urgent.pop_front() {
            return Ok(Some(frame));
        }
        if self.is_closed() {
            return Ok(None);
        }
        if let Some(ack) = self.incoming.take_ack() {
            return Ok(Some(ack.encode()));
        }
        if !self.sending_part.is_empty() {
            return Ok(Some(self.next_part()));
        }
        let frame = match self.out.bulk.pop_front() {
            Some(frame) => Some(frame),
            None => self.outgoing.next(store, &mut self.stats.sent)?,
        };
        match frame {
            Some(long) if long.len() > FRAME_PART_BYTES => {
                self.sending_part = long;
                Ok(Some(self.next_part()))
            }
            frame => Ok(frame),
        }
    }

    fn next_part(&mut self) -> Bytes {
        let size = self.sending_part.len().min(FRAME_PART_BYTES);
        let bytes = self.sending_part.split_to(size);
        Frame::Part {
            last: self.sending_part.is_empty(),
            bytes: &bytes,
        }
        .encode()
    }

    fn handle_message(
        &mut self,
        now: Moment,
        bytes: &[u8],
        store: &dyn Store,
    ) -> Result<(), Fault> {
        let frame = Frame::decode(bytes)?;
        let Frame::Part { last, bytes } = frame else {
            return self.dispatch(now, frame, store);
        };
        let size = self.received_parts.len() + bytes.len();
        if size > FRAME_BYTES_MAX {
            let what = "frame in parts";
            let limit = FRAME_BYTES_MAX;
            return Err(WireError::TooLarge {
                what,
                size: size as u64,
                limit,
            }
            .into());
        }
        self.received_parts.extend_from_slice(bytes);
        if !last {
            return Ok(());
        }
        let whole = std::mem::take(&mut self.received_parts);
        self.dispatch(now, Frame::decode(&whole)?, store)
    }

    fn dispatch(&mut self, now: Moment, frame: Frame<'_>, store: &dyn Store) -> Result<(), Fault> {
        let Self {
            incoming,
            out,
            stats,
            ..
        } = self;
        let traffic = &mut stats.received;
        match frame {
            Frame::Hello {
                version_min,
                version_max,
                node,
                incarnation,
                held,
            } => self.handle_hello(
                now,
                (version_min, version_max),
                &node,
                incarnation,
                held,
                store,
            ),
            Frame::Welcome {
                version,
                incarnation,
                held,
            } => self.handle_welcome(now, version, incarnation, held, store),
            Frame::Start { epoch, begin } => self.handle_start(epoch, begin, store),
            Frame::Close {
                code,
                reason,
                retry_after,
            } => self.closed_by_peer(code, reason, retry_after),
            Frame::Ping => {
                out.urgent.push_back(Frame::Pong.encode());
                Ok(())
            }
            Frame::Pong => Ok(()),
            Frame::Records {
                after,
                upto,
                records,
            } => incoming.handle_records(after, upto, &records, store, out, traffic),
            Frame::Stage { seq, records } => {
                incoming.handle_stage(seq, &records, store, out, traffic)
            }
            Frame::Drop { seq, keys } => incoming.handle_drop(seq, &keys, store, out),
            Frame::End { upto } => incoming.handle_end(upto, out),
            Frame::DigestRequest(buckets) => incoming.handle_digest_request(buckets, store, out),
            Frame::Ack { upto } => self.handle_ack(now, upto),
            Frame::Staged { seq } => Ok(self.outgoing.handle_staged(seq)?),
            Frame::Rewind { after } => Ok(self.outgoing.handle_rewind(after)?),
            Frame::DigestList(entries) => {
                let (sending, stream) = self.reconciling()?;
                sending.handle_list(&entries, store, &stream)
            }
            Frame::DigestBuckets(buckets) => self.handle_buckets(&buckets, store),
            Frame::DigestEntries { last, entries } => {
                self.reconciling()?.0.handle_entries(&entries, last)
            }
            Frame::Part { .. } => Err(Violation::Unexpected { frame: "Part" }.into()),
        }
    }

    fn handle_buckets(&mut self, theirs: &Buckets, store: &dyn Store) -> Result<(), Fault> {
        let (sending, stream) = self.reconciling()?;
        let request = sending.handle_buckets(theirs, store, &stream)?;
        self.out
            .urgent
            .extend(request.map(|request| request.encode()));
        Ok(())
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "it stands among frames that can be wrong"
    )]
    fn closed_by_peer(
        &mut self,
        code: CloseCode,
        reason: &str,
        retry_after: Option<Duration>,
    ) -> Result<(), Fault> {
        let reason = reason.to_owned();
        self.end(Close {
            code,
            reason,
            retry_after,
            by_peer: true,
        });
        Ok(())
    }

    /// The own stream's reconcile and its stream, when there is one.
    fn reconciling(&mut self) -> Result<(&mut Sending, StreamId), Violation> {
        let stream = self.outgoing.stream().clone();
        match &mut self.outgoing.state {
            outgoing::State::Reconciling(sending) => Ok((sending, stream)),
            outgoing::State::Waiting | outgoing::State::Streaming => {
                Err(Violation::Unexpected { frame: "digest" })
            }
        }
    }

    fn handle_ack(&mut self, now: Moment, upto: Offset) -> Result<(), Fault> {
        self.outgoing.handle_ack(upto)?;
        self.peer_place.advance(now, upto);
        Ok(())
    }

    /// Writes down, now and then, how far the peer is.
    fn write_acked(&mut self, now: Moment) {
        if let Some(upto) = self.peer_place.take_due(now) {
            self.out.write(SessionWrite::Acked { upto }, Purpose::Acked);
        }
    }

    fn settle(&mut self, result: Result<(), Fault>) {
        match result {
            Ok(()) => {}
            Err(Fault::Violation(violation)) => {
                self.close(violation.code(), &violation.to_string(), None);
            }
            Err(Fault::Read(error)) => self.close(CloseCode::Storage, &error.to_string(), None),
            Err(Fault::End(code, reason)) => self.close(code, reason, None),
        }
    }

    fn end(&mut self, close: Close) {
        if let Some(upto) = self.peer_place.take() {
            self.out.write(SessionWrite::Acked { upto }, Purpose::Acked);
        }
        self.phase = Phase::Closed;
        self.sending_part = Bytes::new();
        self.received_parts = Vec::new();
        self.out.bulk.clear();
        self.out.effects.push_back(Effect::Close(close));
    }
}

/// The front of a reason that fits into a frame.
fn shorten(reason: &str) -> &str {
    let mut end = reason.len().min(CLOSE_REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.split_at(end).0
}
