//! The messages of one connection, until each has its verdict.
//!
//! After a crash everything comes again that was not acknowledged, and some of it was taken: up to
//! the report that the twin shows, since reports are taken and acknowledged in order. So what is
//! marked as a duplicate, and was not seen by this process, is held until all of it is there; what
//! comes before the report that is known by its values and source times was taken with it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, sleep_until};

use super::decide::Delivery;
use super::desk::{Content, Desk, Letter, Verdict};

/// Messages that may wait for their verdicts on one connection: enough for one fsync of a slow
/// disk, few enough to forget.
const PENDING_MAX: usize = 1024;
/// Bytes of messages that may wait so; one that is larger waits alone.
const PENDING_BYTES_MAX: usize = 2 * 1024 * 1024;
/// What comes again comes at once: after so long without one there are no more.
const QUIET: Duration = Duration::from_millis(100);

/// See the module. `T` says which message a verdict is of.
#[derive(Debug)]
pub(super) struct Intake<T> {
    desk: Arc<Desk>,
    pending: FuturesOrdered<BoxFuture<'static, (T, Verdict)>>,
    /// The lengths of what is pending, in order.
    lengths: VecDeque<usize>,
    /// What perhaps comes again, in order.
    held: Vec<(T, Letter)>,
    held_until: Instant,
    bytes: usize,
}

fn length(letter: &Letter) -> usize {
    match &letter.content {
        Content::Payload(payload) => payload.len(),
        Content::Oversized { .. } => 0,
    }
}

impl<T: Send + 'static> Intake<T> {
    pub(super) fn new(desk: Arc<Desk>) -> Self {
        Self {
            desk,
            pending: FuturesOrdered::new(),
            lengths: VecDeque::new(),
            held: Vec::new(),
            held_until: Instant::now(),
            bytes: 0,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.pending.len() + self.held.len() < PENDING_MAX && self.bytes < PENDING_BYTES_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.held.is_empty()
    }

    /// Takes a message in, behind the others.
    pub(super) fn take(&mut self, tag: T, letter: Letter) {
        if letter.delivery != Delivery::Perhaps {
            self.release();
            self.hand_in(tag, &letter);
            return;
        }
        self.bytes += length(&letter);
        self.held.push((tag, letter));
        self.held_until = Instant::now() + QUIET;
        if !self.has_room() {
            self.release();
        }
    }

    /// Puts a message behind the others whose verdict is known.
    pub(super) fn settle(&mut self, tag: T, verdict: Verdict) {
        self.release();
        self.push(0, std::future::ready((tag, verdict)).boxed());
    }

    /// Hands in what is held.
    fn release(&mut self) {
        let held = std::mem::take(&mut self.held);
        let mut newest = BTreeMap::new();
        for (at, (_, letter)) in held.iter().enumerate() {
            self.bytes -= length(letter);
            if self.desk.is_newest(letter) {
                newest.insert(Arc::clone(&letter.topic), at);
            }
        }
        for (at, (tag, mut letter)) in held.into_iter().enumerate() {
            if newest
                .get(&letter.topic)
                .is_some_and(|newest| at <= *newest)
            {
                letter.delivery = Delivery::Again;
            }
            self.hand_in(tag, &letter);
        }
    }

    fn hand_in(&mut self, tag: T, letter: &Letter) {
        match self.desk.take(letter) {
            Ok(verdict) => self.push(0, std::future::ready((tag, verdict)).boxed()),
            Err(pending) => {
                let verdict = pending.map(|verdict| (tag, verdict));
                self.push(length(letter), verdict.boxed());
            }
        }
    }

    fn push(&mut self, length: usize, verdict: BoxFuture<'static, (T, Verdict)>) {
        self.pending.push_back(verdict);
        self.lengths.push_back(length);
        self.bytes += length;
    }

    /// The next verdict, in the order of the messages. Waits for ever when there is no message.
    pub(super) async fn next(&mut self) -> (T, Verdict) {
        loop {
            tokio::select! {
                Some(verdict) = self.pending.next(), if !self.pending.is_empty() => {
                    self.bytes -= self.lengths.pop_front().unwrap_or_default();
                    return verdict;
                }
                () = sleep_until(self.held_until), if !self.held.is_empty() => self.release(),
                else => std::future::pending().await,
            }
        }
    }
}
