//! Kubernetes Events that happened at the edge.

use causeway_kube_api::source::format_time;
use causeway_log::limits::KEY_PART_BYTES_MAX;
use causeway_log::{Batch, Key, NodeName, Op, Record, Resource, Slot, StreamId, Uid};
use serde_json::{Map, Value, json};

use super::Outcome;
use super::plan::{is_bound_to, stored};
use crate::cluster::ClusterMachine;
use crate::interest::Name;

/// What is taken over of an Event; whatever else it holds is dropped.
const FIELDS: [&str; 11] = [
    "involvedObject",
    "reason",
    "message",
    "type",
    "count",
    "firstTimestamp",
    "lastTimestamp",
    "eventTime",
    "action",
    "related",
    "reportingComponent",
];
/// Longest prefix of the name of an Event, before its identity.
const PREFIX_BYTES_MAX: usize = KEY_PART_BYTES_MAX - 33;

impl ClusterMachine {
    /// Makes the Event object of a fact. Its name is made of the identity of the fact, so the same
    /// fact makes the same object.
    pub(super) fn write_event(
        &mut self,
        node: &NodeName,
        record: &Record,
        batch: &mut Batch,
    ) -> Outcome {
        let header = &record.header;
        let Ok(fact @ Value::Object(_)) = serde_json::from_slice::<Value>(record.body.bytes())
        else {
            return Outcome::Malformed;
        };
        if !header.key.resource.is("", "events") {
            return Outcome::Refused;
        }
        let Some(involved) = fact.get("involvedObject") else {
            return Outcome::Malformed;
        };
        if !self.concerns(node, &header.key.namespace, involved) {
            return Outcome::Refused;
        }
        let id = header.id.uuid();
        let prefix = text(involved, "name");
        let mut cut = prefix.len().min(PREFIX_BYTES_MAX);
        while !prefix.is_char_boundary(cut) {
            cut -= 1;
        }
        let name = format!("{}.{}", prefix.split_at(cut).0, id.simple());
        let namespace = &*header.key.namespace;
        let resource = Resource::core("events");
        let Ok(key) = Key::new(resource, namespace, &name, Uid::Uuid(id)) else {
            return Outcome::Malformed;
        };
        if self.current(&Name::of(&key)).is_some() {
            return Outcome::Unchanged;
        }
        if self.check_namespace(&Name::of(&key)).is_err() {
            return Outcome::Stale;
        }
        let mut event: Map<String, Value> = FIELDS
            .iter()
            .filter_map(|field| Some(((*field).to_owned(), fact.get(field)?.clone())))
            .collect();
        let source = fact.get("source").map(|source| text(source, "component"));
        let component = source
            .filter(|component| !component.is_empty())
            .unwrap_or("edge");
        event.insert("apiVersion".to_owned(), json!("v1"));
        event.insert("kind".to_owned(), json!("Event"));
        event.insert(
            "source".to_owned(),
            json!({"component": component, "host": node.as_str()}),
        );
        event.insert("reportingInstance".to_owned(), json!(node.as_str()));
        event.insert(
            "metadata".to_owned(),
            json!({
                "name": name,
                "namespace": namespace,
                "uid": id.to_string(),
                "creationTimestamp": format_time(header.time),
            }),
        );
        stored(self.put(batch, &key, Value::Object(event), Some(header.id)))
    }

    /// Whether an Event in `namespace` is about the node itself, or about a pod of it in that
    /// namespace: one that is there, or one that it was sent.
    fn concerns(&self, node: &NodeName, namespace: &str, involved: &Value) -> bool {
        let (kind, name) = (text(involved, "kind"), text(involved, "name"));
        if kind == "Node" {
            return name == node.as_str() && namespace == "default";
        }
        let uid = Uid::parse(text(involved, "uid"));
        let Ok(key) = Key::new(Resource::core("pods"), namespace, name, uid) else {
            return false;
        };
        let stands_in = text(involved, "namespace");
        if kind != "Pod" || (!stands_in.is_empty() && stands_in != namespace) {
            return false;
        }
        let here = self.current(&Name::of(&key)).is_some_and(|current| {
            (current.key == key || key.uid.is_none()) && is_bound_to(&current.value(), node)
        });
        let stream = StreamId::down(node.clone());
        here || matches!(
            self.store().newest(&stream, &key, Slot::Object),
            Ok(Some(sent)) if matches!(sent.record.header.op, Op::Put | Op::Delete)
        )
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}
