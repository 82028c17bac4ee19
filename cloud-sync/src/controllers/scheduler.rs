//! Binds pods to nodes: of the ready nodes that a pod may run on, the one with the fewest pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_kube_api::Write;
use causeway_projections::Objects;
use serde_json::{Value, json};

use super::index::{entry, parse};
use super::{
    Index, NodeFacts, Readiness, Taint, WRITES_PER_TURN_MAX, at, items_at, replace, text_at,
};

/// The writes that bind pods, or say why they cannot be bound. `now` is a timestamp as Kubernetes
/// writes it.
#[must_use]
pub fn decide(objects: &Objects, index: &Index, now: &str) -> Vec<Write> {
    let mut pending = index.pending().peekable();
    let mut writes = Vec::new();
    if pending.peek().is_none() {
        return writes;
    }
    let mut counts = index.pods_per_node().clone();
    for name in pending {
        if writes.len() >= WRITES_PER_TURN_MAX {
            break;
        }
        let Some(entry) = entry(objects, name) else {
            continue;
        };
        let mut pod = parse(entry);
        let condition = match choose(&pod, &index.nodes, &counts) {
            Ok(node) => {
                *counts.entry(Arc::clone(&node)).or_default() += 1;
                let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else {
                    continue;
                };
                spec.insert("nodeName".to_owned(), json!(&*node));
                json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": now})
            }
            Err(message) => json!({
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": message,
                "lastTransitionTime": now,
            }),
        };
        if set_condition(&mut pod, condition) {
            writes.push(replace(entry, pod));
        }
    }
    writes
}

/// The node for a pod.
///
/// # Errors
/// Why there is none, in the words of Kubernetes.
fn choose(
    pod: &Value,
    nodes: &BTreeMap<Arc<str>, NodeFacts>,
    counts: &BTreeMap<Arc<str>, usize>,
) -> Result<Arc<str>, String> {
    if nodes.is_empty() {
        return Err("no nodes available to schedule pods".to_owned());
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut best: Option<(usize, &Arc<str>)> = None;
    for (name, node) in nodes {
        match obstacle(pod, name, node) {
            Some(reason) => *reasons.entry(reason).or_default() += 1,
            None => {
                let candidate = (counts.get(name).copied().unwrap_or_default(), name);
                best = Some(best.map_or(candidate, |best| best.min(candidate)));
            }
        }
    }
    best.map(|(_, name)| Arc::clone(name)).ok_or_else(|| {
        let told: Vec<String> = reasons
            .into_iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        format!(
            "0/{} nodes are available: {}.",
            nodes.len(),
            told.join(", ")
        )
    })
}

/// Why a pod cannot run on a node.
fn obstacle(pod: &Value, name: &str, node: &NodeFacts) -> Option<String> {
    if node.unschedulable {
        return Some("node(s) were unschedulable".to_owned());
    }
    if node.readiness != Readiness::Ready {
        return Some("node(s) were not ready".to_owned());
    }
    let hard = node
        .taints
        .iter()
        .filter(|taint| taint.effect != "PreferNoSchedule");
    for taint in hard {
        if !items_at(pod, &["spec", "tolerations"]).any(|it| tolerates(it, taint)) {
            let Taint { key, value, .. } = taint;
            return Some(format!("node(s) had untolerated taint {{{key}: {value}}}"));
        }
    }
    (!selects(pod, name, node))
        .then(|| "node(s) didn't match Pod's node affinity/selector".to_owned())
}

fn tolerates(toleration: &Value, taint: &Taint) -> bool {
    let (key, effect) = (
        text_at(toleration, &["key"]),
        text_at(toleration, &["effect"]),
    );
    let exists = text_at(toleration, &["operator"]) == "Exists";
    let key_fits = key == taint.key || (key.is_empty() && exists);
    let value_fits = exists || text_at(toleration, &["value"]) == taint.value;
    key_fits && value_fits && (effect.is_empty() || effect == taint.effect)
}

fn selects(pod: &Value, name: &str, node: &NodeFacts) -> bool {
    let selector = at(pod, &["spec", "nodeSelector"]).and_then(Value::as_object);
    let selected = selector
        .into_iter()
        .flatten()
        .all(|(key, value)| node.labels.get(key).map(String::as_str) == value.as_str());
    let required = ["spec", "affinity", "nodeAffinity"];
    let required = at(pod, &required)
        .and_then(|affinity| affinity.get("requiredDuringSchedulingIgnoredDuringExecution"));
    let Some(required) = required else {
        return selected;
    };
    // Terms are alternatives; the expressions of a term must all hold.
    selected
        && items_at(required, &["nodeSelectorTerms"]).any(|term| {
            let mut labels = items_at(term, &["matchExpressions"]).peekable();
            let mut fields = items_at(term, &["matchFields"]).peekable();
            let some = labels.peek().is_some() || fields.peek().is_some();
            let label = |key: &str| node.labels.get(key).map(String::as_str);
            let field = |key: &str| (key == "metadata.name").then_some(name);
            some && labels.all(|it| matches(it, label)) && fields.all(|it| matches(it, field))
        })
}

fn matches<'a>(expression: &Value, found: impl Fn(&str) -> Option<&'a str>) -> bool {
    let found = found(text_at(expression, &["key"]));
    let values = || items_at(expression, &["values"]).filter_map(Value::as_str);
    let number = |text: &str| text.parse::<i64>().ok();
    let compare = |holds: fn(i64, i64) -> bool| {
        let bound = values().next().and_then(number);
        found
            .and_then(number)
            .zip(bound)
            .is_some_and(|(found, bound)| holds(found, bound))
    };
    match text_at(expression, &["operator"]) {
        "In" => found.is_some_and(|found| values().any(|value| value == found)),
        "NotIn" => !found.is_some_and(|found| values().any(|value| value == found)),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => compare(|found, bound| found > bound),
        "Lt" => compare(|found, bound| found < bound),
        _ => false,
    }
}

/// Sets a condition of a pod; says whether that changes anything but the time.
fn set_condition(pod: &mut Value, condition: Value) -> bool {
    let Some(pod) = pod.as_object_mut() else {
        return false;
    };
    let status = pod
        .entry("status")
        .or_insert_with(|| json!({"phase": "Pending"}));
    let Some(status) = status.as_object_mut() else {
        return false;
    };
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(conditions) = conditions.as_array_mut() else {
        return false;
    };
    let kind = condition.get("type").cloned();
    let Some(old) = conditions
        .iter_mut()
        .find(|old| old.get("type") == kind.as_ref())
    else {
        conditions.push(condition);
        return true;
    };
    let same = ["status", "reason", "message"]
        .iter()
        .all(|f| old.get(f) == condition.get(f));
    if !same {
        *old = condition;
    }
    !same
}
