//! A cloud and two edges: both machines, the sessions between them, and stores in memory, stepped
//! one writer round, frame or sync at a time in an order drawn from a seed.
//!
//! Links are half-open by nature: a cut is seen by the edge at once, while the cloud goes on with
//! what it has until a newer session of the node fences the old one (SYNC-3).

mod cloud;
mod edge;
mod objects;
mod world;

pub use objects::{MAPS, NODES, PODS};
pub(crate) use objects::{key, map, pod};
pub use world::{Act, World};

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use causeway_daemon::session_driver::WriteRefused;
use causeway_kube_api::Clock;
use causeway_log::replication::{Invariant, Moment, Session};
use causeway_log::store::TrimPolicy;
use causeway_log::{NodeName, Store, WallTime};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

/// A clock that stands, with entropy that counts.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Clock for Counter {
    fn now(&self) -> WallTime {
        WallTime::from_unix_millis(1_790_000_000_000)
    }

    fn entropy(&self) -> [u8; 16] {
        let next = self.0.fetch_add(1, Ordering::Relaxed);
        let [a, b, c, d, e, f, g, h] = next.to_be_bytes();
        [a, b, c, d, e, f, g, h, 1, 2, 3, 4, 5, 6, g, h]
    }
}

fn node(index: usize) -> NodeName {
    NodeName::new(NODES[index]).expect("a valid name")
}

/// Lets go of all history, as far as a store may.
fn trim(store: &dyn Store) {
    let policy = TrimPolicy {
        keep_revisions: 0,
        keep_since: WallTime::from_unix_millis(u64::MAX),
        bytes_max: 0,
        facts_max: u64::MAX,
        facts_bytes_max: 0,
        records_per_call_max: usize::MAX,
    };
    // A store that its disk has made read-only refuses.
    let _ = store.trim(&policy);
}

/// Something that a session asked its writer for.
struct UnderWay {
    answer: oneshot::Receiver<Result<(), WriteRefused>>,
    /// Set when the session was fenced by the time the writer came to it.
    fenced: Arc<AtomicBool>,
}

impl UnderWay {
    fn new(answer: oneshot::Receiver<Result<(), WriteRefused>>) -> Self {
        Self {
            answer,
            fenced: Arc::default(),
        }
    }

    /// SYNC-3: what was fenced is refused.
    fn done(&self) {
        let is_fenced = self.fenced.load(Ordering::Relaxed);
        Invariant::OldChangesNothing.check(!is_fenced);
    }
}

/// One end of a link, whichever.
struct Line {
    session: Session,
    /// Writes under way, oldest first.
    writes: VecDeque<UnderWay>,
    inbox: VecDeque<Bytes>,
}

impl Line {
    const fn new(session: Session) -> Self {
        Self {
            session,
            writes: VecDeque::new(),
            inbox: VecDeque::new(),
        }
    }

    /// Tells the session of writes that are done, and gives it a frame. Says whether anything
    /// happened.
    fn advance(&mut self, store: &dyn Store) -> bool {
        let now = Moment::default();
        let mut moved = false;
        while let Some(front) = self.writes.front_mut() {
            match front.answer.try_recv() {
                Err(TryRecvError::Empty) => break,
                Ok(Ok(())) => {
                    front.done();
                    self.session.handle_written(now, store);
                }
                Ok(Err(refused)) => {
                    self.session
                        .close(refused.close_code(), &refused.to_string(), None);
                }
                // The machine is gone with its process.
                Err(TryRecvError::Closed) => {}
            }
            self.writes.pop_front();
            moved = true;
        }
        if let Some(frame) = self.inbox.pop_front() {
            self.session.handle_frame(now, &frame, store);
            moved = true;
        }
        self.session.handle_stored(now, store);
        moved
    }

    /// Over, with nothing under way.
    fn is_over(&self) -> bool {
        self.session.is_closed() && self.writes.is_empty()
    }
}
