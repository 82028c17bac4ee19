//! What a node is sent of an object.

use causeway_log::{Body, Key};
use serde_json::Value;

/// The body of an object for the `down` stream: canonical JSON without the version (the header has
/// it), without `managedFields`, and without `status` where the edge owns it (pods and nodes).
#[must_use]
pub fn down_body(key: &Key, object: &Value) -> Body {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        metadata.remove("resourceVersion");
    }
    if is_node_lease(key)
        && let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.remove("renewTime");
    }
    if edge_owns_status(key)
        && let Some(object) = object.as_object_mut()
    {
        object.remove("status");
    }
    Body::from(object.to_string().into_bytes())
}

/// The same, from the body of the object in the cluster. Shares the bytes where nothing is to be
/// taken out, so that one large object for many nodes stays one body.
#[must_use]
pub fn down_body_of(key: &Key, cluster: &Body) -> Body {
    let bytes = cluster.bytes();
    let managed = b"managedFields";
    if !edge_owns_status(key)
        && !is_node_lease(key)
        && !bytes.windows(managed.len()).any(|window| window == managed)
    {
        return cluster.clone();
    }
    match serde_json::from_slice::<Value>(bytes) {
        Ok(object) => down_body(key, &object),
        // Not JSON cannot have come from this process; the bytes are shown as they are.
        Err(_) => cluster.clone(),
    }
}

/// The heartbeat of a node, which is renewed on its behalf: a node is not told of each renewal.
fn is_node_lease(key: &Key) -> bool {
    key.resource.is("coordination.k8s.io", "leases") && &*key.namespace == "kube-node-lease"
}

/// Whether the edge writes the `status` of this kind.
fn edge_owns_status(key: &Key) -> bool {
    key.resource.is("", "pods") || key.resource.is("", "nodes")
}
