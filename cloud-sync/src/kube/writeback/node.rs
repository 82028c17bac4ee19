//! Registration of a node, within what Kubernetes lets a node say of itself. Pure.

use causeway_log::NodeName;
use serde_json::{Map, Value, json};

use super::call::{Call, Content, Identity, Place};
use crate::interest::SUBSCRIBE_ANNOTATION;

/// The label of edge nodes. No node may give it to itself, so this service does.
pub const EDGE_LABEL: &str = "node-role.kubernetes.io/edge";

/// Labels of the namespaces of Kubernetes that a node may give itself.
const OWN_LABELS: [&str; 11] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
/// Namespaces in which it may choose any label.
const OWN_NAMESPACES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
/// Namespaces that belong to Kubernetes.
const RESERVED_NAMESPACES: [&str; 2] = ["kubernetes.io", "k8s.io"];

/// Whether admission lets a node give itself this label.
#[must_use]
pub fn may_label(name: &str) -> bool {
    let namespace = name.split_once('/').map_or("", |(namespace, _)| namespace);
    let within = |parent: &str| {
        let rest = namespace.strip_suffix(parent);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if within("node-restriction.kubernetes.io") {
        return false;
    }
    !RESERVED_NAMESPACES.into_iter().any(within)
        || OWN_LABELS.contains(&name)
        || OWN_NAMESPACES.into_iter().any(within)
}

/// The Node that a node registers itself as: labels within what it may say, no status, and nothing
/// of what only the cloud decides.
#[must_use]
pub fn registered(node: &NodeName, wanted: &Value, request: &str) -> Value {
    let metadata = wanted.get("metadata");
    let labels = own_labels(metadata);
    let mut annotations = own_annotations(metadata);
    annotations.insert(super::edit::REQUEST_ANNOTATION.to_owned(), json!(request));
    let mut spec = Map::new();
    for field in ["providerID", "taints", "unschedulable"] {
        let value = wanted.get("spec").and_then(|spec| spec.get(field));
        if let Some(value) = value.filter(|value| !value.is_null()) {
            spec.insert(field.to_owned(), value.clone());
        }
    }
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.as_str(), "labels": labels, "annotations": annotations},
        "spec": spec,
    })
}

/// Creates the Node.
#[must_use]
pub fn register(node: &NodeName, object: Value) -> Call {
    place(node).create(Identity::Node(node.clone()), object)
}

/// Gives a Node that is there the labels and annotations of one that registers, as a kubelet does.
#[must_use]
pub fn adopt(node: &NodeName, object: &Value) -> Call {
    let metadata = object.get("metadata");
    let part = |field: &str| {
        metadata
            .and_then(|metadata| metadata.get(field))
            .cloned()
            .unwrap_or_else(|| json!({}))
    };
    let patch = json!({
        "metadata": {"labels": part("labels"), "annotations": part("annotations")},
    });
    place(node).patch(Identity::Node(node.clone()), "", Content::MergePatch, patch)
}

/// Says that the node is at the edge.
#[must_use]
pub fn mark_as_edge(node: &NodeName) -> Call {
    let patch = json!({"metadata": {"labels": {EDGE_LABEL: ""}}});
    place(node).patch(Identity::Cloud, "", Content::MergePatch, patch)
}

/// What a node wants its Node to be, with the cluster's values of what the node may not say: it
/// asks for what it may have, and its other wishes do not make admission refuse these.
pub fn limit(wanted: &mut Value, current: &Value) {
    let theirs = current
        .get("metadata")
        .and_then(|metadata| metadata.get("labels"))
        .and_then(Value::as_object);
    let theirs = theirs.into_iter().flatten();
    let kept: Vec<(String, Value)> = theirs
        .filter(|(name, _)| !may_label(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let Some(metadata) = wanted.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if let Some(labels) = labels.as_object_mut() {
        labels.retain(|name, _| may_label(name));
        labels.extend(kept);
    }
}

fn place(node: &NodeName) -> Place {
    Place::core("nodes", "", node.as_str())
}

fn own_labels(metadata: Option<&Value>) -> Map<String, Value> {
    entries(metadata, "labels", may_label)
}

fn own_annotations(metadata: Option<&Value>) -> Map<String, Value> {
    // What it subscribes to decides which objects it gets, so the cloud says that.
    entries(metadata, "annotations", |name| name != SUBSCRIBE_ANNOTATION)
}

fn entries(
    metadata: Option<&Value>,
    field: &str,
    keep: impl Fn(&str) -> bool,
) -> Map<String, Value> {
    let map = metadata
        .and_then(|metadata| metadata.get(field))
        .and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .filter(|(name, _)| keep(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
