//! What nodes are told that is wanted of their devices: one document beside each Device.
//!
//! The cloud is the only writer of these documents (TWIN-2). A document goes down with the Device,
//! in the same batch and after it, whenever what is wanted is not what the node was told last.

use causeway_kube_api::Status;
use causeway_log::{Batch, Body, Direction, EventId, Key, NodeName, Op, Slot, StreamId};
use causeway_projections::twin::{Desired, DeviceName, TwinVersion, wishes};
use serde_json::Value;

use super::ClusterMachine;
use crate::devices::admit;
use crate::interest::{is_device, is_device_status, model_of};

impl ClusterMachine {
    /// Tells a node that was sent a Device what is wanted of it, if it does not know. `true`: it did
    /// not, and there is a record.
    pub(super) fn send_wishes(
        &mut self,
        batch: &mut Batch,
        node: &NodeName,
        key: &Key,
        device: &Body,
        cause: EventId,
    ) -> bool {
        let device: Value = serde_json::from_slice(device.bytes()).unwrap_or_default();
        let wishes = wishes(&device);
        let told = self.told_wishes(node, key);
        // Revisions outgrow whatever a document of before counted; in a store that was restored the
        // document itself says how far it got.
        let version = self.store.watermarks().durable.get().saturating_add(1);
        let now = self.clock.now();
        let version = TwinVersion::new(version);
        let desired = match told {
            Some(told) => told.advance(&wishes, version, now),
            // It may hold one of before, when it did not hear that the Device was withdrawn.
            None => {
                let nothing = Desired::default();
                Some(nothing.advance(&wishes, version, now).unwrap_or(nothing))
            }
        };
        let Some(desired) = desired else {
            return false;
        };
        let body = Body::from(desired.encode());
        self.send_record(batch, node, key, Op::Twin, body, cause);
        let at = (node.clone(), key.clone());
        self.round.wishes.insert(at, Some(desired));
        true
    }

    /// What is to be said against a Device as an edge wants it: see [`admit`].
    pub(crate) fn admit_device(
        &self,
        key: &Key,
        before: &Value,
        device: &Value,
    ) -> Result<(), Box<Status>> {
        if !is_device(&key.resource) {
            return Ok(());
        }
        let model = model_of(&key.namespace, device).and_then(|name| self.current(&name));
        let model = model.map(|model| model.value());
        admit(Some(before), device, model.as_ref())
    }

    /// Marks the devices that a round says something of: what they are, what they report, and what
    /// the cluster has of that.
    pub(super) fn mark_devices(&self, batch: &Batch) {
        for entry in &batch.entries {
            let key = &entry.draft.key;
            let is_said = match &entry.stream {
                StreamId::Cluster => is_device(&key.resource) || is_device_status(&key.resource),
                // Of a device that the node does not hold nothing is published.
                StreamId::Node(node, Direction::Up) => {
                    entry.draft.op == Op::Twin && self.graph.holds(node, key)
                }
                StreamId::Node(_, Direction::Down) => false,
            };
            if is_said {
                self.changed_devices.mark(DeviceName::of(key));
            }
        }
    }

    /// A Device was withdrawn from a node: should it come back, everything is to be told anew.
    pub(super) fn forget_wishes(&mut self, node: &NodeName, key: &Key) {
        let at = (node.clone(), key.clone());
        self.round.wishes.insert(at, None);
    }

    /// What a node was told last, this round included; `None`: nothing since it was sent the Device.
    fn told_wishes(&self, node: &NodeName, key: &Key) -> Option<Desired> {
        if let Some(desired) = self.round.wishes.get(&(node.clone(), key.clone())) {
            return desired.clone();
        }
        let stream = StreamId::down(node.clone());
        let newest = |slot| self.store.newest(&stream, key, slot).ok().flatten();
        let twin = newest(Slot::Twin).filter(|twin| !twin.record.body.is_empty())?;
        let is_over = newest(Slot::Object).is_some_and(|object| {
            object.record.header.op == Op::Delete && object.revision > twin.revision
        });
        if is_over {
            return None;
        }
        let desired = Desired::decode(twin.record.body.bytes()).unwrap_or_else(|error| {
            let error = causeway_daemon::telemetry::error_chain(&error).to_string();
            tracing::warn!(%node, %key, error, "what a node was told of a device is told anew");
            Desired::default()
        });
        Some(desired)
    }
}

#[cfg(test)]
mod tests;
