//! What a node may ask for. Pure.
//!
//! A node that is taken over by somebody hostile must not get at more than it holds already. So it
//! may write what it holds, and make objects of few kinds; pods it makes are bound to it and name
//! only what it holds. Of its own Node it may not write what decides which pods and objects come
//! to it, and of the devices that are attached to it only what is desired of them.

use causeway_log::{Key, NodeName};
use causeway_projections::Verb;
use causeway_projections::request::CORE_KINDS;
use causeway_projections::twin::{GROUP, may_ask};
use serde_json::Value;

use super::plan::is_bound_to;
use crate::interest::{Name, SUBSCRIBE_ANNOTATION, is_custom, pod_references};

/// A request of a node, and what there is.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Who asks.
    pub node: &'a NodeName,
    /// About what.
    pub key: &'a Key,
    /// To do what.
    pub verb: Verb,
    /// With what.
    pub object: Option<&'a Value>,
    /// What is there under that name.
    pub current: Option<&'a Value>,
}

/// Labels with this prefix, or below it, are put on a Node by the cloud only: workloads are kept off
/// nodes by them.
const RESTRICTED_LABEL: &str = "node-restriction.kubernetes.io";

/// Decides whether a node may ask for this. `holds` says whether it holds the object of a name.
///
/// # Errors
/// Why not, in words for people.
pub fn authorize(asked: &Asked<'_>, holds: impl Fn(&Name) -> bool) -> Result<(), String> {
    let Asked {
        node,
        key,
        verb,
        object,
        current,
    } = *asked;
    let resource = &key.resource;
    let may_not = || {
        let verb = match verb {
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Status => "update the status of",
            Verb::Delete => "delete",
        };
        Err(format!("node {node} may not {verb} {key}"))
    };
    if resource.is("", "nodes") {
        return if &*key.name == node.as_str() && verb != Verb::Delete {
            Ok(())
        } else {
            may_not()
        };
    }
    if resource.is("coordination.k8s.io", "leases") {
        let own = &*key.namespace == "kube-node-lease" && &*key.name == node.as_str();
        return if own { Ok(()) } else { may_not() };
    }
    if &*resource.group == GROUP {
        return may_ask(node, resource, verb, object, current).map_err(str::to_owned);
    }
    let core = resource.group.is_empty() && CORE_KINDS.contains(&&*resource.plural);
    if !core && !is_custom(&resource.group) {
        return may_not();
    }
    if verb != Verb::Create && !holds(&Name::of(key)) {
        return may_not();
    }
    if !resource.is("", "pods") {
        return check_claim(key, object, current).or_else(|()| may_not());
    }
    if current.is_some_and(|pod| !is_bound_to(pod, node)) {
        return may_not();
    }
    let Some(pod) = object else { return Ok(()) };
    if !is_bound_to(pod, node) {
        return Err(format!(
            "node {node} may only write pods that are bound to it"
        ));
    }
    match pod_references(key, pod)
        .into_iter()
        .find(|name| !holds(name))
    {
        Some(Name { resource, name, .. }) => Err(format!(
            "pod {} names {resource}/{name}, which node {node} does not hold",
            key.name
        )),
        None => Ok(()),
    }
}

/// A claim brings its volume to the node, so only the cloud binds it.
fn check_claim(key: &Key, object: Option<&Value>, current: Option<&Value>) -> Result<(), ()> {
    let volume = |claim: Option<&Value>| {
        claim
            .and_then(|claim| claim.get("spec")?.get("volumeName"))
            .cloned()
    };
    let is_claim = key.resource.is("", "persistentvolumeclaims");
    if is_claim && object.is_some() && volume(object) != volume(current) {
        Err(())
    } else {
        Ok(())
    }
}

/// Says of a name in a map of a Node whether the cloud alone writes it.
type Ours = fn(&str) -> bool;

/// Gives the fields of a Node that are not its own the values that they have in the cluster.
pub(crate) fn keep_cloud_fields(object: &mut Value, current: Option<&Value>) {
    let at = |object: Option<&Value>, path: [&str; 2]| -> Option<Value> {
        object
            .and_then(|object| object.get(path[0])?.get(path[1]))
            .cloned()
    };
    let entries = |field: &str, is_ours: Ours| -> Vec<(String, Value)> {
        let map = at(current, ["metadata", field]);
        let map = map.as_ref().and_then(Value::as_object);
        let kept = map.into_iter().flatten().filter(|(name, _)| is_ours(name));
        kept.map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    let ours: [(&str, Ours); 2] = [
        ("labels", is_restricted_label),
        ("annotations", is_subscription),
    ];
    for (field, is_ours) in ours {
        let kept = entries(field, is_ours);
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
            return;
        };
        if let Some(map) = metadata.get_mut(field).and_then(Value::as_object_mut) {
            map.retain(|name, _| !is_ours(name));
            map.extend(kept);
        } else if !kept.is_empty() {
            metadata.insert(field.to_owned(), Value::Object(kept.into_iter().collect()));
        }
    }
    if current.is_none() {
        return;
    }
    for field in ["taints", "unschedulable"] {
        let kept = at(current, ["spec", field]);
        let Some(object) = object.as_object_mut() else {
            return;
        };
        let spec = object
            .entry("spec")
            .or_insert_with(|| Value::Object(Default::default()));
        let Some(spec) = spec.as_object_mut() else {
            return;
        };
        match kept {
            Some(value) => spec.insert(field.to_owned(), value),
            None => spec.remove(field),
        };
    }
}

fn is_restricted_label(name: &str) -> bool {
    let prefix = name.split_once('/').map_or("", |(prefix, _)| prefix);
    prefix
        .strip_suffix(RESTRICTED_LABEL)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn is_subscription(name: &str) -> bool {
    name == SUBSCRIBE_ANNOTATION
}
