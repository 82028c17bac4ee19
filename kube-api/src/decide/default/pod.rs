//! Defaults of pods and pod templates.

use serde_json::{Map, Value, json};

use super::{default, default_text, elements, entry, existing};
use crate::schema::quantity::Quantity;
use crate::schema::scalar::quantity_text;

/// Mode of files made of ConfigMaps, Secrets and the like: 0644.
const FILE_MODE: i64 = 420;
const TOKEN_SECONDS: i64 = 3600;

/// Sets what a pod spec leaves out.
pub(super) fn spec(spec: &mut Value) {
    default_text(spec, "restartPolicy", "Always");
    default_text(spec, "dnsPolicy", "ClusterFirst");
    default_text(spec, "schedulerName", "default-scheduler");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "enableServiceLinks", true);
    default(spec, "securityContext", Value::Object(Map::new()));
    // The two names of one field.
    for (one, other) in [
        ("serviceAccountName", "serviceAccount"),
        ("serviceAccount", "serviceAccountName"),
    ] {
        if spec[other].is_null() && spec[one].is_string() {
            spec[other] = spec[one].clone();
        }
    }
    let host_network = spec["hostNetwork"] == true;
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in elements(spec, list) {
            self::container(container, host_network);
        }
    }
    for volume in elements(spec, "volumes") {
        self::volume(volume);
    }
}

fn container(container: &mut Value, host_network: bool) {
    default_text(container, "terminationMessagePath", "/dev/termination-log");
    default_text(container, "terminationMessagePolicy", "File");
    let policy = pull_policy(container["image"].as_str().unwrap_or(""));
    default_text(container, "imagePullPolicy", policy);
    default(container, "resources", Value::Object(Map::new()));
    for port in elements(container, "ports") {
        default_text(port, "protocol", "TCP");
        if host_network && port["hostPort"].is_null() && port["containerPort"].is_i64() {
            port["hostPort"] = port["containerPort"].clone();
        }
    }
    for env in elements(container, "env") {
        if let Some(from) = existing(env, "valueFrom") {
            field_ref(from);
            if let Some(resource) = existing(from, "resourceFieldRef") {
                default(resource, "divisor", "0");
            }
        }
    }
    requests(&mut container["resources"]);
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = existing(container, probe) {
            default_count(probe, "timeoutSeconds", 1);
            default_count(probe, "periodSeconds", 10);
            default_count(probe, "successThreshold", 1);
            default_count(probe, "failureThreshold", 3);
            handler(probe);
        }
    }
    if let Some(lifecycle) = existing(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = existing(lifecycle, hook) {
                handler(hook);
            }
        }
    }
}

/// For counts of which 0 means absent.
fn default_count(object: &mut Value, field: &str, value: i64) {
    if object[field].is_null() || object[field] == 0 {
        object[field] = value.into();
    }
}

fn handler(handler: &mut Value) {
    if let Some(http) = existing(handler, "httpGet") {
        default_text(http, "path", "/");
        default_text(http, "scheme", "HTTP");
    }
    if let Some(grpc) = existing(handler, "grpc") {
        default(grpc, "service", "");
    }
}

fn field_ref(source: &mut Value) {
    if let Some(field) = existing(source, "fieldRef") {
        default_text(field, "apiVersion", "v1");
    }
}

/// What is limited but not requested is requested up to the limit.
fn requests(resources: &mut Value) {
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else {
        return;
    };
    let requests = entry(resources, "requests");
    for (name, limit) in limits {
        default(requests, &name, limit);
    }
}

fn volume(volume: &mut Value) {
    let has_source = volume
        .as_object()
        .is_some_and(|fields| fields.keys().any(|key| key != "name"));
    if !has_source {
        volume["emptyDir"] = Value::Object(Map::new());
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = existing(volume, source) {
            default(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(path) = existing(volume, "hostPath") {
        default(path, "type", "");
    }
    if let Some(api) = existing(volume, "downwardAPI") {
        elements(api, "items").for_each(field_ref);
    }
    if let Some(projected) = existing(volume, "projected") {
        for source in elements(projected, "sources") {
            if let Some(token) = existing(source, "serviceAccountToken") {
                default(token, "expirationSeconds", TOKEN_SECONDS);
            }
            if let Some(api) = existing(source, "downwardAPI") {
                elements(api, "items").for_each(field_ref);
            }
        }
    }
    if let Some(template) =
        existing(volume, "ephemeral").and_then(|it| existing(it, "volumeClaimTemplate"))
    {
        default(entry(template, "spec"), "volumeMode", json!("Filesystem"));
    }
}

/// Images whose tag moves are pulled each time.
fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    match name.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(super) fn qos_class(spec: &Value) -> &'static str {
    let containers: Vec<&Value> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| spec[*list].as_array().into_iter().flatten())
        .collect();
    let amount = |container: &Value, kind: &str, name: &str| {
        let text = quantity_text(&container["resources"][kind][name])?;
        Quantity::parse(&text).filter(|quantity| !quantity.is_zero())
    };
    let mut any = false;
    let mut guaranteed = !containers.is_empty();
    for container in containers {
        for name in ["cpu", "memory"] {
            let (request, limit) = (
                amount(container, "requests", name),
                amount(container, "limits", name),
            );
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
