//! A writer without a thread: rounds as events, so that a crash may come between a write and its
//! sync.

use std::collections::VecDeque;
use std::sync::Arc;

use causeway_log::Batch;
use causeway_log::store::memory::MemoryStore;
use causeway_log::writer::{Machine, Round, WrittenRound};

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct Writer<M: Machine> {
    pub(super) machine: M,
    pub(super) store: Arc<MemoryStore>,
    queue: VecDeque<M::Request>,
    written: Option<WrittenRound>,
    busy: bool,
}

/// What a round came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The disk is at work.
    Syncing,
    /// Done, and more waits.
    More,
    /// Done.
    Rest,
}

impl<M: Machine> Writer<M> {
    pub(super) const fn new(machine: M, store: Arc<MemoryStore>) -> Self {
        Self {
            machine,
            store,
            queue: VecDeque::new(),
            written: None,
            busy: false,
        }
    }

    /// Takes a request; says whether a round must begin.
    pub(super) fn push(&mut self, request: M::Request) -> bool {
        self.queue.push_back(request);
        !std::mem::replace(&mut self.busy, true)
    }

    pub(super) const fn is_idle(&self) -> bool {
        !self.busy
    }

    pub(super) fn round(&mut self) -> After {
        let Some(first) = self.queue.pop_front() else {
            return self.rest();
        };
        let queue = &mut self.queue;
        let (round, deferred) = Round::plan(&mut self.machine, first, || queue.pop_front());
        if let Some(deferred) = deferred {
            self.queue.push_front(deferred);
        }
        self.written = round.append(&mut self.machine, &*self.store);
        match self.written {
            Some(_) => After::Syncing,
            None => self.rest(),
        }
    }

    /// The batch that was written, and what comes next.
    pub(super) fn synced(&mut self) -> (Batch, After) {
        let batch = match self.written.take() {
            Some(written) => written.sync(&mut self.machine, &*self.store),
            None => Batch::default(),
        };
        (batch, self.rest())
    }

    fn rest(&mut self) -> After {
        self.busy = !self.queue.is_empty();
        if self.busy { After::More } else { After::Rest }
    }
}
