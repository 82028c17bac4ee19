//! What the cloud wants of a node, and whether that is what runs there.

use std::collections::BTreeMap;

use serde_json::Value;

use super::claims::{alive, name};
use crate::world::{NodeState, PodState};

/// All objects of the cloud, found by what runs and by name.
#[derive(Debug, Default)]
pub(super) struct Desired<'a> {
    pods: BTreeMap<&'a str, Vec<&'a Value>>,
    configs: BTreeMap<(&'a str, &'a str), &'a Value>,
}

impl<'a> Desired<'a> {
    pub(super) fn of(objects: &'a [Value]) -> Self {
        let mut desired = Self::default();
        for object in objects {
            match object["kind"].as_str() {
                Some("Pod") => {
                    let node = text(object, "/spec/nodeName");
                    desired.pods.entry(node).or_default().push(object);
                }
                Some("ConfigMap") => {
                    let key = (
                        text(object, "/metadata/namespace"),
                        text(object, "/metadata/name"),
                    );
                    desired.configs.insert(key, object);
                }
                _ => {}
            }
        }
        desired
    }

    /// Whether a node runs exactly what is wanted of it; what differs, when not.
    pub(super) fn differs(&self, node: &str, state: &NodeState) -> Result<(), String> {
        if !state.connected {
            return Err("it is not connected".to_owned());
        }
        let wanted = self.pods.get(node).map(Vec::as_slice).unwrap_or_default();
        for pod in wanted {
            self.pod_differs(pod, state)?;
        }
        let wanted_uid = |uid: &str| {
            wanted
                .iter()
                .any(|pod| text(pod, "/metadata/uid") == uid && !goes(pod))
        };
        match alive(state).find(|pod| !wanted_uid(&pod.uid)) {
            Some(pod) => Err(format!(
                "{} runs ({}) and is not wanted",
                name(pod),
                pod.uid
            )),
            None => Ok(()),
        }
    }

    fn pod_differs(&self, wanted: &Value, state: &NodeState) -> Result<(), String> {
        let about = format!(
            "{}/{}",
            text(wanted, "/metadata/namespace"),
            text(wanted, "/metadata/name")
        );
        if goes(wanted) {
            return Err(format!("{about} is being deleted"));
        }
        let uid = text(wanted, "/metadata/uid");
        if matches!(text(wanted, "/status/phase"), "Succeeded" | "Failed") {
            return Ok(());
        }
        let Some(pod) = state.pods.iter().find(|pod| pod.uid == uid) else {
            return Err(format!("{about} is wanted and does not run"));
        };
        if !pod.running {
            return Err(format!("not every container of {about} runs"));
        }
        for container in list(wanted, "/spec/containers") {
            let (container, image) = (text(container, "/name"), text(container, "/image"));
            let found = pod.containers.iter().find(|found| found.name == container);
            let found = found.map_or("nothing", |found| found.image.as_str());
            if found != image {
                return Err(format!("{about} runs {found}, {image} is wanted"));
            }
        }
        self.files_differ(wanted, pod)
    }

    fn files_differ(&self, wanted: &Value, pod: &PodState) -> Result<(), String> {
        let namespace = text(wanted, "/metadata/namespace");
        for volume in list(wanted, "/spec/volumes") {
            let Some(map) = volume.pointer("/configMap/name").and_then(Value::as_str) else {
                continue;
            };
            let Some(map) = self.configs.get(&(namespace, map)) else {
                continue;
            };
            // Which keys are shown, and as which files, is said by `items`; then only those count.
            if volume.pointer("/configMap/items").is_some() {
                continue;
            }
            for (key, value) in map["data"].as_object().into_iter().flatten() {
                let file = format!("{}/{key}", text(volume, "/name"));
                if pod.files.get(&file).map(String::as_str) != value.as_str() {
                    return Err(format!("{file} of {} is not what the cloud has", name(pod)));
                }
            }
        }
        Ok(())
    }
}

fn goes(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}
