//! What of the nodes' records is to be done next, and how far each node has got. Pure: told the
//! time, records and results, it gives things to do and commits.
//!
//! ```text
//!   records after the cursor ─take_in─▶ lane of the node ─start─▶ API server
//!                                         ▲    │                      │
//!                                         └────┴──── finish ◀─────────┘
//!   commit: how far nothing is left to do, and what nodes are told ──▶ cluster machine
//! ```
//!
//! - **Coalesced**: of the statuses of an object that wait, the newest is kept.
//! - **In order** for each object: a later record of a key waits for the earlier one.
//! - **Statuses first**: of a node that registers, of its pods, then ends of pods, requests, Events.
//! - **Fair**: nodes take turns; each has few things under way.
//! - **Bounded**: so many records and bytes wait in memory, for each node and for all; the rest
//!   waits in the store.
//! - **Never dropped**: what failed waits in its place, longer each time. When the API server
//!   itself is in trouble all wait, and one at a time tries whether it is back.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use causeway_log::{Key, NodeName, Op, Record, Revision, Slot, Stored};

use super::backoff::{Backoff, Gate};
use super::judge::Meaning;
use crate::cluster::Answered;

mod lane;

use lane::{Item, Lane};

/// The pause after a reading of the store that failed.
const UNREAD_RETRY: Duration = Duration::from_secs(1);

/// Bounds of a [`Plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Things under way at the API server.
    pub under_way_max: usize,
    /// … of one node.
    pub node_under_way_max: usize,
    /// Records that wait in memory, of one node.
    pub node_records_max: usize,
    /// Bytes of bodies that wait in memory, of all nodes.
    pub bytes_max: usize,
    /// How often something that an authorizer denies is tried.
    pub denials_max: u32,
}

impl Default for Bounds {
    /// Some hundred nodes report at once; the API server is left room for others.
    fn default() -> Self {
        Self {
            under_way_max: 64,
            node_under_way_max: 8,
            node_records_max: 1024,
            bytes_max: 64 * 1024 * 1024,
            denials_max: 6,
        }
    }
}

/// What something is, in the order of importance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The Node itself.
    Node,
    /// The status of a pod.
    Status,
    /// A pod has ended.
    End,
    /// A request of an edge application.
    Request,
    /// An Event.
    Fact,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Node,
        Self::Status,
        Self::End,
        Self::Request,
        Self::Fact,
    ];

    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Status => "pod-status",
            Self::End => "pod-end",
            Self::Request => "request",
            Self::Fact => "event",
        }
    }

    /// What a record is.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let header = &record.header;
        let of_node = header.key.resource.is("", "nodes");
        match header.op {
            Op::Status | Op::Apply if of_node => Self::Node,
            Op::Status => Self::Status,
            Op::Delete => Self::End,
            Op::Apply => Self::Request,
            // The last three are no records of a node; they are counted and passed over.
            Op::Fact | Op::Put | Op::Twin | Op::Reject => Self::Fact,
        }
    }
}

/// Names one thing under way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// Of which node.
    pub node: NodeName,
    /// The revision of its record.
    pub revision: Revision,
}

/// How a thing under way ended.
#[derive(Debug)]
pub enum Ending {
    /// It is over; the node may have to be told.
    Done(Option<Answered>),
    /// Not this time.
    Failed(Meaning),
    /// What it depends on could not be read here; no server was asked.
    Unread,
}

/// What a node has got to, and is told.
#[derive(Debug, PartialEq)]
pub struct Commit {
    /// Which node.
    pub node: NodeName,
    /// Nothing up to here is left to do.
    pub upto: Revision,
    /// Answers to its requests.
    pub answers: Vec<Answered>,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Plan {
    bounds: Bounds,
    lanes: BTreeMap<NodeName, Lane>,
    /// Whose turn was last.
    turn: Option<NodeName>,
    under_way: usize,
    bytes: usize,
    gate: Gate,
}

impl Plan {
    /// A plan without nodes.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            lanes: BTreeMap::new(),
            turn: None,
            under_way: 0,
            bytes: 0,
            gate: Gate::default(),
        }
    }

    /// A node has records. `cursor` gives how far it got, and is asked only for one that is not known
    /// here.
    ///
    /// # Errors
    /// That of `cursor`; nothing has changed then.
    pub fn received<E>(
        &mut self,
        node: &NodeName,
        cursor: impl FnOnce() -> Result<Revision, E>,
    ) -> Result<(), E> {
        let lane = match self.lanes.entry(node.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let cursor = cursor()?;
                unknown.insert(Lane {
                    read: cursor,
                    committed: cursor,
                    ..Lane::default()
                })
            }
        };
        lane.more = true;
        Ok(())
    }

    /// Nodes whose records can be taken in now, each with the revision after which.
    #[must_use]
    pub fn hungry(&self) -> Vec<(NodeName, Revision)> {
        if self.bytes >= self.bounds.bytes_max {
            return Vec::new();
        }
        let has_room = |lane: &Lane| lane.items.len() < self.bounds.node_records_max;
        let lanes = self.lanes.iter();
        lanes
            .filter(|(_, lane)| lane.more && has_room(lane))
            .map(|(node, lane)| (node.clone(), lane.read))
            .collect()
    }

    /// Records of a node after what was taken in; `more` says whether there may be more. Records
    /// of which nothing follows are given with `false`.
    pub fn take_in(
        &mut self,
        node: &NodeName,
        page: Vec<(Stored, bool)>,
        more: bool,
        now: Duration,
    ) {
        let Some(lane) = self.lanes.get_mut(node) else {
            return;
        };
        lane.more = more;
        for (stored, counts) in page {
            lane.read = lane.read.max(stored.revision);
            if !counts {
                continue;
            }
            if stored.record.header.op.slot() == Slot::Status {
                self.bytes -= lane.supersede(&stored.record.header.key, stored.revision);
            }
            self.bytes += stored.record.body.len();
            lane.due = Duration::ZERO;
            let item = Item::new(stored.record, now);
            lane.items.insert(stored.revision, item);
        }
    }

    /// A record of before is to be done again: the cluster was changed by others since. `cursor` is
    /// that of [`Plan::received`].
    ///
    /// # Errors
    /// That of `cursor`; nothing has changed then.
    pub fn again<E>(
        &mut self,
        node: &NodeName,
        stored: Stored,
        now: Duration,
        cursor: impl FnOnce() -> Result<Revision, E>,
    ) -> Result<(), E> {
        let known = self.lanes.contains_key(node);
        self.received(node, cursor)?;
        let Some(lane) = self.lanes.get_mut(node) else {
            return Ok(());
        };
        if lane.items.contains_key(&stored.revision) || stored.revision > lane.read {
            // It waits, or comes with the next page.
            return Ok(());
        }
        // Reading on costs little, and tells whether there is something newer.
        lane.more |= !known;
        lane.due = Duration::ZERO;
        self.bytes += stored.record.body.len();
        let item = Item::new(stored.record, now);
        lane.items.insert(stored.revision, item);
        Ok(())
    }

    /// The record of a thing under way.
    #[must_use]
    pub fn record(&self, ticket: &Ticket) -> Option<Record> {
        let item = self.lanes.get(&ticket.node)?.items.get(&ticket.revision)?;
        Some(item.record.clone())
    }

    /// The next thing to do, if there is one that may begin.
    pub fn start(&mut self, now: Duration) -> Option<(Ticket, Record)> {
        let room = self.gate.room(now, self.bounds.under_way_max);
        if self.under_way >= room {
            return None;
        }
        let mut order: Vec<NodeName> = Vec::new();
        if let Some(turn) = &self.turn {
            use std::ops::Bound::{Excluded, Unbounded};
            let after = self.lanes.range((Excluded(turn.clone()), Unbounded));
            order.extend(after.filter(|(_, lane)| lane.due <= now).map(name_of));
        }
        let before = self.lanes.iter().filter(|(node, lane)| {
            lane.due <= now && self.turn.as_ref().is_none_or(|turn| *node <= turn)
        });
        order.extend(before.map(name_of));
        for node in order {
            let lane = self.lanes.get_mut(&node)?;
            if lane.under_way >= self.bounds.node_under_way_max {
                continue;
            }
            if let Some((revision, record)) = lane.start(now) {
                self.under_way += 1;
                self.turn = Some(node.clone());
                return Some((Ticket { node, revision }, record));
            }
        }
        None
    }

    /// A thing under way has ended.
    pub fn finish(&mut self, ticket: &Ticket, ending: Ending, now: Duration, luck: f64) {
        self.under_way = self.under_way.saturating_sub(1);
        let Some(lane) = self.lanes.get_mut(&ticket.node) else {
            return;
        };
        lane.under_way = lane.under_way.saturating_sub(1);
        lane.due = Duration::ZERO;
        let Some(item) = lane.items.get_mut(&ticket.revision) else {
            return;
        };
        item.under_way = false;
        let over = match ending {
            Ending::Done(answer) => {
                self.gate.opened();
                lane.answers.extend(answer);
                true
            }
            Ending::Unread => {
                item.due = now + UNREAD_RETRY;
                false
            }
            Ending::Failed(meaning) => {
                item.attempts += 1;
                let pause = Backoff::of(meaning).pause(item.attempts, luck);
                item.due = now + pause;
                match meaning {
                    Meaning::Unavailable { retry_after } => {
                        item.due = item.due.max(now + retry_after.unwrap_or_default());
                        self.gate.closed(now, retry_after, luck);
                    }
                    Meaning::Misconfigured => self.gate.closed(now, None, luck),
                    // The server answers.
                    Meaning::Denied | Meaning::Conflict => self.gate.opened(),
                    Meaning::Exists | Meaning::Gone | Meaning::Never => {}
                }
                let key = item.record.header.key.clone();
                let is_status = item.record.header.op.slot() == Slot::Status;
                is_status && lane.has_newer_status(&key, ticket.revision)
            }
        };
        if over && let Some(item) = lane.items.remove(&ticket.revision) {
            self.bytes -= item.record.body.len();
        }
    }

    /// How often a thing was tried before.
    #[must_use]
    pub fn attempts(&self, ticket: &Ticket) -> u32 {
        let lane = self.lanes.get(&ticket.node);
        let item = lane.and_then(|lane| lane.items.get(&ticket.revision));
        item.map_or(0, |item| item.attempts)
    }

    /// Whether a denial is final.
    #[must_use]
    pub const fn is_denied_for_good(&self, attempts: u32) -> bool {
        attempts + 1 >= self.bounds.denials_max
    }

    /// What can be written down now. Until [`Plan::committed`] no more of the same node is given.
    pub fn commits(&mut self) -> Vec<Commit> {
        let mut commits = Vec::new();
        for (node, lane) in &mut self.lanes {
            let upto = lane.done();
            if lane.committing || (upto <= lane.committed && lane.answers.is_empty()) {
                continue;
            }
            lane.committing = true;
            let answers = std::mem::take(&mut lane.answers);
            lane.settling = answers.iter().map(|one| one.key.clone()).collect();
            commits.push(Commit {
                node: node.clone(),
                upto,
                answers,
            });
        }
        commits
    }

    /// A commit is durable.
    pub fn committed(&mut self, node: &NodeName, upto: Revision) {
        let Some(lane) = self.lanes.get_mut(node) else {
            return;
        };
        lane.committing = false;
        lane.settling.clear();
        // Requests may have waited for it.
        lane.due = Duration::ZERO;
        lane.committed = lane.committed.max(upto);
        if lane.is_idle() {
            self.lanes.remove(node);
        }
    }

    /// A commit was not done: what it would have said is to be said again.
    pub fn not_committed(&mut self, node: &NodeName, answers: Vec<Answered>) {
        if let Some(lane) = self.lanes.get_mut(node) {
            lane.committing = false;
            lane.settling.clear();
            let newer = std::mem::replace(&mut lane.answers, answers);
            lane.answers.extend(newer);
        }
    }

    /// Nodes of which nothing is left are forgotten.
    pub fn settle(&mut self) {
        self.lanes.retain(|_, lane| !lane.is_idle());
    }

    /// When something that waits may begin; `None` when nothing waits for time.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        let dues = self.lanes.values().filter_map(Lane::next_due);
        dues.min().map(|due| due.max(self.gate.until()))
    }

    /// How many things wait or are under way, and since when the oldest does.
    #[must_use]
    pub fn backlog(&self) -> (usize, Option<Duration>) {
        let items = self.lanes.values().flat_map(|lane| lane.items.values());
        let (mut count, mut oldest) = (0, None::<Duration>);
        for item in items {
            count += 1;
            oldest = Some(oldest.map_or(item.since, |oldest| oldest.min(item.since)));
        }
        (count, oldest)
    }

    /// How many things are under way.
    #[must_use]
    pub const fn under_way(&self) -> usize {
        self.under_way
    }

    /// Whether a newer status of this object waits or is under way.
    #[must_use]
    pub fn has_status(&self, node: &NodeName, key: &Key) -> bool {
        let lane = self.lanes.get(node);
        lane.is_some_and(|lane| lane.has_newer_status(key, Revision::ZERO))
    }
}

fn name_of<T>((node, _): (&NodeName, T)) -> NodeName {
    node.clone()
}
