//! The hub: which node has which session, and what the cluster machine has for it.
//!
//! A session takes a node over when its handshake has got so far that it writes or is established,
//! not when it connects: bytes that are no handshake disturb nobody. The older session of the node
//! is closed as fenced, and its writes are refused from that moment on (SYNC-3).
//!
//! The memory of a node is bounded: one entry here, one session. Nothing in here waits.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::session_driver::{Closer, Control};
use causeway_daemon::tasks::Stop;
use causeway_log::replication::CloseCode;
use causeway_log::{NodeName, Offset, WallTime};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::metrics::Lag;

mod endpoint;
#[cfg(test)]
mod tests;

pub use endpoint::{SessionEndpoint, SessionStats};

/// How long a node waits before it dials again, when there is no room: spread by its name, so that
/// not all come back at once.
const OVERLOADED_RETRY: Duration = Duration::from_secs(5);

/// Time that never goes back.
pub trait Monotonic: Send + Sync + std::fmt::Debug + 'static {
    /// Since whenever it likes.
    fn elapsed(&self) -> Duration;
}

/// See the module documentation.
#[derive(Debug)]
pub struct Hub {
    sessions_max: usize,
    time: Arc<dyn Monotonic>,
    started: Duration,
    state: Mutex<State>,
    /// Nodes with durable records that the write-back has not seen.
    received: Mutex<BTreeSet<NodeName>>,
    receiving: Notify,
    /// Counts comings and goings.
    presence: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<NodeName, Node>,
    /// Sessions, also those still in their handshake.
    sessions: usize,
    next_number: u64,
}

#[derive(Debug)]
struct Node {
    /// Sessions that hold on to this entry.
    users: usize,
    head: watch::Sender<Offset>,
    current: Option<Current>,
    /// The last session and its end; `None` before the first one was established.
    last: Option<Last>,
    /// When it was first seen behind since it was last seen without lag.
    behind_since: Option<WallTime>,
}

#[derive(Debug)]
struct Current {
    number: u64,
    closer: Closer,
    stats: Arc<SessionStats>,
    since: WallTime,
    since_elapsed: Duration,
}

#[derive(Clone, Debug)]
struct Last {
    ended: WallTime,
    ended_elapsed: Duration,
    reason: String,
}

/// A place in the hub, held by one session from its connection to its end.
#[derive(Debug)]
pub struct Seat {
    hub: Arc<Hub>,
    node: NodeName,
    number: u64,
    closer: Closer,
    stats: Arc<SessionStats>,
    head: watch::Receiver<Offset>,
}

/// No room for a session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all {sessions_max} sessions are taken")]
pub struct Overloaded {
    /// How many there may be.
    pub sessions_max: usize,
    /// When to come back.
    pub retry_after: Duration,
}

/// Whether a node is here, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It has a session.
    Connected {
        /// For so long.
        lasting: Duration,
    },
    /// It has none.
    Away {
        /// For so long; for a node that never came, since the start of this process.
        lasting: Duration,
    },
}

/// What the status document shows of a node.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its session, if it has one.
    pub session: Option<(u64, WallTime, Arc<SessionStats>)>,
    /// When and why the last session ended.
    pub last: Option<(WallTime, String)>,
}

impl Hub {
    /// A hub without sessions.
    #[must_use]
    pub fn new(sessions_max: usize) -> Arc<Self> {
        Self::with_time(sessions_max, Arc::new(Since(monotonic())))
    }

    /// A hub without sessions that measures time with `time`.
    #[must_use]
    pub fn with_time(sessions_max: usize, time: Arc<dyn Monotonic>) -> Arc<Self> {
        Arc::new(Self {
            sessions_max,
            started: time.elapsed(),
            time,
            state: Mutex::default(),
            received: Mutex::default(),
            receiving: Notify::new(),
            presence: watch::Sender::new(0),
        })
    }

    /// Makes room for a session of `node`.
    ///
    /// # Errors
    /// [`Overloaded`] when there is none.
    pub fn admit(
        self: &Arc<Self>,
        node: &NodeName,
        stop: Stop,
    ) -> Result<(Seat, Control), Overloaded> {
        let mut state = self.state.lock();
        if state.sessions >= self.sessions_max {
            let spread = node.as_str().bytes().fold(0_u64, |sum, byte| {
                sum.wrapping_mul(31).wrapping_add(u64::from(byte))
            });
            let retry_after = OVERLOADED_RETRY + Duration::from_millis(spread % 5000);
            return Err(Overloaded {
                sessions_max: self.sessions_max,
                retry_after,
            });
        }
        state.sessions += 1;
        state.next_number += 1;
        let number = state.next_number;
        let entry = state.nodes.entry(node.clone()).or_insert_with(Node::new);
        entry.users += 1;
        let head = entry.head.subscribe();
        let (control, closer) = Control::new(stop);
        let seat = Seat {
            hub: Arc::clone(self),
            node: node.clone(),
            number,
            closer,
            stats: Arc::default(),
            head,
        };
        Ok((seat, control))
    }

    /// Whether a session is the one that may write for its node.
    #[must_use]
    pub fn is_current(&self, node: &NodeName, session: u64) -> bool {
        let state = self.state.lock();
        let current = state.nodes.get(node).and_then(|node| node.current.as_ref());
        current.is_some_and(|current| current.number == session)
    }

    /// Whether a node has a session.
    #[must_use]
    pub fn is_connected(&self, node: &(impl Borrow<str> + ?Sized)) -> bool {
        self.state
            .lock()
            .nodes
            .get(node.borrow())
            .is_some_and(|node| node.current.is_some())
    }

    /// Whether a node is here, and since when.
    #[must_use]
    pub fn presence(&self, node: &(impl Borrow<str> + ?Sized)) -> Presence {
        let state = self.state.lock();
        let node = state.nodes.get(node.borrow());
        if let Some(current) = node.and_then(|node| node.current.as_ref()) {
            return Presence::Connected {
                lasting: self.time.elapsed().saturating_sub(current.since_elapsed),
            };
        }
        let ended = node
            .and_then(|node| node.last.as_ref())
            .map(|last| last.ended_elapsed);
        Presence::Away {
            lasting: (self.time.elapsed()).saturating_sub(ended.unwrap_or(self.started)),
        }
    }

    /// Ends all sessions; their nodes come back at once.
    pub fn close_all(&self, reason: &str) {
        let state = self.state.lock();
        for current in state
            .nodes
            .values()
            .filter_map(|node| node.current.as_ref())
        {
            current.closer.close(CloseCode::GoingAway, reason, None);
        }
    }

    /// Moves at each coming and going of a node.
    #[must_use]
    pub fn watch_presence(&self) -> watch::Receiver<u64> {
        self.presence.subscribe()
    }

    /// How many nodes have a session.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.state
            .lock()
            .nodes
            .values()
            .filter(|node| node.current.is_some())
            .count()
    }

    /// The nodes that have a session.
    #[must_use]
    pub fn connected_nodes(&self) -> BTreeSet<NodeName> {
        let state = self.state.lock();
        let connected = state
            .nodes
            .iter()
            .filter(|(_, node)| node.current.is_some());
        connected.map(|(name, _)| name.clone()).collect()
    }

    /// How many connections there are, also those still in their handshake.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.state.lock().sessions
    }

    /// What is known of a node's sessions.
    #[must_use]
    pub fn shown(&self, node: &NodeName) -> Shown {
        let state = self.state.lock();
        let node = state.nodes.get(node);
        let session = node.and_then(|node| node.current.as_ref());
        let last = node.and_then(|node| node.last.as_ref());
        Shown {
            session: session.map(|now| (now.number, now.since, Arc::clone(&now.stats))),
            last: last.map(|last| (last.ended, last.reason.clone())),
        }
    }

    /// How far `node` is behind a durable head. The time counts from the first look that found it
    /// behind: each look at it keeps it right, so look regularly.
    #[must_use]
    pub fn lag(&self, node: &NodeName, head: Offset, stored: Offset, now: WallTime) -> Lag {
        let mut state = self.state.lock();
        let Some(node) = state.nodes.get_mut(node) else {
            return Lag {
                offsets: head.ahead_of(stored),
                millis: 0,
            };
        };
        let stats = node.current.as_ref().map(|current| &*current.stats);
        let offsets = crate::metrics::offsets_behind(head, stored, stats);
        let since = match (offsets, node.behind_since) {
            (0, _) => None,
            (_, since) => Some(since.unwrap_or(now)),
        };
        node.behind_since = since;
        let millis = since.map_or(0, |s| now.unix_millis().saturating_sub(s.unix_millis()));
        Lag { offsets, millis }
    }

    /// The durable head of what `node` is sent has moved.
    pub fn tell_head(&self, node: &NodeName, head: Offset) {
        if let Some(node) = self.state.lock().nodes.get(node) {
            node.head.send_if_modified(|now| {
                let moved = head > *now;
                *now = head.max(*now);
                moved
            });
        }
    }

    /// Records of `node` have become durable.
    pub fn tell_received(&self, node: NodeName) {
        self.received.lock().insert(node);
        self.receiving.notify_one();
    }

    /// Waits for nodes with records to write back, and takes them all.
    pub async fn received(&self) -> BTreeSet<NodeName> {
        loop {
            let nodes = self.take_received();
            if !nodes.is_empty() {
                return nodes;
            }
            self.receiving.notified().await;
        }
    }

    /// Takes the nodes with records to write back.
    #[must_use]
    pub fn take_received(&self) -> BTreeSet<NodeName> {
        std::mem::take(&mut *self.received.lock())
    }

    /// Forgets a node that left the cluster, unless it is connected.
    pub fn forget(&self, node: &NodeName) {
        let mut state = self.state.lock();
        if state.nodes.get(node).is_some_and(|node| node.users == 0) {
            state.nodes.remove(node);
        }
    }
}

/// How long nodes are here or away is measured; nothing that is stored depends on it.
#[expect(
    clippy::disallowed_methods,
    reason = "the hub is a shell: it sees sessions come and go"
)]
fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}

/// The time of the machine since a moment.
#[derive(Debug)]
struct Since(std::time::Instant);

impl Monotonic for Since {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

impl Node {
    fn new() -> Self {
        Self {
            users: 0,
            head: watch::Sender::new(Offset::ZERO),
            current: None,
            last: None,
            behind_since: None,
        }
    }
}

impl Seat {
    /// Of which node.
    #[must_use]
    pub const fn node(&self) -> &NodeName {
        &self.node
    }

    /// Tells the sessions of this process apart.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Makes this the session of its node, unless a newer one is. Idempotent.
    pub fn take_over(&self, now: WallTime) {
        let mut state = self.hub.state.lock();
        let Some(node) = state.nodes.get_mut(&self.node) else {
            return;
        };
        match node.current.as_ref().map(|current| current.number) {
            Some(number) if number == self.number => return,
            Some(newer) if newer > self.number => {
                let reason = format!("session {newer} of this node took over");
                self.closer.close(CloseCode::Fenced, &reason, None);
                return;
            }
            Some(_) | None => {}
        }
        let current = Current {
            number: self.number,
            closer: self.closer.clone(),
            stats: Arc::clone(&self.stats),
            since: now,
            since_elapsed: self.hub.time.elapsed(),
        };
        if let Some(older) = node.current.replace(current) {
            let reason = format!("session {} of this node took over", self.number);
            older.closer.close(CloseCode::Fenced, &reason, None);
            tracing::warn!(
                node = %self.node,
                session = self.number,
                fenced = older.number,
                "a newer session of the node fences the older one",
            );
        }
        self.hub.presence.send_modify(|count| *count += 1);
    }

    /// The session is over.
    pub fn leave(&self, reason: &str, now: WallTime) {
        let mut state = self.hub.state.lock();
        let Some(node) = state.nodes.get_mut(&self.node) else {
            return;
        };
        if node
            .current
            .as_ref()
            .is_some_and(|current| current.number == self.number)
        {
            node.current = None;
            node.last = Some(Last {
                ended: now,
                ended_elapsed: self.hub.time.elapsed(),
                reason: reason.to_owned(),
            });
            self.hub.presence.send_modify(|count| *count += 1);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.hub.state.lock();
        state.sessions -= 1;
        let Some(node) = state.nodes.get_mut(&self.node) else {
            return;
        };
        node.users -= 1;
        // A session that was cancelled did not leave.
        node.current
            .take_if(|current| current.number == self.number);
        if node.users == 0 && node.last.is_none() {
            state.nodes.remove(&self.node);
        }
    }
}
