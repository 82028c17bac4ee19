//! Which kinds are served.

use std::sync::Arc;

use causeway_log::Resource;
use causeway_projections::Objects;
use serde_json::Value;

/// A kind at one version, as it is served.
#[derive(Clone, Debug, PartialEq)]
pub struct ServedKind {
    /// Group and plural.
    pub resource: Resource,
    /// Version, such as `v1`.
    pub version: Arc<str>,
    /// Such as `ConfigMap`.
    pub kind: Arc<str>,
    /// Such as `ConfigMapList`.
    pub list_kind: Arc<str>,
    /// Such as `configmap`.
    pub singular: Arc<str>,
    /// Such as `cm`.
    pub short_names: Vec<Arc<str>>,
    /// Such as `all`.
    pub categories: Vec<Arc<str>>,
    /// Whether objects stand in namespaces.
    pub namespaced: bool,
    /// Whether there is a `status` subresource.
    pub status_subresource: bool,
    /// What only kinds made by a CustomResourceDefinition have.
    pub custom: Option<Arc<CustomKind>>,
}

impl ServedKind {
    /// `v1` or `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.resource.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.resource.group, self.version)
        }
    }
}

/// What a CustomResourceDefinition says of one version of its kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CustomKind {
    /// `openAPIV3Schema`; `None` when it has none.
    pub schema: Option<Value>,
    /// `additionalPrinterColumns`.
    pub printer_columns: Vec<Value>,
    /// The version that objects are stored in.
    pub storage: bool,
}

/// All served kinds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Catalog {
    kinds: Arc<Vec<Arc<ServedKind>>>,
}

impl Catalog {
    /// The built-in kinds.
    #[must_use]
    pub fn builtin() -> Self {
        Self { kinds: Arc::new(Vec::new()) }
    }

    /// The built-in kinds and those of the CustomResourceDefinitions among `objects`.
    #[must_use]
    pub fn of(objects: &Objects) -> Self {
        let _ = objects;
        Self::builtin()
    }

    /// The kind at a path.
    #[must_use]
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<ServedKind>> {
        self.kinds.iter().find(|kind| {
            kind.resource.is(group, plural) && &*kind.version == version
        })
    }

    /// The kind of an object.
    #[must_use]
    pub fn find_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<ServedKind>> {
        self.kinds.iter().find(|served| {
            &*served.resource.group == group
                && &*served.version == version
                && &*served.kind == kind
        })
    }

    /// All kinds.
    pub fn kinds(&self) -> impl Iterator<Item = &Arc<ServedKind>> {
        self.kinds.iter()
    }
}
