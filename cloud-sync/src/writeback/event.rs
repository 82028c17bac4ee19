//! Kubernetes Events that happened at the edge.

use causeway_kube_api::source::format_time;
use causeway_log::{Batch, Key, NodeName, Op, Record, Resource, Slot, StreamId, Uid};
use serde_json::{Value, json};

use super::Outcome;
use super::happening::{Happening, NoEvent, is_of};
use super::plan::{is_bound_to, stored};
use crate::cluster::ClusterMachine;
use crate::interest::Name;

impl ClusterMachine {
    /// Makes the Event object of a fact, or counts in the one that the node told of before.
    pub(super) fn write_event(
        &mut self,
        node: &NodeName,
        record: &Record,
        batch: &mut Batch,
    ) -> Outcome {
        let header = &record.header;
        let told = match Happening::read(node, record) {
            Ok(told) => told,
            Err(NoEvent::Kind) => return Outcome::Refused,
            Err(NoEvent::Malformed) => return Outcome::Malformed,
        };
        if !self.concerns(node, &told.namespace, &told.involved) {
            return Outcome::Refused;
        }
        let id = header.id.uuid();
        let resource = Resource::core("events");
        let Ok(key) = Key::new(resource, &told.namespace, &told.name, Uid::Uuid(id)) else {
            return Outcome::Malformed;
        };
        if let Some(current) = self.current(&Name::of(&key)) {
            let mut event = current.value();
            if !is_of(&event, node) {
                return Outcome::Refused;
            }
            let Some(Value::Object(repeated)) = told.repeats(&event) else {
                return Outcome::Unchanged;
            };
            if let Some(fields) = event.as_object_mut() {
                fields.extend(repeated);
            }
            return stored(self.put(batch, &current.key, event, Some(header.id)));
        }
        if self.check_namespace(&Name::of(&key)).is_err() {
            return Outcome::Stale;
        }
        let mut event = told.event;
        event["metadata"]["uid"] = json!(id.to_string());
        event["metadata"]["creationTimestamp"] = json!(format_time(header.time));
        stored(self.put(batch, &key, event, Some(header.id)))
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
