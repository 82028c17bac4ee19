//! Objects of any kind: a fold of the cluster stream, or of both streams of one node.
//!
//! An object is made of layers, each the newest record of one slot of its key:
//!
//! ```text
//!   desired   Put / Delete of the owner (cluster, down)
//! ⊕ pending   an edge's write request that the owner has yet to answer (up; answers come down)
//! ⊕ status    what the edge reports (up), of the same uid
//! ```
//!
//! # Guarantees
//! - **PROJ-1**: what is served depends only on the newest record of every key and slot, not on
//!   the order in which records came. So a rebuild equals the incremental fold, and a record
//!   delivered twice changes nothing.
//! - **WATCH-1**: the list at revision N and [`Objects::changes_after`] N give the list at any
//!   later revision.
//! - **WATCH-2**: below [`Objects::floor`] that is not promised, because tombstones are bounded.
//!
//! A device's report (an up `Twin`) shows as an object of its own, the DeviceStatus of the same name
//! and uid, for as long as the Device is there.
//!
//! Several lives (uids) of one name may be there for a moment; the one that
//! began last counts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use causeway_log::{Body, Direction, Key, Op, Resource, Revision, Stored, StreamId};
use serde_json::Value;

use crate::twin::history::READINGS;
use crate::twin::{DEVICES, GROUP, STATUSES};

mod entry;
mod kind;
mod name;
#[cfg(test)]
pub(crate) mod tests;

pub use entry::{Entry, PENDING_ANNOTATION, REJECTED_ANNOTATION};
use kind::Kind;
use name::Side;

/// Bounds of what is remembered beside the live objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most tombstones kept for watchers.
    pub tombstones_max: usize,
    /// Most bytes of last bodies kept in tombstones.
    pub tombstone_bytes_max: usize,
    /// Most facts (Events that happened at the edge) kept; the oldest fall off the end.
    pub facts_max: usize,
}

impl Default for Limits {
    /// Fit for an edge with few megabytes: watchers may be some thousand deletions behind.
    fn default() -> Self {
        Self {
            tombstones_max: 4096,
            tombstone_bytes_max: 1024 * 1024,
            facts_max: 256,
        }
    }
}

/// The objects of a cluster or of one node. See the module documentation.
#[derive(Default)]
pub struct Objects {
    kinds: BTreeMap<Resource, Kind>,
    limits: Limits,
    revision: Revision,
    floor: Revision,
    known_from: Revision,
    len: usize,
    /// Of all kinds, so that the oldest go first.
    tombstones: BTreeMap<Revision, Resource>,
    tombstone_bytes: usize,
    facts: BTreeMap<Revision, Key>,
}

/// A record changed what is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Kind of the object.
    pub resource: Resource,
    /// Its namespace; empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Whether the name has no object now.
    pub gone: bool,
}

/// The newest change of one key.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// The object is there, last changed at [`Entry::modified`].
    Present(&'a Entry),
    /// The object went at [`Tombstone::revision`].
    Gone(&'a Tombstone),
}

impl Change<'_> {
    /// The revision of the change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Present(entry) => entry.modified(),
            Self::Gone(tombstone) => tombstone.revision,
        }
    }
}

/// An object that went, remembered for watchers.
#[derive(Clone, Debug)]
pub struct Tombstone {
    last: Entry,
    created: Revision,
    revision: Revision,
}

impl Tombstone {
    /// Which object, in which life.
    #[must_use]
    pub const fn key(&self) -> &Key {
        self.last.key()
    }

    /// When the object had come to be here, or come back: see [`Objects::known_from`].
    #[must_use]
    pub const fn created(&self) -> Revision {
        self.created
    }

    /// When it went.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// The object as it last was, with the revision of its end as `metadata.resourceVersion`.
    /// Only metadata, without kind, when its last body is not known (it went before a restart).
    #[must_use]
    pub fn object(&self) -> Value {
        let mut object = self.last.object();
        object["metadata"]["resourceVersion"] = Value::String(self.revision.to_string());
        object
    }

    /// The body it last had at its owner.
    #[must_use]
    pub fn desired(&self) -> Option<&Body> {
        self.last.desired()
    }
}

impl Objects {
    /// No objects, default bounds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No objects, other bounds.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Folds a record in. `None`: nothing that is served changed.
    ///
    /// Records may come in any order and more than once; malformed requests and records that mean
    /// nothing here (such as readings of devices) are passed over. Of a record that changes an
    /// object and what is projected from it, the change of the object is given.
    pub fn apply(&mut self, stream: &StreamId, stored: &Stored) -> Option<Applied> {
        self.revision = self.revision.max(stored.revision);
        let key = &stored.record.header.key;
        if (&*key.resource.group, &*key.resource.plural) == READINGS {
            return None;
        }
        let side = match stream {
            StreamId::Cluster | StreamId::Node(_, Direction::Down) => Side::Owner,
            StreamId::Node(_, Direction::Up) => Side::Edge,
        };
        let applied = self.absorb(side, key, stored);
        if matches!(stream, StreamId::Cluster) || !key.resource.is(GROUP, DEVICES) {
            return applied;
        }
        let status = Key {
            resource: Resource::new(GROUP, STATUSES),
            ..key.clone()
        };
        let projected = self.absorb(side, &status, stored);
        applied.or(projected)
    }

    fn absorb(&mut self, side: Side, key: &Key, stored: &Stored) -> Option<Applied> {
        let key = &self.share(key);
        let kind = self.kinds.entry(key.resource.clone()).or_default();
        let outcome = kind.absorb(side, key, stored);
        self.len = self.len.saturating_add_signed(outcome.grown);
        for tombstone in &outcome.buried {
            self.tombstones
                .insert(tombstone.revision, key.resource.clone());
            self.tombstone_bytes += tombstone.last.bytes();
        }
        self.bound_tombstones();
        if stored.record.header.op == Op::Fact && outcome.changed {
            self.facts.insert(stored.revision, key.clone());
            self.bound_facts();
        }
        outcome.changed.then(|| Applied {
            resource: key.resource.clone(),
            namespace: Arc::clone(&key.namespace),
            name: Arc::clone(&key.name),
            gone: outcome.gone,
        })
    }

    /// The same key with the resource that all keys of its kind share.
    fn share(&self, key: &Key) -> Key {
        let known = self
            .kinds
            .get_key_value(&key.resource)
            .map(|(resource, _)| resource);
        Key {
            resource: known.unwrap_or(&key.resource).clone(),
            ..key.clone()
        }
    }

    fn bound_tombstones(&mut self) {
        while self.tombstones.len() > self.limits.tombstones_max
            || self.tombstone_bytes > self.limits.tombstone_bytes_max
        {
            let Some((revision, resource)) = self.tombstones.pop_first() else {
                return;
            };
            let kind = self.kinds.get_mut(&resource);
            let bytes = kind.map_or(0, |kind| kind.exhume(revision));
            self.tombstone_bytes = self.tombstone_bytes.saturating_sub(bytes);
            self.floor = self.floor.max(revision);
        }
    }

    fn bound_facts(&mut self) {
        while self.facts.len() > self.limits.facts_max {
            let Some((revision, key)) = self.facts.pop_first() else {
                return;
            };
            let kind = self.kinds.get_mut(&key.resource);
            if kind.is_some_and(|kind| kind.drop_fact(&key, revision)) {
                self.len = self.len.saturating_sub(1);
            }
        }
    }

    /// Says that everything durable up to `revision` has been applied.
    pub fn cover(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    /// The revision that the state covers.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// Says that deletions up to `revision` are not known (they were trimmed before a rebuild).
    pub fn raise_floor(&mut self, revision: Revision) {
        self.floor = self.floor.max(revision);
    }

    /// Changes after a revision below this cannot be told: deletions are forgotten.
    #[must_use]
    pub const fn floor(&self) -> Revision {
        self.floor
    }

    /// Says that what happened up to `revision` is known by what it came to: this is rebuilt.
    pub(crate) const fn is_rebuilt_at(&mut self, revision: Revision) {
        self.known_from = revision;
    }

    /// Who saw what was here before this may know any object, even one that came later: a node may be
    /// sent a life again that it was told to drop, and of that a rebuild knows the last time only.
    #[must_use]
    pub const fn known_from(&self) -> Revision {
        self.known_from
    }

    /// The object of a name.
    #[must_use]
    pub fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<&Entry> {
        self.kinds.get(resource)?.get(namespace, name)
    }

    /// Objects in order of namespace and name, of one namespace or of all, after a place.
    pub fn list<'a>(
        &'a self,
        resource: &Resource,
        namespace: Option<&str>,
        after: Option<(&str, &str)>,
    ) -> impl Iterator<Item = &'a Entry> + use<'a> {
        self.kinds
            .get(resource)
            .map(|kind| kind.list(namespace, after))
            .into_iter()
            .flatten()
    }

    /// The newest change of every key that changed after a revision, in order of revision. Not
    /// complete when `after` is below [`Objects::floor`].
    pub fn changes_after<'a>(
        &'a self,
        resource: &Resource,
        after: Revision,
    ) -> impl Iterator<Item = Change<'a>> + use<'a> {
        self.kinds
            .get(resource)
            .map(|kind| kind.changes_after(after))
            .into_iter()
            .flatten()
    }

    /// The resources that have or had objects, in order.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.kinds.keys()
    }

    /// How many objects there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The revision of the newest change of a resource; zero when there was none.
    #[must_use]
    pub fn latest_change(&self, resource: &Resource) -> Revision {
        self.kinds
            .get(resource)
            .map(|kind| kind.latest)
            .unwrap_or_default()
    }
}

impl fmt::Debug for Objects {
    /// Bodies may hold secrets: only sizes are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects")
            .field("objects", &self.len)
            .field("kinds", &self.kinds.len())
            .field("tombstones", &self.tombstones.len())
            .field("revision", &self.revision)
            .field("floor", &self.floor)
            .finish_non_exhaustive()
    }
}
