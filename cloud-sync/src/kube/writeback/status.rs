//! What a node reports, as patches of the `status` subresource. Pure.
//!
//! The patches are strategic merge patches: lists of conditions are merged by type, so conditions
//! that others maintain stay, and a patch that is sent twice changes nothing the second time.

use causeway_log::{Key, NodeName};
use serde_json::{Map, Value, json};

use super::call::{Call, Content, Identity, Place};

/// Conditions of a pod that only its node writes: one that the node no longer reports is removed.
const POD_CONDITIONS: [&str; 7] = [
    "ContainersReady",
    "Initialized",
    "PodReadyToStartContainers",
    "PodResizeInProgress",
    "PodResizePending",
    "Ready",
    "AllContainersRestarting",
];
/// Fields of a pod's status that only its node writes: one that it does not report is removed.
const POD_FIELDS: [&str; 12] = [
    "containerStatuses",
    "ephemeralContainerStatuses",
    "hostIP",
    "hostIPs",
    "initContainerStatuses",
    "message",
    "observedGeneration",
    "phase",
    "podIP",
    "podIPs",
    "reason",
    "startTime",
];
/// Fields of a pod's status that others write: the API server, the scheduler, controllers.
const OTHERS_POD_FIELDS: [&str; 4] = [
    "extendedResourceClaimStatus",
    "nominatedNodeName",
    "qosClass",
    "resourceClaimStatuses",
];
/// Fields of a node's status that others write.
const OTHERS_NODE_FIELDS: [&str; 1] = ["volumesAttached"];

/// Whether a pod in this phase does not run again.
#[must_use]
pub fn is_terminal(status: Option<&Value>) -> bool {
    let phase = status.and_then(|status| status.get("phase"));
    matches!(phase.and_then(Value::as_str), Some("Succeeded" | "Failed"))
}

/// The patch that gives a pod the status its node reports, whatever it has: what only the node
/// writes and does not report goes.
#[must_use]
pub fn patch_pod(node: &NodeName, key: &Key, reported: &Value) -> Call {
    // These two are merged by address, so that an address would never go.
    let mut status = own_fields(reported, &OTHERS_POD_FIELDS, &["podIPs", "hostIPs"]);
    for field in POD_FIELDS {
        // Without a phase the object would be no pod's status.
        if field != "phase" {
            status.entry(field).or_insert(Value::Null);
        }
    }
    status.insert("conditions".to_owned(), conditions(reported));
    let uid = key.uid.to_string();
    let patch = json!({"metadata": {"uid": uid}, "status": status});
    Place::core("pods", &key.namespace, &key.name).patch(
        Identity::Node(node.clone()),
        "status",
        Content::StrategicPatch,
        patch,
    )
}

fn conditions(reported: &Value) -> Value {
    let mut merged = whole_conditions(reported);
    let known: Vec<&str> = items(Some(reported)).filter_map(kind_of).collect();
    for kind in POD_CONDITIONS {
        if !known.contains(&kind) {
            merged.push(json!({"$patch": "delete", "type": kind}));
        }
    }
    Value::Array(merged)
}

/// The patch that gives a Node the status that the node reports. There is no condition on the life
/// of the Node: it is about the machine, whichever Node stands for it.
#[must_use]
pub fn patch_node(node: &NodeName, reported: &Value) -> Call {
    let mut status = own_fields(reported, &OTHERS_NODE_FIELDS, &["addresses"]);
    let conditions = whole_conditions(reported);
    if !conditions.is_empty() {
        status.insert("conditions".to_owned(), Value::Array(conditions));
    }
    Place::core("nodes", "", node.as_str()).patch(
        Identity::Node(node.clone()),
        "status",
        Content::StrategicPatch,
        json!({"status": status}),
    )
}

/// What is reported and nobody else writes, conditions apart. Lists that strategic merge would merge
/// are replaced.
fn own_fields(reported: &Value, others: &[&str], replaced_lists: &[&str]) -> Map<String, Value> {
    let fields = reported.as_object().into_iter().flatten();
    let own = fields.filter(|(field, value)| {
        // What begins so is no field but a directive of the patch.
        let is_field = *field != "conditions" && !field.starts_with('$');
        !value.is_null() && is_field && !others.contains(&field.as_str())
    });
    own.map(|(field, value)| {
        let list = value.as_array();
        let list = list.filter(|_| replaced_lists.contains(&field.as_str()));
        let value = list.map_or_else(|| value.clone(), |items| replaced(items));
        (field.clone(), value)
    })
    .collect()
}

/// The conditions that are reported, each such that nothing of the one before it stays: a condition
/// that turned has another reason, or none.
fn whole_conditions(reported: &Value) -> Vec<Value> {
    let reported = items(Some(reported)).filter(|condition| kind_of(condition).is_some());
    let whole = reported.map(|condition| {
        let mut condition = condition.clone();
        if let Some(fields) = condition.as_object_mut() {
            for field in ["message", "reason"] {
                fields.entry(field).or_insert(Value::Null);
            }
        }
        condition
    });
    whole.collect()
}

/// Whether what the cluster shows of a pod differs from what its node reports, in what others than
/// the node change: the node controller makes pods of an unreachable node unready.
#[must_use]
pub fn has_drifted(current: Option<&Value>, reported: &Value) -> bool {
    let state = |status: Option<&Value>, kind: &str| -> Option<Value> {
        let mut all = items(status);
        all.find(|condition| kind_of(condition) == Some(kind))
            .and_then(|condition| condition.get("status").cloned())
    };
    POD_CONDITIONS
        .iter()
        .any(|kind| state(current, kind) != state(Some(reported), kind))
        || current.and_then(|current| current.get("phase")) != reported.get("phase")
}

/// Whether somebody other than the node wrote the conditions of its Node.
#[must_use]
pub fn has_node_drifted(current: Option<&Value>, reported: &Value) -> bool {
    items(Some(reported)).any(|condition| {
        let kind = kind_of(condition);
        let known = items(current).find(|known| kind_of(known) == kind);
        kind.is_some() && known.and_then(|known| known.get("status")) != condition.get("status")
    })
}

/// The status of a condition, such as `True`.
#[must_use]
pub fn condition<'a>(status: Option<&'a Value>, kind: &str) -> Option<&'a str> {
    items(status)
        .find(|condition| kind_of(condition) == Some(kind))?
        .get("status")?
        .as_str()
}

fn items(status: Option<&Value>) -> impl Iterator<Item = &Value> {
    status
        .and_then(|status| status.get("conditions"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn kind_of(condition: &Value) -> Option<&str> {
    condition.get("type")?.as_str()
}

/// A list that replaces the old one, where strategic merge would merge them.
fn replaced(items: &[Value]) -> Value {
    let directive = std::iter::once(json!({"$patch": "replace"}));
    Value::Array(items.iter().cloned().chain(directive).collect())
}
