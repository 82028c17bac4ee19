//! What is told to the machine of a mirrored cluster, and what it tells.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use causeway_log::{Key, NodeName, Resource};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;

use crate::interest::Name;

/// Objects too large for a record that are remembered by name.
const REFUSED_MAX: usize = 1000;

/// Something seen at the API server.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// A list of all objects of a kind begins.
    Listing {
        /// The kind.
        resource: Resource,
    },
    /// An object is there. It comes without `resourceVersion`, `managedFields` and what the edge
    /// owns of it.
    Present {
        /// Which object, in which life.
        key: Key,
        /// The object.
        object: Value,
        /// Its `resourceVersion`.
        version: Option<u64>,
    },
    /// An object is there, and too large to be read.
    TooLarge {
        /// Which object, in which life.
        key: Key,
        /// How many bytes came of it.
        size: usize,
        /// Its `resourceVersion`.
        version: Option<u64>,
    },
    /// An object went away.
    Gone {
        /// Which object, in which life.
        key: Key,
    },
    /// An object that was asked for by name is not there.
    Absent {
        /// Its name.
        name: Name,
    },
    /// The list of a kind that began last is complete.
    Listed {
        /// The kind.
        resource: Resource,
    },
    /// All kinds that can be read were listed once: the mirror may be served.
    Complete {
        /// The namespace `kube-system`. Its uid is the identity of the cluster.
        key: Key,
        /// The namespace.
        object: Value,
    },
}

/// Something that nodes need, and that was passed over when it was last seen, if ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// One object.
    Object(Name),
    /// The pods bound to a node.
    Pods(NodeName),
    /// The devices, which have no selector for their node.
    Devices,
    /// Services and endpoint slices of a namespace.
    Network(Arc<str>),
    /// Definitions of the custom resources of an API group.
    Group(Arc<str>),
}

/// What the machine tells whoever watches the API server. Shared.
#[derive(Debug, Default)]
pub struct Mirror {
    versions: Mutex<HashMap<Key, u64>>,
    wants: Mutex<BTreeSet<Want>>,
    wanting: Notify,
    refused: Mutex<BTreeMap<Name, usize>>,
}

impl Mirror {
    /// The `resourceVersion` in which an object was seen last.
    #[must_use]
    pub fn version(&self, key: &Key) -> Option<u64> {
        self.versions.lock().get(key).copied()
    }

    /// Waits for things to be wanted, and takes them all.
    pub async fn wanted(&self) -> BTreeSet<Want> {
        loop {
            let wants = self.take_wants();
            if !wants.is_empty() {
                return wants;
            }
            self.wanting.notified().await;
        }
    }

    /// Takes what is wanted.
    #[must_use]
    pub fn take_wants(&self) -> BTreeSet<Want> {
        std::mem::take(&mut *self.wants.lock())
    }

    /// Objects that nodes need and that are too large for a record, with their sizes in bytes.
    #[must_use]
    pub fn refused(&self) -> Vec<(Name, usize)> {
        let refused = self.refused.lock();
        refused
            .iter()
            .map(|(name, size)| (name.clone(), *size))
            .collect()
    }

    pub(super) fn set_version(&self, key: &Key, version: u64) {
        self.versions.lock().insert(key.clone(), version);
    }

    pub(super) fn forget_versions(&self, resource: &Resource) {
        let mut versions = self.versions.lock();
        versions.retain(|key, _| key.resource != *resource);
    }

    /// The object is gone.
    pub(super) fn forget(&self, key: &Key) {
        self.versions.lock().remove(key);
        self.fits(&Name::of(key));
    }

    /// The object is not too large, or not any more.
    pub(super) fn fits(&self, name: &Name) {
        self.refused.lock().remove(name);
    }

    pub(super) fn want(&self, wants: BTreeSet<Want>) {
        if !wants.is_empty() {
            self.wants.lock().extend(wants);
            self.wanting.notify_one();
        }
    }

    pub(super) fn refuse(&self, name: &Name, size: usize) {
        let mut refused = self.refused.lock();
        let told = refused.get(name) == Some(&size);
        if refused.len() < REFUSED_MAX || refused.contains_key(name) {
            refused.insert(name.clone(), size);
        }
        if !told {
            let Name {
                resource,
                namespace,
                name,
            } = name;
            tracing::warn!(
                %resource, %namespace, %name, size,
                limit = causeway_log::limits::BODY_BYTES_MAX,
                "an object is too large and is not delivered",
            );
        }
    }
}
