//! A cluster behind an API server, served by a cloud that mirrors it. The embedded control plane
//! plays the cluster.

use causeway_kube_api::client::{
    CONFIGMAPS, CUSTOM_RESOURCE_DEFINITIONS, Client, DeleteOptions, Gvr, NODES, PODS, PatchFormat,
    SECRETS,
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
    cloud
        .kubernetes_when(|kubernetes| {
            let kinds = kubernetes["kinds"].as_array()?;
            let all = kinds.len() > 5 && kinds.iter().all(|kind| kind["lists"] == 1);
            all.then_some(())
        })
        .await;
    cloud.is_ready().await;
}

/// A cluster with a node, a pod on it, and a map that the pod names.
async fn cluster_with_a_pod(dir: &TempDir, pod_name: &str) -> RunningCloud {
    let cluster = RunningCloud::start(dir.path(), None).await;
    fill(&cluster.client, pod_name).await;
    cluster
}

async fn fill(api: &Client, pod_name: &str) {
    api.create(&NODES, "", &edge_node("n1")).await.unwrap();
    let menu = map("menu", "soup");
    api.create(&CONFIGMAPS, "default", &menu).await.unwrap();
    let pod = pod(pod_name, "n1", "menu");
    api.create(&PODS, "default", &pod).await.unwrap();
}

async fn runs(edge: &RunningEdge, pod: &str) {
    when(&edge.client, PODS, "", |pods| pods.get(pod).map(|_| ())).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_served_what_was_known_while_the_api_server_is_down() {
    let (own, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let cluster = cluster_with_a_pod(&own, "till").await;
    let api = cluster.api;
    let mirror = RunningCloud::mirror(other.path(), api, None).await;
    mirror
        .node_status_when("n1", |node| node["down"]["head"].as_u64() > Some(0))
        .await;
    listed(&mirror).await;
    mirror.stop().await;
    cluster.stop().await;

    let mirror = RunningCloud::mirror(other.path(), api, None).await;
    let edge = RunningEdge::start("n1", mirror.sync);
    runs(&edge, "till").await;
    reads(&edge, "menu", "soup").await;
    let said = mirror
        .kubernetes_when(|kubernetes| {
            let kinds = kubernetes["kinds"].as_array()?;
            let mut troubled = kinds.iter().filter(|kind| !kind["trouble"].is_null());
            troubled.next().cloned()
        })
        .await;
    assert_eq!(said["trouble"]["class"], "unreachable", "{said}");
    assert!(mirror.readiness().await.unwrap().contains("but cannot"));

    // It comes back, and with it what is new.
    let cluster = RunningCloud::start_at(own.path(), api).await;
    set(&cluster.client, "menu", "cake").await;
    reads(&edge, "menu", "cake").await;
    edge.stop().await;
    mirror.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_node_is_told_anything_before_the_cluster_was_seen_whole() {
    let (own, first, second) = (
        TempDir::new().unwrap(),
        TempDir::new().unwrap(),
        TempDir::new().unwrap(),
    );
    let cluster = cluster_with_a_pod(&own, "till").await;
    let api = cluster.api;
    let mirror = RunningCloud::mirror(first.path(), api, None).await;
    let sync = mirror.sync;
    let edge = RunningEdge::start("n1", sync);
    runs(&edge, "till").await;
    mirror.stop().await;
    cluster.stop().await;

    // The cloud has lost its disk, and the API server is down.
    let mirror = RunningCloud::mirror(second.path(), api, Some(sync)).await;
    mirror
        .kubernetes_when(|kubernetes| {
            let kinds = kubernetes["kinds"].as_array()?;
            kinds
                .iter()
                .any(|kind| !kind["trouble"].is_null())
                .then_some(())
        })
        .await;
    let why = mirror.readiness().await.unwrap_err();
    assert!(why.contains("never seen whole"), "{why}");
    assert_eq!(mirror.node_status("n1").await["connected"], Value::Null);
    let pods = edge.client.find(&PODS, "default", "till").await.unwrap();
    assert!(pods.is_some(), "what runs is left alone");

    let cluster = RunningCloud::start_at(own.path(), api).await;
    mirror
        .node_status_when("n1", |node| node["connected"] == true)
        .await;
    runs(&edge, "till").await;
    edge.stop().await;
    mirror.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_at_the_same_address_is_found_out_and_followed() {
    let (own, another, other) = (
        TempDir::new().unwrap(),
        TempDir::new().unwrap(),
        TempDir::new().unwrap(),
    );
    let cluster = cluster_with_a_pod(&own, "till").await;
    let api = cluster.api;
    let mirror = RunningCloud::mirror(other.path(), api, None).await;
    let edge = RunningEdge::start("n1", mirror.sync);
    runs(&edge, "till").await;
    listed(&mirror).await;
    let epoch = mirror.node_status("n1").await["down"]["epoch"].clone();
    cluster.stop().await;

    let cluster = RunningCloud::start_at(another.path(), api).await;
    fill(&cluster.client, "bar").await;
    mirror
        .node_status_when("n1", |node| node["down"]["epoch"] != epoch)
        .await;
    runs(&edge, "bar").await;
    when(&edge.client, PODS, "", |pods| {
        (pods.len() == 1).then_some(())
    })
    .await;
    set(&cluster.client, "menu", "cake").await;
    reads(&edge, "menu", "cake").await;
    edge.stop().await;
    mirror.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_resources_follow_the_subscription_of_a_node() {
    const WIDGETS: Gvr = Gvr::of("shop.example", "v1", "widgets");
    let (own, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let cluster = cluster_with_a_pod(&own, "till").await;
    let api = &cluster.client;
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.shop.example"},
        "spec": {"group": "shop.example", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget",
                "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object",
                    "x-kubernetes-preserve-unknown-fields": true}}}]}});
    api.create(&CUSTOM_RESOURCE_DEFINITIONS, "", &definition)
        .await
        .unwrap();
    let widget = |name: &str| {
        json!({"apiVersion": "shop.example/v1", "kind": "Widget", "metadata": {"name": name},
            "spec": {"size": 3}})
    };
    api.create(&WIDGETS, "default", &widget("one"))
        .await
        .unwrap();
    let mirror = RunningCloud::mirror(other.path(), cluster.api, None).await;
    let edge = RunningEdge::start("n1", mirror.sync);
    runs(&edge, "till").await;

    let subscribe = |groups: &str| {
        json!({"metadata": {"annotations": {
        "causeway.dev/subscribe": groups}}})
    };
    api.patch(
        &NODES,
        "",
        "n1",
        PatchFormat::Merge,
        &subscribe("shop.example"),
    )
    .await
    .unwrap();
    when(&edge.client, WIDGETS, "default", |all| {
        all.get("one").map(|_| ())
    })
    .await;
    api.create(&WIDGETS, "default", &widget("two"))
        .await
        .unwrap();
    when(&edge.client, WIDGETS, "default", |all| {
        all.get("two").map(|_| ())
    })
    .await;

    api.patch(&NODES, "", "n1", PatchFormat::Merge, &subscribe(""))
        .await
        .unwrap();
    mirror
        .kubernetes_when(|kubernetes| {
            let mut kinds = kubernetes["kinds"].as_array()?.iter();
            (!kinds.any(|kind| kind["resource"] == "widgets.shop.example")).then_some(())
        })
        .await;
    edge.stop().await;
    mirror.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_not_the_configured_one_is_refused() {
    let (own, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let cluster = cluster_with_a_pod(&own, "till").await;
    let mirror = RunningCloud::mirror(other.path(), cluster.api, None).await;
    listed(&mirror).await;
    mirror.stop().await;

    let kubeconfig = other.path().join("kubeconfig");
    let pinned = Some(uuid::Uuid::from_u128(7));
    let mirror = RunningCloud::serve_only(other.path(), kubeconfig, None, pinned).await;
    let edge = RunningEdge::start("n1", mirror.sync);
    runs(&edge, "till").await;
    let remark = mirror
        .kubernetes_when(|kubernetes| {
            let mut kinds = kubernetes["kinds"].as_array()?.iter();
            kinds.find_map(|kind| kind["trouble"]["message"].as_str().map(str::to_owned))
        })
        .await;
    assert!(remark.contains("kubernetes.cluster"), "{remark}");
    edge.stop().await;
    mirror.stop().await;
    cluster.stop().await;
}
