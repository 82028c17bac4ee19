//! A cluster behind an API server, served by a cloud that mirrors it. The embedded control plane
//! plays the cluster.

use std::time::Duration;

use causeway_kube_api::client::{
    CONFIGMAPS, Client, DeleteOptions, NODES, PODS, PatchFormat, SECRETS,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::site::{RunningCloud, RunningEdge, when};

fn edge_node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name,
        "labels": {"node-role.kubernetes.io/edge": ""}}})
}

fn pod(name: &str, node: &str, map: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "nodeName": node,
        "containers": [{"name": "c", "image": "i:1",
            "envFrom": [{"configMapRef": {"name": map}}]}]}})
}

fn map(name: &str, data: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"today": data}})
}

async fn set(cluster: &Client, name: &str, data: &str) {
    let patch = json!({"data": {"today": data}});
    cluster
        .patch(&CONFIGMAPS, "default", name, PatchFormat::Merge, &patch)
        .await
        .unwrap();
}

/// Waits until the edge has a map that says `data`.
async fn reads(edge: &RunningEdge, name: &str, data: &str) {
    when(&edge.client, CONFIGMAPS, "default", |maps| {
        maps.get(name)
            .filter(|map| map["data"]["today"] == data)
            .map(|_| ())
    })
    .await;
}

async fn head(cloud: &RunningCloud, node: &str) -> u64 {
    cloud.node_status(node).await["down"]["head"]
        .as_u64()
        .unwrap()
}

/// Waits until the mirror has listed everything since its start.
async fn listed(cloud: &RunningCloud) {
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let wait = async {
        loop {
            look.tick().await;
            let status = cloud.client.get_path("/causeway/v1/status").await.unwrap();
            let kinds = status["kubernetes"]["kinds"].as_array().unwrap();
            if kinds.len() > 5 && kinds.iter().all(|kind| kind["lists"] == 1) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait)
        .await
        .expect("the lists in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nodes_need_of_a_cluster_goes_to_them_and_nothing_else() {
    let (own, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let cluster = RunningCloud::start(own.path(), None).await;
    let api = &cluster.client;
    api.create(&NODES, "", &edge_node("n1")).await.unwrap();
    api.create(&CONFIGMAPS, "default", &map("menu", "soup"))
        .await
        .unwrap();
    api.create(&CONFIGMAPS, "default", &map("late", "tea"))
        .await
        .unwrap();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vault"}});
    api.create(&SECRETS, "default", &secret).await.unwrap();
    api.create(&PODS, "default", &pod("till", "n1", "menu"))
        .await
        .unwrap();

    let mirror = RunningCloud::mirror(other.path(), cluster.api, None).await;
    let edge = RunningEdge::start("n1", mirror.sync);
    when(&edge.client, PODS, "", |pods| pods.get("till").cloned()).await;
    reads(&edge, "menu", "soup").await;
    set(api, "menu", "cake").await;
    reads(&edge, "menu", "cake").await;

    // Passed over when it was listed, and needed now.
    api.create(&PODS, "default", &pod("bar", "n1", "late"))
        .await
        .unwrap();
    reads(&edge, "late", "tea").await;
    let vault = edge
        .client
        .find(&SECRETS, "default", "vault")
        .await
        .unwrap();
    assert_eq!(vault, None, "nobody at the edge needs it");

    // Nobody needs it any more.
    let now = DeleteOptions {
        grace_period_seconds: Some(0),
        ..DeleteOptions::default()
    };
    api.delete(&PODS, "default", "bar", &now).await.unwrap();
    when(&edge.client, CONFIGMAPS, "default", |maps| {
        (!maps.contains_key("late")).then_some(())
    })
    .await;
    edge.stop().await;
    mirror.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_sends_what_changed_meanwhile_and_nothing_else() {
    let (own, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let cluster = RunningCloud::start(own.path(), None).await;
    let api = &cluster.client;
    api.create(&NODES, "", &edge_node("n1")).await.unwrap();
    for name in ["one", "two", "three"] {
        api.create(&CONFIGMAPS, "default", &map(name, name))
            .await
            .unwrap();
        api.create(&PODS, "default", &pod(name, "n1", name))
            .await
            .unwrap();
    }
    let mirror = RunningCloud::mirror(other.path(), cluster.api, None).await;
    let sync = mirror.sync;
    let edge = RunningEdge::start("n1", sync);
    when(&edge.client, PODS, "", |pods| {
        (pods.len() == 3).then_some(())
    })
    .await;
    reads(&edge, "three", "three").await;
    mirror
        .node_status_when("n1", |node| node["down"]["lag"] == 0)
        .await;
    let before = head(&mirror, "n1").await;
    mirror.stop().await;

    // Nothing happened.
    let mirror = RunningCloud::mirror(other.path(), cluster.api, Some(sync)).await;
    listed(&mirror).await;
    assert_eq!(head(&mirror, "n1").await, before, "nothing is sent again");
    mirror.stop().await;

    // Something did: one is changed, one is gone, one is another of the same name.
    set(api, "one", "uno").await;
    api.delete(&CONFIGMAPS, "default", "two", &DeleteOptions::default())
        .await
        .unwrap();
    api.delete(&CONFIGMAPS, "default", "three", &DeleteOptions::default())
        .await
        .unwrap();
    api.create(&CONFIGMAPS, "default", &map("three", "tre"))
        .await
        .unwrap();
    let mirror = RunningCloud::mirror(other.path(), cluster.api, Some(sync)).await;
    reads(&edge, "one", "uno").await;
    reads(&edge, "three", "tre").await;
    when(&edge.client, CONFIGMAPS, "default", |maps| {
        (!maps.contains_key("two")).then_some(())
    })
    .await;
    edge.stop().await;
    mirror.stop().await;
    cluster.stop().await;
}
