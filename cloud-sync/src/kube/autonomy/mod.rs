//! Autonomy: a link that is down evicts nothing from an edge node.
//!
//! Kubernetes evicts pods of a node it does not hear of, five minutes after the taints
//! `unreachable` or `not-ready` appear. Pods bound to edge nodes are given tolerations of these
//! taints without a limit of time, or with the one that somebody chose.
//!
//! On for nodes with the label `node-role.kubernetes.io/edge`; off by the annotation
//! `causeway.dev/autonomy: "false"` of a node or of a pod. `causeway.dev/autonomy-seconds` of a pod,
//! or else of its node, limits it. What was given is not taken away when somebody opts out later:
//! Kubernetes lets nobody remove a toleration of a pod that is bound.

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_daemon::tasks::Stop;
use causeway_log::{Key, NodeName, Resource, Revision};
use causeway_projections::{Change, Entry, Objects};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};

use super::writeback::backoff::Backoff;
use super::writeback::judge::{Meaning, judge};
use super::writeback::{Call, CallError, Content, Identity, Parts, Place, WriteStats};

mod decide;
#[cfg(test)]
mod tests;

pub use decide::{AUTONOMY_ANNOTATION, Autonomy, SECONDS_ANNOTATION, of_node, of_pod, tolerations};

/// Patches under way at once.
const UNDER_WAY_MAX: usize = 16;
/// The same pod is patched so often at most, in one life of this process: whoever takes the
/// tolerations away again wins.
const TIMES_MAX: u32 = 5;
/// Pods that are remembered as patched.
const REMEMBERED_MAX: usize = 65_536;
/// How often failures are tried again.
const TICK: Duration = Duration::from_secs(1);

/// Arms pods until stopped.
pub async fn run(parts: Parts, mut stop: Stop) {
    let mut worker = Worker {
        began: monotonic(),
        parts,
        seen: Revision::ZERO,
        nodes: BTreeMap::new(),
        waiting: BTreeMap::new(),
        told: false,
    };
    tokio::select! {
        biased;
        () = stop.wait() => {}
        () = worker.run() => {}
    }
}

struct Worker {
    parts: Parts,
    began: tokio::time::Instant,
    /// Changes of the cluster up to here were looked at.
    seen: Revision,
    nodes: BTreeMap<NodeName, Autonomy>,
    waiting: BTreeMap<Key, Waiting>,
    told: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    /// To be patched, not before; `None` when there is nothing to do.
    due: Option<Duration>,
    under_way: bool,
    failures: u32,
    times: u32,
}

impl Worker {
    async fn run(&mut self) {
        let mut changes = self.parts.view.subscribe();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some((key, patched)) = under_way.next() => self.finish(&key, patched),
                changed = changes.changed() => if changed.is_err() { return },
                _ = tick.tick() => {}
            }
            self.look();
            let now = self.began.elapsed();
            while under_way.len() < UNDER_WAY_MAX {
                let Some((key, call)) = self.start(now) else {
                    break;
                };
                let parts = self.parts.clone();
                under_way.push(async move {
                    parts.stats.count_call(&call);
                    let patched = parts.api.call(call.clone()).await;
                    (key, patched.map(drop).map_err(|error| (call, error)))
                });
            }
        }
    }

    /// Notes which pods are to be patched.
    fn look(&mut self) {
        let Self {
            parts,
            seen,
            nodes,
            waiting,
            ..
        } = self;
        let now = parts.view.read(|objects| {
            let known = autonomies(objects, *seen, nodes);
            let changed = known.is_some();
            if let Some(known) = known {
                *nodes = known;
            }
            // A node that is marked, or unmarked, changes what its pods need.
            let after = if changed { Revision::ZERO } else { *seen };
            for change in objects.changes_after(&Resource::core("pods"), after) {
                match change {
                    Change::Present(entry) => note(entry, nodes, waiting),
                    Change::Gone(tombstone) => {
                        waiting.remove(tombstone.key());
                    }
                }
            }
            objects.revision()
        });
        *seen = now;
        if waiting.len() > REMEMBERED_MAX {
            waiting.retain(|_, pod| pod.due.is_some() || pod.under_way);
        }
    }

    fn start(&mut self, now: Duration) -> Option<(Key, Call)> {
        let is_due = |pod: &Waiting| !pod.under_way && pod.due.is_some_and(|due| due <= now);
        let (key, pod) = self.waiting.iter_mut().find(|(_, pod)| is_due(pod))?;
        let key = key.clone();
        let call = self.parts.view.read(|objects| {
            let entry = objects.get(&key.resource, &key.namespace, &key.name)?;
            let body = entry.desired().filter(|_| *entry.key() == key)?;
            let object: Value = serde_json::from_slice(body.bytes()).ok()?;
            patch(&key, &object, &self.nodes)
        });
        match call {
            Some(call) => {
                pod.under_way = true;
                Some((key, call))
            }
            None => {
                pod.due = None;
                self.start(now)
            }
        }
    }

    fn finish(&mut self, key: &Key, patched: Result<(), (Call, CallError)>) {
        let now = self.began.elapsed();
        let Some(pod) = self.waiting.get_mut(key) else {
            return;
        };
        pod.under_way = false;
        pod.due = None;
        pod.times += 1;
        let (call, error) = match patched {
            Ok(()) => {
                pod.failures = 0;
                self.parts.stats.armed.inc();
                return;
            }
            Err(failed) => failed,
        };
        let meaning = judge(&error);
        let part = ("part", "autonomy");
        if meaning == Meaning::Never {
            WriteStats::count(
                &self.parts.stats.refused,
                part,
                ("resource", &call.resource),
            );
        } else if meaning != Meaning::Gone {
            pod.times -= 1;
            pod.failures += 1;
            let pause = Backoff::of(meaning).pause(pod.failures, fastrand::f64());
            pod.due = Some(now + pause);
            WriteStats::count(&self.parts.stats.retries, part, ("why", meaning.as_str()));
        }
        let error = causeway_daemon::telemetry::error_chain(&error).to_string();
        if matches!(meaning, Meaning::Never | Meaning::Denied)
            && !std::mem::replace(&mut self.told, true)
        {
            let verb = call.method.verb();
            tracing::warn!(%key, verb, resource = call.resource, error, "a pod cannot be given the tolerations of autonomy");
        } else {
            tracing::debug!(%key, error, "a pod was not given the tolerations of autonomy");
        }
    }
}

/// What nodes want, if any of them changed after a revision.
fn autonomies(
    objects: &Objects,
    after: Revision,
    known: &BTreeMap<NodeName, Autonomy>,
) -> Option<BTreeMap<NodeName, Autonomy>> {
    let nodes = Resource::core("nodes");
    objects.changes_after(&nodes, after).next()?;
    let wanted: BTreeMap<NodeName, Autonomy> = objects
        .list(&nodes, None, None)
        .filter_map(|entry| {
            let node: Value = serde_json::from_slice(entry.desired()?.bytes()).ok()?;
            let name = NodeName::new(&entry.key().name).ok()?;
            Some((name, of_node(&node)?))
        })
        .collect();
    (wanted != *known).then_some(wanted)
}

fn note(entry: &Entry, nodes: &BTreeMap<NodeName, Autonomy>, waiting: &mut BTreeMap<Key, Waiting>) {
    let key = entry.key();
    let object = entry
        .desired()
        .and_then(|body| serde_json::from_slice::<Value>(body.bytes()).ok());
    let wants = object.is_some_and(|object| patch(key, &object, nodes).is_some());
    if wants {
        let pod = waiting.entry(key.clone()).or_default();
        if pod.times < TIMES_MAX {
            pod.due = pod.due.or(Some(Duration::ZERO));
        }
    } else if let Some(pod) = waiting.get_mut(key) {
        pod.due = None;
    }
}

/// The patch that a pod needs, if it needs one. It names the life of the pod, and it is made as this
/// service: a node may not change pods.
#[must_use]
pub fn patch(key: &Key, pod: &Value, nodes: &BTreeMap<NodeName, Autonomy>) -> Option<Call> {
    let name = pod.get("spec")?.get("nodeName")?.as_str()?;
    let node = nodes.get(&NodeName::new(name).ok()?)?;
    let wanted = of_pod(pod, node)?;
    let current = pod.get("spec")?.get("tolerations");
    let tolerations = tolerations(current, wanted)?;
    let mut metadata = json!({"uid": key.uid.to_string()});
    if let Some(version) = pod.get("metadata").and_then(|m| m.get("resourceVersion")) {
        metadata["resourceVersion"] = version.clone();
    }
    let patch = json!({"metadata": metadata, "spec": {"tolerations": tolerations}});
    let place = Place::core("pods", &key.namespace, &key.name);
    Some(place.patch(Identity::Cloud, "", Content::MergePatch, patch))
}

/// Pauses are measured; nothing that is stored depends on it.
#[expect(clippy::disallowed_methods, reason = "this is the shell of autonomy")]
fn monotonic() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
