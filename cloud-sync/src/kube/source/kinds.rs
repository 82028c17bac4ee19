//! The kinds that are followed, and where the API server has them.

use std::fmt;
use std::sync::Arc;

use causeway_log::{Key, Resource, Uid};
use serde_json::Value;

use crate::cluster::Seen;
use crate::interest::Name;
use crate::kube::client::segment;

/// When a kind is first listed. What a kind is needed for is known when the stage before is through,
/// so that nothing has to be asked for one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Which nodes are ours.
    Nodes,
    /// What runs on them.
    Pods,
    /// What that needs.
    Needs,
    /// What those name in turn, and custom resources.
    Rest,
}

/// One kind at the API server. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Group and plural name.
    pub resource: Resource,
    /// Version of the group that is read.
    pub version: Arc<str>,
    /// The name of the kind in objects.
    pub kind: Arc<str>,
    /// When it is first listed.
    pub stage: Stage,
    /// Objects that do not match are not sent to us.
    pub field_selector: &'static str,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.resource.fmt(f)
    }
}

/// The built-in kinds, all of them version `v1`.
#[must_use]
pub fn built_in() -> Vec<Kind> {
    let kinds = [
        ("", "nodes", "Node", Stage::Nodes),
        ("", "pods", "Pod", Stage::Pods),
        (
            "",
            "persistentvolumeclaims",
            "PersistentVolumeClaim",
            Stage::Needs,
        ),
        ("", "namespaces", "Namespace", Stage::Needs),
        ("", "configmaps", "ConfigMap", Stage::Needs),
        ("", "secrets", "Secret", Stage::Needs),
        ("", "serviceaccounts", "ServiceAccount", Stage::Needs),
        ("", "services", "Service", Stage::Needs),
        (
            "discovery.k8s.io",
            "endpointslices",
            "EndpointSlice",
            Stage::Needs,
        ),
        (
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            "CustomResourceDefinition",
            Stage::Needs,
        ),
        ("", "persistentvolumes", "PersistentVolume", Stage::Rest),
    ];
    let kinds = kinds.into_iter().map(|(group, plural, kind, stage)| Kind {
        resource: Resource::new(group, plural),
        version: "v1".into(),
        kind: kind.into(),
        stage,
        // A pod that is bound to no node is nobody's yet.
        field_selector: if plural == "pods" {
            "spec.nodeName!="
        } else {
            ""
        },
    });
    kinds.collect()
}

/// The kind that a definition makes, if it is served.
#[must_use]
pub fn of_definition(definition: &Value) -> Option<Kind> {
    let spec = definition.get("spec")?;
    let group = spec.get("group")?.as_str()?;
    let names = spec.get("names")?;
    let plural = names.get("plural")?.as_str()?;
    let kind = names.get("kind")?.as_str()?;
    let versions = spec.get("versions")?.as_array()?;
    let is =
        |version: &&Value, what: &str| version.get(what).and_then(Value::as_bool) == Some(true);
    let served = || versions.iter().filter(|version| is(version, "served"));
    let version = served()
        .find(|version| is(version, "storage"))
        .or_else(|| served().next())?;
    Some(Kind {
        resource: Resource::new(group, plural),
        version: version.get("name")?.as_str()?.into(),
        kind: kind.into(),
        stage: Stage::Rest,
        field_selector: "",
    })
}

impl Kind {
    /// The path of all objects of the kind, or of those in a namespace.
    #[must_use]
    pub fn collection(&self, namespace: &str) -> String {
        let (version, plural) = (segment(&self.version), segment(&self.resource.plural));
        let root = match &*self.resource.group {
            "" => format!("/api/{version}"),
            group => format!("/apis/{}/{version}", segment(group)),
        };
        match namespace {
            "" => format!("{root}/{plural}"),
            namespace => format!("{root}/namespaces/{}/{plural}", segment(namespace)),
        }
    }

    /// The path of one object.
    #[must_use]
    pub fn object(&self, name: &Name) -> String {
        format!(
            "{}/{}",
            self.collection(&name.namespace),
            segment(&name.name)
        )
    }

    /// What the machine is told of an object; `None` when it is none that can be named.
    #[must_use]
    pub fn present(&self, mut object: Value) -> Option<Seen> {
        let key = self.key(&object)?;
        let fields = object.as_object_mut()?;
        // Lists leave these out.
        let api_version = match &*self.resource.group {
            "" => self.version.to_string(),
            group => format!("{group}/{}", self.version),
        };
        fields.insert("apiVersion".to_owned(), Value::String(api_version));
        fields.insert("kind".to_owned(), Value::String(self.kind.to_string()));
        // The edge says what these are; what the API server has is what it said before.
        if key.resource.is("", "pods") || key.resource.is("", "nodes") {
            fields.remove("status");
        }
        let metadata = fields.get_mut("metadata")?.as_object_mut()?;
        let version = metadata.remove("resourceVersion");
        for noise in ["managedFields", "selfLink"] {
            metadata.remove(noise);
        }
        let version = version.and_then(|version| version.as_str()?.parse().ok());
        Some(Seen::Present {
            key,
            object,
            version,
        })
    }

    /// What the machine is told of an object of which only the name is known, as it is too large.
    #[must_use]
    pub fn too_large(&self, head: &Value, size: usize) -> Option<Seen> {
        let version = head.get("metadata")?.get("resourceVersion");
        Some(Seen::TooLarge {
            key: self.key(head)?,
            size,
            version: version.and_then(|version| version.as_str()?.parse().ok()),
        })
    }

    /// What the machine is told of an object that went.
    #[must_use]
    pub fn gone(&self, object: &Value) -> Option<Seen> {
        self.key(object).map(|key| Seen::Gone { key })
    }

    fn key(&self, object: &Value) -> Option<Key> {
        let metadata = object.get("metadata")?;
        let text = |field| metadata.get(field).and_then(Value::as_str);
        let namespace = text("namespace").unwrap_or_default();
        let uid = Uid::parse(text("uid")?);
        Key::new(self.resource.clone(), namespace, text("name")?, uid).ok()
    }
}

#[cfg(test)]
mod tests;
