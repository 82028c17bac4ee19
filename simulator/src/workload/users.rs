//! What users and applications do: a few names, so that lives of a name follow each other.

use causeway_log::NodeName;
use serde_json::{Value, json};

use crate::world::Act;

/// Names of pods, each on the node that its number says.
const PODS: usize = 8;
/// Names of config objects.
const CONFIGS: usize = 4;
/// How long the content of a config object may be.
const CONTENT_MAX: usize = 4000;

pub(super) fn draw(random: &mut fastrand::Rng, nodes: &[NodeName]) -> Act {
    let config = format!("c{}", random.usize(..CONFIGS));
    match random.u32(..100) {
        0..45 => Act::Apply(pod(random, nodes)),
        45..60 => Act::Delete {
            resource: "pods".to_owned(),
            namespace: "default".to_owned(),
            name: format!("p{}", random.usize(..PODS)),
            grace: if random.bool() {
                None
            } else {
                Some(random.i64(0..=5))
            },
        },
        60..80 => Act::Apply(config_map(random, &config)),
        80..85 => Act::Apply(secret(random, &config)),
        85..88 => Act::Delete {
            resource: "configmaps".to_owned(),
            namespace: "default".to_owned(),
            name: config,
            grace: None,
        },
        _ => Act::EdgeWrite {
            node: nodes[random.usize(..nodes.len())].clone(),
            resource: "configmaps".to_owned(),
            namespace: "default".to_owned(),
            name: config,
            patch: json!({"metadata": {"annotations": {"edge": random.u32(..1000).to_string()}}}),
        },
    }
}

fn pod(random: &mut fastrand::Rng, nodes: &[NodeName]) -> Value {
    let number = random.usize(..PODS);
    let crashes = number % 7 == 6;
    let command = if crashes {
        json!(["crash"])
    } else {
        json!(["serve"])
    };
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": format!("p{number}"), "namespace": "default"},
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "containers": [{
                "name": "main",
                "image": format!("app:{}", random.u32(..20)),
                "command": command,
            }],
        },
    });
    // Half of them go where the scheduler puts them.
    if number.is_multiple_of(2) {
        pod["spec"]["nodeName"] = nodes[number % nodes.len()].as_str().into();
    }
    if number.is_multiple_of(3) {
        pod["spec"]["volumes"] = json!([{"name": "config", "configMap": {"name": format!("c{}", number % CONFIGS), "optional": true}}]);
        pod["spec"]["containers"][0]["volumeMounts"] =
            json!([{"name": "config", "mountPath": "/config"}]);
    }
    if number % 4 == 1 {
        pod["spec"]["containers"][0]["envFrom"] = json!([
            {"secretRef": {"name": format!("c{}", number % CONFIGS), "optional": true}},
        ]);
    }
    pod
}

fn config_map(random: &mut fastrand::Rng, name: &str) -> Value {
    let length = random.usize(..CONTENT_MAX);
    let content: String = (0..length).map(|_| random.alphanumeric()).collect();
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": {"a": content, "b": random.u32(..10).to_string()},
    })
}

fn secret(random: &mut fastrand::Rng, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "default"},
        "stringData": {"KEY": random.u32(..1000).to_string()},
    })
}
