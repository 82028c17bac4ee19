//! The interest graph: which node needs which object now. Pure.
//!
//! ```text
//!   object changes ──▶ Graph ──▶ deltas (node, key: Put | Update | Withdraw)
//!
//!   a pod bound to N     N needs the pod, its namespace, what the pod names, and the services and
//!                        endpoint slices of the namespace, and the tokens it mounts
//!   the Node N           N needs it, and the custom resources of the groups it subscribes to
//!   a volume claim       whoever needs the claim needs the volume it is bound to
//!   a Device attached   N needs the Device, its model, the namespace and the definitions of these
//!   to N                 kinds
//!   an edge request of N whoever made or edited an object through the edge keeps it
//! ```
//!
//! A need is counted by the objects that cause it; the object is withdrawn when the last one goes.
//! A need for an object that is not there is kept and satisfied when the object appears.
//! The incremental result equals the one computed from scratch (property test in `tests.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use causeway_log::{Key, NodeName, Resource};
use serde_json::Value;

mod body;
mod devices;
mod references;
mod sticky;
#[cfg(test)]
mod tests;
mod tokens;

pub use body::{down_body, down_body_of};
pub(crate) use devices::{defines_devices, is_device, is_device_status, model_of, node_of};
pub use references::SUBSCRIBE_ANNOTATION;
pub(crate) use references::{is_custom, pod_references};
pub(crate) use sticky::Sticky;
pub use tokens::{TokenSource, token_sources, tokens};

/// Names an object in whatever life.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Kind of object.
    pub resource: Resource,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// Object name.
    pub name: Arc<str>,
}

impl Name {
    /// The name in a key.
    #[must_use]
    pub fn of(key: &Key) -> Self {
        Self {
            resource: key.resource.clone(),
            namespace: Arc::clone(&key.namespace),
            name: Arc::clone(&key.name),
        }
    }
}

/// A set of objects that a node needs without naming each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Services and endpoint slices of a namespace.
    Network(Arc<str>),
    /// Custom resources and their definitions, by API group.
    Group(Arc<str>),
}

/// What a node needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    Object(Name),
    Class(Class),
}

/// A change of what a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Which node.
    pub node: NodeName,
    /// Which object.
    pub key: Key,
    /// What happens to it there.
    pub step: Step,
}

/// What happens to an object at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The node does not hold it and needs it.
    Put,
    /// The node holds it and it was written; the body for the node may still be the same.
    Update,
    /// The node holds it and needs it no longer, or it is gone.
    Withdraw,
}

#[derive(Clone, Debug)]
struct Live {
    key: Key,
    class: Option<Class>,
    /// Needed by every node that holds this object.
    follows: Vec<Name>,
    /// What this object makes nodes need.
    causes: BTreeSet<(NodeName, Need)>,
    holders: BTreeSet<NodeName>,
}

/// See the module documentation.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    live: BTreeMap<Name, Live>,
    classes: BTreeMap<Class, BTreeSet<Name>>,
    /// How many objects make a node need something.
    counts: BTreeMap<Need, BTreeMap<NodeName, u32>>,
    /// Nodes that made or edited an object through a request.
    sticky: Sticky,
    /// Needs that began or ended; `None`: nobody asks.
    turnover: Option<Turnover>,
}

/// Needs that had no cause and have one now, and the other way round. A need may be in both.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turnover {
    pub(crate) began: BTreeSet<Need>,
    pub(crate) ended: BTreeSet<Need>,
}

impl Graph {
    /// A graph of no objects yet, in which nodes keep these as they appear.
    pub(crate) fn keeping(sticky: Sticky) -> Self {
        Self {
            sticky,
            ..Self::default()
        }
    }

    /// What was done up to here stands.
    pub(crate) fn keep(&mut self) {
        self.sticky.keep();
    }

    /// Who kept what at the last [`Graph::keep`].
    pub(crate) fn into_kept(self) -> Sticky {
        self.sticky.kept()
    }

    /// An object was written. Deltas come in an order in which a node can use them: what an object
    /// names stands before the object.
    pub fn put(&mut self, key: &Key, body: &Value, deltas: &mut Vec<Delta>) {
        let name = Name::of(key);
        if self.live.get(&name).is_some_and(|live| live.key != *key) {
            self.remove_name(&name, deltas);
        }
        let class = references::class_of(key, body);
        let held = self
            .live
            .get(&name)
            .map(|live| live.holders.clone())
            .unwrap_or_default();
        let live = self.live.entry(name.clone()).or_insert_with(|| Live {
            key: key.clone(),
            class: None,
            follows: Vec::new(),
            causes: BTreeSet::new(),
            holders: BTreeSet::new(),
        });
        live.follows = references::follows(key, body);
        let class_before = std::mem::replace(&mut live.class, class.clone());
        if class_before != class {
            self.leave_class(class_before, &name);
            if let Some(class) = class {
                self.classes.entry(class).or_default().insert(name.clone());
            }
        }
        let mut causes = references::causes(key, body);
        for node in self.sticky.of(key) {
            causes.insert((node.clone(), Need::Object(name.clone())));
        }
        self.settle(&name, causes, deltas);
        self.reconsider_all(&name, deltas);
        let Some(live) = self.live.get(&name) else {
            return;
        };
        for node in live.holders.intersection(&held) {
            if causeway_log::mutant::is_on("lost-update") {
                continue;
            }
            deltas.push(Delta {
                node: node.clone(),
                key: key.clone(),
                step: Step::Update,
            });
        }
    }

    /// An object is gone. Another life of the same name is left alone.
    pub fn remove(&mut self, key: &Key, deltas: &mut Vec<Delta>) {
        let name = Name::of(key);
        if self.live.get(&name).is_some_and(|live| live.key == *key) {
            self.remove_name(&name, deltas);
        }
    }

    /// `node` made or edited the object `key` by a request: it keeps it until the object is gone.
    /// Without effect when the object is not there, and for a Device, which is its node's by what it
    /// says itself.
    pub fn stick(&mut self, node: &NodeName, key: &Key, deltas: &mut Vec<Delta>) {
        if is_device(&key.resource) {
            return;
        }
        let name = Name::of(key);
        let Some(live) = self.live.get(&name).filter(|live| live.key == *key) else {
            return;
        };
        if self.sticky.insert(key, node) {
            let mut causes = live.causes.clone();
            causes.insert((node.clone(), Need::Object(name.clone())));
            self.settle(&name, causes, deltas);
        }
    }

    /// From here on, notes which needs begin and end.
    pub(crate) fn note_turnover(&mut self) {
        self.turnover.get_or_insert_default();
    }

    /// What was noted since it was last taken.
    pub(crate) fn take_turnover(&mut self) -> Turnover {
        self.turnover
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// [`Graph::stick`] for an object that is still to appear.
    pub(crate) fn expect(&mut self, node: &NodeName, key: &Key) {
        if is_device(&key.resource) {
            return;
        }
        self.sticky.insert(key, node);
    }

    /// Nothing is expected any more under this name but what is there.
    pub(crate) fn expect_no_more(&mut self, name: &Name) {
        let live = self.live.get(name).map(|live| &live.key);
        self.sticky.remove_name(name, live);
    }

    /// Whether any node needs this.
    pub(crate) fn is_needed(&self, need: &Need) -> bool {
        self.counts.contains_key(need)
    }

    /// Whether any node would hold this object.
    pub(crate) fn is_object_needed(&self, key: &Key, body: &Value) -> bool {
        self.sticky.contains(key)
            || self.is_needed(&Need::Object(Name::of(key)))
            || references::class_of(key, body)
                .is_some_and(|class| self.is_needed(&Need::Class(class)))
    }

    /// The objects of a class.
    pub(crate) fn members(&self, class: &Class) -> impl Iterator<Item = &Name> {
        self.classes.get(class).into_iter().flatten()
    }

    /// Whether an object of this name is there.
    pub(crate) fn is_live(&self, name: &Name) -> bool {
        self.live.contains_key(name)
    }

    /// The nodes that hold the object of this name.
    pub fn holders(&self, name: &Name) -> impl Iterator<Item = &NodeName> {
        self.live
            .get(name)
            .into_iter()
            .flat_map(|live| &live.holders)
    }

    /// Whether `node` holds this life of an object.
    #[must_use]
    pub fn holds(&self, node: &NodeName, key: &Key) -> bool {
        self.live
            .get(&Name::of(key))
            .is_some_and(|live| live.key == *key && live.holders.contains(node))
    }

    /// Everything held, by object.
    pub fn held(&self) -> impl Iterator<Item = (&Key, &BTreeSet<NodeName>)> {
        self.live.values().map(|live| (&live.key, &live.holders))
    }

    fn remove_name(&mut self, name: &Name, deltas: &mut Vec<Delta>) {
        let Some(mut live) = self.live.remove(name) else {
            return;
        };
        self.sticky.remove(&live.key);
        self.leave_class(live.class.take(), name);
        for node in std::mem::take(&mut live.holders) {
            deltas.push(Delta {
                node,
                key: live.key.clone(),
                step: Step::Withdraw,
            });
        }
        let mut losses = BTreeSet::new();
        for (node, need) in live.causes {
            if self.uncount(&node, &need) {
                losses.insert((node, need));
            }
        }
        self.settle_needs(losses, deltas);
    }

    fn leave_class(&mut self, class: Option<Class>, name: &Name) {
        let Some(class) = class else { return };
        if let Some(members) = self.classes.get_mut(&class) {
            members.remove(name);
            if members.is_empty() {
                self.classes.remove(&class);
            }
        }
    }

    /// Replaces what the live object `name` causes and brings the holders of all that is touched
    /// up to date.
    fn settle(
        &mut self,
        name: &Name,
        mut causes: BTreeSet<(NodeName, Need)>,
        deltas: &mut Vec<Delta>,
    ) {
        let Some(live) = self.live.get_mut(name) else {
            return;
        };
        for holder in &live.holders {
            for followed in &live.follows {
                causes.insert((holder.clone(), Need::Object(followed.clone())));
            }
        }
        let before = std::mem::replace(&mut live.causes, causes.clone());
        let mut changed = BTreeSet::new();
        for (node, need) in causes.difference(&before) {
            if self.count(node, need) {
                changed.insert((node.clone(), need.clone()));
            }
        }
        for (node, need) in before.difference(&causes) {
            if self.uncount(node, need) {
                changed.insert((node.clone(), need.clone()));
            }
        }
        // What an object needs goes before the object itself.
        let own = Need::Object(name.clone());
        let (own, others) = changed.into_iter().partition(|(_, need)| *need == own);
        self.settle_needs(others, deltas);
        self.settle_needs(own, deltas);
    }

    fn settle_needs(&mut self, changed: BTreeSet<(NodeName, Need)>, deltas: &mut Vec<Delta>) {
        for (node, need) in changed {
            match need {
                Need::Object(name) => self.reconsider(&node, &name, deltas),
                Need::Class(class) => {
                    let members: Vec<Name> = self
                        .classes
                        .get(&class)
                        .into_iter()
                        .flatten()
                        .cloned()
                        .collect();
                    for name in members {
                        self.reconsider(&node, &name, deltas);
                    }
                }
            }
        }
    }

    /// The object appeared or changed class: every node that needs it now or held it is looked at.
    fn reconsider_all(&mut self, name: &Name, deltas: &mut Vec<Delta>) {
        let Some(live) = self.live.get(name) else {
            return;
        };
        let mut nodes = live.holders.clone();
        let class = live.class.clone().map(Need::Class);
        for need in [Some(Need::Object(name.clone())), class]
            .into_iter()
            .flatten()
        {
            nodes.extend(
                self.counts
                    .get(&need)
                    .into_iter()
                    .flat_map(BTreeMap::keys)
                    .cloned(),
            );
        }
        for node in nodes {
            self.reconsider(&node, name, deltas);
        }
    }

    /// Gives or takes the object, whichever its needs say.
    fn reconsider(&mut self, node: &NodeName, name: &Name, deltas: &mut Vec<Delta>) {
        let Some(live) = self.live.get(name) else {
            return;
        };
        let wanted = self.wanted(node, name, live.class.as_ref());
        if wanted == live.holders.contains(node) {
            return;
        }
        let follows = !live.follows.is_empty();
        let Some(live) = self.live.get_mut(name) else {
            return;
        };
        let step = if wanted {
            live.holders.insert(node.clone());
            Step::Put
        } else {
            live.holders.remove(node);
            if causeway_log::mutant::is_on("lost-withdraw") {
                return;
            }
            Step::Withdraw
        };
        let delta = Delta {
            node: node.clone(),
            key: live.key.clone(),
            step,
        };
        if follows {
            // Only claims follow anything, and volumes follow nothing: one level deep.
            let own = Need::Object(name.clone());
            let causes = live
                .causes
                .iter()
                .filter(|(_, need)| *need == own)
                .cloned()
                .collect();
            self.settle(name, causes, deltas);
        }
        deltas.push(delta);
    }

    fn wanted(&self, node: &NodeName, name: &Name, class: Option<&Class>) -> bool {
        let counted = |need: &Need| {
            self.counts
                .get(need)
                .is_some_and(|nodes| nodes.contains_key(node))
        };
        counted(&Need::Object(name.clone()))
            || class.is_some_and(|class| counted(&Need::Class(class.clone())))
    }

    /// Counts one more cause; says whether it is the first.
    fn count(&mut self, node: &NodeName, need: &Need) -> bool {
        let nodes = self.counts.entry(need.clone()).or_default();
        if nodes.is_empty()
            && let Some(turnover) = &mut self.turnover
        {
            turnover.began.insert(need.clone());
        }
        let count = nodes.entry(node.clone()).or_insert(0);
        *count += 1;
        *count == 1
    }

    /// Counts one cause less; says whether it was the last.
    fn uncount(&mut self, node: &NodeName, need: &Need) -> bool {
        let nodes = self
            .counts
            .get_mut(need)
            .expect("a need that is dropped was counted");
        let count = nodes
            .get_mut(node)
            .expect("a need that is dropped was counted for its node");
        *count -= 1;
        let last = *count == 0;
        if last {
            nodes.remove(node);
            if nodes.is_empty() {
                self.counts.remove(need);
                if let Some(turnover) = &mut self.turnover {
                    turnover.ended.insert(need.clone());
                }
            }
        }
        last
    }
}
