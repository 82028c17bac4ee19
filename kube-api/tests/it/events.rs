//! Events are one kind in two dialects, `v1` and `events.k8s.io/v1`.

use causeway_kube_api::testing::MemorySource;
use causeway_log::NodeName;
use serde_json::{Value, json};

use crate::harness::Api;

const OLDER: &str = "/api/v1/namespaces/default/events";
const NEWER: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

fn older(name: &str, pod: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": pod, "namespace": "default"},
        "reason": "Started",
        "message": "Started container main",
        "source": {"component": "edged", "host": "edge-1"},
        "reportingComponent": "edged",
        "reportingInstance": "edge-1",
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:01:00Z",
        "count": 3,
        "type": "Normal",
    })
}

fn newer(name: &str, pod: &str) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": "default"},
        "regarding": {"kind": "Pod", "name": pod, "namespace": "default"},
        "reason": "Pulled",
        "note": "Pulled the image",
        "action": "Pulling",
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "example.com/agent",
        "reportingInstance": "agent-1",
        "type": "Normal",
    })
}

fn names(list: &Value) -> Vec<(&str, &str)> {
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let name = item["metadata"]["name"].as_str().unwrap();
            (name, item["apiVersion"].as_str().unwrap())
        })
        .collect()
}

/// Each without what the server adds.
fn fields(event: &Value) -> Value {
    let mut event = event.clone();
    event["metadata"] = Value::Null;
    event
}

async fn both(api: &Api) {
    for (path, event) in [(OLDER, older("a", "web")), (NEWER, newer("b", "db"))] {
        let created = api.json("POST", path, &event).await;
        assert_eq!(created.code, 201, "{:?}", created.body);
        assert_eq!(fields(&created.body), fields(&event), "as it was sent");
    }
}

#[tokio::test]
async fn both_dialects_are_one_list() {
    for api in [
        Api::cloud(),
        Api::over(MemorySource::edge(NodeName::new("edge-1").unwrap())),
    ] {
        both(&api).await;
        let list = api.get(OLDER).await.body;
        assert_eq!(names(&list), [("a", "v1"), ("b", "v1")]);
        let list = api.get(NEWER).await.body;
        let version = "events.k8s.io/v1";
        assert_eq!(names(&list), [("a", version), ("b", version)]);
        // One name, one object, whatever it is called.
        let taken = api.json("POST", NEWER, &newer("a", "web")).await;
        assert_eq!(taken.code, 409, "{:?}", taken.body);
    }
}

#[tokio::test]
async fn each_dialect_says_all_that_the_other_does() {
    let api = Api::cloud();
    both(&api).await;
    let shown = api.get(&format!("{NEWER}/a")).await.body;
    let expected = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": null,
        "regarding": {"kind": "Pod", "name": "web", "namespace": "default"},
        "reason": "Started",
        "note": "Started container main",
        "deprecatedSource": {"component": "edged", "host": "edge-1"},
        "reportingController": "edged",
        "reportingInstance": "edge-1",
        "deprecatedFirstTimestamp": "2026-01-01T00:00:00Z",
        "deprecatedLastTimestamp": "2026-01-01T00:01:00Z",
        "deprecatedCount": 3,
        "type": "Normal",
    });
    assert_eq!(fields(&shown), expected);
    let shown = api.get(&format!("{OLDER}/b")).await.body;
    let expected = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": null,
        "involvedObject": {"kind": "Pod", "name": "db", "namespace": "default"},
        "reason": "Pulled",
        "message": "Pulled the image",
        "action": "Pulling",
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingComponent": "example.com/agent",
        "reportingInstance": "agent-1",
        "type": "Normal",
    });
    assert_eq!(fields(&shown), expected);
}

#[tokio::test]
async fn an_event_is_changed_and_deleted_in_either_dialect() {
    let api = Api::cloud();
    both(&api).await;
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:02:00.000000Z"}});
    let patched = api.merge(&format!("{OLDER}/b"), &series).await;
    assert_eq!(patched.code, 200, "{:?}", patched.body);
    assert_eq!(patched.body["message"], "Pulled the image");
    let mut shown = api.get(&format!("{NEWER}/b")).await.body;
    assert_eq!(shown["series"]["count"], 2);
    assert_eq!(shown["note"], "Pulled the image");
    shown["series"]["count"] = json!(3);
    let replaced = api.json("PUT", &format!("{NEWER}/b"), &shown).await;
    assert_eq!(replaced.code, 200, "{:?}", replaced.body);
    assert_eq!(replaced.body["note"], "Pulled the image");
    assert_eq!(
        api.get(&format!("{OLDER}/b")).await.body["series"]["count"],
        3
    );
    let gone = api.json("DELETE", &format!("{NEWER}/a"), &json!({})).await;
    assert_eq!(gone.code, 200, "{:?}", gone.body);
    assert_eq!(api.get(&format!("{OLDER}/a")).await.code, 404);
}

#[tokio::test]
async fn selectors_and_watches_speak_the_dialect_of_their_path() {
    let api = Api::cloud();
    both(&api).await;
    let of_db = [
        (
            OLDER,
            "involvedObject.name%3Ddb,reportingComponent%3Dexample.com/agent",
        ),
        (
            NEWER,
            "regarding.name%3Ddb,reportingController%3Dexample.com/agent",
        ),
    ];
    for (path, selector) in of_db {
        let list = api.get(&format!("{path}?fieldSelector={selector}")).await;
        assert_eq!(list.code, 200, "{:?}", list.body);
        assert_eq!(names(&list.body).len(), 1, "{path}");
    }
    let foreign = format!("{NEWER}?fieldSelector=involvedObject.name%3Ddb");
    assert_eq!(api.get(&foreign).await.code, 400);
    let selector = "fieldSelector=regarding.name%3Ddb";
    let mut newer = api.watch(&format!("{NEWER}?watch=1&{selector}")).await;
    let mut older = api.watch(&format!("{OLDER}?watch=1")).await;
    let event = newer.next().await.unwrap();
    assert_eq!(event["object"]["regarding"]["name"], "db");
    assert_eq!(event["object"]["apiVersion"], "events.k8s.io/v1");
    older.expect("ADDED", "a").await;
    let event = older.next().await.unwrap();
    assert_eq!(event["object"]["involvedObject"]["name"], "db");
    assert_eq!(event["object"]["apiVersion"], "v1");
}

/// Large lines are shared between watchers: not across dialects.
#[tokio::test]
async fn a_large_event_is_told_to_each_watcher_in_its_dialect() {
    let api = Api::cloud();
    let mut large = older("a", "web");
    large["message"] = "x".repeat(8 * 1024).into();
    api.json("POST", OLDER, &large).await;
    let mut watches = [
        (api.watch(&format!("{OLDER}?watch=1")).await, "message"),
        (api.watch(&format!("{NEWER}?watch=1")).await, "note"),
    ];
    for (watch, field) in &mut watches {
        let event = watch.next().await.unwrap();
        assert!(event["object"][*field].is_string(), "{field}");
    }
}
