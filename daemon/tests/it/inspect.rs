//! The inspection routes over a store with a little history.

use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::http::Request;
use axum::response::Response;
use causeway_daemon::inspect::{Inspected, REDACTED, router};
use causeway_log::batch::{Entry, Place, StreamChange};
use causeway_log::store::memory::MemoryStore;
use causeway_log::{
    Batch, Body, Draft, Epoch, EventId, Key, NodeName, Op, Resource, Revision, Store, StreamId,
    Uid, WallTime,
};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use crate::within;

pub(crate) struct Daemon {
    pub(crate) store: Arc<MemoryStore>,
    durable: watch::Sender<Revision>,
}

pub(crate) fn node() -> NodeName {
    NodeName::new("edge-1").unwrap()
}

impl Daemon {
    pub(crate) fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let streams =
            [StreamId::down(node()), StreamId::up(node())].map(|stream| StreamChange::Open {
                stream,
                epoch: Epoch::new(Uuid::nil()),
            });
        store
            .append(&Batch {
                streams: streams.into(),
                ..Batch::default()
            })
            .unwrap();
        store.sync().unwrap();
        Self {
            store,
            durable: watch::Sender::new(Revision::ZERO),
        }
    }

    fn put(&self, stream: StreamId, resource: &str, name: &str, op: Op, body: &Value) -> Revision {
        self.write(stream, Resource::core(resource), name, op, body)
    }

    pub(crate) fn write(
        &self,
        stream: StreamId,
        resource: Resource,
        name: &str,
        op: Op,
        body: &Value,
    ) -> Revision {
        let uid = Uid::Uuid(Uuid::from_u64_pair(3, name.len() as u64));
        let key = Key::new(resource, "default", name, uid).unwrap();
        let id = EventId::new(Uuid::from_u64_pair(
            9,
            self.store.watermarks().written.get(),
        ));
        let draft = Draft {
            id,
            cause: None,
            time: WallTime::from_unix_millis(1_700_000_000_000),
            key,
            version: None,
            op,
            body: Body::from(body.to_string().into_bytes()),
        };
        let entry = Entry {
            stream,
            place: Place::Next,
            draft,
        };
        self.store
            .append(&Batch {
                entries: vec![entry],
                ..Batch::default()
            })
            .unwrap();
        let durable = self.store.sync().unwrap();
        self.durable.send_replace(durable);
        durable
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        let inspected = Inspected {
            store: Arc::clone(&self.store) as Arc<dyn Store>,
            durable: self.durable.subscribe(),
            status: Arc::new(|| json!({ "role": "edge" })),
        };
        let request = Request::get(format!("/causeway/v1/{path}"))
            .body(HttpBody::empty())
            .unwrap();
        TowerToHyperService::new(router(inspected))
            .call(request)
            .await
            .unwrap()
    }

    pub(crate) async fn text(&self, path: &str) -> (u16, String) {
        let response = self.get(path).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    pub(crate) async fn json(&self, path: &str) -> (u16, Value) {
        let (status, text) = self.text(path).await;
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    pub(crate) async fn lines(&self, path: &str) -> Vec<Value> {
        let (status, text) = self.text(path).await;
        assert_eq!(status, 200, "{text}");
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn config_map(value: u64) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "value": value.to_string() } })
}

#[tokio::test]
async fn the_status_is_the_daemons_own() {
    assert_eq!(
        Daemon::new().json("status").await,
        (200, json!({ "role": "edge" }))
    );
}

#[tokio::test]
async fn a_log_interleaves_both_streams_in_the_order_of_the_store() {
    let daemon = Daemon::new();
    for round in 0..300 {
        daemon.put(
            StreamId::down(node()),
            "configmaps",
            "a",
            Op::Put,
            &config_map(round),
        );
        daemon.put(
            StreamId::up(node()),
            "pods",
            "p",
            Op::Status,
            &json!({ "round": round }),
        );
    }
    let lines = daemon.lines("nodes/edge-1/log").await;
    assert_eq!(lines.len(), 600);
    assert!(lines.is_sorted_by_key(|line| line["revision"].as_u64()));
    assert_eq!(
        (&lines[0]["stream"], &lines[1]["stream"]),
        (&json!("down"), &json!("up"))
    );
    assert_eq!(lines[0]["key"]["name"], "a");
    assert_eq!(lines[0]["time"], "2023-11-14T22:13:20Z");
    assert!(lines[0].get("body").is_none());

    let up = daemon
        .lines("nodes/edge-1/log?stream=up&limit=2&bodies=true")
        .await;
    assert_eq!(up.len(), 2);
    assert_eq!(up[1]["body"], json!({ "round": 1 }));
    let last = &lines[598];
    let after = daemon
        .lines(&format!("nodes/edge-1/log?after={}", last["revision"]))
        .await;
    assert_eq!(after, lines[599..]);
}

#[tokio::test]
async fn a_followed_log_goes_on() {
    let daemon = Daemon::new();
    daemon.put(
        StreamId::down(node()),
        "configmaps",
        "a",
        Op::Put,
        &config_map(1),
    );
    let mut body = daemon
        .get("nodes/edge-1/log?follow=true&limit=2")
        .await
        .into_body();
    let mut line = async || {
        let frame = within("a line", body.frame()).await?.unwrap();
        let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
        Some(serde_json::from_str::<Value>(&text).unwrap())
    };
    assert_eq!(line().await.unwrap()["key"]["name"], "a");
    daemon.put(StreamId::up(node()), "pods", "late", Op::Status, &json!({}));
    assert_eq!(line().await.unwrap()["key"]["name"], "late");
    assert_eq!(line().await, None, "the limit is reached");
}

#[tokio::test]
async fn secrets_are_not_shown() {
    let daemon = Daemon::new();
    let manifest = "kubectl.kubernetes.io/last-applied-configuration";
    let secret = json!({
        "metadata": { "annotations": { manifest: "{\"data\":\"hunter2\"}" } },
        "data": { "password": "hunter2" },
        "stringData": "hunter2",
    });
    daemon.put(StreamId::down(node()), "secrets", "s", Op::Put, &secret);
    let request = json!({ "verb": "update", "object": secret });
    daemon.put(StreamId::up(node()), "secrets", "s", Op::Apply, &request);
    for path in [
        "nodes/edge-1/log?bodies=true",
        "nodes/edge-1/objects",
        "nodes/edge-1/digest",
    ] {
        let (status, text) = daemon.text(path).await;
        assert_eq!(status, 200);
        assert!(!text.contains("hunter2"), "{path}: {text}");
    }
    let lines = daemon.lines("nodes/edge-1/log?bodies=true").await;
    assert_eq!(lines[0]["body"]["data"]["password"], REDACTED);
}

#[tokio::test]
async fn objects_are_shown_as_they_were() {
    let daemon = Daemon::new();
    let first = daemon.put(
        StreamId::down(node()),
        "configmaps",
        "a",
        Op::Put,
        &config_map(1),
    );
    daemon.put(
        StreamId::down(node()),
        "configmaps",
        "a",
        Op::Put,
        &config_map(2),
    );
    daemon.put(
        StreamId::down(node()),
        "services",
        "s",
        Op::Put,
        &json!({ "kind": "Service" }),
    );
    let (_, now) = daemon
        .json("nodes/edge-1/objects?resource=configmaps.")
        .await;
    assert_eq!(now["objects"].as_array().unwrap().len(), 1);
    assert_eq!(now["objects"][0]["data"]["value"], "2");
    let path = format!("nodes/edge-1/objects?resource=configmaps.&name=a&at={first}");
    let (_, then) = daemon.json(&path).await;
    assert_eq!(then["objects"][0]["data"]["value"], "1");
    assert_eq!(then["revision"], first.get());
    let (_, all) = daemon
        .json("nodes/edge-1/objects?at=2100-01-01T00:00:00Z")
        .await;
    assert_eq!(all["objects"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn digests_name_every_key() {
    let daemon = Daemon::new();
    daemon.put(
        StreamId::down(node()),
        "configmaps",
        "a",
        Op::Put,
        &config_map(1),
    );
    let (_, digest) = daemon.json("nodes/edge-1/digest?entries=true").await;
    assert_eq!(digest["down"]["keys"], 1);
    assert_eq!(digest["down"]["entries"][0]["key"]["name"], "a");
    assert_eq!(digest["down"]["entries"][0]["slot"], "object");
    assert_eq!(digest["up"]["keys"], 0);
}

#[tokio::test]
async fn wrong_questions_are_told() {
    let daemon = Daemon::new();
    for (path, code) in [
        ("nodes/other/log", 404),
        ("nodes/Edge_1/log", 400),
        ("nodes/edge-1/log?stream=sideways", 400),
        ("nodes/edge-1/log?untill=1", 400),
        ("nodes/edge-1/objects?at=yesterday", 400),
        ("nodes/edge-1/objects?at=99999", 400),
        ("nodes/edge-1/nothing", 404),
    ] {
        assert_eq!(daemon.text(path).await.0, code, "{path}");
    }
    let (_, status) = daemon.json("nodes/other/digest").await;
    assert_eq!(
        (&status["kind"], &status["reason"]),
        (&json!("Status"), &json!("NotFound"))
    );
}
