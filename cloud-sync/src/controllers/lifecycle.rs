//! Shows in a Node whether its link is down.
//!
//! Nothing else happens to a node that is away: its pods stay bound to it and run on (autonomy).
//! When it is back, what it reported last counts again at once; it need not report anew.

use std::time::Duration;

use causeway_kube_api::Write;
use causeway_log::Body;
use causeway_projections::Objects;
use serde_json::{Value, json};

use super::index::parse;
use super::{Index, Readiness, items_at, replace, text_at};
use crate::hub::Presence;

/// The reason in conditions of a node that is away.
pub const AWAY_REASON: &str = "NodeStatusUnknown";
/// The message in conditions of a node that is away.
pub const AWAY_MESSAGE: &str = "edge link is down";
/// The reason in conditions of a node that never came.
const NEVER_REASON: &str = "NodeStatusNeverUpdated";

/// Conditions that only the node can know.
const CONDITIONS: [&str; 4] = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];

/// The writes that bring Nodes in line with their links.
///
/// `presence` says whether a node is here; `reported` gives the `status` that it reported last.
#[must_use]
pub fn decide(
    objects: &Objects,
    index: &Index,
    grace: Duration,
    now: &str,
    presence: impl Fn(&str) -> Presence,
    reported: impl Fn(&causeway_log::Key) -> Option<Body>,
) -> Vec<Write> {
    let mut writes = Vec::new();
    for (name, facts) in &index.nodes {
        let unknown = facts.readiness == Readiness::Unknown;
        let decided = match presence(name) {
            Presence::Away { lasting } if lasting >= grace && !unknown => away,
            Presence::Connected { .. } if unknown => back,
            Presence::Away { .. } | Presence::Connected { .. } => continue,
        };
        let nodes = causeway_log::Resource::core("nodes");
        let Some(entry) = objects.get(&nodes, "", name) else {
            continue;
        };
        let mut node = parse(entry);
        if decided(&mut node, now, reported(entry.key())) {
            writes.push(replace(entry, node));
        }
    }
    writes
}

fn away(node: &mut Value, now: &str, _: Option<Body>) -> bool {
    let Some(object) = node.as_object_mut() else {
        return false;
    };
    let status = object.entry("status").or_insert_with(|| json!({}));
    let Some(status) = status.as_object_mut() else {
        return false;
    };
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(conditions) = conditions.as_array_mut() else {
        return false;
    };
    for kind in CONDITIONS {
        let known = conditions
            .iter_mut()
            .find(|c| text_at(c, &["type"]) == kind);
        match known {
            Some(condition) => {
                let changed = text_at(condition, &["status"]) != "Unknown";
                let Some(condition) = condition.as_object_mut() else {
                    continue;
                };
                condition.insert("status".to_owned(), json!("Unknown"));
                condition.insert("reason".to_owned(), json!(AWAY_REASON));
                condition.insert("message".to_owned(), json!(AWAY_MESSAGE));
                if changed {
                    condition.insert("lastTransitionTime".to_owned(), json!(now));
                }
            }
            None => conditions.push(json!({
                "type": kind,
                "status": "Unknown",
                "reason": NEVER_REASON,
                "message": "the node never reported",
                "lastTransitionTime": now,
            })),
        }
    }
    true
}

fn back(node: &mut Value, _: &str, reported: Option<Body>) -> bool {
    let ours = items_at(node, &["status", "conditions"]).any(|condition| {
        text_at(condition, &["type"]) == "Ready"
            && matches!(text_at(condition, &["reason"]), AWAY_REASON | NEVER_REASON)
    });
    let status: Option<Value> = reported.and_then(|body| serde_json::from_slice(body.bytes()).ok());
    let (Some(status @ Value::Object(_)), Some(object)) = (status, node.as_object_mut()) else {
        // It never reported: it will.
        return false;
    };
    if ours {
        object.insert("status".to_owned(), status);
    }
    ours
}
