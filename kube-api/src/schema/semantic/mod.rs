//! Rules between fields, kind by kind: what the shape of an object cannot say.

mod pod;

use serde_json::Value;

use super::cause;
use super::names;
use super::path::Path;
use crate::catalog::ServedKind;
use crate::status::Cause;

/// Most bytes of the data of a ConfigMap or Secret.
const DATA_BYTES_MAX: usize = 1 << 20;
const EMPTY_SELECTOR: &str = "empty selector is invalid for";

/// Adds what is wrong between the fields of a decoded object of a built-in kind.
pub(super) fn check(kind: &ServedKind, object: &Value, causes: &mut Vec<Cause>) {
    match (&*kind.resource.group, &*kind.kind) {
        ("", "Pod") => pod::check(&object["spec"], &mut Path::of("spec"), causes),
        ("", "ConfigMap") => config_map(object, causes),
        ("", "Secret") => secret(object, causes),
        ("", "Service") => service(&object["spec"], causes),
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet") => {
            workload(kind, &object["spec"], causes);
        }
        ("batch", "Job") => job(&object["spec"], "spec", causes),
        ("batch", "CronJob") => {
            job(
                &object["spec"]["jobTemplate"]["spec"],
                "spec.jobTemplate.spec",
                causes,
            );
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object, causes),
        _ => {}
    }
}

/// The rule for names of a kind.
pub(super) fn name_rule(kind: &ServedKind) -> names::Rule {
    match (&*kind.resource.group, &*kind.resource.plural) {
        ("", "namespaces") => names::label,
        ("", "services") => names::label_1035,
        ("rbac.authorization.k8s.io", _) => names::path_segment,
        _ => names::subdomain,
    }
}

fn config_map(object: &Value, causes: &mut Vec<Cause>) {
    let text = data_keys(object, "data", causes);
    let binary = data_keys(object, "binaryData", causes);
    for key in object["data"]
        .as_object()
        .into_iter()
        .flat_map(|map| map.keys())
    {
        if object["binaryData"].get(key).is_some() {
            let field = format!("data[{key}]");
            causes.push(cause::invalid_text(
                field,
                key,
                "duplicate of key present in binaryData",
            ));
        }
    }
    if text + binary > DATA_BYTES_MAX {
        causes.push(cause::too_long("[]".to_owned(), DATA_BYTES_MAX));
    }
}

fn secret(object: &Value, causes: &mut Vec<Cause>) {
    if data_keys(object, "data", causes) > DATA_BYTES_MAX {
        causes.push(cause::too_long("data".to_owned(), DATA_BYTES_MAX));
    }
    let needed: &[&str] = match object["type"].as_str().unwrap_or("") {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in needed {
        if object["data"].get(key).is_none() {
            causes.push(cause::required(format!("data[{key}]"), ""));
        }
    }
}

/// Checks the keys of one map; returns the bytes of its values, decoded where they are base64.
fn data_keys(object: &Value, field: &str, causes: &mut Vec<Cause>) -> usize {
    let base64 = field == "binaryData" || object["kind"] == "Secret";
    let mut size = 0;
    for (key, value) in object[field].as_object().into_iter().flatten() {
        if let Err(why) = names::config_key(key) {
            causes.push(cause::invalid_text(format!("{field}[{key}]"), key, &why));
        }
        let bytes = value.as_str().map_or(0, str::len);
        size += if base64 { bytes / 4 * 3 } else { bytes };
    }
    size
}

fn service(spec: &Value, causes: &mut Vec<Cause>) {
    let ports = spec["ports"].as_array().map_or(&[][..], Vec::as_slice);
    let external = spec["type"] == "ExternalName";
    if external {
        match spec["externalName"].as_str() {
            Some(name) if !name.is_empty() => {
                if let Err(why) = names::subdomain(name.trim_end_matches('.')) {
                    causes.push(cause::invalid_text(
                        "spec.externalName".to_owned(),
                        name,
                        &why,
                    ));
                }
            }
            _ => causes.push(cause::required("spec.externalName".to_owned(), "")),
        }
    } else if ports.is_empty() && spec["clusterIP"] != "None" {
        causes.push(cause::required("spec.ports".to_owned(), ""));
    }
    if ports.len() > 1 {
        for (index, port) in ports.iter().enumerate() {
            if port["name"].as_str().unwrap_or("").is_empty() {
                causes.push(cause::required(format!("spec.ports[{index}].name"), ""));
            }
        }
    }
    let path = |index| format!("spec.ports[{index}].name");
    duplicates(ports.iter().map(|port| &port["name"]), path, causes);
    for (index, port) in ports.iter().enumerate() {
        let key = |port: &Value| (port["protocol"].clone(), port["port"].clone());
        if ports
            .iter()
            .take(index)
            .any(|earlier| key(earlier) == key(port))
        {
            causes.push(cause::duplicate(format!("spec.ports[{index}]"), port));
        }
        pod::port_reference(
            &port["targetPort"],
            &format!("spec.ports[{index}].targetPort"),
            causes,
        );
    }
}

fn workload(kind: &ServedKind, spec: &Value, causes: &mut Vec<Cause>) {
    let template = &spec["template"];
    let selector = &spec["selector"];
    let no_labels = selector["matchLabels"]
        .as_object()
        .is_none_or(serde_json::Map::is_empty);
    let no_expressions = selector["matchExpressions"]
        .as_array()
        .is_none_or(Vec::is_empty);
    if selector.is_object() {
        if no_labels && no_expressions {
            let why = format!("{EMPTY_SELECTOR} {}", kind.singular);
            causes.push(cause::invalid("spec.selector".to_owned(), selector, &why));
        } else if !selects(selector, &template["metadata"]["labels"]) {
            let field = "spec.template.metadata.labels".to_owned();
            let why = "`selector` does not match template `labels`";
            causes.push(cause::invalid(field, &template["metadata"]["labels"], why));
        }
    }
    if template.is_object() {
        pod::check(
            &template["spec"],
            &mut Path::of("spec.template.spec"),
            causes,
        );
        let policy = &template["spec"]["restartPolicy"];
        if policy.is_string() && policy != "Always" {
            let field = "spec.template.spec.restartPolicy".to_owned();
            causes.push(cause::unsupported(field, policy, &["Always"]));
        }
    }
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let equal = |(key, value): (&String, &Value)| labels.get(key) == Some(value);
    let labels_match = selector["matchLabels"]
        .as_object()
        .is_none_or(|map| map.iter().all(equal));
    let expression = |expression: &Value| {
        let label = labels.get(expression["key"].as_str().unwrap_or(""));
        let listed = |label| {
            expression["values"]
                .as_array()
                .is_some_and(|values| values.contains(label))
        };
        match expression["operator"].as_str().unwrap_or("") {
            "In" => label.is_some_and(listed),
            "NotIn" => !label.is_some_and(listed),
            "Exists" => label.is_some(),
            "DoesNotExist" => label.is_none(),
            // Told by the schema.
            _ => true,
        }
    };
    let expressions = selector["matchExpressions"].as_array();
    labels_match && expressions.is_none_or(|list| list.iter().all(expression))
}

fn job(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let template = &spec["template"]["spec"];
    if template.is_object() {
        pod::check(
            template,
            &mut Path::of(&format!("{path}.template.spec")),
            causes,
        );
        let policy = &template["restartPolicy"];
        if !matches!(policy.as_str(), Some("OnFailure" | "Never")) {
            let field = format!("{path}.template.spec.restartPolicy");
            causes.push(cause::unsupported(field, policy, &["OnFailure", "Never"]));
        }
    }
}

fn definition(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let (plural, group) = (text(&spec["names"]["plural"]), text(&spec["group"]));
    let name = text(&object["metadata"]["name"]);
    if !plural.is_empty() && !group.is_empty() && name != format!("{plural}.{group}") {
        let why = "must be spec.names.plural+\".\"+spec.group";
        causes.push(cause::invalid_text("metadata.name".to_owned(), &name, why));
    }
    if !group.is_empty() && !group.contains('.') {
        let why = "should be a domain with at least one dot";
        causes.push(cause::invalid_text("spec.group".to_owned(), &group, why));
    }
    let versions = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let stored = versions
        .iter()
        .filter(|version| version["storage"] == true)
        .count();
    if !versions.is_empty() && stored != 1 {
        let why = "must have exactly one version marked as storage version";
        causes.push(cause::invalid(
            "spec.versions".to_owned(),
            &spec["versions"],
            why,
        ));
    }
    let path = |index| format!("spec.versions[{index}].name");
    duplicates(
        versions.iter().map(|version| &version["name"]),
        path,
        causes,
    );
    for (index, version) in versions.iter().enumerate() {
        if !version["schema"]["openAPIV3Schema"].is_object() {
            let field = format!("spec.versions[{index}].schema.openAPIV3Schema");
            causes.push(cause::required(field, "schemas are required"));
        }
    }
}

/// Adds a cause for each text that was there before. Empty and missing ones do not count.
fn duplicates<'a>(
    values: impl Iterator<Item = &'a Value>,
    path: impl Fn(usize) -> String,
    causes: &mut Vec<Cause>,
) {
    let mut seen = std::collections::BTreeSet::new();
    for (index, value) in values.enumerate() {
        let Some(text) = value.as_str().filter(|text| !text.is_empty()) else {
            continue;
        };
        if !seen.insert(text) {
            causes.push(cause::duplicate(path(index), value));
        }
    }
}
