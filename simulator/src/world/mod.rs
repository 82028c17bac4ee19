//! A whole system in one process and in no time: one cloud, its edges, their links and disks.
//!
//! ```text
//!   users ──▶ cluster machine ◀─▶ disk        edge machine ◀─▶ disk
//!                  │  hub              links        │  view
//!              session ◀──────▶ pipes, stalls ──▶ session   kubelet: planner ─▶ runtime
//! ```
//!
//! What decides is the real code: machines, sessions, projections, controllers, planner. What is
//! simulated is what surrounds it: time, links, disks, processes, users. Everything is an event in
//! one queue; what is idle costs only its timers. Nothing is drawn from the operating system, so
//! one seed is one history.

mod act;
mod apps;
mod balancer;
mod check;
mod clock;
mod cloud;
mod device;
mod differ;
mod edge;
mod facts;
mod fault;
mod freeze;
mod history;
mod kubelet;
mod link;
mod mangle;
mod node;
mod options;
mod queue;
mod register;
mod release;
mod rest;
mod runtime;
mod seen;
mod session;
mod state;
mod streams;
mod twins;
mod user;
mod watcher;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use causeway_cloud_sync::CloudConfig;
use causeway_cloud_sync::config::Control;
use causeway_kube_api::Catalog;
use causeway_log::NodeName;
use causeway_log::replication::{Invariant, Moment};
use causeway_log::store::memory::{Disk, Image};
use serde_json::Value;

pub use act::{Act, Cut, DiskFault, Said, Who};
pub use options::Options;
pub use seen::{Kind, Seen};
pub use state::{ContainerState, NodeState, PodState, Stats, Violation};

use crate::errors::Errors;
use crate::rng::{Purpose, mix, stream};
use crate::trace::Trace;
use clock::MachineClock;
use cloud::CloudRun;
use link::Conn;
use node::Node;
use queue::{Event, Owner, Queue};
use release::Versions;
use user::{Promises, User};
use writer::After;

/// How often a world that settles looks whether it has.
const LOOK: Duration = Duration::from_secs(1);

/// The end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Edge,
    Cloud,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Edge => Self::Cloud,
            Self::Cloud => Self::Edge,
        }
    }
}

/// See the [module documentation](self).
#[derive(Debug)]
pub struct World {
    seed: u64,
    options: Options,
    now: Duration,
    shared_now: Arc<AtomicU64>,
    queue: Queue,
    chance: Chance,
    trace: Trace,
    stats: Stats,
    /// Events since time last moved.
    standing: u32,
    violation: Option<Violation>,
    watch: check::Watch,
    errors: Errors,
    catalog: Catalog,

    cloud: Option<CloudRun>,
    control: Control,
    cloud_life: u64,
    cloud_clock: Arc<MachineClock>,
    cloud_disk: Disk,
    cloud_image: Option<Image>,
    cloud_has_fault: bool,
    wants_cloud: bool,
    /// An old copy of the cloud's disk, or an empty one, was put in.
    has_lost_history: bool,
    /// It stands still until then.
    cloud_frozen: Duration,
    /// What it speaks.
    cloud_speaks: Versions,
    /// The load balancer takes calls although nobody is there.
    swallows: bool,
    /// Nobody stands still after this.
    thawed: Duration,

    nodes: Vec<Node>,
    names: BTreeMap<NodeName, usize>,
    conns: BTreeMap<u64, Conn>,
    next_conn: u64,
    next_kubelet: u64,
    /// Connections whose cloud end waits for writes.
    waiting: BTreeSet<u64>,

    users: Vec<User>,
    /// Users whose write is under way.
    asking: Vec<usize>,
    promises: Promises,
    /// What they were as a copy of the cloud's disk was taken.
    copied_promises: Promises,
    /// Lives of objects that somebody wants gone.
    deleted: BTreeSet<String>,
    watchers: Option<Box<watcher::Watchers>>,
    /// Events of nodes that were in the cloud at some time: FACT-1.
    shown_events: BTreeSet<String>,
    /// Whose store was opened last, and what it said was not looked at yet.
    opened: Option<Owner>,
}

/// Streams of random numbers.
#[derive(Debug)]
struct Chance {
    network: fastrand::Rng,
    disk: fastrand::Rng,
    process: fastrand::Rng,
    tails: fastrand::Rng,
    mangles: fastrand::Rng,
}

impl Chance {
    fn new(seed: u64) -> Self {
        Self {
            network: stream(seed, Purpose::Network),
            disk: stream(seed, Purpose::Disk),
            process: stream(seed, Purpose::Process),
            tails: stream(mix(seed), Purpose::Tails),
            mangles: stream(mix(seed), Purpose::Mangles),
        }
    }
}

impl World {
    /// A world in which everything has just been started on empty disks.
    ///
    /// # Panics
    /// When a name in `options` is no node name.
    #[must_use]
    pub fn new(seed: u64, options: Options) -> Self {
        let shared_now = Arc::new(AtomicU64::new(0));
        let names: Vec<String> = match options.names.is_empty() {
            true => (0..options.nodes).map(|n| format!("n{n}")).collect(),
            false => options.names.clone(),
        };
        let clock = |machine| MachineClock::new(&shared_now, seed, machine);
        let node = |(n, name): (usize, &String)| {
            let name = NodeName::new(name).expect("the options name valid nodes");
            Node::new(n, name, clock(n as u64 + 1), &options)
        };
        let nodes: Vec<Node> = names.iter().enumerate().map(node).collect();
        let numbers = nodes.iter().enumerate();
        let names = numbers.map(|(n, node)| (node.name.clone(), n)).collect();
        let mut world = Self {
            seed,
            trace: Trace::of(options.trace),
            cloud_clock: clock(0),
            options,
            now: Duration::ZERO,
            queue: Queue::default(),
            chance: Chance::new(seed),
            stats: Stats::default(),
            standing: 0,
            violation: None,
            watch: check::Watch::default(),
            errors: Errors::new(),
            catalog: Catalog::builtin(),
            cloud: None,
            control: CloudConfig::new("").control,
            cloud_life: 0,
            cloud_disk: Disk::new(),
            cloud_image: None,
            cloud_has_fault: false,
            wants_cloud: true,
            has_lost_history: false,
            cloud_frozen: Duration::ZERO,
            cloud_speaks: Versions::OWN,
            swallows: false,
            thawed: Duration::ZERO,
            nodes,
            names,
            conns: BTreeMap::new(),
            next_conn: 0,
            next_kubelet: 0,
            waiting: BTreeSet::new(),
            users: Vec::new(),
            asking: Vec::new(),
            promises: Promises::default(),
            copied_promises: Promises::default(),
            deleted: BTreeSet::new(),
            watchers: None,
            shown_events: BTreeSet::new(),
            opened: None,
            shared_now,
        };
        world.watched(|world| {
            world.start_cloud();
            for n in 0..world.nodes.len() {
                world.start_edge(n);
                world.start_kubelet(n);
            }
            if world.options.watches {
                world.begin_watches();
            }
        });
        world
    }

    /// Virtual time.
    #[must_use]
    pub const fn now(&self) -> Moment {
        Moment(self.now)
    }

    /// The names of the nodes.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeName> {
        self.nodes.iter().map(|node| node.name.clone()).collect()
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// [`Violation`]: the first invariant that was broken, also when that was before.
    pub fn run_until(&mut self, at: Moment) -> Result<(), Violation> {
        self.watched(|world| {
            while world.violation.is_none() {
                let Some((now, event)) = world.queue.pop(at.0) else {
                    world.pass(at.0);
                    break;
                };
                world.check_progress(now, &event);
                world.pass(now);
                world.stats.events += 1;
                let writes = event.writes();
                world.handle(event);
                world.check_errors(writes);
            }
        });
        self.violation.clone().map_or(Ok(()), Err)
    }

    /// Does something, now.
    pub fn act(&mut self, act: Act) {
        self.watched(|world| {
            world
                .trace
                .event(world.now, "act", "-", format_args!("{act:?}"));
            world.do_act(act);
        });
    }

    /// Does something when its time comes.
    pub fn act_at(&mut self, at: Moment, act: Act) {
        self.queue
            .push(at.0.max(self.now), Event::Act(Box::new(act)));
    }

    /// Heals everything and runs until all is in order; says how long that took.
    ///
    /// # Errors
    /// [`Violation`]; it names what differs when the time is over.
    pub fn settle(&mut self, within: Duration) -> Result<Duration, Violation> {
        let began = self.now;
        self.act_healing();
        loop {
            self.run_until(Moment(self.now + LOOK))?;
            let took = self.now.saturating_sub(began);
            match self.converged() {
                Ok(()) => {
                    self.check_rest();
                    self.trace
                        .event(self.now, "settled", "-", format_args!("{took:?}"));
                    return self.violation.clone().map_or(Ok(took), Err);
                }
                Err((invariant, what)) if took >= within => {
                    self.violate(invariant, format!("not after {took:?}: {what}"));
                }
                Err(_) => {}
            }
        }
    }

    fn act_healing(&mut self) {
        self.trace.event(self.now, "heal", "-", format_args!(""));
        self.watched(Self::heal_all);
    }

    /// A node.
    #[must_use]
    pub fn node(&self, node: &NodeName) -> NodeState {
        let Some(n) = self.find(node) else {
            return NodeState::default();
        };
        let node = &self.nodes[n];
        NodeState {
            connected: self.is_connected(n),
            edge_running: node.edge.is_some(),
            edged_running: node.kubelet.is_some(),
            serving: node
                .edge
                .as_ref()
                .is_some_and(|edge| edge.first_sync.is_done()),
            pods: node.runtime.show(),
        }
    }

    /// All objects in the cloud; none while it does not run.
    #[must_use]
    pub fn cloud_objects(&self) -> Vec<Value> {
        let Some(cloud) = &self.cloud else {
            return Vec::new();
        };
        cloud.view.read(|objects| {
            let entries = objects
                .resources()
                .flat_map(|r| objects.list(r, None, None));
            entries.map(|entry| entry.object()).collect()
        })
    }

    /// What happened.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The digest of the run: the same for the same seed, options and acts.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.trace.digest()
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats;
        stats.elapsed = self.now;
        let nodes = self.nodes.iter().map(|node| &node.disk);
        for disk in nodes.chain([&self.cloud_disk]) {
            stats.seen.add(Kind::FailedReads, disk.failed_reads());
        }
        stats
    }

    /// With the ERROR events of this thread caught.
    fn watched<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        let errors = self.errors.clone();
        errors.catch(|| run(self))
    }

    fn pass(&mut self, now: Duration) {
        self.now = now;
        let micros = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        self.shared_now.store(micros, Ordering::Relaxed);
    }

    fn find(&self, node: &NodeName) -> Option<usize> {
        self.names.get(node).copied()
    }

    fn handle(&mut self, event: Event) {
        let Some(event) = self.unless_frozen(event) else {
            return;
        };
        match event {
            Event::Act(act) => {
                self.trace
                    .event(self.now, "act", "-", format_args!("{act:?}"));
                self.do_act(*act);
            }
            Event::Deliver { conn, to } => self.deliver(conn, to),
            Event::Lost { conn, at, why } => self.lose(conn, at, why),
            Event::Accept { conn } => self.accept(conn),
            Event::Dialed { conn } => self.dialed(conn),
            Event::DialFailed {
                node,
                life,
                retry_after,
            } => self.dial_failed(node, life, retry_after),
            Event::Dial { node, life } => self.dial(node, life),
            Event::Timer { conn, side, at } => self.timer(conn, side, at),
            Event::Fence { conn } => self.fence(conn),
            Event::Drain { node, life } => self.drain(node, life),
            Event::Trim { owner, life } => self.trim(owner, life),
            Event::Round { owner, life } => match owner {
                Owner::Cloud => self.cloud_round(life),
                Owner::Edge(n) => self.edge_round(n, life),
            },
            Event::Synced { owner, life } => match owner {
                Owner::Cloud => self.cloud_synced(life),
                Owner::Edge(n) => {
                    self.edge_synced(n, life);
                    self.check_acked(n);
                }
            },
            Event::Recover { owner, life } => match owner {
                Owner::Cloud => self.recover_cloud(life),
                Owner::Edge(n) => self.recover_edge(n, life),
            },
            Event::Turn { life } => self.turn(life),
            Event::Tick { life } => self.tick(life),
            Event::FlushAcks { life } => self.flush_acks(life),
            Event::Look { node, at } => self.look(node, at),
            Event::Step { node, life, uid } => self.step(node, life, uid),
            Event::Exit {
                node,
                boot,
                container,
                code,
            } if self.nodes[node].boot == boot => self.exit(node, &container, code),
            Event::Exit { .. } => {}
            Event::Boot { node, boot } => self.boot(node, boot),
            Event::Ask { user } => self.ask(user),
            Event::Pull { client } => self.pull(client),
            Event::Flap { node, flap } => self.flap(node, flap),
            Event::Thaw { who } => self.thaw(&who),
            Event::Drained { life, gap } => self.drained(life, gap),
            Event::Calm { node, calm } => self.check_calm(node, calm),
            Event::Fair { node, fair, offset } => self.check_fair(node, fair, offset),
        }
    }

    /// What follows a round of a writer.
    fn next_round(&mut self, owner: Owner, life: u64, after: After) {
        match after {
            After::Syncing => {
                let took = self.options.sync_max.mul_f64(self.chance.disk.f64());
                self.queue
                    .push(self.now + took, Event::Synced { owner, life });
            }
            After::More => self.queue.push(self.now, Event::Round { owner, life }),
            After::Rest => {}
        }
    }
}
