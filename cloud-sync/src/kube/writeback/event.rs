//! Kubernetes Events of what happened at an edge. Pure.

use causeway_kube_api::source::format_time;
use causeway_log::{NodeName, Record};
use serde_json::{Map, Value, json};

use super::call::{Call, Identity, Place};

/// What is taken over of an Event; whatever else it holds is dropped.
const FIELDS: [&str; 9] = [
    "action",
    "count",
    "firstTimestamp",
    "involvedObject",
    "lastTimestamp",
    "message",
    "reason",
    "related",
    "type",
];
/// Longest name of an object.
const NAME_BYTES_MAX: usize = 253;
/// Of these, a dot and the identity of the fact in hexadecimal digits.
const ID_BYTES: usize = 33;
/// Longest message; the API server takes no longer one of the newer sort.
const MESSAGE_BYTES_MAX: usize = 1024;
/// Longest reason.
const REASON_BYTES_MAX: usize = 128;

/// The name of the Event of a fact: made of what it is about and of the fact's identity, so that the
/// same fact always makes the same object.
#[must_use]
pub fn name(involved: &str, record: &Record) -> String {
    // The name is a DNS subdomain; whatever is not is left out of this decoration.
    let mut prefix: String = involved
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.'))
        .take(NAME_BYTES_MAX - ID_BYTES)
        .collect();
    let trimmed = prefix.trim_matches(['.', '-']).len();
    if trimmed == 0 || prefix.len() != trimmed || prefix.contains("..") {
        prefix = "edge".to_owned();
    }
    format!("{prefix}.{}", record.header.id.uuid().simple())
}

/// The request that creates the Event of a fact; `None` when the fact is no Event.
#[must_use]
pub fn create(node: &NodeName, record: &Record) -> Option<Call> {
    let fact: Value = serde_json::from_slice(record.body.bytes()).ok()?;
    let mut involved = fact.get("involvedObject")?.as_object()?.clone();
    let header = &record.header;
    let namespace = &*header.key.namespace;
    let text = |map: &Map<String, Value>, field: &str| -> String {
        map.get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    if text(&involved, "kind") != "Node" {
        // The two must agree, or the API server refuses the Event.
        involved.insert("namespace".to_owned(), json!(namespace));
    } else {
        involved.remove("namespace");
    }
    let name = name(&text(&involved, "name"), record);
    let mut event: Map<String, Value> = FIELDS
        .iter()
        .filter_map(|field| Some(((*field).to_owned(), fact.get(field)?.clone())))
        .filter(|(_, value)| !value.is_null())
        .collect();
    event.insert("involvedObject".to_owned(), Value::Object(involved));
    for (field, bytes_max) in [("message", MESSAGE_BYTES_MAX), ("reason", REASON_BYTES_MAX)] {
        if let Some(Value::String(text)) = event.get_mut(field) {
            truncate(text, bytes_max);
        }
    }
    let component = fact
        .get("source")
        .and_then(|source| source.get("component")?.as_str())
        .filter(|component| !component.is_empty())
        .unwrap_or("edged");
    let host = node.as_str();
    event.insert("apiVersion".to_owned(), json!("v1"));
    event.insert("kind".to_owned(), json!("Event"));
    event.insert(
        "metadata".to_owned(),
        json!({"name": name, "namespace": namespace}),
    );
    event.insert(
        "source".to_owned(),
        json!({"component": component, "host": host}),
    );
    event.insert("reportingComponent".to_owned(), json!(component));
    event.insert("reportingInstance".to_owned(), json!(host));
    for time in ["firstTimestamp", "lastTimestamp"] {
        let happened = || json!(format_time(header.time));
        event.entry(time).or_insert_with(happened);
    }
    let place = Place::core("events", namespace, &name);
    Some(place.create(Identity::Node(node.clone()), Value::Object(event)))
}

fn truncate(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let mut cut = bytes_max;
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        text.truncate(cut);
    }
}
