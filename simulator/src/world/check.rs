//! What must hold while it happens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use causeway_edged::plan::StopReason;
use causeway_log::batch::{Place, StreamChange};
use causeway_log::replication::Moment;
use causeway_log::store::memory::{Disk, MemoryStore};
use causeway_log::{Batch, Direction, Epoch, Offset, Store, StreamId};
use causeway_projections::Objects;
use causeway_projections::rebuild::rebuild;

use super::queue::{Event, Owner};
use super::rest::{difference, pods_of};
use super::{Invariant, Violation, World};

/// A node that is left alone runs what its projection says after this long: longer than any grace,
/// any step, any retry of a kubelet, and the delay of five minutes before a container that ended
/// often starts again. A kubelet that was restarted takes attempts for such ends.
const CALM: Duration = Duration::from_secs(330);
/// A change reaches an undisturbed node within this, whatever other nodes do. The longest wait in
/// 1,500 drawn worlds was 2.5 s, on links with a round trip of up to 4 s.
const FAIR: Duration = Duration::from_secs(8);

/// More events than this at one moment are a circle.
const EVENTS_AT_ONCE_MAX: u32 = 100_000;
/// So are more than this in a second, of a node and the cloud.
const EVENTS_A_SECOND_MAX: u64 = 100_000;
/// After so many events the patience of whoever waits is looked at.
const EVENTS_A_LOOK: u64 = 1024;

/// What is said of a broken disk, and of nothing else: that it takes no writes, and that a write, or
/// readings, depend on what it cannot read.
const DISK_ERRORS: [&str; 4] = [
    "store is read-only",
    "a round of writes failed",
    "a write failed",
    "kept readings cannot be read",
];

/// What the checks remember.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The second of virtual time, and the events before it.
    second: (u64, u64),
    /// Who waits has no patience for more.
    pub(super) gives_up: Option<Instant>,
    /// Lives of pods which a node was sent, and of which an old copy of a disk knows nothing.
    lost: BTreeSet<(usize, String)>,
    /// How far copies of streams are, by who holds them: SYNC-2.
    applied: BTreeMap<(Option<usize>, StreamId), (Epoch, Offset)>,
}

impl World {
    /// An invariant is broken; the first one counts.
    pub(super) fn violate(&mut self, invariant: Invariant, what: String) {
        if self.violation.is_none() {
            self.trace.event(
                self.now,
                "violation",
                "-",
                format_args!("{} {what}", invariant.id()),
            );
            self.violation = Some(Violation {
                invariant: invariant.id(),
                what,
                at: Moment(self.now),
                seed: self.seed,
            });
        }
    }

    // === while it happens ===

    /// LIVE-1: time moves on.
    pub(super) fn check_progress(&mut self, now: Duration, event: &Event) {
        self.standing = if now > self.now { 0 } else { self.standing + 1 };
        if self.standing > EVENTS_AT_ONCE_MAX {
            self.violate(
                Invariant::Converges,
                format!("time stands still at {event:?}"),
            );
        }
        let (second, before) = self.watch.second;
        if now.as_secs() > second {
            self.watch.second = (now.as_secs(), self.stats.events);
        } else if self.stats.events - before > EVENTS_A_SECOND_MAX * (1 + self.nodes.len() as u64) {
            let what = format!("time hardly moves: {second} s, at {event:?}");
            self.violate(Invariant::Converges, what);
        }
        if self.stats.events.is_multiple_of(EVENTS_A_LOOK)
            && self.watch.gives_up.is_some_and(|at| Instant::now() > at)
        {
            let (events, before) = (self.stats.events, self.watch.second.1);
            let what = format!(
                "who waits lost patience after {events} events, {} in this second",
                events - before
            );
            self.violate(Invariant::Converges, what);
        }
    }

    /// A run that takes longer than this, by the clock of whoever waits for it, is broken off. A run
    /// that ends before is the same with and without.
    pub fn give_up_at(&mut self, at: Instant) {
        self.watch.gives_up = Some(at);
    }

    /// LOUD-1: nobody calls for help but the store of a broken disk, when it is written to or opened.
    pub(super) fn check_errors(&mut self, writes: Option<Owner>) {
        let opened = self.opened.take();
        let writes = writes.or(opened);
        let Some(error) = self.errors.take() else {
            return;
        };
        let is_broken = match writes {
            Some(Owner::Cloud) => self.cloud_has_fault,
            Some(Owner::Edge(n)) => self.nodes[n].has_fault,
            None => false,
        };
        let is_of_disk = DISK_ERRORS.iter().any(|known| error.contains(known));
        if !(is_broken && is_of_disk) {
            self.violate(Invariant::NoErrors, error);
        }
    }

    /// AUTO-1: nothing is stopped that nobody deleted, unless an old copy of a disk knows nothing
    /// of it.
    pub(super) fn check_stop(&mut self, n: usize, uid: &str, why: &StopReason) {
        let is_end = matches!(why, StopReason::Deleted | StopReason::Orphan);
        let is_lost = || self.watch.lost.contains(&(n, uid.to_owned()));
        if is_end && !self.deleted.contains(uid) && !is_lost() {
            let what = format!("{} stops {uid}, which nobody deleted", self.nodes[n].name);
            self.violate(Invariant::RunsOn, what);
        }
    }

    /// A disk of the cloud, or of node `n`, is replaced: what only the old one knew of, is lost.
    pub(super) fn lose_history(&mut self, owner: Owner, before: &Disk, after: &Disk) {
        let bindings = |disk: &Disk, n: usize| -> BTreeSet<String> {
            let name = &self.nodes[n].name;
            let streams = match owner {
                Owner::Cloud => vec![StreamId::Cluster],
                Owner::Edge(_) => vec![StreamId::down(name.clone()), StreamId::up(name.clone())],
            };
            let store = MemoryStore::on(disk).ok();
            let objects = store.and_then(|(store, _)| rebuild(&store, &streams).ok());
            uids_on(name.as_str(), &objects.unwrap_or_default())
        };
        let nodes = match owner {
            Owner::Cloud => 0..self.nodes.len(),
            Owner::Edge(n) => n..n + 1,
        };
        let mut lost = Vec::new();
        for n in nodes {
            let kept = bindings(after, n);
            let shown = self.nodes[n].runtime.show();
            let held = self.nodes[n].edge.as_ref().map(|edge| {
                let name = self.nodes[n].name.as_str();
                edge.view.read(|objects| uids_on(name, objects))
            });
            let known = shown.into_iter().map(|pod| pod.uid);
            let known = known.chain(held.into_iter().flatten());
            let known = known.chain(bindings(before, n));
            lost.extend(known.filter(|uid| !kept.contains(uid)).map(|uid| (n, uid)));
        }
        self.watch.lost.extend(lost);
        let who = match owner {
            Owner::Cloud => None,
            Owner::Edge(n) => Some(n),
        };
        self.watch.applied.retain(|(holder, _), _| *holder != who);
    }

    /// A disk is opened: a batch that was on its way there as the process died may have made it, and
    /// may have opened a copy of a stream anew.
    pub(super) fn note_applied(&mut self, owner: Owner, store: &dyn Store) {
        let who = match owner {
            Owner::Cloud => None,
            Owner::Edge(n) => Some(n),
        };
        let own = |holder: &Option<usize>| *holder == who;
        for ((_, stream), place) in self.watch.applied.iter_mut().filter(|(at, _)| own(&at.0)) {
            if let Ok(Some(held)) = store.stream(stream)
                && held.epoch != place.0
            {
                *place = (held.epoch, Offset::ZERO);
            }
        }
    }

    /// LOG-1 and SYNC-2: what is durable of a peer's stream goes on from what was, as long as the
    /// epoch and the disk last.
    pub(super) fn check_applied(&mut self, owner: Owner, batch: &Batch) {
        let (who, comes) = match owner {
            Owner::Cloud => (None, Direction::Up),
            Owner::Edge(n) => (Some(n), Direction::Down),
        };
        let is_copy = |stream: &StreamId| matches!(stream, StreamId::Node(_, way) if *way == comes);
        for change in &batch.streams {
            match change {
                StreamChange::Open { stream, epoch } if is_copy(stream) => {
                    let place = (*epoch, Offset::ZERO);
                    self.watch.applied.insert((who, stream.clone()), place);
                }
                StreamChange::Drop { stream } => {
                    self.watch.applied.remove(&(who, stream.clone()));
                }
                StreamChange::Open { .. }
                | StreamChange::Received { .. }
                | StreamChange::Acked { .. } => {}
            }
        }
        let mut wrong = None;
        for entry in batch.entries.iter().filter(|entry| is_copy(&entry.stream)) {
            let place = self.watch.applied.get_mut(&(who, entry.stream.clone()));
            if let (Place::At(offset), Some((_, upto))) = (entry.place, place) {
                if offset <= *upto {
                    wrong = Some(format!("{:?}: {offset} after {upto}", entry.stream));
                }
                *upto = offset.max(*upto);
            }
        }
        if let Some(what) = wrong {
            self.violate(Invariant::AppliedOnce, what);
        }
    }

    /// Something local happened to a node: it has time anew to come to rest.
    pub(super) fn stir(&mut self, n: usize) {
        self.nodes[n].calm += 1;
        if !std::mem::replace(&mut self.nodes[n].calm_due, true) {
            let calm = self.nodes[n].calm;
            self.queue
                .push(self.now + CALM, Event::Calm { node: n, calm });
        }
    }

    /// AUTO-1: connected or not, a node that was left alone runs what its projection says.
    pub(super) fn check_calm(&mut self, n: usize, calm: u64) {
        let node = &mut self.nodes[n];
        node.calm_due = false;
        if node.calm != calm {
            self.stir(n);
            return;
        }
        let serves = node
            .edge
            .as_ref()
            .is_some_and(|edge| edge.first_sync.is_done());
        if !serves || node.kubelet.is_none() || node.has_fault {
            return;
        }
        let wanted = node.edge.as_ref().map(|edge| edge.view.read(pods_of));
        let shown = node.runtime.show();
        let name = node.name.clone();
        if let Some(what) = difference(&wanted.unwrap_or_default(), &shown) {
            self.violate(Invariant::RunsOn, format!("{name} left alone: {what}"));
        }
    }

    /// Something happened to the road between a node and the cloud.
    pub(super) fn disturb(&mut self, n: usize) {
        self.nodes[n].fair += 1;
    }

    pub(super) fn disturb_all(&mut self) {
        for n in 0..self.nodes.len() {
            self.disturb(n);
        }
    }

    /// FAIR-1: a node whose road is clear has a bound on its wait.
    pub(super) fn watch_fairness(&mut self, n: usize) {
        let conns = self.nodes[n].conns.iter();
        let is_free = conns
            .filter_map(|id| self.conns.get(id))
            .all(|conn| conn.to_edge.is_free(self.now) && conn.to_cloud.is_free(self.now));
        let offset = self.down_head(n).get();
        let is_able = !self.is_frozen(n) && self.speaks_alike(n);
        let node = &mut self.nodes[n];
        let is_clear = is_able
            && node.link.cut.is_none()
            && node.link.bytes_per_second == 0
            && node.link.loss <= 0.0
            && node.link.mangled == 0
            && node.link.delay < Duration::from_secs(1)
            && node.link.flapping.is_none()
            && !node.has_fault
            && !self.cloud_has_fault
            && node.edge.as_ref().is_some_and(|edge| edge.conn.is_some())
            && is_free;
        if is_clear && !std::mem::replace(&mut node.fair_due, true) {
            let fair = node.fair;
            let event = Event::Fair {
                node: n,
                fair,
                offset,
            };
            node.fair_since = Some((self.now, fair, offset));
            self.queue.push(self.now + FAIR, event);
        }
    }

    /// How long an undisturbed node waited.
    pub(super) fn note_fairness(&mut self, n: usize) {
        let node = &self.nodes[n];
        let Some((since, fair, offset)) = node.fair_since else {
            return;
        };
        if node.fair != fair {
            self.nodes[n].fair_since = None;
        } else if self.received(n) >= offset {
            let waited = self.now.saturating_sub(since);
            self.stats.fair_max = self.stats.fair_max.max(waited);
            self.nodes[n].fair_since = None;
        }
    }

    pub(super) fn check_fair(&mut self, n: usize, fair: u64, offset: u64) {
        let node = &mut self.nodes[n];
        node.fair_due = false;
        if node.fair != fair {
            return;
        }
        let received = self.received(n);
        if received < offset {
            let name = &self.nodes[n].name;
            let what = format!("{name} has {received} of {offset} after {FAIR:?} on a clear road");
            self.violate(Invariant::Fair, what);
        }
    }

    fn received(&self, n: usize) -> u64 {
        let node = &self.nodes[n];
        let stream = StreamId::down(node.name.clone());
        let store = node.edge.as_ref().map(|edge| &edge.writer.store);
        let info = store.and_then(|store| store.stream(&stream).ok().flatten());
        info.map_or(0, |info| info.received.get())
    }

    /// SYNC-1: nobody believes that a peer has more than it has.
    pub(super) fn check_acked(&mut self, n: usize) {
        if self.has_lost_history || self.nodes[n].has_lost_history {
            return;
        }
        let (Some(cloud), Some(edge)) = (&self.cloud, &self.nodes[n].edge) else {
            return;
        };
        let (cloud, edge) = (cloud.writer.store.clone(), edge.writer.store.clone());
        for (stream, sender, receiver) in [
            (StreamId::down(self.nodes[n].name.clone()), &cloud, &edge),
            (StreamId::up(self.nodes[n].name.clone()), &edge, &cloud),
        ] {
            let info = |store: &dyn Store| store.stream(&stream).ok().flatten();
            if let (Some(sent), Some(held)) = (info(&**sender), info(&**receiver))
                && sent.epoch == held.epoch
                && sent.acked > held.received
            {
                let what = format!("{stream:?}: acked {} of {}", sent.acked, held.received);
                self.violate(Invariant::AckedDurable, what);
                return;
            }
        }
    }
}

/// The lives of pods that are to run on a node.
fn uids_on(node: &str, objects: &Objects) -> BTreeSet<String> {
    let pods = pods_of(objects).into_iter();
    let own = pods.filter(|pod| pod["spec"]["nodeName"] == node);
    own.filter_map(|pod| pod["metadata"]["uid"].as_str().map(ToOwned::to_owned))
        .collect()
}
