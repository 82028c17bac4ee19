//! The few objects there are: ConfigMaps, and pods that read them.

use causeway_log::{Key, Resource, Uid};
use serde_json::{Value, json};
use uuid::Uuid;

/// Names of nodes.
pub const NODES: [&str; 2] = ["n1", "n2"];
/// Names of ConfigMaps.
pub const MAPS: [&str; 2] = ["m0", "m1"];
/// Names of pods.
pub const PODS: [&str; 3] = ["p0", "p1", "p2"];

/// The key of a life of a name.
pub(crate) fn key(plural: &str, name: &str, life: u64) -> Key {
    let salt = plural.len() as u64 * 1000 + name.bytes().map(u64::from).sum::<u64>();
    let uid = Uid::Uuid(Uuid::from_u64_pair(salt, life));
    Key::new(Resource::core(plural), "default", name, uid).expect("a valid key")
}

fn metadata(key: &Key) -> Value {
    json!({"name": &*key.name, "namespace": "default", "uid": key.uid.to_string()})
}

/// A ConfigMap with one setting.
pub(crate) fn map(key: &Key, value: u8) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(key),
        "data": {"setting": value.to_string()}})
}

/// A pod on a node that reads a ConfigMap.
pub(crate) fn pod(key: &Key, node: &str, map: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata(key), "spec": {
        "nodeName": node,
        "containers": [{"name": "c", "image": "i",
            "envFrom": [{"configMapRef": {"name": map}}]}]}})
}
