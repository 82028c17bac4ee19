//! An edge with no cloud to talk to.

use std::sync::Arc;

use causeway_daemon::tasks::Shutdown;
use causeway_edge_sync::{RunError, run};
use causeway_kube_api::client::{CONFIGMAPS, Client, ListOptions, NODES};
use causeway_log::Store;
use causeway_log::store::memory::{Fault, MemoryStore};
use serde_json::{Value, json};

use crate::{Edge, config, within};

fn node() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": "edge-1", "labels": { "zone": "pier" } },
        "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
    })
}

fn config_map(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": "default" },
        "data": { "a": "1" },
    })
}

async fn names(edge: &Edge) -> Vec<String> {
    let list = edge
        .client
        .list(&NODES, "", &ListOptions::default())
        .await
        .unwrap();
    list.items
        .iter()
        .map(|it| it["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Edge::start(dir.path()).await;
    let created = edge.client.create(&NODES, "", &node()).await.unwrap();
    assert_eq!(
        created["metadata"]["annotations"]["causeway.dev/pending"],
        "true"
    );
    assert_eq!(names(&edge).await, ["edge-1"]);
    edge.stop().await;

    let edge = Edge::start(dir.path()).await;
    assert_eq!(names(&edge).await, ["edge-1"]);
    let again = edge.client.get(&NODES, "", "edge-1").await.unwrap();
    assert_eq!(again, created);
    edge.stop().await;
}

#[tokio::test]
async fn the_status_tells_of_the_missing_cloud() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Edge::start(dir.path()).await;
    let failed = async {
        loop {
            let status = edge.client.get_path("/causeway/v1/status").await.unwrap();
            if status["link"]["state"] == "waiting" {
                return status;
            }
            tokio::task::yield_now().await;
        }
    };
    let status = within("a failed attempt", failed).await;
    assert_eq!(
        (&status["role"], &status["node"]),
        (&json!("edge"), &json!("edge-1"))
    );
    let error = status["link"]["last_error"].as_str().unwrap();
    assert!(
        error.starts_with("cannot connect to ws://127.0.0.1:9"),
        "{error}"
    );
    assert!(status["link"]["retry_in_ms"].is_u64());
    assert_eq!(status["store"]["read_only"], false);
    assert_eq!(status["up"]["lag"], 0);
    assert_eq!(status["down"], Value::Null);
    edge.stop().await;
}

#[tokio::test]
async fn a_full_disk_refuses_writes_until_space_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryStore::new());
    let edge = Edge::start_on(Arc::clone(&store) as Arc<dyn Store>, dir.path()).await;
    edge.client
        .create(&CONFIGMAPS, "default", &config_map("before"))
        .await
        .unwrap();
    store.disk().set_fault(Fault::Full);
    let refused = edge
        .client
        .create(&CONFIGMAPS, "default", &config_map("during"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Some(503), "{refused}");
    edge.client
        .get(&CONFIGMAPS, "default", "before")
        .await
        .unwrap();
    store.disk().heal();
    // The keeper of the store looks every few seconds.
    let written = async {
        while edge
            .client
            .create(&CONFIGMAPS, "default", &config_map("after"))
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    };
    within("the recovery", written).await;
    edge.stop().await;
}

#[tokio::test]
async fn on_tcp_only_health_is_told_without_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.api.listen = Some("127.0.0.1:0".parse().unwrap());
    let edge = Edge::start_with(config).await;
    // What the edge writes down for others says where it is and how to get in.
    let kubeconfig = std::fs::read_to_string(dir.path().join("edge.kubeconfig")).unwrap();
    let (_, server) = kubeconfig.split_once("server: http://causeway:").unwrap();
    let (token, address) = server.lines().next().unwrap().split_once('@').unwrap();
    let stranger = Client::tcp(address);
    for path in [
        "/api/v1/nodes",
        "/version",
        "/metrics",
        "/causeway/v1/status",
    ] {
        let refused = stranger.get_path(path).await.unwrap_err();
        assert_eq!(refused.code(), Some(401), "{path}: {refused}");
    }
    // Health is no JSON, but it is answered.
    let health = stranger.get_path("/healthz").await.unwrap_err();
    assert_eq!(health.code(), None, "{health}");
    let wrong = stranger.with_token(&"0".repeat(token.len())).unwrap();
    let refused = wrong.list(&NODES, "", &ListOptions::default()).await;
    assert_eq!(refused.unwrap_err().code(), Some(401));
    let known = stranger.with_token(token).unwrap();
    known
        .list(&NODES, "", &ListOptions::default())
        .await
        .unwrap();
    edge.stop().await;
}

#[tokio::test]
async fn a_second_edge_on_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Edge::start(dir.path()).await;
    let second = run(config(dir.path()), Shutdown::new()).await.unwrap_err();
    assert!(matches!(second, RunError::Store(_)), "{second:?}");
    edge.stop().await;
}
