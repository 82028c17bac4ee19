//! Acts become events and states.

use std::time::Duration;

use causeway_log::NodeName;
use causeway_log::store::memory::{Disk, Fault};

use super::kubelet::Kubelet;
use super::link::Link;
use super::queue::{Event, Owner};
use super::release::Versions;
use super::seen::Kind;
use super::user::Promises;
use super::{Act, Cut, DiskFault, Side, Who, World};

/// A machine takes so many milliseconds to boot.
const BOOT_MILLIS: std::ops::RangeInclusive<u64> = 2_000..=20_000;

impl World {
    pub(super) fn do_act(&mut self, act: Act) {
        self.stats.acts += 1;
        self.stats.seen.act(&act);
        match act {
            Act::Apply(manifest) => self.apply(manifest),
            Act::Delete {
                resource,
                namespace,
                name,
                grace,
            } => self.delete(super::edge::resource(&resource), &namespace, &name, grace),
            Act::EdgeWrite {
                node,
                resource,
                namespace,
                name,
                patch,
            } => self.edge_write(&node, &resource, (&namespace, &name), patch),
            Act::Cut { node, kind } => self.with(&node, |world, n| {
                world.stop_flapping(n);
                world.cut(n, kind);
            }),
            Act::Heal { node } => self.with(&node, Self::heal),
            Act::Flap { node, up, down } => {
                self.with(&node, |world, n| world.start_flapping(n, up, down));
            }
            Act::Slow {
                node,
                delay,
                jitter,
                bytes_per_second,
                loss,
            } => self.with(&node, |world, n| {
                world.disturb(n);
                let link = &mut world.nodes[n].link;
                (link.delay, link.jitter) = (delay, jitter);
                (link.bytes_per_second, link.loss) = (bytes_per_second, loss);
            }),
            Act::Kill { who } => self.kill(&who),
            Act::Start { who } => self.start(&who),
            Act::Reboot { node } => self.with(&node, Self::reboot),
            Act::Wipe { who } => self.wipe(&who),
            Act::Snapshot { who } => self.snapshot(&who),
            Act::Restore { who } => self.restore(&who),
            Act::Clock { who, by } => self.jump_clock(&who, by),
            Act::Disk { who, fault } => self.break_disk(&who, fault),
            Act::Freeze { who, lasts } => self.freeze(who, lasts),
            Act::Reset { node } => self.with(&node, Self::reset),
            Act::Roll {
                drain,
                gap,
                swallows,
            } => self.roll(drain, gap, swallows),
            Act::Release { who, versions } => self.release(&who, Versions::from(versions)),
            Act::Mangle { node, per_mille } => {
                self.with(&node, |world, n| world.mangle(n, per_mille));
            }
            Act::Report(said) => self.with(&said.node, |world, n| world.report(n, &said)),
            Act::EdgeEvent { node, name } => {
                self.with(&node, |world, n| world.edge_event(n, &name));
            }
        }
    }

    fn jump_clock(&mut self, who: &Who, by: i64) {
        match who {
            Who::Cloud => self.cloud_clock.jump(by),
            Who::Edge(node) | Who::Edged(node) => {
                self.with(node, |world, n| world.nodes[n].clock.jump(by));
            }
        }
    }

    pub(super) fn with(&mut self, node: &NodeName, then: impl FnOnce(&mut Self, usize)) {
        if let Some(n) = self.find(node) {
            then(self, n);
        }
    }

    // === links ===

    fn heal(&mut self, n: usize) {
        self.mangle(n, 0);
        let flap = self.nodes[n].link.flap + 1;
        self.nodes[n].link = Link {
            flap,
            ..Link::new(&self.options)
        };
        self.mend(n);
    }

    fn start_flapping(&mut self, n: usize, up: Duration, down: Duration) {
        self.stop_flapping(n);
        let floor = Duration::from_millis(1);
        self.nodes[n].link.flapping = Some((up.max(floor), down.max(floor)));
        let flap = self.nodes[n].link.flap;
        self.queue.push(self.now, Event::Flap { node: n, flap });
    }

    fn stop_flapping(&mut self, n: usize) {
        let link = &mut self.nodes[n].link;
        link.flap += 1;
        link.flapping = None;
    }

    fn cut(&mut self, n: usize, kind: Cut) {
        self.disturb(n);
        self.nodes[n].link.cut = Some(kind);
        // What came through before in the other direction may be on its way again.
        self.resend(n);
        if kind == Cut::Reset {
            self.reset(n);
        }
    }

    /// All connections are reset.
    fn reset(&mut self, n: usize) {
        self.disturb(n);
        for conn in self.nodes[n].conns.clone() {
            for at in [Side::Edge, Side::Cloud] {
                let why = "connection reset by peer";
                self.queue.push(self.now, Event::Lost { conn, at, why });
            }
        }
    }

    /// Something in the middle begins to break connections, or goes away with what it broke.
    fn mangle(&mut self, n: usize, per_mille: u32) {
        self.disturb(n);
        let before = std::mem::replace(&mut self.nodes[n].link.mangled, per_mille);
        if before > 0 && per_mille == 0 {
            self.reset(n);
        }
    }

    fn mend(&mut self, n: usize) {
        self.disturb(n);
        self.nodes[n].link.cut = None;
        self.resend(n);
    }

    pub(super) fn flap(&mut self, n: usize, flap: u64) {
        let link = &self.nodes[n].link;
        let Some((up, down)) = link.flapping.filter(|_| link.flap == flap) else {
            return;
        };
        let lasts = if link.cut.is_some() {
            self.mend(n);
            up
        } else {
            self.cut(n, Cut::Silent);
            down
        };
        self.queue
            .push(self.now + lasts, Event::Flap { node: n, flap });
    }

    // === processes ===

    pub(super) fn kill(&mut self, who: &Who) {
        match who {
            Who::Cloud => {
                self.wants_cloud = false;
                self.kill_cloud();
            }
            Who::Edge(node) => self.with(node, |world, n| {
                world.nodes[n].wants_edge = false;
                world.kill_edge(n, false);
                world.stir(n);
            }),
            Who::Edged(node) => self.with(node, |world, n| {
                world.nodes[n].wants_kubelet = false;
                world.nodes[n].kubelet = None;
                world.stir(n);
            }),
        }
    }

    pub(super) fn start(&mut self, who: &Who) {
        match who {
            Who::Cloud => self.start_cloud(),
            Who::Edge(node) => self.with(node, |world, n| {
                world.start_edge(n);
                world.stir(n);
            }),
            Who::Edged(node) => self.with(node, Self::start_kubelet),
        }
    }

    pub(super) fn start_kubelet(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        node.wants_kubelet = true;
        if node.kubelet.is_none() && node.is_powered {
            self.next_kubelet += 1;
            node.kubelet = Some(Kubelet::new(self.next_kubelet));
            node.kubelet_frozen = Duration::ZERO;
            self.look_at(n, self.now);
        }
        self.stir(n);
    }

    fn reboot(&mut self, n: usize) {
        let (edge, kubelet) = (self.nodes[n].wants_edge, self.nodes[n].wants_kubelet);
        self.nodes[n].is_powered = false;
        self.kill_edge(n, true);
        let node = &mut self.nodes[n];
        (node.wants_edge, node.wants_kubelet) = (edge, kubelet);
        node.kubelet = None;
        node.boot += 1;
        let now = node.clock.timestamp();
        node.runtime.power_off(now);
        let name = node.name.clone();
        self.trace
            .event(self.now, "power off", name.as_str(), format_args!(""));
        let wait = Duration::from_millis(self.chance.process.u64(BOOT_MILLIS));
        let boot = self.nodes[n].boot;
        self.queue
            .push(self.now + wait, Event::Boot { node: n, boot });
        self.stir(n);
    }

    /// The machine is up, or a supervisor tries again.
    pub(super) fn boot(&mut self, n: usize, boot: u64) {
        let node = &mut self.nodes[n];
        if node.boot != boot {
            return;
        }
        node.is_powered = true;
        let (edge, kubelet) = (node.wants_edge, node.wants_kubelet);
        if edge {
            self.start_edge(n);
        }
        if kubelet {
            self.start_kubelet(n);
        }
        self.stir(n);
    }

    // === disks ===

    /// A process dies, and what was on its way to the disk may have made it, the first of it or all.
    /// Says how many batches did.
    pub(super) fn crash(&mut self, disk: &Disk) -> usize {
        let mut kept = self.chance.disk.usize(0..=1);
        let unsynced = disk.unsynced_batches();
        if self.options.tails {
            kept = self.chance.tails.usize(0..=unsynced);
        }
        let seen = &mut self.stats.seen;
        seen.add(Kind::TornTails, u64::from(kept < unsynced));
        seen.add(Kind::LongTails, u64::from(unsynced > 1));
        seen.add(Kind::Unheard, kept.min(unsynced) as u64);
        disk.crash_keeping(kept);
        kept
    }

    /// Puts another disk in; the process is down meanwhile.
    fn replace_disk(&mut self, who: &Who, disk: Disk) {
        match who {
            Who::Cloud => {
                self.kill_cloud();
                let before = std::mem::replace(&mut self.cloud_disk, disk);
                self.stats
                    .seen
                    .add(Kind::FailedReads, before.failed_reads());
                before.heal();
                let after = self.cloud_disk.clone();
                self.lose_history(Owner::Cloud, &before, &after);
                self.has_lost_history = true;
                self.forget_watches(None);
                self.forget_arrivals();
                self.cloud_has_fault = false;
                self.start_cloud();
            }
            Who::Edge(node) => self.with(node, |world, n| {
                world.kill_edge(n, false);
                let before = std::mem::replace(&mut world.nodes[n].disk, disk);
                world
                    .stats
                    .seen
                    .add(Kind::FailedReads, before.failed_reads());
                before.heal();
                let after = world.nodes[n].disk.clone();
                world.lose_history(Owner::Edge(n), &before, &after);
                world.nodes[n].has_lost_history = true;
                world.forget_watches(Some(n));
                world.forget_node(n);
                world.nodes[n].has_fault = false;
                world.start_edge(n);
                world.stir(n);
            }),
            Who::Edged(node) => self.with(node, |world, n| {
                // What runs is not on this disk, but who knows of it is: the machine is new.
                world.nodes[n].runtime.wipe();
                world.nodes[n].boot += 1;
                world.nodes[n].kubelet = None;
                let boot = world.nodes[n].boot;
                world.boot(n, boot);
            }),
        }
    }

    fn wipe(&mut self, who: &Who) {
        // An edge that was wiped serves nothing until it knows what there is: it forgets nothing.
        let forgives = match who {
            Who::Edge(node) => self.find(node).map(|n| (n, self.nodes[n].has_lost_history)),
            Who::Cloud | Who::Edged(_) => None,
        };
        self.replace_disk(who, Disk::new());
        if *who == Who::Cloud {
            self.promises = Promises::default();
        }
        if let Some((n, before)) = forgives {
            self.nodes[n].has_lost_history = before;
        }
    }

    fn snapshot(&mut self, who: &Who) {
        match who {
            Who::Cloud => {
                self.cloud_image = Some(self.cloud_disk.image());
                self.copied_promises = self.promises.clone();
            }
            Who::Edge(node) => self.with(node, |world, n| {
                world.nodes[n].image = Some(world.nodes[n].disk.image());
            }),
            Who::Edged(_) => {}
        }
    }

    fn restore(&mut self, who: &Who) {
        let image = match who {
            Who::Cloud => self.cloud_image.clone(),
            Who::Edge(node) => self.find(node).and_then(|n| self.nodes[n].image.clone()),
            Who::Edged(_) => None,
        };
        if let Some(image) = image {
            self.replace_disk(who, Disk::from_image(&image));
            if *who == Who::Cloud {
                self.promises = self.copied_promises.clone();
            }
        }
    }

    fn break_disk(&mut self, who: &Who, fault: DiskFault) {
        let fault = match fault {
            DiskFault::Full => Some(Fault::Full),
            DiskFault::WriteFails => Some(Fault::WriteFails),
            DiskFault::SyncFails => Some(Fault::SyncFails),
            DiskFault::ReadFails { one_in } => Some(Fault::ReadFails { one_in }),
            DiskFault::Heal => None,
        };
        let set = |disk: &Disk| match fault {
            Some(fault) => disk.set_fault(fault),
            None => disk.heal(),
        };
        match who {
            Who::Cloud => {
                set(&self.cloud_disk);
                self.cloud_has_fault = fault.is_some();
                self.disturb_all();
            }
            Who::Edge(node) | Who::Edged(node) => self.with(node, |world, n| {
                set(&world.nodes[n].disk);
                world.nodes[n].has_fault = fault.is_some();
                world.disturb(n);
                world.stir(n);
            }),
        }
    }

    // === healing ===

    /// All faults end.
    pub(super) fn heal_all(&mut self) {
        self.break_disk(&Who::Cloud, DiskFault::Heal);
        self.release(&Who::Cloud, Versions::OWN);
        for node in self.nodes() {
            self.break_disk(&Who::Edge(node.clone()), DiskFault::Heal);
            self.release(&Who::Edge(node.clone()), Versions::OWN);
            self.do_act(Act::Heal { node: node.clone() });
            self.start(&Who::Edge(node.clone()));
            self.start(&Who::Edged(node));
        }
        self.start(&Who::Cloud);
    }
}
