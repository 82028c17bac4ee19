//! What the controllers need to know of all objects, kept up to date from changes alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use causeway_log::{Key, Resource, Revision, Uid};
use causeway_projections::{Change, Entry, Objects};
use serde_json::Value;

use super::{at, items_at, text_at};
use crate::cluster::is_terminating;
use crate::interest::Name;

/// A pod, as far as controllers care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// Where it is bound to.
    pub node: Option<Arc<str>>,
    /// It runs no more and counts for nothing.
    pub finished: bool,
    /// It wants a node.
    pub pending: bool,
    /// Pods that are older are bound first.
    pub created: Revision,
}

/// What a Node says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It can run pods.
    Ready,
    /// It says that it cannot, or has not said anything.
    NotReady,
    /// The lifecycle controller says that nobody knows.
    Unknown,
}

/// A taint of a Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value, maybe empty.
    pub value: String,
    /// `NoSchedule`, `NoExecute` or `PreferNoSchedule`.
    pub effect: String,
}

/// A Node, as far as controllers care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// What it says of itself.
    pub readiness: Readiness,
    /// Whether it has a `Ready` condition at all.
    pub reported: bool,
    /// Somebody cordoned it.
    pub unschedulable: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Taints.
    pub taints: Vec<Taint>,
}

/// See the module documentation. The same objects give the same index, by whatever changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    seen: Revision,
    pub(super) pods: BTreeMap<Name, PodFacts>,
    /// Of `pods`: those that want a node, oldest first.
    pending: BTreeSet<(Revision, Name)>,
    /// Of `pods`: how many count for each node; none of them is zero.
    counts: BTreeMap<Arc<str>, usize>,
    pub(super) nodes: BTreeMap<Arc<str>, NodeFacts>,
    /// Nodes that were deleted and did not come back.
    pub(super) deleted_nodes: BTreeSet<Arc<str>>,
    pub(super) terminating_namespaces: BTreeSet<Arc<str>>,
    /// Live objects by uid.
    pub(super) uids: BTreeMap<Uid, Name>,
    /// Live objects that name owners.
    pub(super) owned: BTreeMap<Name, Vec<Uid>>,
}

impl Index {
    /// An index of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what changed since the last call; says whether anything did.
    pub fn observe(&mut self, objects: &Objects) -> bool {
        if self.seen < objects.floor() {
            // Deletions since then are forgotten: begin anew.
            *self = Self::new();
        }
        let before = self.seen;
        for resource in objects
            .resources()
            .filter(|r| objects.latest_change(r) > before)
        {
            for change in objects.changes_after(resource, before) {
                match change {
                    Change::Present(entry) => self.present(entry),
                    Change::Gone(tombstone) => self.gone(tombstone.key()),
                }
            }
        }
        self.seen = objects.revision();
        self.seen > before
    }

    fn present(&mut self, entry: &Entry) {
        let key = entry.key();
        let name = Name::of(key);
        let object = parse(entry);
        self.uids.insert(key.uid.clone(), name.clone());
        let owners: Vec<Uid> = items_at(&object, &["metadata", "ownerReferences"])
            .map(|owner| Uid::parse(text_at(owner, &["uid"])))
            .filter(|uid| !uid.is_none())
            .collect();
        if owners.is_empty() {
            self.owned.remove(&name);
        } else {
            self.owned.insert(name.clone(), owners);
        }
        if key.resource.is("", "pods") {
            self.set_pod(name, Some(pod_facts(entry.created(), &object)));
        } else if key.resource.is("", "nodes") {
            self.deleted_nodes.remove(&key.name);
            self.nodes
                .insert(Arc::clone(&key.name), node_facts(&object));
        } else if key.resource.is("", "namespaces") {
            if is_terminating(&object) {
                self.terminating_namespaces.insert(Arc::clone(&key.name));
            } else {
                self.terminating_namespaces.remove(&key.name);
            }
        }
    }

    fn gone(&mut self, key: &Key) {
        let name = Name::of(key);
        let known = self.uids.remove(&key.uid).is_some();
        if key.resource.is("", "nodes") && !self.uids.values().any(|live| *live == name) {
            self.nodes.remove(&key.name);
            self.deleted_nodes.insert(Arc::clone(&key.name));
        }
        if !known {
            return;
        }
        self.owned.remove(&name);
        if key.resource.is("", "pods") {
            self.set_pod(name, None);
        } else if key.resource.is("", "namespaces") {
            self.terminating_namespaces.remove(&key.name);
        }
    }

    /// A Node by its name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeFacts> {
        self.nodes.get(name)
    }

    /// The names of all Nodes.
    pub fn node_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.nodes.keys()
    }

    fn set_pod(&mut self, name: Name, pod: Option<PodFacts>) {
        let before = match &pod {
            Some(pod) => self.pods.insert(name.clone(), pod.clone()),
            None => self.pods.remove(&name),
        };
        if let Some(before) = before {
            if before.pending {
                self.pending.remove(&(before.created, name.clone()));
            }
            if let Some(node) = before.counts_for()
                && let Some(count) = self.counts.get_mut(node)
            {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(node);
                }
            }
        }
        if let Some(pod) = pod {
            if let Some(node) = pod.counts_for() {
                *self.counts.entry(Arc::clone(node)).or_default() += 1;
            }
            if pod.pending {
                self.pending.insert((pod.created, name));
            }
        }
    }

    /// Pods that want a node, oldest first.
    pub fn pending(&self) -> impl Iterator<Item = &Name> {
        self.pending.iter().map(|(_, name)| name)
    }

    /// How many pods run on each node; a node without any is not there.
    #[must_use]
    pub const fn pods_per_node(&self) -> &BTreeMap<Arc<str>, usize> {
        &self.counts
    }
}

impl PodFacts {
    /// The node that has this pod to run.
    fn counts_for(&self) -> Option<&Arc<str>> {
        self.node.as_ref().filter(|_| !self.finished)
    }
}

/// The entry of a name.
pub(super) fn entry<'a>(objects: &'a Objects, name: &Name) -> Option<&'a Entry> {
    objects.get(&name.resource, &name.namespace, &name.name)
}

/// An object without its `resourceVersion`.
pub(super) fn parse(entry: &Entry) -> Value {
    entry
        .desired()
        .and_then(|body| serde_json::from_slice(body.bytes()).ok())
        .unwrap_or_default()
}

/// All objects of a core resource.
pub(super) fn list<'a>(objects: &'a Objects, plural: &str) -> impl Iterator<Item = &'a Entry> {
    objects.list(&Resource::core(plural), None, None)
}

fn pod_facts(created: Revision, pod: &Value) -> PodFacts {
    let node = text_at(pod, &["spec", "nodeName"]);
    let finished = matches!(text_at(pod, &["status", "phase"]), "Succeeded" | "Failed");
    let scheduler = text_at(pod, &["spec", "schedulerName"]);
    let gated = items_at(pod, &["spec", "schedulingGates"]).next().is_some();
    let ours = matches!(scheduler, "" | "default-scheduler") && !gated;
    PodFacts {
        node: (!node.is_empty()).then(|| node.into()),
        finished,
        pending: node.is_empty() && ours && !finished && !is_terminating(pod),
        created,
    }
}

fn node_facts(node: &Value) -> NodeFacts {
    let ready = items_at(node, &["status", "conditions"])
        .find(|condition| text_at(condition, &["type"]) == "Ready");
    let readiness = match ready.map(|ready| text_at(ready, &["status"])) {
        Some("True") => Readiness::Ready,
        Some("Unknown") => Readiness::Unknown,
        Some(_) | None => Readiness::NotReady,
    };
    let labels = at(node, &["metadata", "labels"]).and_then(Value::as_object);
    let labels = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| value.as_str().map(|value| (key.clone(), value.to_owned())));
    let taints = items_at(node, &["spec", "taints"]).map(|taint| Taint {
        key: text_at(taint, &["key"]).to_owned(),
        value: text_at(taint, &["value"]).to_owned(),
        effect: text_at(taint, &["effect"]).to_owned(),
    });
    NodeFacts {
        readiness,
        reported: ready.is_some(),
        unschedulable: at(node, &["spec", "unschedulable"]).and_then(Value::as_bool) == Some(true),
        labels: labels.collect(),
        taints: taints.collect(),
    }
}
