//! What this node may ask of the cloud at all. Pure.
//!
//! The cloud decides about every request with what it knows; what it refuses in every case is
//! refused here at once, so that whoever asked learns it from the answer and not later.

use causeway_kube_api::catalog::Catalog;
use causeway_log::{Key, NodeName};
use causeway_projections::Verb;
use causeway_projections::request::CORE_KINDS;
use causeway_projections::twin::{GROUP, may_ask};
use serde_json::Value;

/// Checks that `node` may ask for a write: `object` is what it is to be, `live` what it is.
///
/// # Errors
/// Why not, in words for people.
pub(super) fn check(
    node: &NodeName,
    key: &Key,
    verb: Verb,
    object: Option<&Value>,
    live: Option<&Value>,
) -> Result<(), String> {
    let resource = &key.resource;
    let may_not = |what: &str| Err(format!("an edge node may not {what}"));
    let own = *key.name == *node.as_str();
    if resource.is("", "nodes") {
        return match verb {
            Verb::Delete => may_not("delete nodes: that is for the cloud"),
            Verb::Create | Verb::Update | Verb::Status if own => Ok(()),
            Verb::Create | Verb::Update | Verb::Status => may_not("write nodes other than its own"),
        };
    }
    if resource.is("storage.k8s.io", "csinodes") && own {
        return Ok(());
    }
    if &*resource.group == GROUP {
        return may_ask(node, resource, verb, object, live).map_err(str::to_owned);
    }
    let core = resource.group.is_empty() && CORE_KINDS.contains(&&*resource.plural);
    let built_in = Catalog::builtin()
        .kinds()
        .any(|kind| kind.resource.group == resource.group);
    if !core && built_in {
        return may_not(&format!("write {resource}: that is for the cloud"));
    }
    let elsewhere = |pod: Option<&Value>| {
        let bound = pod.map(|pod| pod.pointer("/spec/nodeName").and_then(Value::as_str));
        bound.is_some_and(|bound| bound != Some(node.as_str()))
    };
    if resource.is("", "pods") && (elsewhere(object) || elsewhere(live)) {
        return may_not("write pods that are not bound to it (spec.nodeName)");
    }
    Ok(())
}
