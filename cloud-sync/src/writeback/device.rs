//! What nodes report of devices: documents and readings. They are state and history of the node's own
//! stream; the cluster is told by the publisher of DeviceStatuses. So nothing is done about them
//! here but to say what they are worth.

use causeway_log::{Key, NodeName, Op, Record, Slot, Store, StreamId};
use causeway_projections::twin::history::{Chunk, readings};
use causeway_projections::twin::{Reported, devices};
use serde_json::Value;

use super::Outcome;
use crate::cluster::ClusterMachine;
use crate::interest::{Name, is_device, node_of};

/// The Device that a record is about, when it is a document or readings of one.
pub(crate) fn device_of(record: &Record) -> Option<Key> {
    let key = &record.header.key;
    match record.header.op {
        Op::Twin if is_device(&key.resource) => Some(key.clone()),
        Op::Fact if key.resource == readings() => Some(Key {
            resource: devices(),
            ..key.clone()
        }),
        Op::Twin | Op::Fact | Op::Put | Op::Delete | Op::Status | Op::Apply | Op::Reject => None,
    }
}

/// Judges such a record. `device` is the Device in the life that the record names, if there is one.
///
/// A node speaks for the devices that are attached to it; of one that it was sent before, what it
/// says is late. What is refused is counted and shown to nobody as the device's: statuses are made
/// of the documents of the device's own node, and history is read by node and device.
pub(crate) fn judge_report(
    store: &dyn Store,
    node: &NodeName,
    key: &Key,
    device: Option<&Value>,
    record: &Record,
) -> Outcome {
    let Some(device) = device else {
        return Outcome::Stale;
    };
    if node_of(device).as_ref() != Some(node) {
        let stream = StreamId::down(node.clone());
        let was_sent = matches!(store.newest(&stream, key, Slot::Object), Ok(Some(_)));
        return if was_sent {
            Outcome::Stale
        } else {
            Outcome::Refused
        };
    }
    let bytes = record.body.bytes();
    let is_read = match record.header.op {
        Op::Twin => Reported::decode(bytes).is_ok(),
        Op::Fact | Op::Put | Op::Delete | Op::Status | Op::Apply | Op::Reject => {
            Chunk::decode(bytes).is_ok()
        }
    };
    if is_read {
        Outcome::Kept
    } else {
        Outcome::Malformed
    }
}

impl ClusterMachine {
    /// See [`judge_report`].
    pub(super) fn take_report(&self, node: &NodeName, key: &Key, record: &Record) -> Outcome {
        let device = self.current(&Name::of(key));
        let device = device.filter(|current| current.key == *key);
        let device = device.map(|current| current.value());
        judge_report(self.store(), node, key, device.as_ref(), record)
    }
}
