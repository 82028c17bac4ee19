//! The cloud service: start, sessions, rounds, controllers, write-back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use causeway_cloud_sync::cluster::{ClusterMachine, Request};
use causeway_cloud_sync::controllers::{Decided, Sight, Turns};
use causeway_cloud_sync::hub::{Hub, Monotonic, Seat};
use causeway_cloud_sync::writeback::{Outcomes, WroteBack};
use causeway_daemon::session_driver::WriteRefused;
use causeway_daemon::tasks::Shutdown;
use causeway_kube_api::{Clock, View, WriteError, Written};
use causeway_log::replication::{Close, CloseCode};
use causeway_log::store::memory::MemoryStore;
use causeway_log::wire::Encoder;
use causeway_log::{Batch, Direction, NodeName, Offset, Store, StreamId};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::link::Budget;
use super::queue::{Event, Owner};
use super::seen::Kind;
use super::writer::{After, Writer};
use super::{Side, World};

const SESSIONS_MAX: usize = 100_000;
const ENCODER_BYTES: usize = 1 << 20;
/// Time alone is a reason for a turn of the controllers this often.
const TICK: Duration = Duration::from_secs(1);
/// An idle cloud takes a turn this often: its ticks decide nothing then.
const TICK_IDLE: Duration = Duration::from_secs(10);
/// Acknowledgements wait this long at most for a batch to travel with.
const ACKS_INTERVAL: Duration = Duration::from_secs(5);

/// Writes of a session that are under way.
pub(super) type Writes = VecDeque<oneshot::Receiver<Result<(), WriteRefused>>>;

/// A start of the service.
#[derive(Debug)]
pub(super) struct CloudRun {
    pub(super) life: u64,
    pub(super) writer: Writer<ClusterMachine>,
    pub(super) hub: Arc<Hub>,
    pub(super) view: View,
    turns: Turns,
    pub(super) encoder: Arc<Encoder>,
    pub(super) incarnation: Uuid,
    pub(super) shutdown: Shutdown,
    turn_due: bool,
    /// There was a reason for a turn while writes of the one before were under way.
    turn_missed: bool,
    write_backs: BTreeMap<NodeName, oneshot::Receiver<Result<WroteBack, WriteError>>>,
    /// Seats of sessions that are over, until their writes are done.
    leaving: Vec<(Seat, Writes)>,
    /// Writes of the controllers under way; their next turn comes after them.
    controls: Vec<oneshot::Receiver<Result<Written, WriteError>>>,
    forgetting: Vec<(NodeName, oneshot::Receiver<Result<bool, WriteError>>)>,
    pub(super) recovering: bool,
}

impl World {
    pub(super) fn start_cloud(&mut self) {
        self.wants_cloud = true;
        if self.cloud.is_some() {
            return;
        }
        self.cloud_life += 1;
        let life = self.cloud_life;
        match self.open_cloud(life) {
            Ok(cloud) => {
                self.cloud = Some(cloud);
                self.trace
                    .event(self.now, "start", "cloud", format_args!(""));
                self.cloud_frozen = Duration::ZERO;
                self.swallows = false;
                self.trim_later(Owner::Cloud, life);
                self.queue.push(self.now, Event::Tick { life });
                self.queue
                    .push(self.now + ACKS_INTERVAL, Event::FlushAcks { life });
                self.write_back();
            }
            Err(why) => {
                self.stats.seen.add(Kind::FailedStarts, 1);
                self.trace
                    .event(self.now, "start failed", "cloud", format_args!("{why}"));
                self.queue.push(self.now + TICK, Event::Tick { life });
            }
        }
        self.disturb_all();
    }

    fn open_cloud(&mut self, life: u64) -> Result<CloudRun, String> {
        self.opened = Some(Owner::Cloud);
        let disk = self.cloud_disk.clone();
        let (store, _) = MemoryStore::on(&disk).map_err(|error| error.to_string())?;
        self.note_applied(Owner::Cloud, &store);
        disk.read_anyway(|| self.note_cloud_opened(&store));
        let store = Arc::new(store);
        let time: Arc<dyn Monotonic> = self.cloud_clock.clone();
        let clock: Arc<dyn Clock> = self.cloud_clock.clone();
        let hub = Hub::with_time(SESSIONS_MAX, time);
        let dyn_store: Arc<dyn Store> = store.clone();
        let outcomes = Arc::new(Outcomes::default());
        let machine = ClusterMachine::start(dyn_store, clock, hub.clone(), outcomes)
            .map_err(|error| error.to_string())?;
        self.note_events(&machine.view());
        // What was received before and not applied.
        for stream in store.streams().unwrap_or_default() {
            if let StreamId::Node(node, Direction::Up) = stream {
                hub.tell_received(node);
            }
        }
        Ok(CloudRun {
            life,
            view: machine.view(),
            writer: Writer::new(machine, store),
            hub,
            turns: Turns::new(),
            encoder: Arc::new(Encoder::new(ENCODER_BYTES)),
            incarnation: self.cloud_clock.uid(),
            shutdown: Shutdown::new(),
            turn_due: false,
            turn_missed: false,
            write_backs: BTreeMap::new(),
            leaving: Vec::new(),
            controls: Vec::new(),
            forgetting: Vec::new(),
            recovering: false,
        })
    }

    pub(super) fn kill_cloud(&mut self) {
        self.cloud_life += 1;
        self.disturb_all();
        let ids: Vec<u64> = self.conns.keys().copied().collect();
        for id in ids {
            let Some(conn) = self.conns.get_mut(&id) else {
                continue;
            };
            conn.seat = None;
            if conn.cloud.take().is_some() {
                let link = &self.nodes[conn.node].link;
                if !link.is_blocked(Side::Edge) {
                    let (at, why) = (self.now + link.delay, "connection reset by peer");
                    self.queue.push(
                        at,
                        Event::Lost {
                            conn: id,
                            at: Side::Edge,
                            why,
                        },
                    );
                }
            }
            self.forget_conn(id);
        }
        if self.cloud.take().is_some() {
            let disk = self.cloud_disk.clone();
            let kept = self.crash(&disk);
            self.trace.event(
                self.now,
                "kill",
                "cloud",
                format_args!("{kept} batches kept"),
            );
        }
        self.hear_users();
    }

    pub(super) fn ask_cloud(&mut self, request: Request) {
        if let Some(cloud) = &mut self.cloud
            && cloud.writer.push(request)
        {
            let (owner, life) = (Owner::Cloud, cloud.life);
            self.queue.push(self.now, Event::Round { owner, life });
        }
    }

    // === sessions ===

    /// A session takes its node over, when no newer one has it.
    pub(super) fn take_over(&mut self, id: u64) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        let Some((seat, _)) = &conn.seat else { return };
        seat.take_over(Clock::now(&*self.cloud_clock));
        for other in &self.nodes[conn.node].conns {
            self.queue.push(self.now, Event::Fence { conn: *other });
        }
        self.turn_soon();
    }

    /// Somebody may want the session to close.
    pub(super) fn fence(&mut self, id: u64) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let asked = conn
            .seat
            .as_ref()
            .and_then(|(_, control)| control.requested());
        let is_stopping = |cloud: &CloudRun| cloud.shutdown.token().is_set();
        let asked = asked.or_else(|| {
            let stops = self.cloud.as_ref().is_some_and(is_stopping);
            stops.then(|| Close {
                code: CloseCode::GoingAway,
                reason: "this side is stopping".to_owned(),
                retry_after: None,
                by_peer: false,
            })
        });
        if let (Some(close), Some(end)) = (asked, &mut conn.cloud) {
            end.session
                .close(close.code, &close.reason, close.retry_after);
            self.pump(id, Side::Cloud);
        }
    }

    /// A session is over; its seat is free when its writes are done.
    pub(super) fn leave(&mut self, seat: Seat, writes: Writes) {
        if let Some(cloud) = &mut self.cloud {
            cloud.leaving.push((seat, writes));
            self.free_seats();
        }
    }

    fn free_seats(&mut self) {
        let Some(cloud) = &mut self.cloud else { return };
        let now = Clock::now(&*self.cloud_clock);
        let before = cloud.leaving.len();
        cloud.leaving.retain_mut(|(seat, writes)| {
            writes.retain_mut(|write| {
                matches!(write.try_recv(), Err(oneshot::error::TryRecvError::Empty))
            });
            if writes.is_empty() {
                seat.leave("over", now);
            }
            !writes.is_empty()
        });
        if cloud.leaving.len() < before {
            self.turn_soon();
        }
    }

    // === rounds ===

    pub(super) fn cloud_round(&mut self, life: u64) {
        let Some(cloud) = self.cloud.as_mut().filter(|cloud| cloud.life == life) else {
            return;
        };
        let after = cloud.writer.round();
        self.after_cloud_round(life, after, &Batch::default());
    }

    pub(super) fn cloud_synced(&mut self, life: u64) {
        let Some(cloud) = self.cloud.as_mut().filter(|cloud| cloud.life == life) else {
            return;
        };
        let (batch, after) = cloud.writer.synced();
        if !cloud.writer.store.stats().read_only {
            self.check_applied(Owner::Cloud, &batch);
            self.note_arrived(&batch);
            self.note_shown(&batch);
        }
        self.after_cloud_round(life, after, &batch);
    }

    fn after_cloud_round(&mut self, life: u64, after: After, batch: &Batch) {
        self.next_round(Owner::Cloud, life, after);
        let Some(cloud) = &mut self.cloud else { return };
        let is_read_only = cloud.writer.store.stats().read_only;
        if is_read_only && !std::mem::replace(&mut cloud.recovering, true) {
            let (at, owner) = (self.now + TICK, Owner::Cloud);
            self.queue.push(at, Event::Recover { owner, life });
        }
        let waiting = self.waiting.clone();
        for id in waiting {
            self.written(id, Side::Cloud);
        }
        self.waiting.retain(|id| {
            let end = self.conns.get(id).and_then(|conn| conn.cloud.as_ref());
            end.is_some_and(|end| !end.writes.is_empty())
        });
        if after == After::Syncing {
            return;
        }
        let mut changed: BTreeMap<usize, Vec<&causeway_log::Entry>> = BTreeMap::new();
        for entry in &batch.entries {
            if let StreamId::Node(name, Direction::Down) = &entry.stream
                && let Some(n) = self.names.get(name)
            {
                changed.entry(*n).or_default().push(entry);
            }
        }
        for (n, entries) in changed {
            let cost = Budget::of(entries.into_iter());
            for id in self.nodes[n].conns.clone() {
                self.stored(id, Side::Cloud, cost);
            }
            self.watch_fairness(n);
        }
        self.free_seats();
        self.write_back();
        self.hear_users();
        self.control();
        if !batch.entries.is_empty() {
            self.turn_soon();
        }
    }

    pub(super) fn recover_cloud(&mut self, life: u64) {
        let Some(cloud) = self.cloud.as_mut().filter(|cloud| cloud.life == life) else {
            return;
        };
        cloud.recovering = false;
        let store = cloud.writer.store.clone();
        if store.try_recover().is_err() {
            cloud.recovering = true;
            let (at, owner) = (self.now + TICK, Owner::Cloud);
            self.queue.push(at, Event::Recover { owner, life });
        } else {
            self.note_cloud_opened(&*store);
        }
        self.turn_soon();
    }

    pub(super) fn flush_acks(&mut self, life: u64) {
        if self.cloud.as_ref().is_some_and(|cloud| cloud.life == life) {
            self.ask_cloud(Request::FlushAcks);
            self.queue
                .push(self.now + ACKS_INTERVAL, Event::FlushAcks { life });
        }
    }

    /// What nodes sent is applied to the cluster, page by page.
    pub(super) fn write_back(&mut self) {
        let Some(cloud) = &mut self.cloud else { return };
        let mut failed = false;
        let hub = &cloud.hub;
        cloud
            .write_backs
            .retain(|node, answer| match answer.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => true,
                Ok(Ok(WroteBack { more: false, .. })) => false,
                Ok(Ok(WroteBack { more: true, .. })) => {
                    hub.tell_received(node.clone());
                    false
                }
                Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) => {
                    failed = true;
                    hub.tell_received(node.clone());
                    false
                }
            });
        if failed {
            // The next tick tries again.
            return;
        }
        let mut requests = Vec::new();
        for node in cloud.hub.take_received() {
            if cloud.write_backs.contains_key(&node) {
                cloud.hub.tell_received(node);
                continue;
            }
            let (answer, answered) = oneshot::channel();
            cloud.write_backs.insert(node.clone(), answered);
            requests.push(Request::WriteBack { node, answer });
        }
        for request in requests {
            self.ask_cloud(request);
        }
    }

    // === controllers ===

    pub(super) fn turn_soon(&mut self) {
        if let Some(cloud) = &mut self.cloud
            && !std::mem::replace(&mut cloud.turn_due, true)
        {
            self.queue.push(self.now, Event::Turn { life: cloud.life });
        }
    }

    pub(super) fn tick(&mut self, life: u64) {
        if self.cloud.is_none() && self.wants_cloud && life == self.cloud_life {
            self.start_cloud();
            return;
        }
        if self.cloud.as_ref().is_some_and(|cloud| cloud.life == life) {
            self.write_back();
            self.turn_soon();
            let is_busy = self.users.iter().any(|user| !user.is_done());
            let pause = if is_busy { TICK } else { TICK_IDLE };
            self.queue.push(self.now + pause, Event::Tick { life });
        }
    }

    pub(super) fn turn(&mut self, life: u64) {
        let Some(cloud) = self.cloud.as_mut().filter(|cloud| cloud.life == life) else {
            return;
        };
        cloud.turn_due = false;
        if !cloud.controls.is_empty() {
            cloud.turn_missed = true;
            return;
        }
        let Decided { writes, leavers } = cloud.turns.decide(&Sight {
            view: &cloud.view,
            hub: &cloud.hub,
            store: &*cloud.writer.store,
            control: &self.control,
            now: Clock::now(&*self.cloud_clock),
            elapsed: self.now,
        });
        let mut requests = Vec::new();
        for write in writes {
            let (answer, answered) = oneshot::channel();
            cloud.controls.push(answered);
            let write = Box::new(write);
            requests.push(Request::Write { write, answer });
        }
        for node in leavers {
            if cloud.forgetting.iter().all(|(known, _)| *known != node) {
                let (answer, answered) = oneshot::channel();
                cloud.forgetting.push((node.clone(), answered));
                requests.push(Request::Forget { node, answer });
            }
        }
        for request in requests {
            self.ask_cloud(request);
        }
    }

    /// Takes the answers to the controllers.
    fn control(&mut self) {
        let Some(cloud) = &mut self.cloud else { return };
        let hub = &cloud.hub;
        cloud.controls.retain_mut(|answer| {
            matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Empty))
        });
        cloud
            .forgetting
            .retain_mut(|(node, answer)| match answer.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => true,
                Ok(Ok(true)) => {
                    hub.forget(node);
                    false
                }
                Ok(_) | Err(oneshot::error::TryRecvError::Closed) => false,
            });
        if cloud.controls.is_empty() && std::mem::take(&mut cloud.turn_missed) {
            self.turn_soon();
        }
    }

    pub(super) fn cloud_is_idle(&self) -> bool {
        self.cloud.as_ref().is_some_and(|cloud| {
            cloud.writer.is_idle() && cloud.write_backs.is_empty() && cloud.controls.is_empty()
        })
    }

    /// The durable head of what a node is sent.
    pub(super) fn down_head(&self, n: usize) -> Offset {
        let stream = StreamId::down(self.nodes[n].name.clone());
        let store = self.cloud.as_ref().map(|cloud| &cloud.writer.store);
        let info = store.and_then(|store| store.stream(&stream).ok().flatten());
        info.map_or(Offset::ZERO, |info| info.durable)
    }
}
