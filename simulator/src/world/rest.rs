//! What must hold once everything is healed and has come to rest.

use std::collections::BTreeMap;

use causeway_edged::pod::{DesiredPod, resolve};
use causeway_kube_api::View;
use causeway_log::digest::Digest;
use causeway_log::{Resource, Store, StreamId};
use causeway_projections::Objects;
use causeway_projections::rebuild::rebuild;
use serde_json::Value;

use super::differ::{maps_differ, values_differ};
use super::kubelet::configs_of;
use super::link::End;
use super::runtime::files_of;
use super::state::PodState;
use super::user::Promises;
use super::{Invariant, Side, World};

/// What does not hold yet.
pub(super) type Differs = (Invariant, String);

impl World {
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
            self.same_twins(n)?;
            self.same_events(n)?;
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
        let shown = node.runtime.show();
        let configs = cloud.view.read(|objects| configs_of(objects, &wanted));
        let resolve = |pod| resolve(pod, &configs, &node.facts).ok();
        let desired: Vec<DesiredPod> = wanted.iter().filter_map(resolve).collect();
        let differs = difference(&wanted, &shown)
            .or_else(|| content_differs(&desired, &shown))
            .or_else(|| self.node_differs(n, &cloud.view));
        match differs {
            Some(what) => Err((Invariant::RunsExactly, format!("{name}: {what}"))),
            None => Ok(()),
        }
    }

    /// The cloud shows the node as it says it is, and ready. A node registers when it starts and
    /// not again, so a cloud whose disk is older than that knows nothing of it.
    fn node_differs(&self, n: usize, cloud: &View) -> Option<String> {
        let node = &self.nodes[n];
        let nodes = Resource::core("nodes");
        let shown = |view: &View| -> Option<Value> {
            view.read(|objects| Some(objects.get(&nodes, "", node.name.as_str())?.object()))
        };
        let (there, here) = match (shown(cloud), shown(&node.edge.as_ref()?.view)) {
            (Some(there), here) => (there, here.unwrap_or_default()),
            (None, None) if self.has_lost_history => return None,
            (None, _) => return Some("the cloud knows no such node".to_owned()),
        };
        let facts = ["addresses", "capacity", "allocatable", "nodeInfo"];
        let differs = facts.iter().find_map(|fact| {
            let (there, here) = (&there["status"][*fact], &here["status"][*fact]);
            values_differ(there, here).map(|what| format!("node {fact}{what}"))
        });
        let conditions = there["status"]["conditions"].as_array();
        let is_ready = conditions
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
        differs.or_else(|| (!is_ready).then(|| "the cloud shows it as not ready".to_owned()))
    }

    /// What is looked at once all is at rest.
    pub(super) fn check_rest(&mut self) {
        let at_rest = self.at_rest().and_then(|()| self.check_watches());
        if let Err((invariant, what)) = at_rest {
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
        let same = |name: &str, view: &View, store: &dyn Store, streams: &[StreamId]| {
            let rebuilt = rebuild(store, streams)
                .map_err(|error| (Invariant::RebuildEqual, format!("{name}: {error}")))?;
            let (now, rebuilt) = (view.read(all_of), all_of(&rebuilt));
            // Facts that the history window has let go are shown until others push them out.
            let is_shown = |one: &&Shown| !is_fact(one) || rebuilt.contains(one);
            let shown: Vec<&Shown> = now.iter().filter(is_shown).collect();
            if shown.iter().copied().eq(&rebuilt) {
                return Ok(());
            }
            let odd = shown.into_iter().find(|one| !rebuilt.contains(one));
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
        for n in 0..self.nodes.len() {
            self.twins_rebuilt(n)?;
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
                // What is desired of a device others may change too: TWIN-3 looks at it.
                let manifest = without_desired(manifest);
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

fn without_desired(manifest: &Value) -> Value {
    let mut manifest = manifest.clone();
    if manifest["kind"] == "Device" {
        let properties = manifest.pointer_mut("/spec/properties");
        let properties = properties.and_then(Value::as_array_mut);
        for property in properties.into_iter().flatten() {
            if let Some(property) = property.as_object_mut() {
                property.remove("desired");
            }
        }
    }
    manifest
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

pub(super) fn pods_of(objects: &Objects) -> Vec<Value> {
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

/// Whether it may be something that happened on a node, which is no state.
fn is_fact((_, _, object): &Shown) -> bool {
    object["kind"] == "Event"
}

/// How what runs differs from what should.
pub(super) fn difference(wanted: &[Value], shown: &[PodState]) -> Option<String> {
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

/// How what pods see of their configuration differs from what the cloud has. An environment is
/// made when a container starts, so what it refers to may have been otherwise then.
fn content_differs(desired: &[DesiredPod], shown: &[PodState]) -> Option<String> {
    desired.iter().find_map(|pod| {
        let state = shown.iter().find(|state| state.uid == pod.uid)?;
        let is_over = pod.ended || pod.deletion.is_some();
        let volumes = pod.volumes.as_ref().ok().filter(|_| !is_over)?;
        let wanted = files_of(volumes);
        if wanted != state.files {
            let names = |files: &BTreeMap<String, String>| {
                let named = files
                    .iter()
                    .map(|(name, text)| format!("{name} {}", text.len()));
                named.collect::<Vec<String>>()
            };
            let (wanted, found) = (names(&wanted), names(&state.files));
            return Some(format!(
                "pod {} sees files {found:?}, not {wanted:?}",
                pod.uid
            ));
        }
        state.containers.iter().find_map(|one| {
            let config = pod.container(&one.name)?.config.as_ref().ok()?;
            let command = [&*config.command, &*config.args].concat();
            let (uid, name) = (&pod.uid, &one.name);
            (command != one.command).then(|| format!("pod {uid}: {name} runs {:?}", one.command))
        })
    })
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
