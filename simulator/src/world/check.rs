//! What must hold, while it happens and at rest.

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_edged::plan::StopReason;
use causeway_log::digest::Digest;
use causeway_log::replication::Moment;
use causeway_log::{Resource, Store, StreamId};
use causeway_projections::Objects;
use causeway_projections::rebuild::rebuild;
use serde_json::Value;

use super::differ::maps_differ;
use super::link::End;
use super::queue::Event;
use super::state::PodState;
use super::user::Promises;
use super::{Invariant, Side, Violation, World};

/// A node that is left alone runs what its projection says after this long: longer than any grace,
/// any step and any retry of a kubelet.
const CALM: Duration = Duration::from_secs(120);
/// A change reaches an undisturbed node within this, whatever other nodes do.
const FAIR: Duration = Duration::from_secs(30);

/// More events than this at one moment are a circle.
const EVENTS_AT_ONCE_MAX: u32 = 100_000;

/// What does not hold yet.
type Differs = (Invariant, String);

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
    }

    /// LOUD-1: nobody calls for help, unless a disk is broken and its store says so.
    pub(super) fn check_errors(&mut self) {
        let Some(error) = self.errors.take() else {
            return;
        };
        let is_disk_broken = self.cloud_has_fault || self.nodes.iter().any(|node| node.has_fault);
        if !(is_disk_broken && error.contains("store is read-only")) {
            self.violate(Invariant::NoErrors, error);
        }
    }

    /// AUTO-1: nothing is stopped that nobody deleted, unless an old copy of a disk says so.
    pub(super) fn check_stop(&mut self, n: usize, uid: &str, why: &StopReason) {
        let is_end = matches!(why, StopReason::Deleted | StopReason::Orphan);
        let is_forgiven = self.has_lost_history || self.nodes[n].has_lost_history;
        if is_end && !is_forgiven && !self.deleted.contains(uid) {
            let what = format!("{} stops {uid}, which nobody deleted", self.nodes[n].name);
            self.violate(Invariant::RunsOn, what);
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
        let offset = self.down_head(n).get();
        let node = &mut self.nodes[n];
        let is_clear = node.link.cut.is_none()
            && node.link.bytes_per_second == 0
            && node.link.loss <= 0.0
            && node.link.delay < Duration::from_secs(1)
            && node.link.flapping.is_none()
            && !node.has_fault
            && !self.cloud_has_fault
            && node.edge.as_ref().is_some_and(|edge| edge.conn.is_some());
        if is_clear && !std::mem::replace(&mut node.fair_due, true) {
            let fair = node.fair;
            let event = Event::Fair {
                node: n,
                fair,
                offset,
            };
            self.queue.push(self.now + FAIR, event);
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

    // === at rest ===

    /// Whether everything is as it should be at last; else the first thing that is not.
    pub(super) fn converged(&self) -> Result<(), Differs> {
        let waits = |what: String| Err((Invariant::Converges, what));
        let Some(cloud) = &self.cloud else {
            return waits("the cloud does not run".to_owned());
        };
        if let Some(user) = self.users.iter().find(|user| !user.is_done()) {
            return waits(format!("a user waits for an answer: {}", user.describe()));
        }
        if !self.cloud_is_idle() {
            return waits("the cloud is at work".to_owned());
        }
        for n in 0..self.nodes.len() {
            let node = &self.nodes[n];
            let name = &node.name;
            if !self.is_connected(n) {
                return waits(format!("{name} is not connected"));
            }
            if !self.edge_is_idle(n) {
                return waits(format!("{name} is at work"));
            }
            let Some(edge) = &node.edge else { continue };
            self.same_streams(n, &*cloud.writer.store, &*edge.writer.store)?;
            let pending = edge.view.read(|objects| {
                let mut all = objects
                    .resources()
                    .flat_map(|r| objects.list(r, None, None));
                all.find(|entry| entry.pending().is_some())
                    .map(|entry| entry.key().clone())
            });
            if let Some(key) = pending {
                let what = format!("{name}: a request about {key} is not answered");
                return Err((Invariant::Answered, what));
            }
            self.same_pods(n)?;
        }
        Ok(())
    }

    pub(super) fn is_connected(&self, n: usize) -> bool {
        let conn = self.nodes[n].edge.as_ref().and_then(|edge| edge.conn);
        let conn = conn.and_then(|id| self.conns.get(&id));
        conn.is_some_and(|conn| {
            let up = |end: &Option<Box<End>>| end.as_ref().is_some_and(|end| end.established);
            up(&conn.edge) && up(&conn.cloud)
        })
    }

    /// SYNC-4.
    fn same_streams(&self, n: usize, cloud: &dyn Store, edge: &dyn Store) -> Result<(), Differs> {
        let name = &self.nodes[n].name;
        for (stream, sender, receiver) in [
            (StreamId::down(name.clone()), cloud, edge),
            (StreamId::up(name.clone()), edge, cloud),
        ] {
            let info = |store: &dyn Store| store.stream(&stream).ok().flatten();
            let (sent, held) = (info(sender), info(receiver));
            let (Some(sent), Some(held)) = (sent, held) else {
                let what = format!("{stream:?} is not open at both ends");
                return Err((Invariant::DigestsEqual, what));
            };
            if (sent.epoch, sent.durable) != (held.epoch, held.received) {
                let what = format!("{stream:?}: {} of {}", held.received, sent.durable);
                return Err((Invariant::DigestsEqual, what));
            }
            let root = |store: &dyn Store| Digest::of_stream(store, &stream).map(|all| all.root());
            match (root(sender), root(receiver)) {
                (Ok(sent), Ok(held)) if sent == held => {}
                (sent, held) => {
                    let what = format!("{stream:?}: digests {sent:?} and {held:?}");
                    return Err((Invariant::DigestsEqual, what));
                }
            }
        }
        Ok(())
    }

    /// AUTO-2.
    fn same_pods(&self, n: usize) -> Result<(), Differs> {
        let node = &self.nodes[n];
        let name = node.name.as_str();
        let Some(cloud) = &self.cloud else {
            return Ok(());
        };
        let pods = cloud.view.read(pods_of);
        let wanted: Vec<Value> = pods
            .into_iter()
            .filter(|pod| pod["spec"]["nodeName"] == name)
            .collect();
        let held = node.edge.as_ref().map(|edge| edge.view.read(pods_of));
        let by_uid = |pods: &[Value]| -> BTreeMap<String, Value> {
            let one = |pod: &Value| (pod["metadata"]["uid"].to_string(), pod["status"].clone());
            pods.iter().map(one).collect()
        };
        let held = by_uid(&held.unwrap_or_default());
        if let Some(what) = maps_differ(&by_uid(&wanted), &held) {
            let what = format!("{name}: pod {what} (in the cloud, on the node)");
            return Err((Invariant::RunsExactly, what));
        }
        match difference(&wanted, &node.runtime.show()) {
            Some(what) => Err((Invariant::RunsExactly, format!("{name}: {what}"))),
            None => Ok(()),
        }
    }

    /// What is looked at once all is at rest.
    pub(super) fn check_rest(&mut self) {
        if let Err((invariant, what)) = self.at_rest() {
            self.violate(invariant, what);
        }
        for n in 0..self.nodes.len() {
            for id in self.nodes[n].conns.clone() {
                for side in [Side::Edge, Side::Cloud] {
                    let end = self
                        .conns
                        .get_mut(&id)
                        .and_then(|conn| conn.end(side).take());
                    if let Some(end) = end {
                        self.check_cost(n, side, &end);
                        if let Some(conn) = self.conns.get_mut(&id) {
                            *conn.end(side) = Some(end);
                        }
                    }
                }
            }
            self.check_acked(n);
        }
    }

    fn at_rest(&self) -> Result<(), Differs> {
        let Some(cloud) = &self.cloud else {
            return Ok(());
        };
        let same = |name: &str,
                    view: &causeway_kube_api::View,
                    store: &dyn Store,
                    streams: &[StreamId]| {
            let rebuilt = rebuild(store, streams)
                .map_err(|error| (Invariant::RebuildEqual, format!("{name}: {error}")))?;
            let (now, rebuilt) = (view.read(all_of), all_of(&rebuilt));
            if now == rebuilt {
                return Ok(());
            }
            let odd = now.iter().find(|one| !rebuilt.contains(one));
            let odd = odd.or_else(|| rebuilt.iter().find(|one| !now.contains(one)));
            Err((Invariant::RebuildEqual, format!("{name}: {odd:?}")))
        };
        same(
            "cloud",
            &cloud.view,
            &*cloud.writer.store,
            &[StreamId::Cluster],
        )?;
        for node in &self.nodes {
            let Some(edge) = &node.edge else { continue };
            let name = node.name.clone();
            let streams = [StreamId::down(name.clone()), StreamId::up(name.clone())];
            same(name.as_str(), &edge.view, &*edge.writer.store, &streams)?;
        }
        cloud.view.read(|objects| kept(&self.promises, objects))
    }
}

/// API-1.
fn kept(promises: &Promises, objects: &Objects) -> Result<(), Differs> {
    for ((resource, namespace, name), (uid, manifest)) in &promises.acked {
        let found = objects.get(resource, namespace, name);
        let found = found.filter(|entry| entry.key().uid.to_string() == *uid);
        let broken = |what: &str| {
            let plural = &resource.plural;
            Err((
                Invariant::Promised,
                format!("{plural} {namespace}/{name} {uid} {what}"),
            ))
        };
        match (manifest, found) {
            (Some(_), None) => return broken("was applied and is not there"),
            (None, Some(_)) => return broken("was deleted and is there"),
            (Some(manifest), Some(entry)) => {
                let object = entry.object();
                let parts = ["data", "spec"];
                if !parts
                    .iter()
                    .all(|part| contains(&object[*part], &manifest[*part]))
                {
                    return broken("is not as it was applied");
                }
            }
            (None, None) => {}
        }
    }
    Ok(())
}

/// Whether `whole` says everything that `part` says.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (_, Value::Null) => true,
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(key, value)| whole.get(key).is_some_and(|found| contains(found, value))),
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() >= part.len() && whole.iter().zip(part).all(|(a, b)| contains(a, b))
        }
        (whole, part) => whole == part,
    }
}

fn pods_of(objects: &Objects) -> Vec<Value> {
    let pods = objects.list(&Resource::core("pods"), None, None);
    pods.map(|entry| entry.object()).collect()
}

type Shown = (String, u64, Value);

fn all_of(objects: &Objects) -> Vec<Shown> {
    let entries = objects
        .resources()
        .flat_map(|r| objects.list(r, None, None));
    entries
        .map(|entry| {
            (
                entry.key().to_string(),
                entry.modified().get(),
                entry.object(),
            )
        })
        .collect()
}

/// How what runs differs from what should.
fn difference(wanted: &[Value], shown: &[PodState]) -> Option<String> {
    for pod in wanted {
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        if pod["metadata"].get("deletionTimestamp").is_some() {
            return Some(format!("pod {uid} is still being deleted"));
        }
        if matches!(
            pod["status"]["phase"].as_str(),
            Some("Failed" | "Succeeded")
        ) {
            continue;
        }
        let found = shown.iter().find(|state| state.uid == uid);
        let containers = pod["spec"]["containers"].as_array();
        for container in containers.into_iter().flatten() {
            if let Some(what) = container_differs(container, found) {
                return Some(format!("pod {uid}: {what}"));
            }
        }
    }
    let is_wanted = |uid: &str| wanted.iter().any(|pod| pod["metadata"]["uid"] == uid);
    let odd = shown.iter().find(|state| {
        let runs = state.containers.iter().any(|one| one.copies > 0);
        runs && !is_wanted(&state.uid)
    });
    odd.map(|state| format!("{} runs and is not wanted", state.uid))
}

fn container_differs(spec: &Value, found: Option<&PodState>) -> Option<String> {
    let name = spec["name"].as_str().unwrap_or_default();
    let one = found.and_then(|state| state.containers.iter().find(|one| one.name == name));
    let Some(one) = one else {
        return Some(format!("{name} was never started"));
    };
    if spec["image"] != one.image.as_str() {
        return Some(format!(
            "{name} runs {} instead of {}",
            one.image, spec["image"]
        ));
    }
    let crashes = one.command.iter().any(|word| word == "crash");
    match one.copies {
        1 => None,
        0 if crashes => None,
        copies => Some(format!("{copies} copies of {name} run")),
    }
}
