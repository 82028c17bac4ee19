//! The cloud: its machine, the writer's rounds step by step, and a session for each link.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use causeway_cloud_sync::cluster::{ClusterMachine, Request};
use causeway_cloud_sync::hub::{Hub, Seat};
use causeway_cloud_sync::writeback::{Outcomes, WroteBack};
use causeway_daemon::session_driver::Control;
use causeway_daemon::tasks::Shutdown;
use causeway_kube_api::{Change, Clock as _, Expected, Write, WriteError, Written};
use causeway_log::replication::{Effect, Moment, Role, Session, SessionConfig};
use causeway_log::store::memory::{Disk, Fault, MemoryStore};
use causeway_log::writer::{Round, WrittenRound};
use causeway_log::{Direction, Epoch, Key, NodeName, Resource, Store as _, StreamId};
use serde_json::Value;
use tokio::sync::oneshot;

use super::{Counter, Line, UnderWay, node, trim};

/// One link, as the cloud sees it.
pub(super) struct CloudLink {
    /// Tells the links of a world apart.
    pub(super) number: u64,
    pub(super) index: usize,
    pub(super) line: Line,
    seat: Seat,
    _control: Control,
}

/// A request of a session knows that it was fenced, if it was.
type Queued = (Request, Option<Arc<AtomicBool>>);

pub(super) type Answer<T> = oneshot::Receiver<Result<T, WriteError>>;

pub(super) struct Cloud {
    disk: Disk,
    pub(super) store: Arc<MemoryStore>,
    pub(super) machine: ClusterMachine,
    hub: Arc<Hub>,
    queue: VecDeque<Queued>,
    written: Option<WrittenRound>,
    writing_back: Vec<(NodeName, Answer<WroteBack>)>,
    /// Records that this process has written back.
    pub(super) wrote_back: usize,
    pub(super) links: Vec<CloudLink>,
    clock: Arc<Counter>,
    shutdown: Shutdown,
}

impl Cloud {
    pub(super) fn on(disk: Disk, clock: Arc<Counter>) -> Self {
        let (store, _) = MemoryStore::on(&disk).expect("a disk in memory can be opened");
        let (store, hub) = (Arc::new(store), Hub::new(100));
        let machine = ClusterMachine::start(
            Arc::<MemoryStore>::clone(&store),
            Arc::<Counter>::clone(&clock),
            Arc::clone(&hub),
            Arc::new(Outcomes::default()),
        )
        .expect("the machine starts");
        let mut cloud = Self {
            disk,
            store,
            machine,
            hub,
            queue: VecDeque::new(),
            written: None,
            writing_back: Vec::new(),
            wrote_back: 0,
            links: Vec::new(),
            clock,
            shutdown: Shutdown::new(),
        };
        cloud.write_back_all();
        cloud
    }

    /// Power goes: what is not synced is lost, and all sessions. The disk works when it is back.
    pub(super) fn crash(self) -> Self {
        self.disk.crash();
        self.disk.heal();
        Self::on(self.disk, self.clock)
    }

    /// Writing goes wrong from here on.
    pub(super) fn fail(&self, fault: Fault) {
        self.disk.set_fault(fault);
    }

    /// The disk is as good as new, once nothing is half written; what a failed round left to be
    /// written back is tried again.
    pub(super) fn mend(&mut self) {
        while self.written.is_some() {
            self.write_step();
        }
        self.disk.heal();
        self.store.try_recover().expect("the disk works");
        self.write_back_all();
    }

    /// Lets go of history, between two rounds.
    pub(super) fn trim(&self) {
        if self.written.is_none() {
            trim(&*self.store);
        }
    }

    fn write_back_all(&mut self) {
        let streams = self.store.streams().expect("memory can be read");
        for stream in streams {
            if let StreamId::Node(node, Direction::Up) = stream {
                self.write_back(node);
            }
        }
    }

    fn write_back(&mut self, node: NodeName) {
        let (answer, answered) = oneshot::channel();
        self.writing_back.push((node.clone(), answered));
        self.queue
            .push_back((Request::WriteBack { node, answer }, None));
    }

    pub(super) fn write(&mut self, write: Write) -> Answer<Written> {
        let (answer, answered) = oneshot::channel();
        let write = Box::new(write);
        self.queue
            .push_back((Request::Write { write, answer }, None));
        answered
    }

    /// The live key of a name and what a write of it expects.
    pub(super) fn live(&self, plural: &str, name: &str) -> Option<(Key, Expected, Value)> {
        self.machine.view().read(|objects| {
            let entry = objects.get(&Resource::core(plural), "default", name)?;
            let expected = Expected::At(entry.modified());
            Some((entry.key().clone(), expected, entry.object()))
        })
    }

    pub(super) fn delete(&mut self, plural: &str, name: &str) -> Option<Answer<Written>> {
        let (key, expected, _) = self.live(plural, name)?;
        let change = Change::Delete {
            grace_period_seconds: Some(0),
            confirm: false,
        };
        Some(self.write(Write {
            key,
            expected,
            change,
        }))
    }

    /// Half a round of the writer: plan and append, or sync.
    pub(super) fn write_step(&mut self) -> bool {
        if let Some(written) = self.written.take() {
            written.sync(&mut self.machine, &*self.store);
        } else {
            let (queue, hub, mut last) = (&mut self.queue, &self.hub, None);
            let mut next = || next(queue, hub, &mut last);
            let Some(first) = next() else {
                return false;
            };
            let (round, deferred) = Round::plan(&mut self.machine, first, next);
            if let Some(deferred) = deferred {
                self.queue.push_front((deferred, last));
            }
            self.written = round.append(&mut self.machine, &*self.store);
        }
        for node in self.hub.take_received() {
            self.write_back(node);
        }
        let mut again = Vec::new();
        let wrote_back = &mut self.wrote_back;
        self.writing_back
            .retain_mut(|(node, answer)| match answer.try_recv() {
                Ok(Ok(wrote)) => {
                    *wrote_back += wrote.records;
                    again.extend(wrote.more.then(|| node.clone()));
                    false
                }
                Ok(Err(_)) => false,
                Err(error) => error == oneshot::error::TryRecvError::Empty,
            });
        for node in again {
            self.write_back(node);
        }
        true
    }

    pub(super) fn accept(&mut self, number: u64, index: usize) {
        let node = node(index);
        let stop = self.shutdown.token();
        let (seat, control) = self.hub.admit(&node, stop).expect("there is room");
        let spare = Epoch::new(self.clock.uid());
        let config = SessionConfig::new(Role::Cloud, node, self.clock.uid(), spare);
        let session = Session::new(config, Moment::default(), &*self.store);
        self.links.push(CloudLink {
            number,
            index,
            line: Line::new(session),
            seat,
            _control: control,
        });
    }

    /// One step of a link. Gives whether anything happened, and frames for the edge.
    pub(super) fn link_step(&mut self, at: usize) -> (bool, Vec<Bytes>) {
        let link = &mut self.links[at];
        let mut moved = link.line.advance(&*self.store);
        while let Some(effect) = link.line.session.poll_effect() {
            moved = true;
            match effect {
                Effect::Write(write) => {
                    link.seat.take_over(self.clock.now());
                    let (answer, answered) = oneshot::channel();
                    let under_way = UnderWay::new(answered);
                    let fenced = Arc::clone(&under_way.fenced);
                    link.line.writes.push_back(under_way);
                    let request = Request::Session {
                        node: link.seat.node().clone(),
                        session: link.seat.number(),
                        write,
                        answer,
                    };
                    self.queue.push_back((request, Some(fenced)));
                }
                Effect::Established(_) => link.seat.take_over(self.clock.now()),
                Effect::Close(_) => {}
            }
        }
        let frame = link
            .line
            .session
            .poll_frame(Moment::default(), &*self.store);
        (moved || frame.is_some(), frame.into_iter().collect())
    }

    /// Lets go of sessions that are over.
    pub(super) fn sweep(&mut self) {
        self.links.retain(|link| !link.line.is_over());
    }
}

/// The next request for the writer; one of a session that is fenced by now is marked.
fn next(
    queue: &mut VecDeque<Queued>,
    hub: &Hub,
    last: &mut Option<Arc<AtomicBool>>,
) -> Option<Request> {
    let (request, fenced) = queue.pop_front()?;
    if let (Request::Session { node, session, .. }, Some(fenced)) = (&request, &fenced)
        && !hub.is_current(node, *session)
    {
        fenced.store(true, Ordering::Relaxed);
    }
    *last = fenced;
    Some(request)
}
