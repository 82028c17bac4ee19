//! What an update may not change.

use serde_json::Value;

use crate::catalog::ServedKind;
use crate::schema::cause;
use crate::status::Cause;

const IMMUTABLE: &str = "field is immutable";
const POD: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const STATEFUL_SET: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
const CLAIM: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
const FROZEN: &str = "field is immutable when `immutable` is set";

/// Adds what an update changes though it must not. Both objects are decoded and defaulted.
pub(super) fn check(kind: &ServedKind, old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    if kind.custom.is_some() {
        return;
    }
    let mut same = |fields: &[&str]| {
        for field in fields {
            let pointer = format!("/{}", field.replace('.', "/"));
            let (was, is) = (old.pointer(&pointer), new.pointer(&pointer));
            if was.is_some() && was != is {
                let value = is.unwrap_or(&Value::Null);
                causes.push(cause::invalid((*field).to_owned(), value, IMMUTABLE));
            }
        }
    };
    match (&*kind.resource.group, &*kind.resource.plural) {
        ("", "pods") => pod(&old["spec"], &new["spec"], causes),
        ("", "configmaps") => frozen(old, new, &["data", "binaryData"], causes),
        ("", "secrets") => {
            same(&["type"]);
            frozen(old, new, &["data"], causes);
        }
        ("", "persistentvolumeclaims") => {
            let changeable = ["resources", "volumeAttributesClassName", "volumeName"];
            only(&old["spec"], &new["spec"], &changeable, CLAIM, causes);
        }
        ("apps", "deployments" | "daemonsets" | "replicasets") => same(&["spec.selector"]),
        ("apps", "statefulsets") => {
            let changeable = [
                "replicas",
                "ordinals",
                "template",
                "updateStrategy",
                "revisionHistoryLimit",
                "persistentVolumeClaimRetentionPolicy",
                "minReadySeconds",
            ];
            only(
                &old["spec"],
                &new["spec"],
                &changeable,
                STATEFUL_SET,
                causes,
            );
        }
        ("batch", "jobs") => same(&["spec.selector", "spec.template", "spec.completionMode"]),
        ("discovery.k8s.io", "endpointslices") => same(&["addressType"]),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings")
            if old["roleRef"] != new["roleRef"] =>
        {
            let field = "roleRef".to_owned();
            causes.push(cause::invalid(
                field,
                &new["roleRef"],
                "cannot change roleRef",
            ));
        }
        ("scheduling.k8s.io", "priorityclasses") => same(&["value"]),
        ("storage.k8s.io", "storageclasses") => same(&["provisioner", "parameters"]),
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            same(&[
                "spec.group",
                "spec.scope",
                "spec.names.plural",
                "spec.names.kind",
            ]);
        }
        _ => {}
    }
}

/// ConfigMaps and Secrets that say so never change.
fn frozen(old: &Value, new: &Value, fields: &[&str], causes: &mut Vec<Cause>) {
    if old["immutable"] != true {
        return;
    }
    if new["immutable"] != true {
        causes.push(cause::forbidden("immutable".to_owned(), FROZEN));
    }
    for field in fields {
        if old[*field] != new[*field] {
            causes.push(cause::forbidden((*field).to_owned(), FROZEN));
        }
    }
}

/// Only the named fields of a spec may change.
fn only(old: &Value, new: &Value, changeable: &[&str], why: &str, causes: &mut Vec<Cause>) {
    let changed = changed(old, new);
    if changed
        .iter()
        .any(|name| !changeable.contains(&name.as_str()))
    {
        causes.push(cause::forbidden("spec".to_owned(), why));
    }
}

/// Names of the fields in which two objects differ.
fn changed(old: &Value, new: &Value) -> Vec<String> {
    let names = |value: &Value| {
        value
            .as_object()
            .into_iter()
            .flat_map(|map| map.keys().cloned())
            .collect::<Vec<_>>()
    };
    let mut names: Vec<String> = names(old).into_iter().chain(names(new)).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| old.get(name) != new.get(name));
    names
}

fn pod(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let mut fields = Vec::new();
    for field in changed(old, new) {
        match field.as_str() {
            "containers" | "initContainers" => {
                let list = |spec: &Value| spec[&field].as_array().cloned().unwrap_or_default();
                let (was, is) = (list(old), list(new));
                if was.len() != is.len() {
                    let why = "pod updates may not add or remove containers";
                    causes.push(cause::forbidden(format!("spec.{field}"), why));
                    continue;
                }
                for (index, (was, is)) in was.iter().zip(&is).enumerate() {
                    let other = changed(was, is).into_iter().filter(|name| name != "image");
                    fields.extend(other.map(|name| format!("spec.{field}[{index}].{name}")));
                }
            }
            "tolerations" => tolerations(&old["tolerations"], &new["tolerations"], causes),
            "activeDeadlineSeconds" => deadline(&old[&field], &new[&field], causes),
            "terminationGracePeriodSeconds"
                if old[&field].as_i64().is_some_and(i64::is_negative) && new[&field] == 1 => {}
            _ => fields.push(format!("spec.{field}")),
        }
    }
    if !fields.is_empty() {
        let why = format!("{POD}\nchanged: {}", fields.join(", "));
        causes.push(cause::forbidden("spec".to_owned(), &why));
    }
}

fn tolerations(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let without_seconds = |toleration: &Value| {
        let mut toleration = toleration.clone();
        if let Some(fields) = toleration.as_object_mut() {
            fields.remove("tolerationSeconds");
        }
        toleration
    };
    let now: Vec<Value> = new
        .as_array()
        .into_iter()
        .flatten()
        .map(without_seconds)
        .collect();
    let kept = |toleration: &Value| now.contains(&without_seconds(toleration));
    if !old.as_array().into_iter().flatten().all(kept) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        causes.push(cause::forbidden("spec.tolerations".to_owned(), why));
    }
}

/// A deadline may be set or brought nearer.
fn deadline(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let Some(was) = old.as_i64() else { return };
    if new.as_i64().is_none_or(|is| is > was) {
        let field = "spec.activeDeadlineSeconds".to_owned();
        let why = "must be less than or equal to previous value";
        causes.push(cause::invalid(field, new, why));
    }
}
