//! Rules between the fields of a pod.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{cause, names};
use crate::schema::path::Path;
use crate::schema::quantity::Quantity;
use crate::schema::scalar::quantity_text;
use crate::status::Cause;

const ENV_SOURCES: &str =
    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";

/// Adds what is wrong with a pod spec at `path`.
pub(super) fn check(spec: &Value, path: &mut Path, causes: &mut Vec<Cause>) {
    let at = path.cause();
    let volumes = list(spec, "volumes");
    super::duplicates(
        volumes.iter().map(|volume| &volume["name"]),
        |index| format!("{at}.volumes[{index}].name"),
        causes,
    );
    for (index, volume) in volumes.iter().enumerate() {
        volume_source(volume, &format!("{at}.volumes[{index}]"), causes);
    }
    let known: BTreeSet<&str> = volumes
        .iter()
        .filter_map(|volume| volume["name"].as_str())
        .collect();
    let mut names_seen = BTreeSet::new();
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        for (index, container) in list(spec, field).iter().enumerate() {
            let at = format!("{at}.{field}[{index}]");
            let name = container["name"].as_str().unwrap_or("");
            if !name.is_empty() && !names_seen.insert(name) {
                causes.push(cause::duplicate(format!("{at}.name"), &container["name"]));
            }
            check_container(container, &known, &at, causes);
        }
    }
    for (index, toleration) in list(spec, "tolerations").iter().enumerate() {
        check_toleration(toleration, &format!("{at}.tolerations[{index}]"), causes);
    }
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn volume_source(volume: &Value, at: &str, causes: &mut Vec<Cause>) {
    let sources = volume
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
        .filter(|key| *key != "name");
    let mut sources = sources.collect::<Vec<_>>();
    match sources.len() {
        0 => causes.push(cause::required(at.to_owned(), "must specify a volume type")),
        1 => {}
        _ => {
            for source in sources.drain(1..) {
                let field = format!("{at}.{source}");
                causes.push(cause::forbidden(
                    field,
                    "may not specify more than 1 volume type",
                ));
            }
        }
    }
}

fn check_container(container: &Value, volumes: &BTreeSet<&str>, at: &str, causes: &mut Vec<Cause>) {
    for (index, env) in list(container, "env").iter().enumerate() {
        check_env(env, &format!("{at}.env[{index}]"), causes);
    }
    for (index, from) in list(container, "envFrom").iter().enumerate() {
        let sources = ["configMapRef", "secretRef"]
            .iter()
            .filter(|name| from[**name].is_object());
        if sources.count() != 1 {
            let why = "must specify one of: `configMapRef` or `secretRef`";
            causes.push(cause::invalid_text(
                format!("{at}.envFrom[{index}]"),
                "",
                why,
            ));
        }
    }
    check_mounts(container, volumes, at, causes);
    let ports = list(container, "ports");
    let path = |index| format!("{at}.ports[{index}].name");
    super::duplicates(ports.iter().map(|port| &port["name"]), path, causes);
    check_resources(&container["resources"], &format!("{at}.resources"), causes);
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if container[probe].is_object() {
            handler(&container[probe], &format!("{at}.{probe}"), causes);
        }
    }
    for hook in ["postStart", "preStop"] {
        if container["lifecycle"][hook].is_object() {
            handler(
                &container["lifecycle"][hook],
                &format!("{at}.lifecycle.{hook}"),
                causes,
            );
        }
    }
}

fn check_env(env: &Value, at: &str, causes: &mut Vec<Cause>) {
    let Some(from) = env["valueFrom"].as_object() else {
        return;
    };
    let at = format!("{at}.valueFrom");
    if env["value"].as_str().is_some_and(|value| !value.is_empty()) {
        let why = "may not be specified when `value` is not empty";
        causes.push(cause::invalid_text(at, "", why));
    } else if from.is_empty() {
        causes.push(cause::invalid_text(at, "", ENV_SOURCES));
    } else if from.len() > 1 {
        causes.push(cause::invalid_text(
            at,
            "",
            "may not have more than one field specified at a time",
        ));
    }
}

fn check_mounts(container: &Value, volumes: &BTreeSet<&str>, at: &str, causes: &mut Vec<Cause>) {
    let mut paths = BTreeSet::new();
    for (index, mount) in list(container, "volumeMounts").iter().enumerate() {
        let at = format!("{at}.volumeMounts[{index}]");
        let name = mount["name"].as_str().unwrap_or("");
        if !name.is_empty() && !volumes.contains(name) {
            causes.push(cause::not_found(format!("{at}.name"), name));
        }
        let path = mount["mountPath"].as_str().unwrap_or("");
        if !path.is_empty() && !paths.insert(path) {
            causes.push(cause::invalid_text(
                format!("{at}.mountPath"),
                path,
                "must be unique",
            ));
        }
        let sub = mount["subPath"].as_str().unwrap_or("");
        if sub.starts_with('/') {
            causes.push(cause::invalid_text(
                format!("{at}.subPath"),
                sub,
                "must be a relative path",
            ));
        } else if sub.split('/').any(|part| part == "..") {
            causes.push(cause::invalid_text(
                format!("{at}.subPath"),
                sub,
                "must not contain '..'",
            ));
        }
    }
}

fn check_resources(resources: &Value, at: &str, causes: &mut Vec<Cause>) {
    let read = |value: &Value| quantity_text(value).and_then(|text| Quantity::parse(&text));
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let Some(limit) = resources["limits"].get(name) else {
            continue;
        };
        if let (Some(wanted), Some(allowed)) = (read(request), read(limit))
            && wanted > allowed
        {
            let limit = quantity_text(limit).unwrap_or_default();
            let why = format!("must be less than or equal to {name} limit of {limit}");
            causes.push(cause::invalid(format!("{at}.requests"), request, &why));
        }
    }
}

fn handler(value: &Value, at: &str, causes: &mut Vec<Cause>) {
    let kinds = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];
    let given = kinds
        .iter()
        .filter(|kind| value[**kind].is_object())
        .collect::<Vec<_>>();
    if given.is_empty() {
        causes.push(cause::required(
            at.to_owned(),
            "must specify a handler type",
        ));
    }
    for kind in given.iter().skip(1) {
        let why = "may not specify more than 1 handler type";
        causes.push(cause::forbidden(format!("{at}.{kind}"), why));
    }
    if value["exec"].is_object() && list(&value["exec"], "command").is_empty() {
        causes.push(cause::required(format!("{at}.exec.command"), ""));
    }
    for kind in ["httpGet", "tcpSocket"] {
        if value[kind].is_object() {
            port_reference(&value[kind]["port"], &format!("{at}.{kind}.port"), causes);
        }
    }
}

/// A port by number or by name.
pub(super) fn port_reference(value: &Value, at: &str, causes: &mut Vec<Cause>) {
    match value {
        Value::Number(number)
            if !number
                .as_i64()
                .is_some_and(|port| (1..=65535).contains(&port)) =>
        {
            let why = "must be between 1 and 65535, inclusive";
            causes.push(cause::invalid(at.to_owned(), value, why));
        }
        Value::String(name) => {
            if let Err(why) = names::port_name(name) {
                causes.push(cause::invalid(at.to_owned(), value, &why));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {}
    }
}

fn check_toleration(toleration: &Value, at: &str, causes: &mut Vec<Cause>) {
    let text = |field: &str| toleration[field].as_str().unwrap_or("");
    if text("operator") == "Exists" && !text("value").is_empty() {
        let why = "value must be empty when `operator` is 'Exists'";
        causes.push(cause::invalid(
            format!("{at}.operator"),
            &toleration["operator"],
            why,
        ));
    }
    if text("key").is_empty() && text("operator") != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        causes.push(cause::invalid(
            format!("{at}.operator"),
            &toleration["operator"],
            why,
        ));
    }
    if toleration["tolerationSeconds"].is_i64() && text("effect") != "NoExecute" {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        causes.push(cause::invalid(
            format!("{at}.effect"),
            &toleration["effect"],
            why,
        ));
    }
}
