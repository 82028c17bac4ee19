//! From a manifest to the edge and back.

use causeway_kube_api::client::{
    CONFIGMAPS, DeleteOptions, NAMESPACES, NODES, PODS, PatchFormat, SECRETS,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::site::{RunningCloud, RunningEdge, is_pending, is_ready, when};

fn map(data: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "menu"},
        "data": {"today": data}})
}

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "till"}, "spec": {
        "containers": [{"name": "c", "image": "till:1",
            "envFrom": [{"configMapRef": {"name": "menu"}}]}]}})
}

async fn today(client: &causeway_kube_api::client::Client) -> Value {
    client.get(&CONFIGMAPS, "default", "menu").await.unwrap()["data"]["today"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_becomes_a_pod_at_the_edge_and_its_status_comes_back() {
    let dir = TempDir::new().unwrap();
    let cloud = RunningCloud::start(dir.path(), None).await;
    let edge = RunningEdge::start("n1", cloud.sync);
    cloud.register(&edge, "n1").await;
    cloud
        .client
        .create(&CONFIGMAPS, "default", &map("soup"))
        .await
        .unwrap();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vault"}});
    cloud
        .client
        .create(&SECRETS, "default", &secret)
        .await
        .unwrap();
    cloud.client.create(&PODS, "default", &pod()).await.unwrap();

    // Down: the pod, bound, with what it names and nothing else.
    let at_edge = when(&edge.client, PODS, "", |pods| pods.get("till").cloned()).await;
    assert_eq!(at_edge["spec"]["nodeName"], "n1");
    assert_eq!(today(&edge.client).await, "soup");
    let secrets = edge
        .client
        .find(&SECRETS, "default", "vault")
        .await
        .unwrap();
    assert_eq!(secrets, None, "nobody at the edge needs it");

    // Up: its status.
    let running = json!({"status": {"phase": "Running"}});
    let patched = edge
        .client
        .patch_status(&PODS, "default", "till", PatchFormat::Merge, &running)
        .await;
    patched.unwrap();
    let phase = |pod: &Value| pod["status"]["phase"] == "Running";
    let seen = when(&cloud.client, PODS, "default", |pods| {
        pods.get("till").filter(|pod| phase(pod)).cloned()
    })
    .await;
    let scheduled = seen["status"]["conditions"].as_array().unwrap();
    assert!(
        scheduled
            .iter()
            .any(|it| it["type"] == "PodScheduled" && it["status"] == "True")
    );

    end_with_grace(&cloud, &edge).await;
    edge.stop().await;
    cloud.stop().await;
}

/// The cloud asks for the end of a pod, the edge says when it is reached.
async fn end_with_grace(cloud: &RunningCloud, edge: &RunningEdge) {
    cloud
        .client
        .delete(&PODS, "default", "till", &DeleteOptions::default())
        .await
        .unwrap();
    let ending = when(&edge.client, PODS, "default", |pods| {
        pods.get("till")
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_string())
            .cloned()
    })
    .await;
    let confirm = DeleteOptions {
        grace_period_seconds: Some(0),
        uid: ending["metadata"]["uid"].as_str().map(ToOwned::to_owned),
        ..DeleteOptions::default()
    };
    edge.client
        .delete(&PODS, "default", "till", &confirm)
        .await
        .unwrap();
    when(&cloud.client, PODS, "default", |pods| {
        pods.is_empty().then_some(())
    })
    .await;
    when(&edge.client, CONFIGMAPS, "", |maps| {
        maps.is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_go_on_while_the_cloud_is_away_and_meet_where_they_were() {
    let dir = TempDir::new().unwrap();
    let cloud = RunningCloud::start(dir.path(), None).await;
    let sync = cloud.sync;
    let edge = RunningEdge::start("n1", sync);
    cloud.register(&edge, "n1").await;
    cloud
        .client
        .create(&CONFIGMAPS, "default", &map("soup"))
        .await
        .unwrap();
    cloud.client.create(&PODS, "default", &pod()).await.unwrap();
    when(&edge.client, PODS, "", |pods| pods.get("till").cloned()).await;
    cloud.stop().await;

    // The edge restarts without a cloud, and an edit is made there.
    let edge = edge.restart("n1", sync).await;
    when(&edge.client, PODS, "", |pods| pods.get("till").cloned()).await;
    let edit = json!({"data": {"today": "cake"}});
    let edited = edge
        .client
        .patch(&CONFIGMAPS, "default", "menu", PatchFormat::Merge, &edit)
        .await
        .unwrap();
    assert!(is_pending(&edited));
    let running = json!({"status": {"phase": "Running"}});
    let patched = edge
        .client
        .patch_status(&PODS, "default", "till", PatchFormat::Merge, &running)
        .await;
    patched.unwrap();

    let cloud = RunningCloud::start(dir.path(), Some(sync)).await;
    when(&cloud.client, CONFIGMAPS, "default", |maps| {
        maps.get("menu")
            .filter(|map| map["data"]["today"] == "cake")
            .map(|_| ())
    })
    .await;
    when(&cloud.client, PODS, "default", |pods| {
        pods.get("till")
            .filter(|pod| pod["status"]["phase"] == "Running")
            .map(|_| ())
    })
    .await;
    when(&edge.client, CONFIGMAPS, "default", |maps| {
        maps.get("menu").filter(|map| !is_pending(map)).map(|_| ())
    })
    .await;
    let digest = "/causeway/v1/nodes/n1/digest";
    cloud
        .node_status_when("n1", |node| node["down"]["lag"] == 0)
        .await;
    let (ours, theirs) = (
        cloud.client.get_path(digest).await.unwrap(),
        edge.client.get_path(digest).await.unwrap(),
    );
    assert_eq!(ours["down"]["digest"], theirs["down"]["digest"]);
    assert_eq!(ours["up"]["digest"], theirs["up"]["digest"]);
    assert_eq!(ours["down"]["epoch"], theirs["down"]["epoch"]);
    edge.stop().await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_link_is_down_is_unknown_until_it_is_back() {
    let dir = TempDir::new().unwrap();
    let cloud = RunningCloud::start(dir.path(), None).await;
    let edge = RunningEdge::start("n1", cloud.sync);
    cloud.register(&edge, "n1").await;
    edge.client.get(&NODES, "", "n1").await.unwrap();
    let stopped = edge.restart("n1", "127.0.0.1:9".parse().unwrap()).await;
    let unknown = |node: &Value| {
        let conditions = node["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions
            .iter()
            .any(|it| it["type"] == "Ready" && it["status"] == "Unknown")
    };
    when(&cloud.client, NODES, "", |nodes| {
        nodes.get("n1").filter(|n| unknown(n)).map(|_| ())
    })
    .await;
    let edge = stopped.restart("n1", cloud.sync).await;
    when(&cloud.client, NODES, "", |nodes| {
        nodes.get("n1").filter(|n| is_ready(n)).map(|_| ())
    })
    .await;
    edge.stop().await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_conflicts_is_refused_and_shown() {
    let dir = TempDir::new().unwrap();
    let cloud = RunningCloud::start(dir.path(), None).await;
    let sync = cloud.sync;
    let edge = RunningEdge::start("n1", sync);
    cloud.register(&edge, "n1").await;
    cloud
        .client
        .create(&CONFIGMAPS, "default", &map("soup"))
        .await
        .unwrap();
    cloud.client.create(&PODS, "default", &pod()).await.unwrap();
    when(&edge.client, CONFIGMAPS, "", |maps| {
        maps.get("menu").cloned()
    })
    .await;
    // The edge is cut off while both sides edit.
    let edge = edge.restart("n1", "127.0.0.1:9".parse().unwrap()).await;
    let patch = |data: &str| json!({"data": {"today": data}});
    when(&edge.client, CONFIGMAPS, "", |maps| {
        maps.get("menu").cloned()
    })
    .await;
    let (format, menu) = (PatchFormat::Merge, "menu");
    edge.client
        .patch(&CONFIGMAPS, "default", menu, format, &patch("cake"))
        .await
        .unwrap();
    cloud
        .client
        .patch(&CONFIGMAPS, "default", menu, format, &patch("closed"))
        .await
        .unwrap();
    let edge = edge.restart("n1", sync).await;
    when(&edge.client, CONFIGMAPS, "default", |maps| {
        let map = maps.get("menu").filter(|map| !is_pending(map))?;
        (map["data"]["today"] == "closed").then_some(())
    })
    .await;
    assert_eq!(today(&cloud.client).await, "closed");
    edge.stop().await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_namespace_takes_its_content_along() {
    let dir = TempDir::new().unwrap();
    let cloud = RunningCloud::start(dir.path(), None).await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    cloud
        .client
        .create(&NAMESPACES, "", &namespace)
        .await
        .unwrap();
    cloud
        .client
        .create(&CONFIGMAPS, "shop", &map("soup"))
        .await
        .unwrap();
    cloud
        .client
        .delete(&NAMESPACES, "", "shop", &DeleteOptions::default())
        .await
        .unwrap();
    when(&cloud.client, NAMESPACES, "", |all| {
        (!all.contains_key("shop")).then_some(())
    })
    .await;
    assert!(
        cloud
            .client
            .find(&CONFIGMAPS, "shop", "menu")
            .await
            .unwrap()
            .is_none()
    );
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_deleted_leaves_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let cloud = RunningCloud::start(dir.path(), None).await;
    let edge = RunningEdge::start("n1", cloud.sync);
    cloud.register(&edge, "n1").await;
    cloud
        .client
        .create(&CONFIGMAPS, "default", &map("soup"))
        .await
        .unwrap();
    cloud.client.create(&PODS, "default", &pod()).await.unwrap();
    when(&edge.client, PODS, "", |pods| pods.get("till").cloned()).await;
    let edge = edge.restart("n1", "127.0.0.1:9".parse().unwrap()).await;
    cloud
        .node_status_when("n1", |node| node["connected"] == false)
        .await;
    cloud
        .client
        .delete(&NODES, "", "n1", &DeleteOptions::default())
        .await
        .unwrap();
    when(&cloud.client, PODS, "default", |pods| {
        pods.is_empty().then_some(())
    })
    .await;
    cloud.node_status_when("n1", Value::is_null).await;
    // It comes back, and learns that nothing is wanted of it any more.
    let edge = edge.restart("n1", cloud.sync).await;
    when(&edge.client, PODS, "", |pods| pods.is_empty().then_some(())).await;
    edge.stop().await;
    cloud.stop().await;
}
