//! The cluster as a mirror of a Kubernetes API server: what is seen there becomes cluster records,
//! as far as a node needs it.
//!
//! ```text
//!   Seen ──▶ relevant? ──▶ cluster record ─▶ interest ─▶ down records      (as for any write)
//!                │                             │
//!                └─ no: removed, if it was     └─▶ needs that began: Want    needs that ended: removed
//! ```
//!
//! # Guarantees
//! - The mirror holds an object exactly if a node needs it: nodes that are ours, the pods and devices
//!   bound to them, and what the interest graph derives from these; and the definitions of devices.
//! - An object that is as it was makes no record, however often it is listed.
//! - Something is removed only when it was seen to go, when nobody needs it, or when a list that
//!   began after it was stored ended without it (`Listing` … `Listed`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use causeway_kube_api::{View, WriteError};
use causeway_log::writer::Planned;
use causeway_log::{Batch, Direction, Epoch, Key, NodeName, Resource, StreamChange, StreamId};
use serde_json::Value;
use tokio::sync::oneshot;

use super::answer::Answer;
use super::objects::TooLarge;
use super::wrote_back::Made;
use super::{ClusterMachine, Current, Request};
use crate::interest::{Class, Name, Need, Turnover, defines_devices, is_device, node_of};

mod gone;
mod seen;

use gone::Gone;
pub use seen::{Mirror, Seen, Want};

/// The label of nodes that are ours before they ever came.
pub const EDGE_LABEL: &str = "node-role.kubernetes.io/edge";
/// What the machine itself keeps of the mirror.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) shared: Arc<Mirror>,
    /// Kinds being listed, and what they hold that the list has not shown yet.
    unconfirmed: BTreeMap<Resource, BTreeSet<Name>>,
    /// Lives that ended lately: what was asked for before may still tell of them.
    gone: Gone,
    /// Nodes that sent something once.
    joined: BTreeSet<NodeName>,
    /// What this round makes wanted.
    wants: BTreeSet<Want>,
    /// This round has something of the mirror.
    is_in_round: bool,
    /// This round moves to another cluster.
    is_swapped: bool,
}

impl ClusterMachine {
    pub(super) fn plan_mirror(
        &mut self,
        seen: Vec<Seen>,
        answer: oneshot::Sender<Result<(), WriteError>>,
        batch: &mut Batch,
    ) -> Planned<Request> {
        let swaps = seen.iter().any(|seen| self.is_swap(seen));
        // Streams move to a new epoch before anything is appended to them.
        if swaps && !(batch.is_empty() && self.round.opened.is_empty()) {
            return Planned::Later(Request::Mirror { seen, answer });
        }
        if let Some(mirror) = &mut self.mirror {
            mirror.is_in_round = true;
        }
        if swaps {
            self.swap(batch);
        }
        for seen in seen {
            self.see(seen, batch);
        }
        self.settle_needs(batch);
        self.round.answers.push(Answer::Mirror(answer));
        Planned::InBatch
    }

    fn see(&mut self, seen: Seen, batch: &mut Batch) {
        match seen {
            Seen::Listing { resource } => self.begin_list(resource),
            Seen::Present {
                key,
                object,
                version,
            } => {
                self.confirm(&Name::of(&key));
                if self.is_stale(&key, version) || self.is_identity_of_another(&key) {
                    return;
                }
                if self.is_relevant(&key, &object) {
                    self.mirror_put(&key, object, version, batch);
                } else {
                    self.mirror_delete(&Name::of(&key), batch);
                }
            }
            Seen::TooLarge { key, size, version } => self.pass_over(&key, size, version, batch),
            Seen::Gone { key } => {
                let name = Name::of(&key);
                let is_here = |current: Current| current.key == key;
                if self.current(&name).is_some_and(is_here) {
                    self.mirror_delete(&name, batch);
                }
                if let Some(mirror) = &mut self.mirror {
                    mirror.shared.fits(&name);
                    mirror.gone.insert(key);
                }
            }
            // If it is here nevertheless, it was made after it was asked for, and whoever follows
            // its kind knows best.
            Seen::Absent { name } => self.graph.expect_no_more(&name),
            Seen::Listed { resource } => {
                let Some(mirror) = &mut self.mirror else {
                    return;
                };
                for name in mirror.unconfirmed.remove(&resource).unwrap_or_default() {
                    self.mirror_delete(&name, batch);
                }
            }
            Seen::Complete { key, object } => self.mirror_put(&key, object, None, batch),
        }
    }

    /// An object cannot be taken in. Nodes keep the last version that could, if it is of this life.
    fn pass_over(&mut self, key: &Key, size: usize, version: Option<u64>, batch: &mut Batch) {
        let name = Name::of(key);
        self.confirm(&name);
        if self.is_stale(key, version) {
            return;
        }
        let held = self.current(&name);
        if held.is_some_and(|held| held.key != *key) {
            self.mirror_delete(&name, batch);
        }
        if let Some(mirror) = &self.mirror {
            mirror.shared.refuse(&name, size);
        }
    }

    fn begin_list(&mut self, resource: Resource) {
        let held: BTreeSet<Name> = self.view.read(|objects| {
            let held = objects.list(&resource, None, None);
            held.map(|entry| Name::of(entry.key())).collect()
        });
        // What this round has made so far was seen before the list.
        let made = self.round.overlay.iter().filter_map(|(name, planning)| {
            let present = matches!(planning, super::Planning::Present(_));
            (name.resource == resource && present).then(|| name.clone())
        });
        let unconfirmed = held.into_iter().chain(made).collect();
        let Some(mirror) = &mut self.mirror else {
            return;
        };
        // Versions go back when a cluster is restored from a copy.
        mirror.shared.forget_versions(&resource);
        mirror.gone.forget(&resource);
        mirror.unconfirmed.insert(resource, unconfirmed);
    }

    fn confirm(&mut self, name: &Name) {
        let mirror = self.mirror.as_mut();
        let listing = mirror.and_then(|mirror| mirror.unconfirmed.get_mut(&name.resource));
        if let Some(unconfirmed) = listing {
            unconfirmed.remove(name);
        }
    }

    /// Whether something newer was seen of the object already: what is fetched because it is needed
    /// and what is watched do not come in order.
    fn is_stale(&self, key: &Key, version: Option<u64>) -> bool {
        let Some(mirror) = &self.mirror else {
            return false;
        };
        if mirror.gone.contains(key) {
            return true;
        }
        let Some(version) = version else {
            return false;
        };
        let Some(current) = self.current(&Name::of(key)) else {
            return false;
        };
        let known = mirror.shared.version(&current.key);
        known.is_some_and(|known| version < known)
    }

    /// Whether this would make the mirror one of another cluster, or a complete one: what is seen
    /// of one object cannot.
    fn is_identity_of_another(&self, key: &Key) -> bool {
        let is_it = |now: Current| now.key == *key;
        is_identity(key) && !self.current(&Name::of(key)).is_some_and(is_it)
    }

    fn is_relevant(&self, key: &Key, object: &Value) -> bool {
        if is_identity(key) {
            return true;
        }
        if key.resource.is("", "nodes") {
            return self.is_ours(&key.name, Some(object));
        }
        if key.resource.is("", "pods") {
            let node = object.get("spec").and_then(|spec| spec.get("nodeName"));
            return node
                .and_then(Value::as_str)
                .is_some_and(|node| self.is_ours(node, None));
        }
        if is_device(&key.resource) {
            return node_of(object).is_some_and(|node| self.is_ours(node.as_str(), None));
        }
        // Devices say which nodes need them, so their kinds are followed whoever needs them yet.
        defines_devices(key) || self.graph.is_object_needed(key, object)
    }

    /// Whether a node is served from here: it has the label, or it came once.
    fn is_ours(&self, node: &str, object: Option<&Value>) -> bool {
        let Some((node, mirror)) = NodeName::new(node).ok().zip(self.mirror.as_ref()) else {
            return false;
        };
        if mirror.joined.contains(&node) || self.hub.is_connected(&node) {
            return true;
        }
        match object {
            Some(object) => object
                .get("metadata")
                .and_then(|metadata| metadata.get("labels"))
                .and_then(|labels| labels.get(EDGE_LABEL))
                .is_some(),
            None => self.graph.is_live(&node_name(&node)),
        }
    }

    fn mirror_put(&mut self, key: &Key, object: Value, version: Option<u64>, batch: &mut Batch) {
        let name = Name::of(key);
        let before = self.current(&name);
        if before.as_ref().is_some_and(|before| before.key != *key) {
            self.mirror_delete(&name, batch);
        }
        let is_new_node = before.is_none() && key.resource.is("", "nodes");
        let stored = self.put(batch, key, object, None);
        let Some(mirror) = &mut self.mirror else {
            return;
        };
        match stored {
            Ok(_) => {
                mirror.shared.fits(&name);
                if is_new_node && let Ok(node) = NodeName::new(&key.name) {
                    mirror.wants.extend([Want::Pods(node), Want::Devices]);
                }
            }
            Err(TooLarge { size }) => mirror.shared.refuse(&name, size),
        }
        if let Some(version) = version {
            mirror.shared.set_version(key, version);
        }
    }

    fn mirror_delete(&mut self, name: &Name, batch: &mut Batch) {
        let Some(current) = self.current(name) else {
            return;
        };
        self.delete(batch, &current.key, None);
        if let Some(mirror) = &self.mirror {
            mirror.shared.forget(&current.key);
        }
        if name.resource.is("", "nodes")
            && let Ok(node) = NodeName::new(&name.name)
            && !self.is_ours(&name.name, None)
        {
            self.release_bound(&node, batch);
        }
    }

    /// A node is no longer ours, so its pods and devices are nothing to us.
    fn release_bound(&mut self, node: &NodeName, batch: &mut Batch) {
        let is_bound = |key: &Key| key.resource.is("", "pods") || is_device(&key.resource);
        let held = self.graph.held();
        let held = held.filter(|(key, holders)| is_bound(key) && holders.contains(node));
        let bound: Vec<Name> = held.map(|(key, _)| Name::of(key)).collect();
        for name in bound {
            self.mirror_delete(&name, batch);
        }
    }

    /// Removes what nobody needs any more, and says what is needed and not here.
    fn settle_needs(&mut self, batch: &mut Batch) {
        loop {
            let Turnover { began, ended } = self.graph.take_turnover();
            if let Some(mirror) = &mut self.mirror {
                let wants = began.into_iter().filter_map(|need| want(&self.graph, need));
                mirror.wants.extend(wants);
            }
            if ended.is_empty() {
                return;
            }
            for need in ended {
                let names: Vec<Name> = match need {
                    Need::Object(name) => vec![name],
                    Need::Class(class) => self.graph.members(&class).cloned().collect(),
                };
                for name in names {
                    self.remove_unless_relevant(&name, batch);
                }
            }
        }
    }

    fn remove_unless_relevant(&mut self, name: &Name, batch: &mut Batch) {
        let Some(current) = self.current(name) else {
            return;
        };
        if !self.is_relevant(&current.key, &current.value()) {
            self.mirror_delete(name, batch);
        }
    }

    /// Notes that a node keeps an object that the mirror has not seen yet. `false` when it has, or
    /// when this is no mirror.
    pub(super) fn expects(&mut self, node: &NodeName, key: &Key) -> bool {
        let name = Name::of(key);
        let is_here = self
            .current(&name)
            .is_some_and(|current| current.key == *key);
        let Some(mirror) = self.mirror.as_mut().filter(|_| !is_here) else {
            return false;
        };
        self.graph.expect(node, key);
        mirror.wants.insert(Want::Object(name));
        true
    }

    /// An object that the API server answered to a write for a node, which keeps it. Without effect
    /// when this is no mirror.
    pub(super) fn see_made(&mut self, node: &NodeName, made: Made, batch: &mut Batch) {
        let Some(mirror) = &mut self.mirror else {
            return;
        };
        mirror.is_in_round = true;
        let Made {
            key,
            object,
            version,
            is_fresh: _,
        } = made;
        self.graph.expect(node, &key);
        let seen = Seen::Present {
            key,
            object,
            version,
        };
        self.see(seen, batch);
        self.settle_needs(batch);
    }

    fn is_swap(&self, seen: &Seen) -> bool {
        let Seen::Complete { key, .. } = seen else {
            return false;
        };
        self.current(&Name::of(key))
            .is_some_and(|now| now.key != *key)
    }

    /// The API server is another cluster's: what the nodes have is compared key by key.
    fn swap(&mut self, batch: &mut Batch) {
        for node in self.down.clone() {
            self.acks.remove(&node);
            batch.streams.push(StreamChange::Open {
                stream: StreamId::down(node.clone()),
                epoch: Epoch::new(self.clock.uid()),
            });
            self.round.opened.insert(node);
        }
        if let Some(mirror) = &mut self.mirror {
            mirror.is_swapped = true;
        }
    }

    /// The round is durable.
    pub(super) fn mirror_committed(&mut self) {
        let Some(mirror) = &mut self.mirror else {
            return;
        };
        for node in self.round.received.keys() {
            if mirror.joined.insert(node.clone()) {
                mirror.wants.insert(Want::Object(node_name(node)));
            }
        }
        for node in &self.round.dropped {
            mirror.joined.remove(node);
        }
        mirror.is_in_round = false;
        if std::mem::take(&mut mirror.is_swapped) {
            self.hub.close_all("the cluster is another one");
        }
        mirror.shared.want(std::mem::take(&mut mirror.wants));
    }

    /// The round changed nothing: lists under way cannot be completed any more.
    pub(super) fn mirror_failed(&mut self) {
        let Some(mirror) = &mut self.mirror else {
            return;
        };
        if std::mem::take(&mut mirror.is_in_round) {
            mirror.unconfirmed.clear();
        }
        mirror.is_swapped = false;
        mirror.wants.clear();
        self.graph.note_turnover();
    }

    /// Makes this machine a mirror. Before its first round.
    pub(super) fn become_mirror(&mut self) -> Result<(), causeway_log::error::ReadError> {
        let streams = self.store.streams()?;
        let joined = streams.into_iter().filter_map(|stream| match stream {
            StreamId::Node(node, Direction::Up) => Some(node),
            StreamId::Node(_, Direction::Down) | StreamId::Cluster => None,
        });
        self.mirror = Some(State {
            joined: joined.collect(),
            ..State::default()
        });
        self.graph.note_turnover();
        Ok(())
    }

    /// What this machine tells whoever watches the API server; `None` when it is no mirror.
    #[must_use]
    pub fn mirror(&self) -> Option<Arc<Mirror>> {
        let mirror = self.mirror.as_ref()?;
        Some(Arc::clone(&mirror.shared))
    }
}

/// Whether a mirror was complete once, and may be served: what the nodes are to have is known.
#[must_use]
pub fn is_complete(view: &View) -> bool {
    let namespaces = Resource::core("namespaces");
    view.read(|objects| objects.get(&namespaces, "", "kube-system").is_some())
}

/// Whether this namespace is what tells clusters apart.
fn is_identity(key: &Key) -> bool {
    key.resource.is("", "namespaces") && &*key.name == "kube-system"
}

fn node_name(node: &NodeName) -> Name {
    Name {
        resource: Resource::core("nodes"),
        namespace: "".into(),
        name: node.as_str().into(),
    }
}

fn want(graph: &crate::interest::Graph, need: Need) -> Option<Want> {
    if !graph.is_needed(&need) {
        return None;
    }
    match need {
        // These are followed for their own sake: no change of one that is here is passed over.
        Need::Object(name)
            if (name.resource.is("", "nodes")
                || name.resource.is("", "pods")
                || is_device(&name.resource))
                && graph.is_live(&name) =>
        {
            None
        }
        // No API server has these; they are made here.
        Need::Object(name) if name.resource == crate::interest::tokens() => None,
        // Also when it came along with what needs it: it was read before anyone here needed it, and
        // a change of it that was seen since then was passed over.
        Need::Object(name) => Some(Want::Object(name)),
        Need::Class(Class::Network(namespace)) => Some(Want::Network(namespace)),
        Need::Class(Class::Group(group)) => Some(Want::Group(group)),
    }
}

#[cfg(test)]
mod tests;
