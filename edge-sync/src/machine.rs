//! What the edge writes: the one [`Machine`] of its store.
//!
//! ```text
//!   session ──Incoming──▶ down (a copy)  ┐
//!   local API ──Write───▶ up   (our own) ├─ one batch, one sync ─▶ view, own head, answers
//!   devices ──Twin──────▶ up             │
//!   session ──Acked─────▶ up             ┘
//! ```
//!
//! Everything is decided against the view of what is durable. A write whose object was touched
//! earlier in the same round waits for the next one, so it is never decided on stale ground. Reports
//! of devices build on each other within a round (`twin`), as there are thousands.

use std::collections::BTreeSet;
use std::sync::Arc;

use causeway_daemon::session_driver::WriteRefused;
use causeway_daemon::telemetry::error_chain;
use causeway_kube_api::{Clock, View, Write, WriteError, Written};
use causeway_log::batch::{Entry, Place, StreamChange};
use causeway_log::error::{AppendError, ReadError, SyncError};
use causeway_log::replication::{Incoming, Role, SessionWrite};
use causeway_log::writer::{Committed, Machine, Planned, RoundError};
use causeway_log::{
    Batch, Draft, Epoch, EventId, Key, NodeName, Offset, Op, Resource, Revision, Store, StreamId,
};
use tokio::sync::{oneshot, watch};

mod allowed;
mod begin;
mod decide;
mod ended;
mod twin;

pub use begin::{BeginError, begin};
use decide::{Change, Decision, decide};

use twin::Reports;

use crate::config::TwinsConfig;
use crate::first_sync::{self, FirstSync};
use crate::twins::{Backlog, DeviceReport, ReportError, Told, TwinsView};

/// What the writer is asked.
#[derive(Debug)]
pub enum Request {
    /// By the session with the cloud.
    Session {
        /// What to write.
        write: SessionWrite,
        /// Told when it is durable.
        done: oneshot::Sender<Result<(), WriteRefused>>,
    },
    /// By the local API.
    Local {
        /// What to write.
        write: Box<Write>,
        /// Told when it is durable and served.
        done: oneshot::Sender<Result<Written, WriteError>>,
    },
    /// By a device or its mapper.
    Twin {
        /// What it says.
        report: Box<DeviceReport>,
        /// Told when what it changed is durable and served.
        done: oneshot::Sender<Result<Told, ReportError>>,
    },
    /// When kept readings of devices are due: see [`TwinsView::due`].
    Drain {
        /// Told when those that the cloud can take now are durable in the up stream, or it failed.
        done: oneshot::Sender<()>,
    },
}

/// The edge's writer. Publishes to the view and to the own head, in that order.
#[derive(Debug)]
pub struct EdgeMachine {
    node: NodeName,
    down: StreamId,
    up: StreamId,
    store: Arc<dyn Store>,
    view: View,
    up_head: watch::Sender<Offset>,
    first_sync: FirstSync,
    clock: Arc<dyn Clock>,
    twins: Reports,
    /// An acknowledgement that waits for a batch to go with: losing it costs re-sending, a sync of
    /// its own would cost flash.
    acked: Option<Offset>,
    round: Round,
    /// Whether the last round failed; one line a failure is enough.
    failing: bool,
}

/// What must be remembered until the round ends.
#[derive(Debug, Default)]
struct Round {
    /// Names that an earlier request of the round changes.
    touched: BTreeSet<(Resource, Arc<str>, Arc<str>)>,
    answers: Vec<Answer>,
    /// The epoch of the received stream after this batch, once a request of the round is of it.
    epoch: Option<Epoch>,
    /// The acknowledgement that travels with this batch.
    acked: Option<Offset>,
    /// Whether the copy of the cloud's stream is whole once this batch is durable.
    is_whole: bool,
}

#[derive(Debug)]
enum Answer {
    Session(oneshot::Sender<Result<(), WriteRefused>>),
    Local {
        done: oneshot::Sender<Result<Written, WriteError>>,
        key: Key,
        /// The last record of the write in the batch; `None` when nothing changed.
        record: Option<usize>,
        warnings: Vec<String>,
        /// Answer without the object: what was asked for is as good as done, and is not served.
        passed_over: bool,
    },
}

impl EdgeMachine {
    /// A machine over a store whose up stream is open. `view` covers what is durable in it.
    #[must_use]
    pub fn new(
        node: NodeName,
        store: Arc<dyn Store>,
        view: View,
        up_head: watch::Sender<Offset>,
        first_sync: FirstSync,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let backlog = Backlog::new(Arc::clone(&store), TwinsConfig::default());
        Self {
            down: StreamId::down(node.clone()),
            up: StreamId::up(node.clone()),
            node,
            store,
            view,
            up_head,
            first_sync,
            clock,
            twins: Reports::new(TwinsView::default(), backlog),
            acked: None,
            round: Round::default(),
            failing: false,
        }
    }

    /// With the twins of `view`, which covers what is durable in the store, and the readings that
    /// wait there. Without, the machine knows of what comes from here on.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be read.
    pub fn with_twins(mut self, view: TwinsView, config: TwinsConfig) -> Result<Self, ReadError> {
        let backlog = Backlog::open(Arc::clone(&self.store), &self.node, config)?;
        self.twins = Reports::new(view, backlog);
        Ok(self)
    }

    /// Hands the request back when it must wait for the next round.
    fn plan_session(
        &mut self,
        write: SessionWrite,
        batch: &mut Batch,
    ) -> Result<Option<SessionWrite>, ReadError> {
        let mut ended = Vec::new();
        match &write {
            SessionWrite::Incoming(incoming) => {
                if !self.twins.admits(incoming) {
                    return Ok(Some(write));
                }
                let epoch = match self.round.epoch {
                    Some(epoch) => Some(epoch),
                    None => self.store.stream(&self.down)?.map(|info| info.epoch),
                };
                if epoch != Some(incoming.epoch) && self.round.epoch.is_some() {
                    // Changes to streams come before the records of a batch, so an epoch begins one.
                    return Ok(Some(write));
                }
                self.round.epoch = Some(incoming.epoch);
                self.mark_first_sync(incoming, batch);
                let names = incoming
                    .records
                    .iter()
                    .map(|(_, draft)| name_of(&draft.key));
                self.round.touched.extend(names);
                let deleted = incoming
                    .records
                    .iter()
                    .filter(|(_, draft)| draft.op == Op::Delete);
                ended.extend(deleted.map(|(_, draft)| draft.key.clone()));
            }
            SessionWrite::Barrier => return Ok(None),
            SessionWrite::OpenOwn { .. } => {
                if !batch.is_empty() || self.twins.is_at_work() {
                    return Ok(Some(write));
                }
                // What was acknowledged of the epoch before means nothing in the new one.
                self.acked = None;
            }
            SessionWrite::Acked { upto } => {
                self.acked = self.acked.max(Some(*upto));
                self.twins.acked(*upto, &*self.clock);
                return Ok(None);
            }
        }
        write.stage(Role::Edge, &self.node, &*self.store, batch)?;
        self.end_reports(ended, batch)?;
        Ok(None)
    }

    /// Notes in the batch whether the copy that it makes is whole, as long as none ever was.
    fn mark_first_sync(&mut self, incoming: &Incoming, batch: &mut Batch) {
        if self.first_sync.is_done() || incoming.upto.is_none() {
            return;
        }
        let under_way = if incoming.caught_up { 0 } else { 1 };
        let mark = (first_sync::mark(), Offset::new(under_way));
        batch.cursors.retain(|(name, _)| *name != mark.0);
        batch.cursors.push(mark);
        self.round.is_whole = incoming.caught_up;
    }

    fn plan_local(&mut self, write: &Write, batch: &mut Batch) -> Result<Answered, WriteError> {
        let Decision {
            changes,
            warnings,
            passed_over,
        } = self.view.read(|objects| {
            let key = &write.key;
            decide(
                &self.node,
                write,
                objects.get(&key.resource, &key.namespace, &key.name),
            )
        })?;
        if changes.is_empty() {
            return Ok(Answered {
                record: None,
                warnings,
                passed_over,
            });
        }
        self.round.touched.insert(name_of(&write.key));
        for Change { op, body } in changes {
            let time = self.clock.now();
            let [entropy @ .., _, _, _, _, _, _] = self.clock.entropy();
            batch.entries.push(Entry {
                stream: self.up.clone(),
                place: Place::Next,
                draft: Draft {
                    id: EventId::compose(time, entropy),
                    cause: None,
                    time,
                    key: write.key.clone(),
                    version: None,
                    op,
                    body,
                },
            });
        }
        Ok(Answered {
            record: Some(batch.entries.len() - 1),
            warnings,
            passed_over,
        })
    }

    /// Lets a waiting acknowledgement travel with a batch that is written anyway.
    fn add_acked(&mut self, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        if let Some(upto) = self.acked.take() {
            batch.streams.push(StreamChange::Acked {
                stream: self.up.clone(),
                upto,
            });
            self.round.acked = self.round.acked.max(Some(upto));
        }
    }

    fn publish(&mut self, committed: &Committed<'_>) {
        if committed.records.is_empty() {
            return;
        }
        let entries = committed.batch.entries.iter().zip(committed.records);
        let mut head = None;
        self.view.publish(
            |objects| {
                for (entry, stored) in entries {
                    objects.apply(&entry.stream, stored);
                    if entry.stream == self.up {
                        head = Some(stored.record.header.offset);
                    }
                }
            },
            committed.durable,
        );
        self.twins.publish(committed);
        if let Some(head) = head {
            self.up_head.send_replace(head);
        }
    }

    /// What the local API answers, read from what is served after the write.
    fn written(&self, key: &Key, revision: Option<Revision>, warnings: Vec<String>) -> Written {
        self.view.read(|objects| {
            let entry = objects
                .get(&key.resource, &key.namespace, &key.name)
                .filter(|entry| entry.key().uid == key.uid);
            match entry {
                Some(entry) => Written {
                    revision: entry.modified(),
                    pending: entry.pending().is_some(),
                    object: Some(entry.object()),
                    warnings,
                },
                None => Written {
                    revision: revision.unwrap_or_else(|| objects.revision()),
                    pending: false,
                    object: None,
                    warnings,
                },
            }
        })
    }
}

/// How a local write stands in its batch.
struct Answered {
    record: Option<usize>,
    warnings: Vec<String>,
    passed_over: bool,
}

impl Machine for EdgeMachine {
    type Request = Request;

    fn plan(&mut self, request: Request, batch: &mut Batch) -> Planned<Request> {
        match request {
            Request::Session { write, done } => match self.plan_session(write, batch) {
                Ok(None) => self.round.answers.push(Answer::Session(done)),
                Ok(Some(write)) => return Planned::Later(Request::Session { write, done }),
                Err(error) => {
                    let reason = error_chain(&error).to_string();
                    drop(done.send(Err(WriteRefused::ReadOnly { reason })));
                }
            },
            Request::Local { write, done } => {
                if self.round.touched.contains(&name_of(&write.key)) {
                    return Planned::Later(Request::Local { write, done });
                }
                match self.plan_local(&write, batch) {
                    Ok(answered) => {
                        let key = write.key;
                        let Answered {
                            record,
                            warnings,
                            passed_over,
                        } = answered;
                        self.round.answers.push(Answer::Local {
                            done,
                            key,
                            record,
                            warnings,
                            passed_over,
                        });
                    }
                    // Whoever asked may be gone.
                    Err(error) => drop(done.send(Err(error))),
                }
            }
            Request::Twin { report, done } => {
                if let Err((report, done)) = self.twins.plan(report, done, &*self.clock) {
                    return Planned::Later(Request::Twin { report, done });
                }
            }
            Request::Drain { done } => self.twins.drain(done),
        }
        self.add_acked(batch);
        Planned::InBatch
    }

    fn seal(&mut self, batch: &mut Batch) {
        self.twins.seal(&self.up, &*self.clock, batch);
        self.add_acked(batch);
    }

    fn committed(&mut self, committed: &Committed<'_>) {
        self.publish(committed);
        let round = std::mem::take(&mut self.round);
        if round.is_whole {
            self.first_sync.finish();
        }
        if !committed.batch.is_empty() {
            self.failing = false;
        }
        for answer in round.answers {
            // Whoever asked may be gone; what was asked is done all the same.
            match answer {
                Answer::Session(done) => drop(done.send(Ok(()))),
                Answer::Local {
                    done,
                    key,
                    record,
                    warnings,
                    passed_over,
                } => {
                    let stored = record.and_then(|index| committed.records.get(index));
                    let revision = stored.map(|stored| stored.revision);
                    let mut written = self.written(&key, revision, warnings);
                    written.object = written.object.filter(|_| !passed_over);
                    drop(done.send(Ok(written)));
                }
            }
        }
        self.twins.committed(committed);
    }

    fn failed(&mut self, error: &RoundError) {
        if !std::mem::replace(&mut self.failing, true) {
            let reason = error_chain(error);
            if error.is_of_disk() {
                tracing::warn!(error = %reason, "the disk failed a write; reads go on");
            } else {
                tracing::error!(error = %reason, "a write failed; nothing of it was done");
            }
        }
        let round = std::mem::take(&mut self.round);
        self.acked = self.acked.max(round.acked);
        for answer in round.answers {
            match answer {
                Answer::Session(done) => drop(done.send(Err(refused(error)))),
                Answer::Local { done, .. } => drop(done.send(Err(write_error(error)))),
            }
        }
        self.twins.failed(&write_error(error));
    }
}

fn name_of(key: &Key) -> (Resource, Arc<str>, Arc<str>) {
    (
        key.resource.clone(),
        Arc::clone(&key.namespace),
        Arc::clone(&key.name),
    )
}

/// Why a failed round makes the store read-only, if it does.
fn read_only(error: &RoundError) -> Option<String> {
    match error {
        RoundError::Append(AppendError::ReadOnly { reason })
        | RoundError::Sync(SyncError::ReadOnly { reason }) => Some(reason.clone()),
        RoundError::Append(AppendError::Engine(engine))
        | RoundError::Sync(SyncError::Engine(engine)) => Some(error_chain(engine).to_string()),
        RoundError::Append(
            AppendError::Conflict { .. }
            | AppendError::NotOpen { .. }
            | AppendError::Order { .. }
            | AppendError::TooLarge { .. }
            | AppendError::Read(_),
        ) => None,
    }
}

fn refused(error: &RoundError) -> WriteRefused {
    match read_only(error) {
        Some(reason) => WriteRefused::ReadOnly { reason },
        None => WriteRefused::Invalid {
            reason: error_chain(error).to_string(),
        },
    }
}

fn write_error(error: &RoundError) -> WriteError {
    if let Some(reason) = read_only(error) {
        return WriteError::ReadOnly { reason };
    }
    match error {
        RoundError::Append(AppendError::TooLarge { size, limit, .. }) => WriteError::TooLarge {
            size: *size,
            limit: *limit,
        },
        RoundError::Append(_) | RoundError::Sync(_) => WriteError::Unavailable {
            reason: error_chain(error).to_string(),
        },
    }
}

#[cfg(test)]
mod tests;
