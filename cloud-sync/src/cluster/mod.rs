//! The machine that owns the cluster: all objects, and what every node is sent of them.
//!
//! ```text
//!   Request ──plan──▶ batch: cluster records ─▶ interest ─▶ down records, cursors, stream changes
//!                       │
//!                  one append, one sync
//!                       │
//!   committed ──▶ View (API, controllers) · down heads (sessions) · up heads (write-back) · answers
//! ```
//!
//! # Guarantees
//! - A cluster record, the `down` records it causes and the cursor that led to it are one batch:
//!   what the nodes are to hold is a function of the cluster at every durable instant.
//! - Nothing is answered, shown or sent before it is durable, refusals included when they depend on
//!   the state of this round (such requests wait for the next one).
//! - A round that fails changes nothing: the interest graph is computed anew from what is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use causeway_daemon::session_driver::WriteRefused;
use causeway_kube_api::{Catalog, Clock, View, Write, WriteError, Written};
use causeway_log::replication::SessionWrite;
use causeway_log::writer::{Committed, Machine, Planned, RoundError};
use causeway_log::{Batch, Epoch, Key, NodeName, Offset, Resource, Revision, Store, StreamId};
use causeway_projections::twin::Desired;
use tokio::sync::{oneshot, watch};

use crate::devices::Changed;
use crate::hub::Hub;
use crate::interest::{Graph, Name};
use crate::writeback::{Outcomes, WroteBack};

mod answer;
mod definitions;
mod mirror;
mod objects;
mod queue;
mod session;
mod source;
mod start;
#[cfg(test)]
mod tests;
mod twins;
mod write;
mod wrote_back;

pub use mirror::{EDGE_LABEL, Mirror, Seen, Want, is_complete};
pub use queue::{Class, Depths, Requests};
pub use source::Cluster;
pub use start::{BOOTSTRAP_NAMESPACES, StartError};
pub use wrote_back::{Answered, Made, Settlement, Verdict};

use answer::Answer;
pub(crate) use objects::{Current, Stored as PutOutcome};
pub(crate) use write::is_terminating;

/// What can be asked of the machine.
#[derive(Debug)]
pub enum Request {
    /// Change an object.
    Write {
        /// The change.
        write: Box<Write>,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Written, WriteError>>,
    },
    /// Store what a session asks for.
    Session {
        /// Of which node.
        node: NodeName,
        /// Which session of it; only the newest one may write.
        session: u64,
        /// The change.
        write: SessionWrite,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<(), WriteRefused>>,
    },
    /// Apply a page of what a node sent to the cluster.
    WriteBack {
        /// Which node.
        node: NodeName,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<WroteBack, WriteError>>,
    },
    /// Say what came of a node's records at an API server.
    WroteBack {
        /// What came of them.
        settlement: Box<Settlement>,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<(), WriteError>>,
    },
    /// Take in what was seen of the Kubernetes cluster that this one mirrors.
    Mirror {
        /// What was seen, in order.
        seen: Vec<Seen>,
        /// Where the answer goes. After an error lists that are under way must begin again.
        answer: oneshot::Sender<Result<(), WriteError>>,
    },
    /// Forget the streams of a node that left the cluster. Refused while it has a Node, pods or a
    /// session.
    Forget {
        /// Which node.
        node: NodeName,
        /// Where the answer goes: whether they are gone.
        answer: oneshot::Sender<Result<bool, WriteError>>,
    },
    /// Write down acknowledgements that wait for a reason to write.
    FlushAcks,
}

/// See the module documentation.
#[derive(Debug)]
pub struct ClusterMachine {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    view: View,
    hub: Arc<Hub>,
    outcomes: Arc<Outcomes>,
    graph: Graph,
    /// The served kinds, as of a change of the definitions.
    catalog: (Revision, Catalog),
    /// How many requests wait.
    depths: Arc<Depths>,
    /// Devices whose status may have to be published.
    changed_devices: Arc<Changed>,
    /// Wakes who follows the log.
    durable: watch::Sender<Revision>,
    /// `down` streams that are open.
    down: BTreeSet<NodeName>,
    /// Acknowledgements of peers that are not written yet. Losing them costs re-sending.
    acks: BTreeMap<NodeName, Offset>,
    /// The cluster mirrors a Kubernetes one.
    mirror: Option<mirror::State>,
    round: Round,
}

/// What the requests of the round have assumed so far.
#[derive(Debug, Default)]
struct Round {
    /// Objects written in this round.
    overlay: BTreeMap<Name, Planning>,
    answers: Vec<Answer>,
    /// `down` streams that this round opens, or moves to a new epoch.
    opened: BTreeSet<NodeName>,
    /// Nodes whose streams this round drops.
    dropped: BTreeSet<NodeName>,
    /// `up` streams that this round appends to: their epoch and head after it.
    received: BTreeMap<NodeName, (Epoch, Offset)>,
    wrote_back: BTreeSet<NodeName>,
    /// What this round tells nodes that is wanted of devices.
    wishes: BTreeMap<(NodeName, Key), Option<Desired>>,
    flushed_acks: BTreeMap<NodeName, Offset>,
}

/// What an object is after this round.
#[derive(Clone, Debug)]
enum Planning {
    Present(Current),
    Gone,
}

impl ClusterMachine {
    /// The state that is served.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Where the requests that wait are counted.
    #[must_use]
    pub fn depths(&self) -> Arc<Depths> {
        Arc::clone(&self.depths)
    }

    /// How far the store is durable; moves with each round that wrote.
    #[must_use]
    pub fn durable(&self) -> watch::Receiver<Revision> {
        self.durable.subscribe()
    }

    /// Devices whose status may have to be published.
    #[must_use]
    pub fn changed_devices(&self) -> Arc<Changed> {
        Arc::clone(&self.changed_devices)
    }

    /// What decides the next rounds, apart from what is stored: models tell states apart by it.
    #[must_use]
    pub fn observe(&self) -> String {
        let Self {
            graph, down, acks, ..
        } = self;
        format!("{graph:?} {down:?} {acks:?}")
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    pub(crate) fn is_written_back(&self, node: &NodeName) -> bool {
        self.round.wrote_back.contains(node)
    }

    pub(crate) fn answer_write_back(
        &mut self,
        node: NodeName,
        answer: oneshot::Sender<Result<WroteBack, WriteError>>,
        wrote: WroteBack,
    ) {
        self.round.wrote_back.insert(node);
        self.round.answers.push(Answer::WriteBack { answer, wrote });
    }

    fn refuse_unless_writable(&self) -> Result<(), String> {
        if self.store.stats().read_only {
            return Err("an earlier write failed, most likely because the disk is full".to_owned());
        }
        Ok(())
    }

    /// The served kinds now.
    pub(crate) fn catalog(&mut self) -> &Catalog {
        let definitions = Resource::new("apiextensions.k8s.io", "customresourcedefinitions");
        let (revision, catalog) = &mut self.catalog;
        self.view.read(|objects| {
            let latest = objects.latest_change(&definitions);
            if latest > *revision {
                *catalog = Catalog::of(objects);
                *revision = latest;
            }
        });
        &self.catalog.1
    }

    fn plan_forget(
        &mut self,
        node: NodeName,
        answer: oneshot::Sender<Result<bool, WriteError>>,
        batch: &mut Batch,
    ) -> Planned<Request> {
        let streams = [StreamId::down(node.clone()), StreamId::up(node.clone())];
        let busy = self.round.opened.contains(&node)
            || self.round.received.contains_key(&node)
            || self.round.wrote_back.contains(&node)
            || batch
                .entries
                .iter()
                .any(|entry| streams.contains(&entry.stream));
        if busy {
            return Planned::Later(Request::Forget { node, answer });
        }
        let needed = self.hub.is_connected(&node)
            || self
                .graph
                .held()
                .any(|(_, holders)| holders.contains(&node));
        if !needed {
            self.acks.remove(&node);
            self.round.dropped.insert(node.clone());
            let known = streams
                .into_iter()
                .filter(|s| matches!(self.store.stream(s), Ok(Some(_))));
            batch
                .streams
                .extend(known.map(|stream| causeway_log::StreamChange::Drop { stream }));
            batch
                .cursors
                .push((crate::writeback::cursor(&node), Offset::ZERO));
        }
        self.round.answers.push(Answer::Forget {
            answer,
            gone: !needed,
        });
        Planned::InBatch
    }
}

impl Machine for ClusterMachine {
    type Request = Request;

    fn plan(&mut self, request: Request, batch: &mut Batch) -> Planned<Request> {
        let class = request.class();
        let request = match self.refuse_unless_writable() {
            Ok(()) => request,
            // A store that cannot be written has nothing under way either.
            Err(_) if request.is_barrier() => request,
            Err(reason) => {
                answer::refuse(request, &reason);
                self.depths.planned(class);
                return Planned::InBatch;
            }
        };
        let flush = matches!(request, Request::FlushAcks);
        let planned = match request {
            Request::Write { write, answer } => self.plan_write(write, answer, batch),
            Request::Session {
                node,
                session,
                write,
                answer,
            } => self.plan_session(node, session, write, answer, batch),
            Request::WriteBack { node, answer } => self.plan_write_back(node, answer, batch),
            Request::WroteBack { settlement, answer } => {
                self.plan_wrote_back(settlement, answer, batch)
            }
            Request::Mirror { seen, answer } => self.plan_mirror(seen, answer, batch),
            Request::Forget { node, answer } => self.plan_forget(node, answer, batch),
            Request::FlushAcks => Planned::InBatch,
        };
        if matches!(planned, Planned::InBatch) {
            self.depths.planned(class);
        }
        if flush || !batch.is_empty() {
            self.flush_acks(batch);
        }
        planned
    }

    fn committed(&mut self, committed: &Committed<'_>) {
        let Committed {
            batch,
            records,
            durable,
        } = *committed;
        if batch
            .entries
            .iter()
            .any(|entry| entry.stream == StreamId::Cluster)
        {
            self.view.publish(
                |objects| {
                    for (entry, stored) in batch.entries.iter().zip(records) {
                        if entry.stream == StreamId::Cluster {
                            objects.apply(&StreamId::Cluster, stored);
                        }
                    }
                },
                durable,
            );
        }
        self.tell_sessions(batch, records);
        self.mark_devices(batch);
        if !records.is_empty() {
            self.durable.send_replace(durable);
        }
        self.mirror_committed();
        self.graph.keep();
        let round = std::mem::take(&mut self.round);
        self.down.extend(round.opened);
        self.down.retain(|node| !round.dropped.contains(node));
        for node in round.received.into_keys() {
            self.hub.tell_received(node);
        }
        for answer in round.answers {
            answer.committed(&self.view, records);
        }
    }

    fn failed(&mut self, error: &RoundError) {
        let reason = causeway_daemon::telemetry::error_chain(error);
        if error.is_of_disk() {
            tracing::warn!(error = %reason, "the disk failed a round of writes; reads go on");
        } else {
            tracing::error!(error = %reason, "a round of writes failed; nothing of it was done");
        }
        let round = std::mem::take(&mut self.round);
        for (node, upto) in round.flushed_acks {
            self.acks.entry(node).or_insert(upto);
        }
        if !causeway_log::mutant::is_on("failed-round-keeps-graph") {
            let kept = std::mem::take(&mut self.graph).into_kept();
            self.graph = self.graph_of_objects(kept);
        }
        self.mirror_failed();
        for answer in round.answers {
            answer.failed(error);
        }
    }
}
