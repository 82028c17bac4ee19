//! Writes that are under way to the own disk, and what the peer has on its.

use std::collections::VecDeque;

use super::Moment;
use crate::id::Offset;
use crate::limits::ACKED_WRITE_INTERVAL;

/// What a [`super::SessionWrite`] was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Records of the peer's stream, leading here.
    Place {
        upto: Offset,
        decoded: usize,
        /// It ends a reconcile.
        ends: bool,
    },
    /// A frame of a reconcile.
    Staged { seq: u64, decoded: usize },
    /// Whatever was under way as the session began.
    Barrier,
    /// A new epoch of the own stream.
    Opened,
    /// What the peer has.
    Acked,
}

/// Writes asked for and not yet durable, oldest first, numbered.
#[derive(Clone, Debug, Default)]
pub(super) struct Writes {
    under_way: VecDeque<Purpose>,
    /// How many are durable.
    done: u64,
}

impl Writes {
    /// Returns the number of the write.
    pub(super) fn push(&mut self, purpose: Purpose) -> u64 {
        self.under_way.push_back(purpose);
        self.done + self.under_way.len() as u64
    }

    /// The oldest one is durable.
    pub(super) fn pop(&mut self) -> (u64, Purpose) {
        let purpose = self
            .under_way
            .pop_front()
            .expect("handle_written is called once for each write");
        self.done += 1;
        (self.done, purpose)
    }
}

/// How far the peer is with the own stream, and how far that has been written down.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerPlace {
    acked: Offset,
    written: Offset,
    is_writing: bool,
    due: Option<Moment>,
}

impl PeerPlace {
    pub(super) fn start(&mut self, written: Offset) {
        *self = Self {
            written,
            ..Self::default()
        };
    }

    pub(super) const fn acked(&self) -> Offset {
        self.acked
    }

    pub(super) fn advance(&mut self, now: Moment, upto: Offset) {
        self.acked = self.acked.max(upto);
        if self.acked > self.written && self.due.is_none() {
            self.due = Some(Moment(now.0 + ACKED_WRITE_INTERVAL));
        }
    }

    pub(super) const fn deadline(&self) -> Option<Moment> {
        if self.is_writing { None } else { self.due }
    }

    /// What to write down now.
    pub(super) fn take_due(&mut self, now: Moment) -> Option<Offset> {
        if self.deadline()? > now {
            return None;
        }
        self.take()
    }

    /// What is not yet written down, due or not.
    pub(super) fn take(&mut self) -> Option<Offset> {
        if self.is_writing || self.acked <= self.written {
            return None;
        }
        self.is_writing = true;
        self.written = self.acked;
        self.due = None;
        Some(self.acked)
    }

    pub(super) const fn is_written(&mut self) {
        self.is_writing = false;
    }
}
