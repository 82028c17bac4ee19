//! Kubernetes Events that happened at the edge.

use causeway_kube_api::source::format_time;
use causeway_log::error::ReadError;
use causeway_log::{Batch, Key, NodeName, Record, Resource, Slot, StreamId, Uid};
use serde_json::{Value, json};

use super::Outcome;
use super::happening::{Happening, NoEvent, Subject, is_object, is_of};
use super::plan::{is_bound_to, stored};
use crate::cluster::ClusterMachine;
use crate::interest::Name;

impl ClusterMachine {
    /// Makes the Event object of a fact, or counts in the one that the node told of before.
    ///
    /// # Errors
    /// What the node was sent cannot be read, so nobody knows whether the Event is its to tell.
    pub(super) fn write_event(
        &mut self,
        node: &NodeName,
        record: &Record,
        batch: &mut Batch,
    ) -> Result<Outcome, ReadError> {
        let header = &record.header;
        let told = match Happening::read(node, record) {
            Ok(told) => told,
            Err(NoEvent::Kind) => return Ok(Outcome::Refused),
            Err(NoEvent::Malformed) => return Ok(Outcome::Malformed),
        };
        if !self.concerns(node, &told)? {
            return Ok(Outcome::Refused);
        }
        let id = header.id.uuid();
        let resource = Resource::core("events");
        let Ok(key) = Key::new(resource, &told.namespace, &told.name, Uid::Uuid(id)) else {
            return Ok(Outcome::Malformed);
        };
        if let Some(current) = self.current(&Name::of(&key)) {
            let mut event = current.value();
            if !is_of(&event, node) {
                return Ok(Outcome::Refused);
            }
            let Some(Value::Object(repeated)) = told.repeats(&event) else {
                return Ok(Outcome::Unchanged);
            };
            if let Some(fields) = event.as_object_mut() {
                fields.extend(repeated);
            }
            return Ok(stored(self.put(
                batch,
                &current.key,
                event,
                Some(header.id),
            )));
        }
        if self.check_namespace(&Name::of(&key)).is_err() {
            return Ok(Outcome::Stale);
        }
        let mut event = told.event;
        event["metadata"]["uid"] = json!(id.to_string());
        event["metadata"]["creationTimestamp"] = json!(format_time(header.time));
        Ok(stored(self.put(batch, &key, event, Some(header.id))))
    }

    /// Whether an Event is about the node itself, or about a pod of it: one that is there, or one
    /// that it was sent.
    fn concerns(&self, node: &NodeName, told: &Happening) -> Result<bool, ReadError> {
        let key = match told.subject(node) {
            Some(Subject::Node) => return Ok(true),
            Some(Subject::Pod(key)) => key,
            None => return Ok(false),
        };
        let here = self.current(&Name::of(&key)).is_some_and(|current| {
            (current.key == key || key.uid.is_none()) && is_bound_to(&current.value(), node)
        });
        if here {
            return Ok(true);
        }
        let stream = StreamId::down(node.clone());
        let sent = self.store().newest(&stream, &key, Slot::Object)?;
        Ok(sent.is_some_and(|sent| is_object(&sent.record)))
    }
}
