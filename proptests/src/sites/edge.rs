//! An edge: its machine, the writer's rounds step by step, and its one link.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use causeway_edge_sync::first_sync::FirstSync;
use causeway_edge_sync::machine::{EdgeMachine, Request, begin};
use causeway_kube_api::{Change, Clock as _, Expected, View, Write, WriteError, Written};
use causeway_log::replication::{Effect, Moment, Role, Session, SessionConfig};
use causeway_log::store::memory::{Disk, Fault, MemoryStore};
use causeway_log::writer::{Round, WrittenRound};
use causeway_log::{Epoch, Key, Resource, Store, StreamId};
use causeway_projections::rebuild::rebuild;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use super::{Counter, Line, UnderWay, node, trim};

pub(super) struct Edge {
    index: usize,
    disk: Disk,
    pub(super) store: Arc<MemoryStore>,
    machine: EdgeMachine,
    pub(super) view: View,
    queue: VecDeque<Request>,
    written: Option<WrittenRound>,
    pub(super) link: Option<(u64, Line)>,
    clock: Arc<Counter>,
}

impl Edge {
    pub(super) fn on(index: usize, disk: Disk, clock: Arc<Counter>) -> Self {
        let (store, _) = MemoryStore::on(&disk).expect("a disk in memory can be opened");
        let store = Arc::new(store);
        let node = node(index);
        let epoch = Epoch::new(clock.uid());
        let head = begin(&*store, &node, epoch).expect("memory can be written");
        let streams = [StreamId::down(node.clone()), StreamId::up(node.clone())];
        let view = View::new(rebuild(&*store, &streams).expect("memory can be read"));
        let (head, _) = watch::channel(head);
        let machine = EdgeMachine::new(
            node.clone(),
            Arc::<MemoryStore>::clone(&store) as Arc<dyn Store>,
            view.clone(),
            head,
            FirstSync::read(&*store, &node).expect("memory can be read"),
            Arc::<Counter>::clone(&clock),
        );
        Self {
            index,
            disk,
            store,
            machine,
            view,
            queue: VecDeque::new(),
            written: None,
            link: None,
            clock,
        }
    }

    /// Power goes: what is not synced is lost, and the session. The disk works when it is back.
    pub(super) fn crash(&mut self) {
        self.disk.crash();
        self.disk.heal();
        *self = Self::on(self.index, self.disk.clone(), Arc::clone(&self.clock));
    }

    /// The disk is replaced by an empty one.
    pub(super) fn wipe(&mut self) {
        *self = Self::on(self.index, Disk::new(), Arc::clone(&self.clock));
    }

    /// Writing goes wrong from here on.
    pub(super) fn fail(&self, fault: Fault) {
        self.disk.set_fault(fault);
    }

    /// The disk is as good as new, once nothing is half written.
    pub(super) fn mend(&mut self) {
        while self.written.is_some() {
            self.write_step();
        }
        self.disk.heal();
        self.store.try_recover().expect("the disk works");
    }

    /// Lets go of history, between two rounds.
    pub(super) fn trim(&self) {
        if self.written.is_none() {
            trim(&*self.store);
        }
    }

    /// The link is gone; what the session asked for is still written before the next one.
    pub(super) fn cut(&mut self) {
        self.link = None;
        while self.write_step() {}
    }

    pub(super) fn dial(&mut self, number: u64) {
        self.cut();
        let spare = Epoch::new(self.clock.uid());
        let config = SessionConfig::new(Role::Edge, node(self.index), self.clock.uid(), spare);
        let session = Session::new(config, Moment::default(), &*self.store);
        self.link = Some((number, Line::new(session)));
    }

    /// Half a round of the writer: plan and append, or sync.
    pub(super) fn write_step(&mut self) -> bool {
        if let Some(written) = self.written.take() {
            written.sync(&mut self.machine, &*self.store);
            return true;
        }
        let Some(first) = self.queue.pop_front() else {
            return false;
        };
        let queue = &mut self.queue;
        let (round, deferred) = Round::plan(&mut self.machine, first, || queue.pop_front());
        if let Some(deferred) = deferred {
            self.queue.push_front(deferred);
        }
        self.written = round.append(&mut self.machine, &*self.store);
        true
    }

    /// One step of the link. Gives whether anything happened, and frames for the cloud.
    pub(super) fn link_step(&mut self) -> (bool, Vec<Bytes>) {
        let Some((_, line)) = &mut self.link else {
            return (false, Vec::new());
        };
        let mut moved = line.advance(&*self.store);
        while let Some(effect) = line.session.poll_effect() {
            moved = true;
            if let Effect::Write(write) = effect {
                let (done, told) = oneshot::channel();
                line.writes.push_back(UnderWay::new(told));
                self.queue.push_back(Request::Session { write, done });
            }
        }
        let frame = line.session.poll_frame(Moment::default(), &*self.store);
        let moved = moved || frame.is_some();
        if frame.is_none() && line.is_over() {
            self.link = None;
        }
        (moved, frame.into_iter().collect())
    }

    fn live(&self, plural: &str, name: &str) -> Option<(Key, Expected, Value)> {
        self.view.read(|objects| {
            let entry = objects.get(&Resource::core(plural), "default", name)?;
            let expected = Expected::At(entry.modified());
            Some((entry.key().clone(), expected, entry.object()))
        })
    }

    fn write(&mut self, write: Write) -> oneshot::Receiver<Result<Written, WriteError>> {
        let (done, told) = oneshot::channel();
        let write = Box::new(write);
        self.queue.push_back(Request::Local { write, done });
        told
    }

    /// The node reports the phase of a pod that it holds.
    pub(super) fn report(&mut self, name: &str, phase: u8) {
        if let Some((key, expected, mut object)) = self.live("pods", name) {
            object["status"] = json!({"phase": format!("phase-{phase}")});
            drop(self.write(Write {
                key,
                expected,
                change: Change::Status(object),
            }));
        }
    }

    /// A program at the edge edits a ConfigMap.
    pub(super) fn edit(&mut self, name: &str, value: u8) -> bool {
        let Some((key, expected, mut object)) = self.live("configmaps", name) else {
            return false;
        };
        object["data"] = json!({"setting": value.to_string()});
        drop(self.write(Write {
            key,
            expected,
            change: Change::Put(object),
        }));
        true
    }
}
