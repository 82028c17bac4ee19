//! What the API said last: pods, and of config objects those that pods refer to.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use causeway_kube_api::client::Reflected;
use serde_json::Value;

use crate::events::PodName;
use crate::pod::{ConfigKind, ConfigRef, Configs, config_data, references};

/// Pods and config as last heard of.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// `None` until the API said for the first time what there is.
    pub(super) pods: Option<BTreeMap<(String, String), StoredPod>>,
    pub(super) configs: Configs,
    /// Versions of what is in `configs`, to order answers that cross.
    versions: BTreeMap<ConfigRef, u64>,
    wanted: BTreeSet<ConfigRef>,
}

/// A pod object, kept as text: parsed, it takes several times the memory.
#[derive(Debug)]
pub(super) struct StoredPod {
    pub(super) name: PodName,
    pub(super) text: Bytes,
    pub(super) version: u64,
}

impl StoredPod {
    pub(super) fn object(&self) -> Value {
        // It was made from a value a moment ago.
        serde_json::from_slice(&self.text).unwrap_or_default()
    }
}

impl Desk {
    /// Takes what was told of pods; says which uids changed.
    pub(super) fn handle_pods(&mut self, told: Reflected) -> Vec<String> {
        match told {
            Reflected::Replace(objects) => {
                let stored = objects.iter().filter_map(store);
                let fresh: BTreeMap<_, _> = stored.map(|pod| (key(&pod), pod)).collect();
                let changed = fresh.values().map(|pod| pod.name.uid.clone()).collect();
                self.pods = Some(fresh);
                changed
            }
            Reflected::Applied(object) => {
                let (Some(pods), Some(pod)) = (&mut self.pods, store(&object)) else {
                    return Vec::new();
                };
                let uid = pod.name.uid.clone();
                pods.insert(key(&pod), pod);
                vec![uid]
            }
            Reflected::Deleted(object) => {
                let (Some(pods), Some(pod)) = (&mut self.pods, store(&object)) else {
                    return Vec::new();
                };
                // The name may have another life already.
                let key = key(&pod);
                if pods
                    .get(&key)
                    .is_some_and(|known| known.name.uid == pod.name.uid)
                {
                    pods.remove(&key);
                }
                vec![pod.name.uid]
            }
            Reflected::Interrupted { .. } => Vec::new(),
        }
    }

    pub(super) fn pod(&self, uid: &str) -> Option<&StoredPod> {
        self.pods.as_ref()?.values().find(|pod| pod.name.uid == uid)
    }

    /// Takes what was told of config objects: only what pods refer to is kept.
    pub(super) fn handle_configs(&mut self, kind: ConfigKind, told: &Reflected) {
        match told {
            Reflected::Replace(objects) => {
                let found: BTreeMap<ConfigRef, &Value> = objects
                    .iter()
                    .map(|object| (config_ref(kind, object), object))
                    .collect();
                let wanted: Vec<ConfigRef> = self
                    .wanted
                    .iter()
                    .filter(|wanted| wanted.kind == kind)
                    .cloned()
                    .collect();
                for wanted in wanted {
                    // A list is newer than whatever was known: the versions before say nothing.
                    self.versions.remove(&wanted);
                    self.put(wanted.clone(), found.get(&wanted).copied());
                }
            }
            Reflected::Applied(object) => self.put(config_ref(kind, object), Some(object)),
            Reflected::Deleted(object) => {
                let reference = config_ref(kind, object);
                if self.wanted.contains(&reference) && !self.keeps(&reference) {
                    self.versions.insert(reference.clone(), version(object));
                    self.configs.known.insert(reference, None);
                }
            }
            Reflected::Interrupted { .. } => {}
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

    /// Takes the answer to a question from [`Self::unknown`].
    pub(super) fn handle_found(&mut self, reference: ConfigRef, object: Option<&Value>) {
        if object.is_some() || !self.configs.known.contains_key(&reference) {
            self.put(reference, object);
        }
    }

    fn put(&mut self, reference: ConfigRef, object: Option<&Value>) {
        if !self.wanted.contains(&reference) {
            return;
        }
        let version = object.map_or(0, version);
        let known = self.versions.get(&reference).copied().unwrap_or(0);
        if version < known {
            return;
        }
        if object.is_none() && self.keeps(&reference) {
            return;
        }
        let data = object.map(|object| config_data(reference.kind, object));
        self.versions.insert(reference.clone(), version);
        self.configs.known.insert(reference, data);
    }

    /// Brings the list of wanted config objects up to date and says which of them nothing is known
    /// of.
    pub(super) fn unknown<'p>(&mut self, pods: impl Iterator<Item = &'p Value>) -> Vec<ConfigRef> {
        self.wanted = pods.flat_map(references).collect();
        let Self {
            configs,
            versions,
            wanted,
            ..
        } = self;
        configs
            .known
            .retain(|reference, _| wanted.contains(reference));
        versions.retain(|reference, _| wanted.contains(reference));
        wanted
            .iter()
            .filter(|wanted| !configs.known.contains_key(wanted))
            .cloned()
            .collect()
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
    })
}

fn key(pod: &StoredPod) -> (String, String) {
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
