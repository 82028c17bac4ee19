//! What autonomy asks of the tolerations of a pod. Pure.
//!
//! Kubernetes goes by the *first* toleration of a pod that matches a taint. Admission gives every
//! pod two of 300 seconds, so adding others after them would change nothing: their seconds are
//! changed instead, which is the one change of a toleration that a bound pod allows.

use serde_json::{Value, json};

use crate::kube::writeback::node::EDGE_LABEL;

/// Of a node or a pod: `"false"` leaves it to Kubernetes' rules.
pub const AUTONOMY_ANNOTATION: &str = "causeway.dev/autonomy";
/// Of a node or a pod: how long its pods stay, in seconds.
pub const SECONDS_ANNOTATION: &str = "causeway.dev/autonomy-seconds";

/// The taints of a node that is not heard of.
const TAINTS: [&str; 2] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
];

/// How long pods stay on a node that is not heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Autonomy {
    /// For ever.
    Unlimited,
    /// So many seconds.
    Seconds(i64),
}

/// What a node wants for its pods; `None` to leave them alone.
#[must_use]
pub fn of_node(node: &Value) -> Option<Autonomy> {
    node.get("metadata")?.get("labels")?.get(EDGE_LABEL)?;
    if annotation(node, AUTONOMY_ANNOTATION) == Some("false") {
        return None;
    }
    Some(seconds(node).unwrap_or(Autonomy::Unlimited))
}

/// What a pod on such a node wants; `None` to leave it alone.
#[must_use]
pub fn of_pod(pod: &Value, node: &Autonomy) -> Option<Autonomy> {
    let over = pod
        .get("metadata")
        .is_none_or(|metadata| metadata.get("deletionTimestamp").is_some());
    if over || annotation(pod, AUTONOMY_ANNOTATION) == Some("false") {
        return None;
    }
    Some(seconds(pod).unwrap_or(*node))
}

fn seconds(object: &Value) -> Option<Autonomy> {
    let seconds: i64 = annotation(object, SECONDS_ANNOTATION)?
        .trim()
        .parse()
        .ok()?;
    (seconds >= 0).then_some(Autonomy::Seconds(seconds))
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(name)?
        .as_str()
}

/// The tolerations that a pod should have; `None` when those it has do.
///
/// Every toleration it has stays: only the seconds of those that Kubernetes goes by change, or one
/// is added. A toleration without a limit is never given one, and one that is about other taints
/// too is not touched.
#[must_use]
pub fn tolerations(current: Option<&Value>, wanted: Autonomy) -> Option<Vec<Value>> {
    let before = current
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let mut after = before.clone();
    for taint in TAINTS {
        tolerate(&mut after, taint, wanted);
    }
    (after != before).then_some(after)
}

fn tolerate(tolerations: &mut Vec<Value>, taint: &str, wanted: Autonomy) {
    let ours = || {
        let mut ours = json!({"key": taint, "operator": "Exists", "effect": "NoExecute"});
        if let Autonomy::Seconds(seconds) = wanted {
            ours["tolerationSeconds"] = json!(seconds);
        }
        ours
    };
    let Some(first) = tolerations.iter_mut().find(|one| matches(one, taint)) else {
        tolerations.push(ours());
        return;
    };
    let limit = first
        .get("tolerationSeconds")
        .filter(|limit| !limit.is_null());
    let as_wanted = match (limit, wanted) {
        (None, _) => true,
        (Some(_), Autonomy::Unlimited) => false,
        (Some(limit), Autonomy::Seconds(seconds)) => limit.as_i64() == Some(seconds),
    };
    if as_wanted {
        return;
    }
    if text(first, "key") != taint {
        // It is about other taints too, which are not ours: ours goes before it.
        tolerations.insert(0, ours());
        return;
    }
    let Some(first) = first.as_object_mut() else {
        return;
    };
    match wanted {
        Autonomy::Unlimited => first.remove("tolerationSeconds"),
        Autonomy::Seconds(seconds) => first.insert("tolerationSeconds".to_owned(), json!(seconds)),
    };
}

/// Whether a toleration is about a `NoExecute` taint of this key, which has no value.
fn matches(toleration: &Value, taint: &str) -> bool {
    let (key, effect) = (text(toleration, "key"), text(toleration, "effect"));
    let operator = match text(toleration, "operator") {
        "" => "Equal",
        operator => operator,
    };
    let of_taint = key == taint || (key.is_empty() && operator == "Exists");
    let of_effect = effect.is_empty() || effect == "NoExecute";
    let of_value =
        operator == "Exists" || (operator == "Equal" && text(toleration, "value").is_empty());
    of_taint && of_effect && of_value
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}
