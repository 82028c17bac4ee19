//! The sync daemon of a node: start, link, writes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::session_driver::{SessionEnd, WriteRefused};
use causeway_edge_sync::config::TwinsConfig;
use causeway_edge_sync::first_sync::FirstSync;
use causeway_edge_sync::machine::{EdgeMachine, Request, begin};
use causeway_edge_sync::twins::TwinsView;
use causeway_kube_api::{Clock, View};
use causeway_log::limits::HANDSHAKE_TIMEOUT;
use causeway_log::replication::{Backoff, Moment, Role, Session, SessionConfig};
use causeway_log::store::memory::MemoryStore;
use causeway_log::wire::Encoder;
use causeway_log::{Batch, Direction, Epoch, Resource, Store, StreamId};
use causeway_projections::{rebuild::rebuild, twin::rebuild_twins};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use super::apps::App;
use super::device::Reporting;
use super::link::{Budget, Conn, End, Pipe};
use super::queue::{Event, Owner};
use super::seen::Kind;
use super::writer::{After, Writer};
use super::{Invariant, Side, World};

/// Bodies that were encoded and may be encoded again.
const ENCODER_BYTES: usize = 1 << 20;

/// A start of the daemon.
#[derive(Debug)]
pub(super) struct EdgeRun {
    pub(super) life: u64,
    pub(super) writer: Writer<EdgeMachine>,
    pub(super) view: View,
    pub(super) twins: TwinsView,
    pub(super) first_sync: FirstSync,
    backoff: Backoff,
    incarnation: Uuid,
    encoder: Arc<Encoder>,
    /// Writes of a session that is over; the next one begins after them.
    lingering: VecDeque<oneshot::Receiver<Result<(), WriteRefused>>>,
    /// Writes of applications.
    pub(super) apps: Vec<App>,
    /// Reports of devices.
    pub(super) reports: Vec<Reporting>,
    /// Readings that wait are being sent on.
    pub(super) draining: Option<oneshot::Receiver<()>>,
    /// When they are looked at next.
    pub(super) drains_at: Option<Duration>,
    pub(super) conn: Option<u64>,
    pub(super) recovering: bool,
}

impl World {
    pub(super) fn start_edge(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        node.wants_edge = true;
        if node.edge.is_some() || !node.is_powered {
            return;
        }
        node.life += 1;
        let life = node.life;
        let name = node.name.clone();
        let started = self.open_edge(n, life);
        match started {
            Ok(edge) => {
                self.nodes[n].edge = Some(edge);
                self.drain_later(n);
                self.trace
                    .event(self.now, "start", name.as_str(), format_args!("edge"));
                self.nodes[n].edge_frozen = Duration::ZERO;
                self.disturb(n);
                self.trim_later(Owner::Edge(n), life);
                self.queue.push(self.now, Event::Dial { node: n, life });
                if let Some(kubelet) = &mut self.nodes[n].kubelet {
                    kubelet.is_registered = false;
                }
                self.look_at(n, self.now);
            }
            // A disk that cannot be written to has no new store; the supervisor tries again.
            Err(why) => {
                self.stats.seen.add(Kind::FailedStarts, 1);
                self.trace.event(
                    self.now,
                    "start failed",
                    name.as_str(),
                    format_args!("{why}"),
                );
                let again = Event::Boot {
                    node: n,
                    boot: self.nodes[n].boot,
                };
                self.queue.push(self.now + Duration::from_secs(1), again);
            }
        }
    }

    fn open_edge(&mut self, n: usize, life: u64) -> Result<EdgeRun, String> {
        self.opened = Some(Owner::Edge(n));
        let disk = self.nodes[n].disk.clone();
        let (store, _) = MemoryStore::on(&disk).map_err(|error| error.to_string())?;
        self.note_applied(Owner::Edge(n), &store);
        disk.read_anyway(|| self.note_opened(n, &store));
        let store = Arc::new(store);
        let node = &self.nodes[n];
        let epoch = Epoch::new(node.clock.uid());
        let head = begin(&*store, &node.name, epoch).map_err(|error| error.to_string())?;
        let streams = [
            StreamId::down(node.name.clone()),
            StreamId::up(node.name.clone()),
        ];
        let view = View::new(rebuild(&*store, &streams).map_err(|error| error.to_string())?);
        let twins = rebuild_twins(&*store, &node.name).map_err(|error| error.to_string())?;
        let twins = TwinsView::new(twins);
        let first_sync = FirstSync::read(&*store, &node.name).map_err(|error| error.to_string())?;
        let (sender, _) = watch::channel(head);
        let dyn_store: Arc<dyn Store> = store.clone();
        let clock: Arc<dyn Clock> = node.clock.clone();
        let machine = EdgeMachine::new(
            node.name.clone(),
            dyn_store,
            view.clone(),
            sender,
            first_sync.clone(),
            clock,
        )
        .with_twins(twins.clone(), TwinsConfig::default())
        .map_err(|error| error.to_string())?;
        Ok(EdgeRun {
            life,
            writer: Writer::new(machine, store),
            view,
            twins,
            first_sync,
            backoff: Backoff::new(self.chance.network.u64(..)),
            incarnation: node.clock.uid(),
            encoder: Arc::new(Encoder::new(ENCODER_BYTES)),
            lingering: VecDeque::new(),
            apps: Vec::new(),
            reports: Vec::new(),
            draining: None,
            drains_at: None,
            conn: None,
            recovering: false,
        })
    }

    /// The daemon is killed; what was on its way to the disk may have made it.
    pub(super) fn kill_edge(&mut self, n: usize, is_power_lost: bool) {
        let node = &mut self.nodes[n];
        node.life += 1;
        if node.edge.take().is_some() {
            let disk = node.disk.clone();
            let kept = self.crash(&disk);
            let name = self.nodes[n].name.clone();
            self.trace.event(
                self.now,
                "kill",
                name.as_str(),
                format_args!("edge, {kept} batches kept"),
            );
        }
        self.disturb(n);
        for id in self.nodes[n].conns.clone() {
            let Some(conn) = self.conns.get_mut(&id) else {
                continue;
            };
            let was_there = conn.edge.take().is_some();
            conn.is_dialing = false;
            if was_there && !is_power_lost && !self.nodes[n].link.is_blocked(Side::Cloud) {
                let at = self.now + self.nodes[n].link.delay;
                let why = "connection reset by peer";
                self.queue.push(
                    at,
                    Event::Lost {
                        conn: id,
                        at: Side::Cloud,
                        why,
                    },
                );
            }
            self.forget_conn(id);
        }
    }

    pub(super) fn ask_edge(&mut self, n: usize, request: Request) {
        if let Some(edge) = &mut self.nodes[n].edge
            && edge.writer.push(request)
        {
            let life = edge.life;
            let owner = Owner::Edge(n);
            self.queue.push(self.now, Event::Round { owner, life });
        }
    }

    pub(super) fn edge_round(&mut self, n: usize, life: u64) {
        let Some(edge) = self.nodes[n].edge.as_mut().filter(|edge| edge.life == life) else {
            return;
        };
        let after = edge.writer.round();
        self.after_edge_round(n, life, after, &Batch::default());
    }

    pub(super) fn edge_synced(&mut self, n: usize, life: u64) {
        let Some(edge) = self.nodes[n].edge.as_mut().filter(|edge| edge.life == life) else {
            return;
        };
        let (batch, after) = edge.writer.synced();
        if !edge.writer.store.stats().read_only {
            self.check_applied(Owner::Edge(n), &batch);
            self.note_kept(n, &batch);
        }
        self.note_fairness(n);
        self.after_edge_round(n, life, after, &batch);
    }

    fn after_edge_round(&mut self, n: usize, life: u64, after: After, batch: &Batch) {
        self.next_round(Owner::Edge(n), life, after);
        self.hear_devices(n);
        self.hear_drain(n);
        self.hear_apps(n);
        let Some(edge) = self.nodes[n].edge.as_mut() else {
            return;
        };
        let is_read_only = edge.writer.store.stats().read_only;
        if is_read_only && !std::mem::replace(&mut edge.recovering, true) {
            let (at, owner) = (self.now + Duration::from_secs(1), Owner::Edge(n));
            self.queue.push(at, Event::Recover { owner, life });
        }
        edge.lingering.retain_mut(|write| {
            matches!(write.try_recv(), Err(oneshot::error::TryRecvError::Empty))
        });
        if after == After::Syncing {
            return;
        }
        let conn = edge.conn;
        let is_own = |entry: &&causeway_log::Entry| {
            matches!(&entry.stream, StreamId::Node(_, Direction::Up))
        };
        let own: Vec<_> = batch.entries.iter().filter(is_own).collect();
        let cost = Budget::of(own.iter().copied());
        let wanted = batch.entries.len() > own.len();
        if let Some(conn) = conn {
            self.written(conn, Side::Edge);
            if !own.is_empty() {
                self.stored(conn, Side::Edge, cost);
            }
        }
        if wanted {
            self.nodes[n].calm += 1;
        }
        self.look_at(n, self.now);
    }

    pub(super) fn recover_edge(&mut self, n: usize, life: u64) {
        let Some(edge) = self.nodes[n].edge.as_mut().filter(|edge| edge.life == life) else {
            return;
        };
        edge.recovering = false;
        let store = edge.writer.store.clone();
        if store.try_recover().is_err() {
            edge.recovering = true;
            let (at, owner) = (self.now + Duration::from_secs(1), Owner::Edge(n));
            self.queue.push(at, Event::Recover { owner, life });
        } else {
            let disk = store.disk().clone();
            disk.read_anyway(|| self.note_opened(n, &*store));
        }
    }

    // === the link ===

    pub(super) fn dial(&mut self, n: usize, life: u64) {
        let Some(edge) = self.nodes[n].edge.as_mut().filter(|edge| edge.life == life) else {
            return;
        };
        if !edge.lingering.is_empty() {
            let at = self.now + Duration::from_millis(5);
            self.queue.push(at, Event::Dial { node: n, life });
            return;
        }
        let link = &self.nodes[n].link;
        let latency = link.latency(&mut self.chance.network);
        let is_blocked = link.is_blocked(Side::Cloud) || link.is_blocked(Side::Edge);
        let failed = |retry_after| Event::DialFailed {
            node: n,
            life,
            retry_after,
        };
        if is_blocked {
            let wait = match link.cut {
                Some(super::Cut::Reset) => latency,
                Some(super::Cut::Silent | super::Cut::Up | super::Cut::Down) | None => {
                    HANDSHAKE_TIMEOUT
                }
            };
            self.queue.push(self.now + wait, failed(None));
            return;
        }
        self.next_conn += 1;
        let id = self.next_conn;
        let conn = Conn {
            node: n,
            life,
            edge: None,
            cloud: None,
            seat: None,
            is_dialing: true,
            to_edge: Pipe::default(),
            to_cloud: Pipe::default(),
        };
        self.conns.insert(id, conn);
        self.nodes[n].conns.push(id);
        self.queue
            .push(self.now + latency, Event::Accept { conn: id });
    }

    pub(super) fn dialed(&mut self, id: u64) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let (n, life) = (conn.node, conn.life);
        conn.is_dialing = false;
        let is_here = (self.nodes[n].edge.as_ref()).is_some_and(|edge| edge.life == life);
        if !is_here {
            if !self.nodes[n].link.is_blocked(Side::Cloud) && self.nodes[n].is_powered {
                self.lose(id, Side::Cloud, "connection reset by peer");
            }
            return;
        }
        let is_blocked = self.nodes[n].link.is_blocked(Side::Edge);
        if is_blocked || conn.cloud.is_none() {
            // No answer comes through, or the cloud has died since.
            let wait = if is_blocked {
                HANDSHAKE_TIMEOUT
            } else {
                Duration::ZERO
            };
            let failed = Event::DialFailed {
                node: n,
                life,
                retry_after: None,
            };
            self.queue.push(self.now + wait, failed);
            self.forget_conn(id);
            return;
        }
        let node = &mut self.nodes[n];
        let spare = Epoch::new(node.clock.uid());
        let Some(edge) = &mut node.edge else { return };
        let config = SessionConfig::new(Role::Edge, node.name.clone(), edge.incarnation, spare)
            .with_encoder(edge.encoder.clone());
        let store = edge.writer.store.clone();
        edge.conn = Some(id);
        let session = Session::new(config, Moment(self.now), &*store);
        conn.edge = Some(End::new(session, store, self.now));
        self.pump(id, Side::Edge);
    }

    pub(super) fn dial_failed(&mut self, n: usize, life: u64, retry_after: Option<Duration>) {
        let Some(edge) = self.nodes[n].edge.as_mut().filter(|edge| edge.life == life) else {
            return;
        };
        let pause = edge.backoff.next(retry_after);
        self.queue
            .push(self.now + pause, Event::Dial { node: n, life });
    }

    pub(super) fn session_over(
        &mut self,
        n: usize,
        life: u64,
        end: &SessionEnd,
        writes: VecDeque<oneshot::Receiver<Result<(), WriteRefused>>>,
    ) {
        let Some(edge) = self.nodes[n].edge.as_mut().filter(|edge| edge.life == life) else {
            return;
        };
        edge.conn = None;
        edge.lingering = writes;
        edge.lingering.retain_mut(|write| {
            matches!(write.try_recv(), Err(oneshot::error::TryRecvError::Empty))
        });
        let outcome = causeway_edge_sync::ended(end);
        if outcome.alive {
            edge.backoff.reset();
        }
        let pause = edge.backoff.next(outcome.retry_after);
        self.queue
            .push(self.now + pause, Event::Dial { node: n, life });
    }

    /// LOG-1 and SYNC-2 at the door of the edge's store: what is to be applied goes on from what
    /// was received.
    pub(super) fn check_incoming(
        &mut self,
        n: usize,
        write: &causeway_log::replication::SessionWrite,
    ) {
        let causeway_log::replication::SessionWrite::Incoming(incoming) = write else {
            return;
        };
        let offsets = incoming.records.iter().map(|(offset, _)| *offset);
        let grows = offsets.clone().zip(offsets.skip(1)).all(|(a, b)| a < b);
        if !grows {
            let what = format!("{}: records out of order", self.nodes[n].name);
            self.violate(Invariant::AppliedOnce, what);
        }
    }

    pub(super) fn edge_is_idle(&self, n: usize) -> bool {
        let node = &self.nodes[n];
        let idle = node.edge.as_ref().is_some_and(|edge| {
            edge.writer.is_idle()
                && edge.apps.is_empty()
                && edge.reports.is_empty()
                && edge.draining.is_none()
        });
        idle && node
            .kubelet
            .as_ref()
            .is_some_and(super::kubelet::Kubelet::is_idle)
    }
}

/// Resources by the name that users give them.
pub(super) fn resource(name: &str) -> Resource {
    match name.split_once('.') {
        None | Some((_, "")) => Resource::core(name.trim_end_matches('.')),
        Some((plural, group)) => Resource::new(group, plural),
    }
}
