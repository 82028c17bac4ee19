//! Which kinds are served: a built-in table, and what the CustomResourceDefinitions among the
//! objects add.

mod builtin;
mod custom;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use causeway_log::Resource;
use causeway_projections::Objects;
use serde_json::Value;

pub(crate) use builtin::needs_controller;

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

    /// Whether this is the resource `plural` of `group`, in whatever version.
    #[must_use]
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.resource.is(group, plural)
    }
}

/// What a CustomResourceDefinition says of one version of its kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CustomKind {
    /// `openAPIV3Schema`; `None` when it has none.
    pub schema: Option<Value>,
    /// `additionalPrinterColumns`.
    pub printer_columns: Vec<Value>,
    /// Fields that `selectableFields` names, without the leading dot.
    pub selectable_fields: Vec<String>,
    /// Whether it is the version that objects are stored in.
    pub storage: bool,
}

/// All served kinds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Catalog {
    kinds: Arc<Kinds>,
}

#[derive(Debug, Default)]
struct Kinds {
    /// Built-in ones first, in the order of the table; then custom ones by name of definition.
    all: Vec<Arc<ServedKind>>,
    /// Group, version and plural to a place in `all`.
    paths: BTreeMap<Path, usize>,
}

/// Group, version and plural.
type Path = (Arc<str>, Arc<str>, Arc<str>);

/// The name of a group and its versions.
pub type Group = (Arc<str>, Vec<Arc<str>>);

impl Kinds {
    /// Adds kinds; of two at the same path the first stays.
    fn extend(&mut self, kinds: impl IntoIterator<Item = Arc<ServedKind>>) {
        for kind in kinds {
            let resource = &kind.resource;
            let path = (
                resource.group.clone(),
                Arc::clone(&kind.version),
                resource.plural.clone(),
            );
            let place = self.all.len();
            if *self.paths.entry(path).or_insert(place) == place {
                self.all.push(kind);
            }
        }
    }
}

static BUILTIN: LazyLock<Catalog> = LazyLock::new(|| {
    let mut kinds = Kinds::default();
    kinds.extend(builtin::kinds().map(Arc::new));
    Catalog {
        kinds: Arc::new(kinds),
    }
});

impl Catalog {
    /// The built-in kinds.
    #[must_use]
    pub fn builtin() -> Self {
        BUILTIN.clone()
    }

    /// The built-in kinds and those of the CustomResourceDefinitions among `objects`. A definition
    /// that makes no sense, or that takes a name already taken, adds nothing.
    #[must_use]
    pub fn of(objects: &Objects) -> Self {
        let builtin = Self::builtin();
        let mut definitions = objects.list(&definitions(), None, None).peekable();
        if definitions.peek().is_none() {
            return builtin;
        }
        let mut kinds = Kinds::default();
        kinds.extend(builtin.kinds().cloned());
        for entry in definitions {
            kinds.extend(custom::kinds(&entry.object()).into_iter().map(Arc::new));
        }
        Self {
            kinds: Arc::new(kinds),
        }
    }

    /// The kind at a path.
    #[must_use]
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<ServedKind>> {
        let path = (group.into(), version.into(), plural.into());
        self.kinds.all.get(*self.kinds.paths.get(&path)?)
    }

    /// The kind of an object.
    #[must_use]
    pub fn find_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<ServedKind>> {
        self.kinds().find(|served| {
            &*served.resource.group == group && &*served.version == version && &*served.kind == kind
        })
    }

    /// The preferred version of a resource.
    #[must_use]
    pub fn find_resource(&self, resource: &Resource) -> Option<&Arc<ServedKind>> {
        self.kinds().find(|served| served.resource == *resource)
    }

    /// All kinds, the core group first; within a group the preferred version first.
    pub fn kinds(&self) -> impl Iterator<Item = &Arc<ServedKind>> {
        self.kinds.all.iter()
    }

    /// All groups but the core group, each with its versions, the preferred one first.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for kind in self.kinds().filter(|kind| !kind.resource.group.is_empty()) {
            let group = &kind.resource.group;
            let place = groups
                .iter()
                .position(|(known, _)| known == group)
                .unwrap_or_else(|| {
                    groups.push((Arc::clone(group), Vec::new()));
                    groups.len() - 1
                });
            if let Some((_, versions)) = groups.get_mut(place)
                && !versions.contains(&kind.version)
            {
                versions.push(Arc::clone(&kind.version));
            }
        }
        groups
    }
}

/// The resource whose objects define kinds.
#[must_use]
pub fn definitions() -> Resource {
    static DEFINITIONS: LazyLock<Resource> =
        LazyLock::new(|| Resource::new("apiextensions.k8s.io", "customresourcedefinitions"));
    DEFINITIONS.clone()
}
