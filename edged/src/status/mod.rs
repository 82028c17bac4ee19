//! What to say of pods and of the node: pure. Nothing here says anything that did not change: a
//! condition keeps its time until its status is another.

pub mod node;
pub mod pod;

use jiff::Timestamp;
use serde_json::{Value, json};

/// A point in time as Kubernetes writes it.
pub(crate) fn time(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// A condition, with the time of the last change of its status taken from the previous ones.
fn condition(
    previous: &Value,
    kind: &str,
    status: bool,
    because: Option<(&str, String)>,
    now: Timestamp,
) -> Value {
    let status = if status { "True" } else { "False" };
    let before = conditions(previous)
        .iter()
        .find(|condition| condition["type"] == kind);
    let since = before
        .filter(|condition| condition["status"] == status)
        .and_then(|condition| condition["lastTransitionTime"].as_str())
        .map_or_else(|| time(now), ToOwned::to_owned);
    let mut condition = json!({"type": kind, "status": status, "lastTransitionTime": since});
    if let Some((reason, message)) = because {
        condition["reason"] = reason.into();
        if !message.is_empty() {
            condition["message"] = message.into();
        }
    }
    condition
}

fn conditions(status: &Value) -> &[Value] {
    status["conditions"].as_array().map_or(&[], Vec::as_slice)
}

/// Adds the conditions that others maintain.
fn keep_foreign(previous: &Value, own: Vec<Value>) -> Value {
    let foreign = conditions(previous)
        .iter()
        .filter(|theirs| !own.iter().any(|ours| ours["type"] == theirs["type"]))
        .cloned();
    let foreign: Vec<Value> = foreign.collect();
    Value::Array(own.into_iter().chain(foreign).collect())
}

/// A merge patch that makes `.status` exactly `wanted`; `None` when it is that already.
#[must_use]
pub fn patch(previous: &Value, wanted: &Value, uid: &str) -> Option<Value> {
    if previous == wanted {
        return None;
    }
    let mut changed = serde_json::Map::new();
    for (key, value) in wanted.as_object().into_iter().flatten() {
        if previous.get(key) != Some(value) {
            changed.insert(key.clone(), value.clone());
            if value.is_object() {
                changed.insert(key.clone(), replace_map(previous.get(key), value));
            }
        }
    }
    for key in previous
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key)
    {
        if wanted.get(key).is_none() {
            changed.insert(key.clone(), Value::Null);
        }
    }
    Some(json!({"metadata": {"uid": uid}, "status": changed}))
}

/// Keys of the old map that the new one does not have are removed by a null.
fn replace_map(previous: Option<&Value>, wanted: &Value) -> Value {
    let mut replaced = wanted.clone();
    if let (Some(map), Some(Value::Object(old))) = (replaced.as_object_mut(), previous) {
        for key in old.keys() {
            map.entry(key.clone()).or_insert(Value::Null);
        }
    }
    replaced
}

#[cfg(test)]
mod tests;
