//! What a Device makes its node need: the kinds of `devices.kubeedge.io`.
//!
//! A Device is its node's by `spec.nodeName`, and only so: neither a subscription to the group nor a
//! request that edits one brings it to another node, or keeps it at one that it was taken from.

use std::collections::BTreeSet;

use causeway_log::{Key, NodeName, Resource};
use causeway_projections::twin::{DEVICES, GROUP, STATUSES, models};
use serde_json::Value;

use super::references::{child, name_at, named_in};
use super::{Name, Need};

/// The definitions of its kinds. A node with devices serves all three.
const DEFINITIONS: [&str; 3] = [
    "devices.devices.kubeedge.io",
    "devicemodels.devices.kubeedge.io",
    "devicestatuses.devices.kubeedge.io",
];

/// Whether this is the kind Device.
pub(crate) fn is_device(resource: &Resource) -> bool {
    resource.is(GROUP, DEVICES)
}

/// Whether this is the kind DeviceStatus. It is made of what nodes report, and never sent to one.
pub(crate) fn is_device_status(resource: &Resource) -> bool {
    resource.is(GROUP, STATUSES)
}

/// Whether this is the definition of one of the kinds.
pub(crate) fn defines_devices(key: &Key) -> bool {
    key.resource
        .is("apiextensions.k8s.io", "customresourcedefinitions")
        && DEFINITIONS.contains(&&*key.name)
}

/// The node that a Device is attached to.
pub(crate) fn node_of(device: &Value) -> Option<NodeName> {
    let name = name_at(device.get("spec"), "nodeName")?;
    NodeName::new(name).ok()
}

/// The DeviceModel of a Device. It may be still to come.
pub(crate) fn model_of(namespace: &str, device: &Value) -> Option<Name> {
    let name = name_at(child(device.get("spec"), "deviceModelRef"), "name")?;
    Some(Name {
        resource: models(),
        namespace: namespace.into(),
        name: name.into(),
    })
}

/// Which node needs what because of this Device.
pub(super) fn device_causes(key: &Key, device: &Value) -> BTreeSet<(NodeName, Need)> {
    let Some(node) = node_of(device) else {
        return BTreeSet::new();
    };
    let definitions = DEFINITIONS.map(|name| Name {
        resource: Resource::new("apiextensions.k8s.io", "customresourcedefinitions"),
        namespace: "".into(),
        name: name.into(),
    });
    let namespace = named_in("namespaces", "", &key.namespace);
    let names = [Name::of(key), namespace].into_iter().chain(definitions);
    names
        .chain(model_of(&key.namespace, device))
        .map(|name| (node.clone(), Need::Object(name)))
        .collect()
}
