//! What this node may ask of the cloud at all. Pure.
//!
//! The cloud decides about every request with what it knows; what it refuses in every case is
//! refused here at once, so that whoever asked learns it from the answer and not later.

use causeway_kube_api::catalog::Catalog;
use causeway_log::{Key, NodeName, Resource};
use causeway_projections::Verb;
use causeway_projections::objects::{PENDING_ANNOTATION, REJECTED_ANNOTATION};
use causeway_projections::request::CORE_KINDS;
use causeway_projections::twin::{DEVICES, GROUP, STATUSES};
use serde_json::{Map, Value};

/// Checks that `node` may ask for a write: `object` is what it is to be, `live` what it is.
///
/// # Errors
/// Why not, in words for people.
pub(super) fn check(
    node: &NodeName,
    key: &Key,
    verb: Verb,
    object: Option<&Value>,
    live: Option<&Value>,
) -> Result<(), String> {
    let resource = &key.resource;
    let may_not = |what: &str| Err(format!("an edge node may not {what}"));
    let own = *key.name == *node.as_str();
    if resource.is("", "nodes") {
        return match verb {
            Verb::Delete => may_not("delete nodes: that is for the cloud"),
            Verb::Create | Verb::Update | Verb::Status if own => Ok(()),
            Verb::Create | Verb::Update | Verb::Status => may_not("write nodes other than its own"),
        };
    }
    if resource.is("storage.k8s.io", "csinodes") && own {
        return Ok(());
    }
    if &*resource.group == GROUP {
        return check_device(node, resource, verb, object, live);
    }
    let core = resource.group.is_empty() && CORE_KINDS.contains(&&*resource.plural);
    let built_in = Catalog::builtin()
        .kinds()
        .any(|kind| kind.resource.group == resource.group);
    if !core && built_in {
        return may_not(&format!("write {resource}: that is for the cloud"));
    }
    let elsewhere = |pod: Option<&Value>| {
        let bound = pod.map(|pod| pod.pointer("/spec/nodeName").and_then(Value::as_str));
        bound.is_some_and(|bound| bound != Some(node.as_str()))
    };
    if resource.is("", "pods") && (elsewhere(object) || elsewhere(live)) {
        return may_not("write pods that are not bound to it (spec.nodeName)");
    }
    Ok(())
}

/// Of a Device that is bound to it a node may ask for other desired values, and for nothing else.
fn check_device(
    node: &NodeName,
    resource: &Resource,
    verb: Verb,
    object: Option<&Value>,
    live: Option<&Value>,
) -> Result<(), String> {
    let may_not = |what: &str| Err(format!("an edge node may not {what}"));
    match (&*resource.plural, verb) {
        (STATUSES, _) => return may_not("write devicestatuses: they show what devices report"),
        (DEVICES, Verb::Update) => {}
        (DEVICES, Verb::Create) => return may_not("create Devices: that is for the cloud"),
        (DEVICES, Verb::Delete) => return may_not("delete Devices: that is for the cloud"),
        (DEVICES, Verb::Status) => {
            return may_not("write the status of Devices: devices report by MQTT or DMI");
        }
        _ => return may_not(&format!("write {resource}: that is for the cloud")),
    }
    let bound = live.and_then(|live| live.pointer("/spec/nodeName"));
    if bound.and_then(Value::as_str) != Some(node.as_str()) {
        return may_not("write Devices that are not bound to it (spec.nodeName)");
    }
    if object.map(without_wishes) != live.map(without_wishes) {
        return may_not("change more of a Device than spec.properties[].desired");
    }
    Ok(())
}

/// A Device without what is desired, and without what an API adds.
fn without_wishes(device: &Value) -> Value {
    let mut device = device.clone();
    if let Some(metadata) = device["metadata"].as_object_mut() {
        for added in ["resourceVersion", "managedFields", "generation"] {
            metadata.remove(added);
        }
        if let Some(annotations) = metadata.get_mut("annotations") {
            if let Some(annotations) = annotations.as_object_mut() {
                annotations.remove(PENDING_ANNOTATION);
                annotations.remove(REJECTED_ANNOTATION);
            }
            if annotations.as_object().is_none_or(Map::is_empty) {
                metadata.remove("annotations");
            }
        }
    }
    let properties = device.pointer_mut("/spec/properties");
    for property in properties
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(property) = property.as_object_mut() {
            property.remove("desired");
        }
    }
    device
}
