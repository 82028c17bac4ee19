//! What nodes report and ask, written to an API server.
//!
//! ```text
//!   up/<node> ──durable, acked──▶ plan ──work, call by call──▶ API server, as the node
//!                                  ▲                               │
//!                                  └──── done, or later ◀──────────┘
//!                                  │
//!                                  └─▶ Request::WroteBack: cursor and answers, one batch
//! ```
//!
//! HTTP is at least once: a call may be carried out though its answer was lost, and after a crash
//! whatever is not behind the cursor is done again. So every call is idempotent: a status is patched
//! on a condition of its object's life, an Event is named after its record, a delete names the life
//! it ends, and an object that was written for a request names the request.
//!
//! # Guarantees
//! - What the API server cannot take now stays, and is tried again; an outage slows, and drops
//!   nothing.
//! - What it will never take is counted, said once in the log or told to the edge application, and
//!   passed over: it holds nothing else up.
//! - A node has few things under way and a bounded share of memory, whatever it sends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::tasks::Stop;
use causeway_kube_api::{Clock, View};
use causeway_log::error::ReadError;
use causeway_log::store::ReadLimit;
use causeway_log::{Direction, NodeName, Offset, Revision, Store, Stored, StreamId};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;

use crate::cluster::{Answered, Request, Requests, Settlement};
use crate::hub::Hub;
use crate::writeback::cursor;
use crate::writeback::ground::Ground;

mod audit;
pub mod backoff;
pub mod begin;
pub mod call;
pub mod diff;
pub mod edit;
pub mod event;
pub mod judge;
pub mod node;
pub mod plan;
mod report;
mod server;
pub mod stats;
pub mod status;
#[cfg(test)]
mod tests;
pub mod work;

pub use call::{Api, Call, CallError, Content, Identity, Method, Place};
pub use stats::WriteStats;

use audit::Audits;
use begin::{Begun, Sight, begin, report_of_device};
use judge::Meaning;
use plan::{Bounds, Class, Commit, Ending, Plan, Ticket};
use work::{Finished, Turn, Work};

/// Records read from the store at once.
const PAGE: ReadLimit = ReadLimit {
    records: 256,
    bytes: 1024 * 1024,
};
/// The pause after a write to the store that failed.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// How often what others changed is looked for, and the gauges are set.
const TICK: Duration = Duration::from_secs(1);

/// What everything that writes to the API server works with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The API server.
    pub api: Arc<dyn Api>,
    /// The copy of the cluster.
    pub view: View,
    /// What nodes sent and were sent.
    pub store: Arc<dyn Store>,
    /// Which nodes are here.
    pub hub: Arc<Hub>,
    /// The way to the cluster machine.
    pub requests: Requests,
    /// Times in objects.
    pub clock: Arc<dyn Clock>,
    /// How often the lease of a node is renewed.
    pub lease_renewal: Duration,
    /// Figures.
    pub stats: Arc<WriteStats>,
}

/// Writes back whatever nodes send, until stopped.
pub async fn run(parts: Parts, mut stop: Stop) {
    // What was received before the last stop and is not behind the cursor.
    for stream in parts.store.streams().unwrap_or_default() {
        if let StreamId::Node(node, Direction::Up) = stream {
            parts.hub.tell_received(node);
        }
    }
    let mut shell = Shell::new(parts);
    tokio::select! {
        biased;
        () = stop.wait() => {}
        () = shell.run() => {}
    }
}

type UnderWay = FuturesUnordered<BoxFuture<'static, (Ticket, Class, Result<Finished, Failure>)>>;
type Auditing = FuturesUnordered<BoxFuture<'static, (NodeName, Result<Vec<Stored>, CallError>)>>;
type Committing = FuturesUnordered<BoxFuture<'static, Committed>>;

/// A commit and what became of it.
struct Committed {
    node: NodeName,
    upto: Revision,
    /// Answers that are to be given again; empty when it is durable.
    outcome: Result<(), Vec<Answered>>,
}

/// A call that failed, and not for good.
struct Failure {
    meaning: Meaning,
    call: Call,
    error: CallError,
}

struct Shell {
    parts: Parts,
    plan: Plan,
    audits: Audits,
    connected: BTreeSet<NodeName>,
    /// Comings and goings of nodes, as counted when they were looked at last.
    presence: Option<u64>,
    reporter: report::Reporter,
    under_way: UnderWay,
    committing: Committing,
    auditing: Auditing,
    began: tokio::time::Instant,
    store_rests_until: Duration,
    /// Nodes of which something could not be read.
    unread: BTreeSet<NodeName>,
}

enum Wake {
    Received(BTreeSet<NodeName>),
    Ended(Ticket, Class, Result<Finished, Failure>),
    Committed(Committed),
    Audited(NodeName, Result<Vec<Stored>, CallError>),
    Due,
    Tick,
}

impl Shell {
    fn new(parts: Parts) -> Self {
        Self {
            plan: Plan::new(Bounds::default()),
            audits: Audits::default(),
            connected: BTreeSet::new(),
            presence: None,
            reporter: report::Reporter::new(Arc::clone(&parts.stats)),
            under_way: FuturesUnordered::new(),
            committing: FuturesUnordered::new(),
            auditing: FuturesUnordered::new(),
            began: monotonic(),
            store_rests_until: Duration::ZERO,
            unread: BTreeSet::new(),
            parts,
        }
    }

    async fn run(&mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = self.plan.due().filter(|due| *due > self.now());
            let pause = due.map(|due| due.saturating_sub(self.now()));
            let wake = tokio::select! {
                biased;
                Some((ticket, class, ended)) = self.under_way.next() => {
                    Wake::Ended(ticket, class, ended)
                }
                Some(committed) = self.committing.next() => Wake::Committed(committed),
                Some((node, found)) = self.auditing.next() => Wake::Audited(node, found),
                nodes = self.parts.hub.received() => Wake::Received(nodes),
                () = rest(pause) => Wake::Due,
                _ = tick.tick() => Wake::Tick,
            };
            self.handle(wake);
            self.read();
            self.start();
            self.commit();
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn handle(&mut self, wake: Wake) {
        match wake {
            Wake::Received(nodes) => {
                for node in nodes {
                    self.received(node);
                }
            }
            Wake::Ended(ticket, class, ended) => self.ended(&ticket, class, ended),
            Wake::Committed(Committed {
                node,
                upto,
                outcome,
            }) => match outcome {
                Ok(()) => self.plan.committed(&node, upto),
                Err(answers) => {
                    self.plan.not_committed(&node, answers);
                    self.store_rests_until = self.now() + STORE_RETRY;
                }
            },
            Wake::Audited(node, found) => self.audited(&node, found),
            Wake::Due => {}
            Wake::Tick => self.tick(),
        }
    }

    /// A node has records.
    fn received(&mut self, node: NodeName) {
        let store = &*self.parts.store;
        if let Err(error) = self.plan.received(&node, || place_of(store, &node)) {
            self.cannot_read(node, &error);
        }
    }

    /// What a node sent is looked for again with the next tick.
    fn cannot_read(&mut self, node: NodeName, error: &ReadError) {
        let error = causeway_daemon::telemetry::error_chain(error).to_string();
        tracing::warn!(%node, error, "records of a node cannot be read");
        self.unread.insert(node);
    }

    fn tick(&mut self) {
        let now = self.now();
        for node in std::mem::take(&mut self.unread) {
            self.received(node);
        }
        self.plan.settle();
        let presence = *self.parts.hub.watch_presence().borrow();
        if self.presence.replace(presence) != Some(presence) {
            let here = self.parts.hub.connected_nodes();
            self.audits.observe(&here, now);
            self.audits.came(here.difference(&self.connected), now);
            self.connected = here;
        }
        while let Some(node) = self.audits.start(now) {
            let parts = self.parts.clone();
            self.auditing.push(Box::pin(async move {
                let found = audit::look(&parts, &node).await;
                (node, found)
            }));
        }
        let (count, oldest) = self.plan.backlog();
        let waited = oldest.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        stats::set(&self.parts.stats.backlog, count);
        let millis = i64::try_from(waited.as_millis()).unwrap_or(i64::MAX);
        self.parts.stats.lag_millis.set(millis);
    }

    fn audited(&mut self, node: &NodeName, found: Result<Vec<Stored>, CallError>) {
        let now = self.now();
        self.audits.finish(node, now, fastrand::f64());
        match found {
            Ok(found) => {
                for stored in found {
                    let key = &stored.record.header.key;
                    if self.plan.has_status(node, key) {
                        continue;
                    }
                    tracing::debug!(%node, %key, "the cluster shows another status than its node");
                    let store = &*self.parts.store;
                    let again = self.plan.again(node, stored, now, || place_of(store, node));
                    if let Err(error) = again {
                        // The next audit finds the same.
                        return self.cannot_read(node.clone(), &error);
                    }
                }
            }
            Err(error) => {
                let error = causeway_daemon::telemetry::error_chain(&error).to_string();
                tracing::debug!(%node, error, "the statuses of a node are compared later");
            }
        }
    }

    /// Reads what nodes sent, as far as there is room for it.
    fn read(&mut self) {
        let now = self.now();
        loop {
            let hungry = self.plan.hungry();
            if hungry.is_empty() {
                return;
            }
            for (node, after) in hungry {
                let stream = StreamId::up(node.clone());
                let page = match self.parts.store.read(&stream, after, PAGE) {
                    Ok(page) => page,
                    Err(error) => {
                        self.cannot_read(node.clone(), &error);
                        Vec::new()
                    }
                };
                let bytes: usize = page.iter().map(|stored| stored.record.body.len()).sum();
                let more = page.len() >= PAGE.records || bytes >= PAGE.bytes;
                let page = page.into_iter().map(|stored| {
                    let is_work = self.is_work(&node, &stored);
                    (stored, is_work)
                });
                let page = page.collect();
                self.plan.take_in(&node, page, more, now);
            }
        }
    }

    /// Whether there is anything to be done about a record. What is told of devices is not: it
    /// waits for no API server, and whatever is newest is published from what is stored.
    fn is_work(&mut self, node: &NodeName, stored: &Stored) -> bool {
        let sight = Sight::new(&self.parts.view, &*self.parts.store);
        let Some(outcome) = report_of_device(&sight, node, &stored.record) else {
            return true;
        };
        let class = Class::of(&stored.record);
        let finished = Finished::plain(outcome);
        self.reporter.judged(node, class, &stored.record, &finished);
        false
    }

    fn start(&mut self) {
        while let Some((ticket, record)) = self.plan.start(self.now()) {
            let class = Class::of(&record);
            let sight = Sight::new(&self.parts.view, &*self.parts.store);
            match begin(sight, &ticket.node, &record) {
                Err(error) => {
                    let node = &ticket.node;
                    let error = causeway_daemon::telemetry::error_chain(&error).to_string();
                    tracing::warn!(%node, error, "what a node was sent cannot be read");
                    let now = self.now();
                    self.plan.finish(&ticket, Ending::Unread, now, 0.0);
                }
                Ok(Begun::Over(finished)) => self.over(&ticket, class, finished),
                Ok(Begun::Work(work)) => {
                    let parts = self.parts.clone();
                    self.under_way.push(Box::pin(async move {
                        let ended = carry_out(&parts, *work).await;
                        (ticket, class, ended)
                    }));
                }
            }
        }
    }

    fn ended(&mut self, ticket: &Ticket, class: Class, ended: Result<Finished, Failure>) {
        let failure = match ended {
            Ok(finished) => return self.over(ticket, class, finished),
            Err(failure) => failure,
        };
        let attempts = self.plan.attempts(ticket);
        // Without its Node there is nothing to do for a node, so that is tried for ever.
        let for_good = failure.meaning == Meaning::Denied
            && class != Class::Node
            && self.plan.is_denied_for_good(attempts);
        self.reporter.failed(
            &ticket.node,
            class,
            &failure.call,
            failure.meaning,
            &failure.error,
        );
        let now = self.now();
        if !for_good {
            let ending = Ending::Failed(failure.meaning);
            self.plan.finish(ticket, ending, now, fastrand::f64());
            return;
        }
        let finished = match class {
            Class::Request => Finished::rejected(work::refusal(&failure.error)),
            Class::Node | Class::Status | Class::End | Class::Fact => Finished {
                refusal: Some(failure.error),
                ..Finished::plain(crate::writeback::Outcome::Refused)
            },
        };
        self.over(ticket, class, finished);
    }

    fn over(&mut self, ticket: &Ticket, class: Class, finished: Finished) {
        let record = self.plan.record(ticket);
        if let Some(record) = &record {
            self.reporter.over(&ticket.node, class, record, &finished);
        }
        let answer = finished.verdict.and_then(|verdict| {
            let header = &record.as_ref()?.header;
            Some(Answered {
                key: header.key.clone(),
                id: header.id,
                ground: Ground::under(record.as_ref()?),
                verdict,
            })
        });
        let now = self.now();
        self.plan
            .finish(ticket, Ending::Done(answer), now, fastrand::f64());
    }

    fn commit(&mut self) {
        if self.now() < self.store_rests_until {
            return;
        }
        for commit in self.plan.commits() {
            let requests = self.parts.requests.clone();
            self.committing.push(Box::pin(settle(requests, commit)));
        }
    }
}

/// How far a node got before.
fn place_of(store: &dyn Store, node: &NodeName) -> Result<Revision, ReadError> {
    let known = store.cursor(&cursor(node))?;
    Ok(Revision::new(known.unwrap_or(Offset::ZERO).get()))
}

async fn rest(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

/// Makes a commit durable.
async fn settle(requests: Requests, commit: Commit) -> Committed {
    let Commit {
        node,
        upto,
        answers,
    } = commit;
    let (answer, answered) = oneshot::channel();
    let settlement = Box::new(Settlement {
        node: node.clone(),
        upto,
        answers: answers.clone(),
    });
    let sent = requests
        .send(Request::WroteBack { settlement, answer })
        .await;
    let done = sent.is_ok() && matches!(answered.await, Ok(Ok(())));
    Committed {
        node,
        upto,
        outcome: if done { Ok(()) } else { Err(answers) },
    }
}

/// Makes all calls of one thing.
async fn carry_out(parts: &Parts, mut work: Work) -> Result<Finished, Failure> {
    loop {
        let call = work.call();
        parts.stats.count_call(&call);
        let answer = parts.api.call(call.clone()).await;
        match work.answered(answer) {
            Turn::Next(next) => work = next,
            Turn::Finished(finished) => return Ok(finished),
            Turn::Failed(meaning, error) => {
                return Err(Failure {
                    meaning,
                    call,
                    error,
                });
            }
        }
    }
}

/// How long something waits is measured; nothing that is stored depends on it.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the shell of the write-back"
)]
fn monotonic() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
