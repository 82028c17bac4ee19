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
    assert_eq!(patched.code, 200, "{:?}", patched.body);
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
    assert_eq!(created.code, 201, "{:?}", created.body);
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
    assert_eq!(asked.code, 200, "{:?}", asked.body);
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

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

#[tokio::test]
async fn the_heartbeat_of_a_node_agent_is_kept_in_memory() {
    let api = edge();
    let revision = || {
        *causeway_kube_api::Source::view(&*api.source)
            .subscribe()
            .borrow()
    };
    let before = revision();
    let own = format!("{LEASES}/edge-1");
    assert_eq!(api.get(&own).await.code, 404);
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "edge-1", "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": "edge-1", "leaseDurationSeconds": 40},
    });
    let created = api.json("POST", LEASES, &lease).await;
    assert_eq!(created.code, 201, "{:?}", created.body);
    assert_eq!(api.json("POST", LEASES, &lease).await.code, 409);
    let mut renewed = created.body.clone();
    renewed["spec"]["renewTime"] = json!("2026-01-01T00:00:00.000000Z");
    let answer = api.json("PUT", &own, &renewed).await;
    assert_eq!(answer.code, 200, "{:?}", answer.body);
    assert_ne!(
        answer.body["metadata"]["resourceVersion"],
        created.body["metadata"]["resourceVersion"]
    );
    let shown = api.get(&own).await.body;
    assert_eq!(shown, answer.body);
    // Somebody who saw the lease before that is told.
    assert_eq!(api.json("PUT", &own, &renewed).await.code, 409);
    let patch = json!({"spec": {"leaseDurationSeconds": 50}});
    let patched = api.merge(&own, &patch).await;
    assert_eq!(patched.code, 200, "{:?}", patched.body);
    assert_eq!(patched.body["spec"]["leaseDurationSeconds"], 50);
    let mut other = lease.clone();
    other["metadata"]["name"] = json!("edge-2");
    assert_eq!(api.json("POST", LEASES, &other).await.code, 403);
    assert_eq!(revision(), before, "a heartbeat was stored");
}

fn pod_with_tokens() -> serde_json::Value {
    let token =
        |audience: &str| json!({"serviceAccountToken": {"path": "t", "audience": audience}});
    json!({"spec": {
        "nodeName": "edge-1",
        "serviceAccountName": "web",
        "containers": [{"name": "c", "image": "i"}],
        "volumes": [{"name": "v", "projected": {"sources": [
            {"serviceAccountToken": {"path": "t"}}, token("vault"),
        ]}}],
    }})
}

#[tokio::test]
async fn a_node_agent_is_given_the_tokens_that_came_for_its_pods() {
    let api = edge();
    let pod = ("v1", "Pod", "pods", "default", "p");
    api.source
        .put_new(pod.0, pod.1, pod.2, pod.3, pod.4, pod_with_tokens());
    let uid = api.get(&format!("{PODS}/p")).await.body["metadata"]["uid"].clone();
    let uid = uid.as_str().unwrap();
    let ask = async |account: &str, audiences: &[&str], uid: &str| {
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": audiences,
                "expirationSeconds": 3607,
                "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid},
            },
        });
        let path = format!("/api/v1/namespaces/default/serviceaccounts/{account}/token");
        api.json("POST", &path, &request).await
    };
    let waiting = ask("web", &[], uid).await;
    assert_eq!(waiting.code, 503, "{:?}", waiting.body);
    assert_eq!(waiting.body["details"]["retryAfterSeconds"], 2);
    for (source, audience, text) in [(0, "", "own"), (1, "vault", "for the vault")] {
        let name = format!("{uid}.v.{source}");
        let token = json!({
            "spec": {"podUid": uid, "audience": audience, "source": source},
            "token": text,
            "expiresAt": if source == 0 { "2001-01-01T00:00:00Z" } else { "2999-01-01T00:00:00Z" },
        });
        let (version, kind) = ("causeway.dev/v1", "ServiceAccountToken");
        api.source.put_new(
            version,
            kind,
            "serviceaccounttokens",
            "default",
            &name,
            token,
        );
    }
    let given = ask("web", &[], uid).await;
    assert_eq!(given.code, 201, "{:?}", given.body);
    assert_eq!(given.body["status"]["token"], "own");
    // Past its time, it is the best there is; it is asked for again soon.
    let expires = given.body["status"]["expirationTimestamp"]
        .as_str()
        .unwrap();
    assert!(("2002".."2999").contains(&expires), "{expires}");
    let given = ask("web", &["vault"], uid).await;
    assert_eq!(given.body["status"]["token"], "for the vault");
    let expires = &given.body["status"]["expirationTimestamp"];
    assert_eq!(expires, "2999-01-01T00:00:00Z");
    for refused in [
        ask("web", &["elsewhere"], uid).await,
        ask("web", &["vault", "elsewhere"], uid).await,
        ask("other", &[], uid).await,
        ask("web", &[], "00000000-0000-0000-0000-000000000000").await,
        ask("web", &[], "").await,
    ] {
        assert_eq!(refused.code, 403, "{:?}", refused.body);
    }
}
