//! The byte window: how much a sender may have under way.

use std::collections::VecDeque;

use super::invariant::Invariant;
use super::violation::Violation;
use crate::id::Offset;
use crate::limits::{WINDOW_BYTES, WINDOW_DECODED_BYTES};

/// What acknowledges a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// A frame of a reconcile, by number.
    Staged(u64),
    /// A place in the stream.
    Place(Offset),
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    mark: Mark,
    size: Size,
}

/// What a frame costs: bytes on the wire, and bytes of bodies that the receiver holds in memory
/// until they are durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) wire: usize,
    pub(super) decoded: usize,
}

/// Frames sent and not yet acknowledged.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    under_way: VecDeque<UnderWay>,
    total: Size,
}

impl Window {
    /// Whether a frame of this size may go. A frame larger than the window goes alone.
    pub(super) fn admits(&self, size: Size) -> bool {
        self.under_way.is_empty()
            || (self.total.wire + size.wire <= WINDOW_BYTES
                && self.total.decoded + size.decoded <= WINDOW_DECODED_BYTES)
    }

    /// Whether there is no point in preparing another frame.
    pub(super) const fn is_full(&self) -> bool {
        self.total.wire >= WINDOW_BYTES || self.total.decoded >= WINDOW_DECODED_BYTES
    }

    pub(super) fn push(&mut self, mark: Mark, size: Size) {
        Invariant::WindowKept.check(self.admits(size));
        self.under_way.push_back(UnderWay { mark, size });
        self.total.wire += size.wire;
        self.total.decoded += size.decoded;
    }

    /// The receiver has everything up to a place, and with it every reconcile before.
    pub(super) fn place_reached(&mut self, upto: Offset) {
        self.release(|mark| match mark {
            Mark::Staged(_) => true,
            Mark::Place(place) => place <= upto,
        });
    }

    /// The receiver has the frames of a reconcile up to a number.
    pub(super) fn staged(&mut self, seq: u64) {
        self.release(|mark| match mark {
            Mark::Staged(staged) => staged <= seq,
            Mark::Place(_) => false,
        });
    }

    fn release(&mut self, is_reached: impl Fn(Mark) -> bool) {
        while let Some(first) = self.under_way.front() {
            if !is_reached(first.mark) {
                return;
            }
            self.total.wire -= first.size.wire;
            self.total.decoded -= first.size.decoded;
            self.under_way.pop_front();
        }
    }

    /// Forgets frames behind a place: the receiver throws them away.
    pub(super) fn rewind(&mut self, after: Offset) {
        while let Some(last) = self.under_way.back() {
            match last.mark {
                Mark::Place(place) if place > after => {
                    self.total.wire -= last.size.wire;
                    self.total.decoded -= last.size.decoded;
                    self.under_way.pop_back();
                }
                Mark::Place(_) | Mark::Staged(_) => return,
            }
        }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.total.wire
    }
}

/// The receiver's side of the same bound.
#[derive(Clone, Debug, Default)]
pub(super) struct Uncommitted {
    decoded: usize,
}

impl Uncommitted {
    /// Admits a frame's bodies.
    pub(super) fn add(&mut self, decoded: usize) -> Result<(), Violation> {
        if self.decoded > 0 && self.decoded + decoded > WINDOW_DECODED_BYTES {
            return Err(Violation::Window);
        }
        self.decoded += decoded;
        Ok(())
    }

    /// They are durable.
    pub(super) const fn remove(&mut self, decoded: usize) {
        self.decoded -= decoded;
    }
}
