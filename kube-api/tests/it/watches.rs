//! Watches.

use causeway_kube_api::testing::MemorySource;
use causeway_projections::Limits;
use serde_json::json;

use crate::harness::Api;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn a_watch_begins_with_what_is_there_and_goes_on() {
    let api = Api::cloud();
    api.config_map("a", "x");
    let mut events = api.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    events.expect("ADDED", "a").await;
    api.config_map("b", "x");
    events.expect("ADDED", "b").await;
    api.merge(&format!("{CONFIG_MAPS}/b"), &json!({"data": {"k": "w"}}))
        .await;
    events.expect("MODIFIED", "b").await;
    api.call(
        "DELETE",
        &format!("{CONFIG_MAPS}/b"),
        "application/json",
        "",
    )
    .await;
    events.expect("DELETED", "b").await;
}

#[tokio::test]
async fn a_watch_resumes_after_a_revision() {
    let api = Api::cloud();
    api.config_map("a", "x");
    let at = api.config_map("b", "x");
    api.config_map("c", "x");
    api.call(
        "DELETE",
        &format!("{CONFIG_MAPS}/a"),
        "application/json",
        "",
    )
    .await;
    let mut events = api
        .watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={at}"))
        .await;
    events.expect("ADDED", "c").await;
    events.expect("DELETED", "a").await;
}

#[tokio::test]
async fn a_watch_below_the_floor_or_of_another_life_is_gone() {
    let limits = Limits {
        tombstones_max: 1,
        ..Limits::default()
    };
    let api = Api::over(MemorySource::cloud_with(limits));
    let at = api.config_map("a", "x");
    for name in ["a", "b", "c"] {
        if name != "a" {
            api.config_map(name, "x");
        }
        api.call(
            "DELETE",
            &format!("{CONFIG_MAPS}/{name}"),
            "application/json",
            "",
        )
        .await;
    }
    for from in [at, 9999] {
        let mut events = api
            .watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={from}"))
            .await;
        let event = events.next().await.unwrap();
        assert_eq!(event["type"], "ERROR");
        assert_eq!(event["object"]["code"], 410);
        assert_eq!(event["object"]["reason"], "Expired");
        assert!(events.next().await.is_none());
    }
}

#[tokio::test]
async fn a_selector_watch_tells_when_objects_begin_and_cease_to_match() {
    let api = Api::cloud();
    api.config_map("a", "x");
    let at = api.config_map("b", "y");
    let path = format!("{CONFIG_MAPS}?watch=1&labelSelector=tier%3Dx&resourceVersion={at}");
    let mut events = api.watch(&path).await;
    let label = |tier: &str| json!({"metadata": {"labels": {"tier": tier}}});
    api.merge(&format!("{CONFIG_MAPS}/b"), &label("x")).await;
    events.expect("ADDED", "b").await;
    api.merge(&format!("{CONFIG_MAPS}/a"), &label("z")).await;
    events.expect("DELETED", "a").await;
    api.merge(&format!("{CONFIG_MAPS}/a"), &label("w")).await;
    api.merge(&format!("{CONFIG_MAPS}/b"), &json!({"data": {"k": "n"}}))
        .await;
    events.expect("MODIFIED", "b").await;
    api.call(
        "DELETE",
        &format!("{CONFIG_MAPS}/a"),
        "application/json",
        "",
    )
    .await;
    api.call(
        "DELETE",
        &format!("{CONFIG_MAPS}/b"),
        "application/json",
        "",
    )
    .await;
    events.expect("DELETED", "b").await;
}

#[tokio::test]
async fn initial_events_end_with_a_marked_bookmark() {
    let api = Api::cloud();
    let at = api.config_map("a", "x");
    let path = format!(
        "{CONFIG_MAPS}?watch=1&sendInitialEvents=true&allowWatchBookmarks=true\
         &resourceVersionMatch=NotOlderThan"
    );
    let mut events = api.watch(&path).await;
    events.expect("ADDED", "a").await;
    let mark = events.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    let metadata = &mark["object"]["metadata"];
    assert_eq!(metadata["resourceVersion"], at.to_string());
    assert_eq!(metadata["annotations"]["k8s.io/initial-events-end"], "true");
    let refused = api
        .get(&format!("{CONFIG_MAPS}?watch=1&sendInitialEvents=true"))
        .await;
    assert_eq!(refused.code, 422);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_its_time_is_over_with_a_bookmark() {
    let api = Api::cloud();
    let path = format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=5&allowWatchBookmarks=true");
    let mut events = api.watch(&path).await;
    let last = events.next().await.unwrap();
    assert_eq!(last["type"], "BOOKMARK");
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn watches_are_bounded() {
    let api = Api::cloud();
    let path = format!("{CONFIG_MAPS}?watch=1");
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(api.watch(&path).await);
    }
    let refused = api.get(&path).await;
    assert_eq!(
        (refused.code.as_u16(), &refused.body["reason"]),
        (429, &"TooManyRequests".into())
    );
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(held.len(), 4);
    drop(held);
    api.watch(&path).await;
}

#[tokio::test]
async fn other_namespaces_and_names_are_not_told() {
    let api = Api::cloud();
    let put = |namespace: &str, name: &str| {
        api.source
            .put_new("v1", "ConfigMap", "configmaps", namespace, name, json!({}));
    };
    let all = "/api/v1/configmaps?watch=1&fieldSelector=metadata.name%3Db";
    let mut events = api.watch(all).await;
    let mut own = api.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    put("other", "a");
    put("other", "b");
    put("default", "c");
    events.expect("ADDED", "b").await;
    own.expect("ADDED", "c").await;
}
