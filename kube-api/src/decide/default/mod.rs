//! Defaults of built-in kinds, as Kubernetes sets them.

mod pod;

use base64::Engine as _;
use causeway_log::WallTime;
use serde_json::{Map, Value, json};

use crate::catalog::ServedKind;
use crate::schema;
use crate::source::format_time;

/// Sets what a decoded object leaves out.
pub(super) fn apply(kind: &ServedKind, object: &mut Value) {
    if let Some(custom) = &kind.custom {
        if let Some(schema) = &custom.schema {
            schema::custom::default(schema, object);
        }
        return;
    }
    match (&*kind.resource.group, &*kind.resource.plural) {
        ("", "pods") => pod::spec(entry(object, "spec")),
        ("", "secrets") => secret(object),
        ("", "services") => service(entry(object, "spec")),
        ("", "namespaces") => namespace(object),
        ("", "persistentvolumes") => {
            let spec = entry(object, "spec");
            default(spec, "persistentVolumeReclaimPolicy", "Retain");
            default(spec, "volumeMode", "Filesystem");
        }
        ("", "persistentvolumeclaims") => {
            default(entry(object, "spec"), "volumeMode", "Filesystem")
        }
        ("apps", plural) => workload(plural, entry(object, "spec")),
        ("batch", "jobs") => job(entry(object, "spec")),
        ("batch", "cronjobs") => cron_job(entry(object, "spec")),
        ("storage.k8s.io", "storageclasses") => {
            default(object, "reclaimPolicy", "Delete");
            default(object, "volumeBindingMode", "Immediate");
        }
        ("discovery.k8s.io", "endpointslices") => {
            for port in elements(object, "ports") {
                default(port, "protocol", "TCP");
                default(port, "name", "");
            }
        }
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => binding(object),
        ("apiextensions.k8s.io", "customresourcedefinitions") => definition(entry(object, "spec")),
        _ => {}
    }
}

/// Sets the status that a new object starts with; drops one that a client may not give.
pub(super) fn begin_status(kind: &ServedKind, object: &mut Value, now: WallTime) {
    if kind.custom.is_some() {
        if kind.status_subresource {
            remove(object, "status");
        }
        return;
    }
    match (&*kind.resource.group, &*kind.resource.plural) {
        ("", "pods") => {
            let class = pod::qos_class(&object["spec"]);
            object["status"] = json!({"phase": "Pending", "qosClass": class});
        }
        // A node registers with the status it has.
        ("", "nodes") => {}
        ("", "namespaces") => object["status"] = json!({"phase": "Active"}),
        ("", "persistentvolumes" | "persistentvolumeclaims") => {
            object["status"] = json!({"phase": "Pending"});
        }
        ("", "services") => object["status"] = json!({"loadBalancer": {}}),
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            object["status"] = definition_status(object, &Value::Null, now);
        }
        _ if kind.status_subresource => remove(object, "status"),
        _ => {}
    }
}

/// What follows from the spec in a status that this server itself keeps.
pub(super) fn derive_status(kind: &ServedKind, current: &Value, object: &mut Value, now: WallTime) {
    if kind
        .resource
        .is("apiextensions.k8s.io", "customresourcedefinitions")
    {
        object["status"] = definition_status(object, &current["status"], now);
    }
}

/// A mutable field that is an object, made if absent.
fn entry<'a>(object: &'a mut Value, field: &str) -> &'a mut Value {
    if object[field].is_null() {
        object[field] = Value::Object(Map::new());
    }
    &mut object[field]
}

/// The same, only if it is there.
fn existing<'a>(object: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    object.get_mut(field).filter(|value| value.is_object())
}

fn elements<'a>(object: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    let list = object.get_mut(field).and_then(Value::as_array_mut);
    list.into_iter()
        .flatten()
        .filter(|element| element.is_object())
}

fn default(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut()
        && !fields.contains_key(field)
    {
        fields.insert(field.to_owned(), value.into());
    }
}

/// For strings of which the empty one means absent.
fn default_text(object: &mut Value, field: &str, value: &str) {
    if object[field].as_str().is_none_or(str::is_empty) && object.is_object() {
        object[field] = value.into();
    }
}

fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}

fn secret(object: &mut Value) {
    default_text(object, "type", "Opaque");
    let Some(Value::Object(plain)) = object
        .as_object_mut()
        .and_then(|it| it.remove("stringData"))
    else {
        return;
    };
    let data = entry(object, "data");
    for (key, value) in plain {
        let text = value.as_str().unwrap_or("");
        data[&key] = base64::engine::general_purpose::STANDARD
            .encode(text)
            .into();
    }
}

fn service(spec: &mut Value) {
    default(spec, "sessionAffinity", "None");
    default_text(spec, "type", "ClusterIP");
    let kind = spec["type"].as_str().unwrap_or("").to_owned();
    if kind != "ExternalName" {
        default(spec, "internalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        default(spec, "externalTrafficPolicy", "Cluster");
    }
    for port in elements(spec, "ports") {
        default_text(port, "protocol", "TCP");
        let number = port["port"].clone();
        let unset = match &port["targetPort"] {
            Value::Null => true,
            Value::String(name) => name.is_empty(),
            Value::Number(number) => number.as_i64() == Some(0),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
        };
        if unset && !number.is_null() {
            port["targetPort"] = number;
        }
    }
}

fn namespace(object: &mut Value) {
    let name = object["metadata"]["name"].clone();
    if name.is_string() {
        let labels = entry(&mut object["metadata"], "labels");
        labels["kubernetes.io/metadata.name"] = name;
    }
}

fn workload(plural: &str, spec: &mut Value) {
    match plural {
        "deployments" => {
            default(spec, "replicas", 1);
            default(spec, "revisionHistoryLimit", 10);
            default(spec, "progressDeadlineSeconds", 600);
            let strategy = entry(spec, "strategy");
            default_text(strategy, "type", "RollingUpdate");
            if strategy["type"] == "RollingUpdate" {
                let rolling = entry(strategy, "rollingUpdate");
                default(rolling, "maxUnavailable", "25%");
                default(rolling, "maxSurge", "25%");
            }
        }
        "daemonsets" => {
            default(spec, "revisionHistoryLimit", 10);
            let strategy = entry(spec, "updateStrategy");
            default_text(strategy, "type", "RollingUpdate");
            if strategy["type"] == "RollingUpdate" {
                let rolling = entry(strategy, "rollingUpdate");
                default(rolling, "maxUnavailable", 1);
                default(rolling, "maxSurge", 0);
            }
        }
        "statefulsets" => {
            default(spec, "replicas", 1);
            default(spec, "revisionHistoryLimit", 10);
            default_text(spec, "podManagementPolicy", "OrderedReady");
            let strategy = entry(spec, "updateStrategy");
            default_text(strategy, "type", "RollingUpdate");
            if strategy["type"] == "RollingUpdate" {
                default(entry(strategy, "rollingUpdate"), "partition", 0);
            }
            let retention = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
            default(spec, "persistentVolumeClaimRetentionPolicy", retention);
            for claim in elements(spec, "volumeClaimTemplates") {
                default(claim, "apiVersion", "v1");
                default(claim, "kind", "PersistentVolumeClaim");
                default(entry(claim, "spec"), "volumeMode", "Filesystem");
                default(claim, "status", json!({"phase": "Pending"}));
            }
        }
        "replicasets" => default(spec, "replicas", 1),
        _ => return,
    }
    template(spec);
}

fn template(spec: &mut Value) {
    if let Some(spec) = existing(spec, "template").and_then(|template| existing(template, "spec")) {
        pod::spec(spec);
    }
}

fn job(spec: &mut Value) {
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        default(spec, "completions", 1);
    }
    default(spec, "parallelism", 1);
    default(spec, "backoffLimit", 6);
    default(spec, "completionMode", "NonIndexed");
    default(spec, "suspend", false);
    template(spec);
}

fn cron_job(spec: &mut Value) {
    default_text(spec, "concurrencyPolicy", "Allow");
    default(spec, "suspend", false);
    default(spec, "successfulJobsHistoryLimit", 3);
    default(spec, "failedJobsHistoryLimit", 1);
    if let Some(spec) =
        existing(spec, "jobTemplate").and_then(|template| existing(template, "spec"))
    {
        template(spec);
    }
}

fn binding(object: &mut Value) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    if let Some(role) = existing(object, "roleRef") {
        default_text(role, "apiGroup", GROUP);
    }
    let namespace = object["metadata"]["namespace"].clone();
    for subject in elements(object, "subjects") {
        if matches!(subject["kind"].as_str(), Some("User" | "Group")) {
            default_text(subject, "apiGroup", GROUP);
        } else if subject["namespace"].is_null() && namespace.is_string() {
            subject["namespace"] = namespace.clone();
        }
    }
}

fn definition(spec: &mut Value) {
    default(spec, "conversion", json!({"strategy": "None"}));
    let Some(names) = existing(spec, "names") else {
        return;
    };
    let kind = names["kind"].as_str().unwrap_or("").to_owned();
    if !kind.is_empty() {
        default_text(names, "singular", &kind.to_lowercase());
        default_text(names, "listKind", &format!("{kind}List"));
    }
}

/// Kinds are served as soon as their definition is stored, so its status is known at once.
fn definition_status(object: &Value, before: &Value, now: WallTime) -> Value {
    let versions = object["spec"]["versions"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let mut stored: Vec<Value> = before["storedVersions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for version in versions.iter().filter(|version| version["storage"] == true) {
        if !stored.contains(&version["name"]) {
            stored.push(version["name"].clone());
        }
    }
    let since = before["conditions"][0]["lastTransitionTime"].clone();
    let since = if since.is_string() {
        since
    } else {
        format_time(now).into()
    };
    let condition = |name: &str, reason: &str, message: &str| {
        json!({"type": name, "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": since})
    };
    json!({
        "acceptedNames": object["spec"]["names"],
        "storedVersions": stored,
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
    })
}
