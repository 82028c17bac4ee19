//! The API of an edge: writes to the cloud's objects wait for its answer, status is the edge's own.

use causeway_kube_api::testing::MemorySource;
use causeway_log::{Body, NodeName, Op, Resource};
use serde_json::json;

use crate::harness::Api;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn edge() -> Api {
    Api::over(MemorySource::edge(NodeName::new("edge-1").unwrap()))
}

#[tokio::test]
async fn writes_are_accepted_and_shown_as_pending() {
    let api = edge();
    api.config_map("a", "x");
    let path = format!("{CONFIG_MAPS}/a");
    let patched = api.merge(&path, &json!({"data": {"k": "w"}})).await;
    assert_eq!(patched.code, 202, "{:?}", patched.body);
    assert_eq!(patched.body["data"]["k"], "w");
    assert_eq!(
        patched.body["metadata"]["annotations"]["causeway.dev/pending"],
        "true"
    );

    let view = causeway_kube_api::Source::view(&*api.source);
    let resource = Resource::core("configmaps");
    let entry = view
        .read(|objects| objects.get(&resource, "default", "a").cloned())
        .unwrap();
    let refusal = json!({"kind": "Status", "message": "not today"}).to_string();
    let refusal = Body::from(refusal.into_bytes());
    api.source
        .receive(Op::Reject, entry.key(), refusal, entry.pending());
    let shown = api.get(&path).await.body;
    assert_eq!(shown["data"]["k"], "v");
    assert_eq!(
        shown["metadata"]["annotations"]["causeway.dev/rejected"],
        "not today"
    );
}

#[tokio::test]
async fn objects_made_at_the_edge_are_there_at_once() {
    let api = edge();
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n"}});
    let created = api.json("POST", CONFIG_MAPS, &object).await;
    assert_eq!(created.code, 202, "{:?}", created.body);
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/n")).await.code, 200);
}

#[tokio::test]
async fn status_and_the_end_of_pods_are_the_edges_own() {
    let api = edge();
    let spec = json!({"spec": {"nodeName": "edge-1", "containers": [{"name": "c", "image": "i"}]}});
    api.source
        .put_new("v1", "Pod", "pods", "default", "p", spec);
    let status = json!({"status": {"phase": "Running"}});
    let patched = api.merge(&format!("{PODS}/p/status"), &status).await;
    assert_eq!(patched.code, 200, "{:?}", patched.body);
    assert_eq!(patched.body["status"]["phase"], "Running");
    let uid = patched.body["metadata"]["uid"].clone();
    let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}});
    let gone = api.json("DELETE", &format!("{PODS}/p"), &options).await;
    assert_eq!(gone.code, 200, "{:?}", gone.body);
    assert_eq!(api.get(&format!("{PODS}/p")).await.code, 404);
}

#[tokio::test]
async fn a_delete_at_the_edge_is_a_request() {
    let api = edge();
    api.config_map("a", "x");
    let asked = api
        .call(
            "DELETE",
            &format!("{CONFIG_MAPS}/a"),
            "application/json",
            "",
        )
        .await;
    assert_eq!(asked.code, 202, "{:?}", asked.body);
    let shown = api.get(&format!("{CONFIG_MAPS}/a")).await.body;
    assert!(shown["metadata"]["deletionTimestamp"].is_string());
}

#[tokio::test]
async fn events_are_facts() {
    let api = edge();
    let event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Started",
        "type": "Normal",
    });
    let path = "/api/v1/namespaces/default/events";
    let created = api.json("POST", path, &event).await;
    assert_eq!(created.code, 201, "{:?}", created.body);
    let found = api
        .get(&format!("{path}?fieldSelector=involvedObject.name%3Dp"))
        .await
        .body;
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
}
