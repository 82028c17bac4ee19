//! Where two things differ, in words for one line.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The first key at which two maps differ, and how.
pub(super) fn maps_differ(
    left: &BTreeMap<String, Value>,
    right: &BTreeMap<String, Value>,
) -> Option<String> {
    let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    keys.into_iter()
        .find_map(|key| match (left.get(key), right.get(key)) {
            (Some(left), Some(right)) => {
                values_differ(left, right).map(|what| format!("{key}{what}"))
            }
            (Some(_), None) => Some(format!("{key}: there, and not there")),
            (None, _) => Some(format!("{key}: not there, and there")),
        })
}

/// The place at which two values first differ, and both.
pub(super) fn values_differ(left: &Value, right: &Value) -> Option<String> {
    match (left, right) {
        (left, right) if left == right => None,
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            keys.into_iter().find_map(|key| {
                let of = |fields: &serde_json::Map<String, Value>| {
                    fields.get(key).cloned().unwrap_or_default()
                };
                values_differ(&of(a), &of(b)).map(|what| format!("/{key}{what}"))
            })
        }
        (Value::Array(a), Value::Array(b)) => (0..a.len().max(b.len())).find_map(|n| {
            let of = |all: &[Value]| all.get(n).cloned().unwrap_or_default();
            values_differ(&of(a), &of(b)).map(|what| format!("/{n}{what}"))
        }),
        (left, right) => Some(format!(": {left}, {right}")),
    }
}
