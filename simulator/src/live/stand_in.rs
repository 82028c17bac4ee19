//! What runs in place of containers.
//!
//! A host process has no image, so in a live run a container is what it is in a simulated one: an
//! environment and files, and something that runs until it is stopped. Its command, probes, hooks
//! and user belong to the image and go with it.

use serde_json::{Value, json};

/// Where pod specs stand in objects.
const SPECS: [(&str, &str); 7] = [
    ("Pod", "/spec"),
    ("Deployment", "/spec/template/spec"),
    ("ReplicaSet", "/spec/template/spec"),
    ("StatefulSet", "/spec/template/spec"),
    ("DaemonSet", "/spec/template/spec"),
    ("Job", "/spec/template/spec"),
    ("CronJob", "/spec/jobTemplate/spec/template/spec"),
];

/// What a container has that only makes sense with its image.
const OF_THE_IMAGE: [&str; 8] = [
    "args",
    "lifecycle",
    "livenessProbe",
    "readinessProbe",
    "securityContext",
    "startupProbe",
    "workingDir",
    "command",
];

/// Puts stand-ins into an object; with `only_missing` only where there is no command.
pub(super) fn put(object: &mut Value, only_missing: bool) {
    let kind = object["kind"].as_str().unwrap_or_default();
    let Some((_, pointer)) = SPECS.iter().find(|(known, _)| *known == kind) else {
        return;
    };
    let Some(spec) = object.pointer_mut(pointer).and_then(Value::as_object_mut) else {
        return;
    };
    if !only_missing {
        spec.remove("securityContext");
    }
    for (list, is_init) in [("initContainers", true), ("containers", false)] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let Some(container) = container.as_object_mut() else {
                continue;
            };
            let has_command = container
                .get("command")
                .and_then(Value::as_array)
                .is_some_and(|command| !command.is_empty());
            if only_missing && has_command {
                continue;
            }
            for field in OF_THE_IMAGE {
                container.remove(field);
            }
            // An init container ends, unless it is a sidecar.
            let ends = is_init && container.get("restartPolicy") != Some(&json!("Always"));
            let command = if ends {
                json!(["true"])
            } else {
                json!(["sleep", "2147483647"])
            };
            container.insert("command".to_owned(), command);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({"kind": "Pod", "spec": {
            "securityContext": {"runAsUser": 1000},
            "initContainers": [{"name": "first", "image": "a"},
                {"name": "side", "image": "a", "restartPolicy": "Always"}],
            "containers": [{"name": "main", "image": "b", "command": ["/main"], "args": ["-x"],
                "env": [{"name": "A", "value": "b"}], "livenessProbe": {"exec": {"command": ["x"]}}}],
        }})
    }

    #[test]
    fn a_container_keeps_its_image_and_environment_and_loses_the_rest() {
        let mut object = pod();
        put(&mut object, false);
        let main = &object["spec"]["containers"][0];
        assert_eq!(main["image"], "b");
        assert_eq!(main["env"][0]["name"], "A");
        assert_eq!(main["command"][0], "sleep");
        assert!(main.get("args").is_none() && main.get("livenessProbe").is_none());
        assert!(object["spec"].get("securityContext").is_none());
        assert_eq!(object["spec"]["initContainers"][0]["command"][0], "true");
        assert_eq!(object["spec"]["initContainers"][1]["command"][0], "sleep");
    }

    #[test]
    fn commands_stay_when_they_are_to_run() {
        let mut object = pod();
        put(&mut object, true);
        assert_eq!(object["spec"]["containers"], pod()["spec"]["containers"]);
        assert_eq!(object["spec"]["initContainers"][0]["command"][0], "true");
        let mut map = json!({"kind": "ConfigMap", "spec": {"containers": [{}]}});
        put(&mut map, false);
        assert_eq!(map["spec"]["containers"], json!([{}]));
        let mut set = json!({"kind": "DaemonSet",
            "spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}});
        put(&mut set, true);
        let containers = &set["spec"]["template"]["spec"]["containers"];
        assert_eq!(containers[0]["command"][0], "sleep");
    }
}
