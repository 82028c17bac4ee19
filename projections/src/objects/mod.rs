//! Objects of any kind.

use causeway_log::{Body, EventId, Key, Resource, Revision, Stored, StreamId, Version};
use serde_json::Value;
use std::sync::Arc;

/// Bounds of what is remembered beyond the live objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most tombstones kept.
    pub tombstones_max: usize,
    /// Most bytes of last bodies kept in tombstones.
    pub tombstone_bytes_max: usize,
    /// Most facts (Events of the edge) kept.
    pub facts_max: usize,
}
impl Default for Limits {
    fn default() -> Self {
        Self { tombstones_max: 4096, tombstone_bytes_max: 1 << 20, facts_max: 256 }
    }
}

/// The state.
#[derive(Debug, Default)]
pub struct Objects {
    revision: Revision,
}

/// What a record did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Kind.
    pub resource: Resource,
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// No object of this name is there any more.
    pub gone: bool,
}

/// A served object.
#[derive(Clone, Debug)]
pub struct Entry {
    key: Key,
}

/// An object that went.
#[derive(Clone, Debug)]
pub struct Tombstone {
    key: Key,
}

/// One change.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// It is there.
    Present(&'a Entry),
    /// It went.
    Gone(&'a Tombstone),
}

#[expect(unused_variables, missing_docs, clippy::all, reason = "signatures first")]
impl Objects {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn with_limits(limits: Limits) -> Self {
        Self::default()
    }
    pub fn apply(&mut self, stream: &StreamId, stored: &Stored) -> Option<Applied> {
        None
    }
    pub fn cover(&mut self, revision: Revision) {
        self.revision = revision;
    }
    pub fn revision(&self) -> Revision {
        self.revision
    }
    pub fn floor(&self) -> Revision {
        Revision::ZERO
    }
    pub fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<&Entry> {
        None
    }
    pub fn list<'a>(
        &'a self,
        resource: &Resource,
        namespace: Option<&str>,
        after: Option<(&str, &str)>,
    ) -> impl Iterator<Item = &'a Entry> + use<'a> {
        std::iter::empty()
    }
    pub fn changes_after<'a>(
        &'a self,
        resource: &Resource,
        after: Revision,
    ) -> impl Iterator<Item = Change<'a>> + use<'a> {
        std::iter::empty()
    }
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        std::iter::empty()
    }
    pub fn len(&self) -> usize {
        0
    }
    pub fn is_empty(&self) -> bool {
        true
    }
    pub fn latest_change(&self, resource: &Resource) -> Revision {
        Revision::ZERO
    }
}

#[expect(missing_docs, clippy::all, reason = "signatures first")]
impl Entry {
    pub fn key(&self) -> &Key {
        &self.key
    }
    pub fn created(&self) -> Revision {
        Revision::ZERO
    }
    pub fn modified(&self) -> Revision {
        Revision::ZERO
    }
    pub fn object(&self) -> Value {
        Value::Null
    }
    pub fn desired(&self) -> Option<&Body> {
        None
    }
    pub fn version(&self) -> Version {
        Version::ZERO
    }
    pub fn cause(&self) -> Option<EventId> {
        None
    }
    pub fn pending(&self) -> Option<EventId> {
        None
    }
    pub fn status_body(&self) -> Option<&Body> {
        None
    }
}
#[expect(missing_docs, clippy::all, reason = "signatures first")]
impl Tombstone {
    pub fn key(&self) -> &Key {
        &self.key
    }
    pub fn created(&self) -> Revision {
        Revision::ZERO
    }
    pub fn revision(&self) -> Revision {
        Revision::ZERO
    }
    pub fn object(&self) -> Value {
        Value::Null
    }
}
