//! What an object makes nodes need, read from its body. Bodies may be hostile: whatever has the
//! wrong shape or is too long names nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use causeway_log::limits::KEY_PART_BYTES_MAX;
use causeway_log::{Key, NodeName, Resource};
use serde_json::Value;

use super::devices::{device_causes, is_device, is_device_status};
use super::{Class, Name, Need};

/// On a Node: a comma-separated list of API groups whose custom resources the node needs.
pub const SUBSCRIBE_ANNOTATION: &str = "causeway.dev/subscribe";

/// Groups that Kubernetes itself serves: they hold no custom resources and cannot be subscribed to.
const BUILT_IN_GROUPS: [&str; 20] = [
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "extensions",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
];

/// Which nodes need what because of this object.
pub(super) fn causes(key: &Key, body: &Value) -> BTreeSet<(NodeName, Need)> {
    if key.resource.is("", "pods") {
        return pod_causes(key, body);
    }
    if key.resource.is("", "nodes") {
        return node_causes(key, body);
    }
    if is_device(&key.resource) {
        return device_causes(key, body);
    }
    BTreeSet::new()
}

/// What every holder of this object needs too.
pub(super) fn follows(key: &Key, body: &Value) -> Vec<Name> {
    if !key.resource.is("", "persistentvolumeclaims") {
        return Vec::new();
    }
    name_at(body.get("spec"), "volumeName")
        .map(|volume| named_in("persistentvolumes", "", volume))
        .into_iter()
        .collect()
}

/// The class of objects this one belongs to.
pub(super) fn class_of(key: &Key, body: &Value) -> Option<Class> {
    let resource = &key.resource;
    if resource.is("", "services") || resource.is("discovery.k8s.io", "endpointslices") {
        return Some(Class::Network(Arc::clone(&key.namespace)));
    }
    if *resource == super::tokens() || is_device(resource) || is_device_status(resource) {
        // Each is for the node of its pod or device alone, whatever a node subscribes to; what
        // devices report comes from there.
        return None;
    }
    if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
        let group = name_at(body.get("spec"), "group")?;
        return Some(Class::Group(group.into()));
    }
    (!resource.group.is_empty()).then(|| Class::Group(Arc::clone(&resource.group)))
}

fn node_causes(key: &Key, body: &Value) -> BTreeSet<(NodeName, Need)> {
    let Ok(node) = NodeName::new(&key.name) else {
        return BTreeSet::new();
    };
    let mut causes = BTreeSet::from([(node.clone(), Need::Object(Name::of(key)))]);
    let annotation = body
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"))
        .and_then(|annotations| annotations.get(SUBSCRIBE_ANNOTATION))
        .and_then(Value::as_str)
        .unwrap_or_default();
    for group in annotation.split(',').map(str::trim) {
        if group.len() <= KEY_PART_BYTES_MAX && is_custom(group) {
            causes.insert((node.clone(), Need::Class(Class::Group(group.into()))));
        }
    }
    causes
}

fn pod_causes(key: &Key, body: &Value) -> BTreeSet<(NodeName, Need)> {
    let spec = body.get("spec");
    let Some(node) = name_at(spec, "nodeName").and_then(|name| NodeName::new(name).ok()) else {
        return BTreeSet::new();
    };
    let mut names = BTreeSet::from([Name::of(key), named_in("namespaces", "", &key.namespace)]);
    add_references(key, spec, &mut names);
    for token in super::token_sources(key, body) {
        names.insert(Name {
            resource: super::tokens(),
            namespace: Arc::clone(&key.namespace),
            name: token.name.into(),
        });
    }
    let network = Need::Class(Class::Network(Arc::clone(&key.namespace)));
    let needs = names.into_iter().map(Need::Object).chain([network]);
    needs.map(|need| (node.clone(), need)).collect()
}

/// The objects that a pod names.
pub(crate) fn pod_references(key: &Key, pod: &Value) -> BTreeSet<Name> {
    let mut names = BTreeSet::new();
    add_references(key, pod.get("spec"), &mut names);
    names
}

/// Whether a group can hold custom resources.
pub(crate) fn is_custom(group: &str) -> bool {
    !group.is_empty() && !BUILT_IN_GROUPS.contains(&group)
}

fn add_references(key: &Key, spec: Option<&Value>, names: &mut BTreeSet<Name>) {
    let namespace = &*key.namespace;
    let mut add = |plural: &str, holder: Option<&Value>, field: &str| {
        if let Some(name) = name_at(holder, field) {
            names.insert(named_in(plural, namespace, name));
        }
    };
    add("serviceaccounts", spec, "serviceAccountName");
    for secret in items(spec, "imagePullSecrets") {
        add("secrets", Some(secret), "name");
    }
    for containers in ["containers", "initContainers", "ephemeralContainers"] {
        for container in items(spec, containers) {
            for variable in items(Some(container), "env") {
                let from = variable.get("valueFrom");
                add("configmaps", child(from, "configMapKeyRef"), "name");
                add("secrets", child(from, "secretKeyRef"), "name");
            }
            for from in items(Some(container), "envFrom") {
                add("configmaps", from.get("configMapRef"), "name");
                add("secrets", from.get("secretRef"), "name");
            }
        }
    }
    for volume in items(spec, "volumes") {
        add("configmaps", volume.get("configMap"), "name");
        add("secrets", volume.get("secret"), "secretName");
        add(
            "persistentvolumeclaims",
            volume.get("persistentVolumeClaim"),
            "claimName",
        );
        add(
            "secrets",
            child(volume.get("csi"), "nodePublishSecretRef"),
            "name",
        );
        for source in items(volume.get("projected"), "sources") {
            add("configmaps", source.get("configMap"), "name");
            add("secrets", source.get("secret"), "name");
        }
    }
    for volume in items(spec, "volumes").filter(|volume| volume.get("ephemeral").is_some()) {
        // A generic ephemeral volume is backed by a claim of this name.
        if let Some(volume) = name_at(Some(volume), "name") {
            let claim = format!("{}-{volume}", key.name);
            names.insert(named_in("persistentvolumeclaims", namespace, &claim));
        }
    }
}

pub(super) fn named_in(plural: &str, namespace: &str, name: &str) -> Name {
    Name {
        resource: Resource::core(plural),
        namespace: namespace.into(),
        name: name.into(),
    }
}

pub(super) fn child<'a>(value: Option<&'a Value>, field: &str) -> Option<&'a Value> {
    value.and_then(|value| value.get(field))
}

fn items<'a>(value: Option<&'a Value>, field: &str) -> impl Iterator<Item = &'a Value> {
    child(value, field)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

pub(super) fn name_at<'a>(value: Option<&'a Value>, field: &str) -> Option<&'a str> {
    child(value, field)
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty() && name.len() <= KEY_PART_BYTES_MAX)
}
