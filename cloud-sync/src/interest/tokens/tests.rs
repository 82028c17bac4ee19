use causeway_log::{Key, Uid};
use serde_json::{Value, json};

use super::{token_sources, tokens};
use crate::interest::{Delta, Graph, Step};
use crate::rig;

/// A pod as the API server makes it: with what every pod is given to reach it.
fn pod(name: &str, node: &str) -> (Key, Value) {
    let sources = json!([
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": []}},
    ]);
    let volumes = json!({"serviceAccountName": "default",
        "volumes": [{"name": "kube-api-access-x", "projected": {"sources": sources}}]});
    rig::pod(name, Some(node), volumes)
}

fn token_of(pod: &(Key, Value)) -> (Key, Value) {
    let source = token_sources(&pod.0, &pod.1).remove(0);
    let key = Key::new(tokens(), "default", &source.name, Uid::parse("t")).unwrap();
    let object = rig::object(&key, "ServiceAccountToken", json!({"token": "secret"}));
    (key, object)
}

fn put(graph: &mut Graph, (key, object): &(Key, Value)) -> Vec<Delta> {
    let mut deltas = Vec::new();
    graph.put(key, object, &mut deltas);
    deltas
}

fn holders(graph: &Graph, key: &Key) -> Vec<String> {
    let held = graph.held().filter(|(held, _)| *held == key);
    held.flat_map(|(_, nodes)| nodes.iter().map(ToString::to_string))
        .collect()
}

#[test]
fn a_token_goes_to_the_node_of_its_pod_and_with_the_pod() {
    let mut graph = Graph::default();
    let (till, other) = (pod("till", "n1"), pod("other", "n2"));
    let token = token_of(&till);
    put(&mut graph, &till);
    put(&mut graph, &other);
    let sent = put(&mut graph, &token);
    assert_eq!(sent.len(), 1, "it comes after the pod");
    assert_eq!(holders(&graph, &token.0), ["n1"]);
    let mut deltas = Vec::new();
    graph.remove(&till.0, &mut deltas);
    let withdrawn = |delta: &Delta| delta.key == token.0 && delta.step == Step::Withdraw;
    assert!(deltas.iter().any(withdrawn));
}

#[test]
fn no_subscription_brings_tokens() {
    let mut graph = Graph::default();
    let node = rig::key("nodes", "", "n2");
    let annotations =
        json!({"metadata": {"annotations": {"causeway.dev/subscribe": "causeway.dev"}}});
    let node = (node.clone(), rig::object(&node, "Node", annotations));
    let till = pod("till", "n1");
    put(&mut graph, &node);
    put(&mut graph, &till);
    let token = token_of(&till);
    put(&mut graph, &token);
    assert_eq!(holders(&graph, &token.0), ["n1"]);
}

#[test]
fn the_root_certificate_that_a_pod_projects_is_needed() {
    let mut graph = Graph::default();
    put(&mut graph, &pod("till", "n1"));
    let authority = rig::key("configmaps", "default", "kube-root-ca.crt");
    let map = rig::object(&authority, "ConfigMap", json!({"data": {"ca.crt": "PEM"}}));
    put(&mut graph, &(authority.clone(), map));
    assert_eq!(holders(&graph, &authority), ["n1"]);
}
