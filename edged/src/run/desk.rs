//! What the API said last: pods, and of config objects those that pods refer to.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use causeway_kube_api::client::Reflected;
use serde_json::Value;

use super::lives::Name;
use crate::events::PodName;
use crate::pod::{ConfigData, ConfigKind, ConfigRef, Configs, config_data, references};

/// Pods and config as last heard of.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// `None` until the API said for the first time what there is.
    pods: Option<BTreeMap<Name, StoredPod>>,
    /// The names of pods, by uid.
    names: BTreeMap<String, Name>,
    pub(super) configs: Configs,
    /// Versions of what is in `configs`, to order answers that cross.
    versions: BTreeMap<ConfigRef, u64>,
    /// The pods that refer to a config object. Of what nobody refers to nothing is kept.
    users: BTreeMap<ConfigRef, BTreeSet<Name>>,
    /// What somebody refers to and nothing is known of.
    unknown: BTreeSet<ConfigRef>,
}

/// A pod object, kept as text: parsed, it takes several times the memory.
#[derive(Debug)]
pub(super) struct StoredPod {
    pub(super) name: PodName,
    pub(super) text: Bytes,
    pub(super) version: u64,
    references: BTreeSet<ConfigRef>,
}

impl StoredPod {
    pub(super) fn object(&self) -> Value {
        // It was made from a value a moment ago.
        serde_json::from_slice(&self.text).unwrap_or_default()
    }
}

impl Desk {
    /// Takes what was told of pods; says which lives it was about.
    pub(super) fn handle_pods(&mut self, told: Reflected) -> Vec<PodName> {
        match told {
            Reflected::Replace(objects) => {
                let fresh: Vec<StoredPod> = objects.iter().filter_map(store).collect();
                let known = self.pods.get_or_insert_default();
                let names: BTreeSet<Name> = fresh.iter().map(key).collect();
                let gone: Vec<Name> = known
                    .keys()
                    .filter(|name| !names.contains(name))
                    .cloned()
                    .collect();
                let mut changed: Vec<PodName> = fresh.iter().map(|pod| pod.name.clone()).collect();
                for pod in fresh {
                    // One that had the name before is news too.
                    changed.extend(self.set(&key(&pod), Some(pod)));
                }
                changed.extend(gone.iter().filter_map(|name| self.set(name, None)));
                changed
            }
            Reflected::Applied(object) => {
                let Some(pod) = store(&object).filter(|_| self.is_told()) else {
                    return Vec::new();
                };
                let mut changed = vec![pod.name.clone()];
                changed.extend(self.set(&key(&pod), Some(pod)));
                changed
            }
            Reflected::Deleted(object) => {
                let Some(pod) = store(&object).filter(|_| self.is_told()) else {
                    return Vec::new();
                };
                // The name may have another life already.
                if self.name(&pod.name.uid) == Some(&key(&pod)) {
                    self.set(&key(&pod), None);
                }
                vec![pod.name]
            }
            Reflected::Interrupted { .. } => Vec::new(),
        }
    }

    /// Whether the API said what there is.
    pub(super) const fn is_told(&self) -> bool {
        self.pods.is_some()
    }

    /// Replaces the pod of a name, and what is known of who refers to what. The one before.
    fn set(&mut self, name: &Name, pod: Option<StoredPod>) -> Option<PodName> {
        let pods = self.pods.get_or_insert_default();
        let none = BTreeSet::new();
        let after = pod.as_ref().map_or(&none, |pod| &pod.references);
        for reference in after {
            let users = self.users.entry(reference.clone()).or_default();
            users.insert(name.clone());
            if !self.configs.known.contains_key(reference) {
                self.unknown.insert(reference.clone());
            }
        }
        let after = after.clone();
        let before = match pod {
            Some(pod) => {
                self.names.insert(pod.name.uid.clone(), name.clone());
                pods.insert(name.clone(), pod)
            }
            None => pods.remove(name),
        }?;
        if pods
            .get(name)
            .is_none_or(|pod| pod.name.uid != before.name.uid)
        {
            self.names.remove(&before.name.uid);
        }
        for reference in before.references.difference(&after) {
            self.unrefer(reference, name);
        }
        Some(before.name)
    }

    fn unrefer(&mut self, reference: &ConfigRef, name: &Name) {
        let Some(users) = self.users.get_mut(reference) else {
            return;
        };
        users.remove(name);
        if users.is_empty() {
            self.users.remove(reference);
            self.unknown.remove(reference);
            self.configs.known.remove(reference);
            self.versions.remove(reference);
        }
    }

    /// All names of pods.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.pods.iter().flat_map(BTreeMap::keys)
    }

    /// The name of a life that is wanted.
    pub(super) fn name(&self, uid: &str) -> Option<&Name> {
        self.names.get(uid)
    }

    /// The pod of a name.
    pub(super) fn named(&self, name: &Name) -> Option<&StoredPod> {
        self.pods.as_ref()?.get(name)
    }

    pub(super) fn pod(&self, uid: &str) -> Option<&StoredPod> {
        self.named(self.name(uid)?)
    }

    /// Takes what was told of config objects; says which pods it is news for.
    pub(super) fn handle_configs(&mut self, kind: ConfigKind, told: &Reflected) -> Vec<Name> {
        match told {
            Reflected::Replace(objects) => {
                let found: BTreeMap<ConfigRef, &Value> = objects
                    .iter()
                    .map(|object| (config_ref(kind, object), object))
                    .collect();
                let wanted: Vec<ConfigRef> = self
                    .users
                    .keys()
                    .filter(|wanted| wanted.kind == kind)
                    .cloned()
                    .collect();
                let mut concerned = Vec::new();
                for wanted in wanted {
                    // A list is newer than whatever was known: the versions before say nothing.
                    self.versions.remove(&wanted);
                    let found = found.get(&wanted).copied();
                    concerned.extend(self.put(wanted, found));
                }
                concerned
            }
            Reflected::Applied(object) => self.put(config_ref(kind, object), Some(object)),
            Reflected::Deleted(object) => {
                let reference = config_ref(kind, object);
                if !self.users.contains_key(&reference) || self.keeps(&reference) {
                    return Vec::new();
                }
                self.versions.insert(reference.clone(), version(object));
                self.learn(reference, None)
            }
            Reflected::Interrupted { .. } => Vec::new(),
        }
    }

    /// Whether what is known of an object outlives it: the last token of a pod that is still there
    /// is better than none.
    fn keeps(&self, reference: &ConfigRef) -> bool {
        reference.kind == ConfigKind::Token
            && self
                .configs
                .known
                .get(reference)
                .is_some_and(Option::is_some)
    }

    /// Takes the answer to a question from [`Self::take_unknown`]; says which pods it is news for.
    pub(super) fn handle_found(
        &mut self,
        reference: ConfigRef,
        object: Option<&Value>,
    ) -> Vec<Name> {
        if object.is_none() && self.configs.known.contains_key(&reference) {
            return Vec::new();
        }
        self.put(reference, object)
    }

    fn put(&mut self, reference: ConfigRef, object: Option<&Value>) -> Vec<Name> {
        if !self.users.contains_key(&reference) {
            return Vec::new();
        }
        let version = object.map_or(0, version);
        let known = self.versions.get(&reference).copied().unwrap_or(0);
        if version < known || object.is_none() && self.keeps(&reference) {
            return Vec::new();
        }
        let data = object.map(|object| config_data(reference.kind, object));
        self.versions.insert(reference.clone(), version);
        self.learn(reference, data)
    }

    fn learn(&mut self, reference: ConfigRef, data: Option<ConfigData>) -> Vec<Name> {
        self.unknown.remove(&reference);
        if self.configs.known.get(&reference) == Some(&data) {
            return Vec::new();
        }
        let users = self.users.get(&reference);
        let concerned = users.into_iter().flatten().cloned().collect();
        self.configs.known.insert(reference, data);
        concerned
    }

    /// What nothing is known of, each once.
    pub(super) fn take_unknown(&mut self) -> BTreeSet<ConfigRef> {
        std::mem::take(&mut self.unknown)
    }

    /// Nobody could say what is known of it.
    pub(super) fn ask_again(&mut self, reference: ConfigRef) {
        if self.users.contains_key(&reference) && !self.configs.known.contains_key(&reference) {
            self.unknown.insert(reference);
        }
    }
}

fn store(object: &Value) -> Option<StoredPod> {
    let text = |field: &str| object["metadata"][field].as_str().map(ToOwned::to_owned);
    Some(StoredPod {
        name: PodName {
            namespace: text("namespace")?,
            name: text("name")?,
            uid: text("uid")?,
        },
        version: version(object),
        text: serde_json::to_vec(object).ok()?.into(),
        references: references(object),
    })
}

fn key(pod: &StoredPod) -> Name {
    (pod.name.namespace.clone(), pod.name.name.clone())
}

fn config_ref(kind: ConfigKind, object: &Value) -> ConfigRef {
    let text = |field: &str| {
        object["metadata"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    ConfigRef {
        kind,
        namespace: text("namespace"),
        name: text("name"),
    }
}

/// Versions at the local API are revisions of its store: numbers that grow.
pub(super) fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests;
