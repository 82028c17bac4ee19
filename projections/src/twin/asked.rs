//! What a node may ask for of devices. The edge refuses by it at once, the cloud decides by it.

use causeway_log::{NodeName, Resource};
use serde_json::{Map, Value};

use super::{DEVICES, STATUSES};
use crate::Verb;
use crate::objects::{PENDING_ANNOTATION, REJECTED_ANNOTATION};

/// Of a Device that is bound to it a node may ask for other desired values, and for nothing else of
/// the group. `object` is what it is to be, `live` what it is.
///
/// # Errors
/// Why not, in words for people.
pub fn may_ask(
    node: &NodeName,
    resource: &Resource,
    verb: Verb,
    object: Option<&Value>,
    live: Option<&Value>,
) -> Result<(), &'static str> {
    match (&*resource.plural, verb) {
        (STATUSES, _) => {
            return Err("an edge node may not write devicestatuses: they show what devices report");
        }
        (DEVICES, Verb::Update) => {}
        (DEVICES, Verb::Create) => {
            return Err("an edge node may not create Devices: that is for the cloud");
        }
        (DEVICES, Verb::Delete) => {
            return Err("an edge node may not delete Devices: that is for the cloud");
        }
        (DEVICES, Verb::Status) => {
            return Err(
                "an edge node may not write the status of Devices: devices report by MQTT or DMI",
            );
        }
        _ => return Err("an edge node may not write other kinds of the group: the cloud does"),
    }
    let bound = live.and_then(|live| live.pointer("/spec/nodeName"));
    if bound.and_then(Value::as_str) != Some(node.as_str()) {
        return Err("an edge node may not write Devices that are not bound to it (spec.nodeName)");
    }
    if object.map(without_wishes) != live.map(without_wishes) {
        return Err("an edge node may change nothing of a Device but spec.properties[].desired");
    }
    Ok(())
}

/// A Device without what is desired, and without what an API adds.
fn without_wishes(device: &Value) -> Value {
    let mut device = device.clone();
    let metadata = device.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(metadata) = metadata {
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
