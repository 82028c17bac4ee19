//! Peers that misbehave and disks that are full.

use std::sync::Arc;

use bytes::Bytes;
use causeway_daemon::ws::{SyncUrl, dial};
use causeway_kube_api::client::{CONFIGMAPS, NODES, PODS};
use causeway_log::Store;
use causeway_log::store::memory::{Fault, MemoryStore};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tempfile::TempDir;

use crate::site::{RunningCloud, RunningEdge, node, when};

fn map(name: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_sync_port_disturbs_nobody() {
    let dir = TempDir::new().unwrap();
    let cloud = RunningCloud::start(dir.path(), None).await;
    let edge = RunningEdge::start("n1", cloud.sync);
    cloud.register(&edge, "n1").await;
    let session = cloud.node_status("n1").await["session"]["number"].clone();
    let url: SyncUrl = format!("ws://{}", cloud.sync).parse().unwrap();
    // As another node, and in the name of the one that is here.
    for name in ["n1", "n2"] {
        for garbage in [&b""[..], b"\xff\xff\xff\xff", b"GET / HTTP/1.1", &[0; 4096]] {
            let mut transport = dial(&url, &node(name), std::time::Duration::from_secs(10))
                .await
                .unwrap();
            let _ = transport.send(Bytes::copy_from_slice(garbage)).await;
            // The cloud says why, or hangs up; either way it ends.
            while transport
                .next()
                .await
                .is_some_and(|message| message.is_ok())
            {}
        }
    }
    let status = cloud.node_status("n1").await;
    assert_eq!(
        status["session"]["number"], session,
        "the session of the node went on"
    );
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "till"}, "spec": {
        "containers": [{"name": "c", "image": "till:1"}]}});
    cloud.client.create(&PODS, "default", &pod).await.unwrap();
    when(&edge.client, PODS, "", |pods| pods.get("till").cloned()).await;
    edge.stop().await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newer_of_two_edges_with_one_name_fences_the_older() {
    let dir = TempDir::new().unwrap();
    let cloud = RunningCloud::start(dir.path(), None).await;
    let older = RunningEdge::start("n1", cloud.sync);
    let first = cloud
        .node_status_when("n1", |node| node["connected"] == true)
        .await;
    let newer = RunningEdge::start("n1", cloud.sync);
    let number = |node: &serde_json::Value| node["session"]["number"].as_u64().unwrap_or_default();
    let before = number(&first);
    cloud
        .node_status_when("n1", |node| number(node) > before)
        .await;
    let metrics = metrics(&cloud).await;
    let fenced = metrics
        .lines()
        .find(|line| line.starts_with("causeway_sessions_fenced_total"));
    assert_ne!(
        fenced,
        Some("causeway_sessions_fenced_total 0"),
        "{metrics}"
    );
    older.stop().await;
    newer.stop().await;
    cloud.stop().await;
}

/// The text of a scrape, by hand: the client reads JSON only.
async fn metrics(cloud: &RunningCloud) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(cloud.api).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: cloud\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_with_the_reason_and_recovers_by_itself() {
    let store = Arc::new(MemoryStore::new());
    let cloud = RunningCloud::start_on(Arc::<MemoryStore>::clone(&store) as Arc<dyn Store>).await;
    let edge = RunningEdge::start("n1", cloud.sync);
    cloud.register(&edge, "n1").await;
    cloud
        .client
        .create(&CONFIGMAPS, "default", &map("before"))
        .await
        .unwrap();
    store.disk().set_fault(Fault::Full);
    let refused = cloud
        .client
        .create(&CONFIGMAPS, "default", &map("during"))
        .await
        .unwrap_err();
    assert!(matches!(refused.code(), Some(503 | 507)), "{refused}");
    let found = cloud
        .client
        .find(&CONFIGMAPS, "default", "before")
        .await
        .unwrap();
    assert!(found.is_some(), "reads go on");
    // What the edge reports meanwhile is not acknowledged, and not lost.
    let status = json!({"status": {"phase": "x", "conditions": [
        {"type": "Ready", "status": "True", "reason": "Later"}]}});
    let merge = causeway_kube_api::client::PatchFormat::Merge;
    edge.client
        .patch_status(&NODES, "", "n1", merge, &status)
        .await
        .unwrap();
    store.disk().heal();
    when(&cloud.client, NODES, "", |nodes| {
        let node = nodes.get("n1")?;
        (node["status"]["conditions"][0]["reason"] == "Later").then_some(())
    })
    .await;
    cloud
        .client
        .create(&CONFIGMAPS, "default", &map("after"))
        .await
        .unwrap();
    edge.stop().await;
    cloud.stop().await;
}
