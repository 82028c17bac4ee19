//! An edge and a cloud that is no more than a session over a store.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use causeway_daemon::http::{HttpLimits, serve_tcp};
use causeway_daemon::session_driver::{Control, drive};
use causeway_daemon::tasks::{Shutdown, Task, spawn};
use causeway_daemon::testing::TestEnd;
use causeway_daemon::ws::{drain, upgrade};
use causeway_edge_sync::EdgeConfig;
use causeway_kube_api::client::{CONFIGMAPS, LEASES, NODES, PODS};
use causeway_log::replication::{Role, Start};
use causeway_log::store::ReadLimit;
use causeway_log::{
    Body, Draft, EventId, Key, NodeName, Op, Resource, Revision, Store, Stored, Uid, WallTime,
};
use causeway_projections::{Request as Asked, Verb};
use futures_util::SinkExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::{Edge, config, within};

/// A sync endpoint over a store in memory.
pub(crate) struct Cloud {
    end: Arc<TestEnd>,
    pub(crate) url: String,
    sessions: Arc<Mutex<Vec<Task>>>,
    _shutdown: Shutdown,
    _serving: Task,
}

#[derive(Clone)]
struct Hub {
    end: Arc<TestEnd>,
    sessions: Arc<Mutex<Vec<Task>>>,
    shutdown: Shutdown,
}

impl Cloud {
    pub(crate) async fn start() -> Self {
        let end = TestEnd::new(Role::Cloud, NodeName::new("edge-1").unwrap());
        let sessions = Arc::new(Mutex::new(Vec::new()));
        let shutdown = Shutdown::new();
        let hub = Hub {
            end: Arc::clone(&end),
            sessions: Arc::clone(&sessions),
            shutdown: shutdown.clone(),
        };
        let router = Router::new()
            .route("/sync/v1/edge-1", any(accept))
            .with_state(hub);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let serving = serve_tcp(listener, router, HttpLimits::default(), shutdown.token());
        Self {
            end,
            url,
            sessions,
            _shutdown: shutdown,
            _serving: serving,
        }
    }

    pub(crate) async fn edge(&self, dir: &Path) -> Edge {
        self.edge_with(dir, |_| {}).await
    }

    pub(crate) async fn edge_with(&self, dir: &Path, change: impl FnOnce(&mut EdgeConfig)) -> Edge {
        let mut config = config(dir);
        config.cloud = Some(self.url.parse().unwrap());
        change(&mut config);
        Edge::start_with(config).await
    }

    /// The connection breaks, without a word.
    pub(crate) fn cut(&self) {
        self.sessions.lock().clear();
    }

    pub(crate) fn say(&self, op: Op, key: Key, body: &Value, cause: Option<EventId>) {
        let id = EventId::new(Uuid::new_v4());
        let body = if body.is_null() {
            Body::default()
        } else {
            body.to_string().into_bytes().into()
        };
        let time = WallTime::from_unix_millis(1);
        self.end.say([Draft {
            id,
            cause,
            time,
            key,
            version: None,
            op,
            body,
        }]);
    }

    pub(crate) fn heard(&self) -> Vec<Stored> {
        let stream = self.end.theirs();
        if self.end.memory().stream(&stream).unwrap().is_none() {
            return Vec::new();
        }
        self.end
            .memory()
            .read(&stream, Revision::ZERO, ReadLimit::SCAN)
            .unwrap()
    }

    pub(crate) async fn hears(&self, what: &str, holds: impl Fn(&[Stored]) -> bool) {
        within(what, self.end.until(|| holds(&self.heard()))).await;
    }

    pub(crate) async fn sessions(&self, count: usize) {
        within(
            "a session",
            self.end.until(|| self.end.starts().len() == count),
        )
        .await;
    }
}

async fn accept(State(hub): State<Hub>, mut request: Request) -> Response {
    let (response, upgrading) = match upgrade(&mut request) {
        Ok(granted) => granted,
        Err(refusal) => return refusal,
    };
    let Hub {
        end,
        sessions,
        shutdown,
    } = hub;
    let session = async move {
        let transport = upgrading.finish().await.unwrap();
        let control = Control::from(shutdown.token());
        drive(end.config(), transport, end, control).await;
    };
    sessions.lock().push(spawn("session", session));
    response
}

fn key(resource: &str, name: &str) -> Key {
    let uid = Uid::Uuid(Uuid::from_u64_pair(1, 2));
    Key::new(Resource::core(resource), "default", name, uid).unwrap()
}

fn config_map(value: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "c", "namespace": "default", "uid": key("configmaps", "c").uid.to_string() },
        "data": { "value": value },
    })
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "p", "namespace": "default", "uid": key("pods", "p").uid.to_string() },
        "spec": { "nodeName": "edge-1", "containers": [{ "name": "c", "image": "x" }] },
    })
}

/// Asks the edge until the answer is right.
pub(crate) async fn served(
    edge: &Edge,
    what: &str,
    path: &str,
    holds: impl Fn(&Value) -> bool,
) -> Value {
    let asking = async {
        loop {
            match edge.client.get_path(path).await {
                Ok(object) if holds(&object) => return object,
                Ok(_) | Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    within(what, asking).await
}

const CONFIG_MAP: &str = "/api/v1/namespaces/default/configmaps/c";
const PODS_PATH: &str = "/api/v1/pods";
const POD: &str = "/api/v1/namespaces/default/pods/p";

#[tokio::test]
async fn what_the_cloud_wants_arrives_and_what_the_edge_reports_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start().await;
    let edge = cloud.edge(dir.path()).await;
    cloud.say(Op::Put, key("pods", "p"), &pod(), None);
    let mut found = served(&edge, "the pod", POD, Value::is_object).await;
    found["status"] = json!({ "phase": "Running" });
    edge.client.update_status(&PODS, &found).await.unwrap();
    cloud
        .hears("the report", |records| {
            records.iter().any(|stored| {
                stored.record.header.op == Op::Status
                    && stored.record.body.bytes() == "{\"phase\":\"Running\"}"
            })
        })
        .await;
    let path = "/causeway/v1/status";
    let acked = |it: &Value| it["up"]["head"].as_u64() > Some(0) && it["up"]["lag"] == 0;
    let status = served(&edge, "the acknowledgement", path, acked).await;
    assert_eq!(status["link"]["state"], "connected");
    assert_eq!(status["down"]["received"], status["down"]["head"]);
    edge.stop().await;
}

#[tokio::test]
async fn absence_is_no_answer_before_the_first_synchronisation() {
    let dir = tempfile::tempdir().unwrap();
    // No cloud answers here.
    let edge = Edge::start_with(config(dir.path())).await;
    for path in [PODS_PATH, POD, "/api/v1/configmaps?watch=1"] {
        let refused = edge.client.get_path(path).await.unwrap_err();
        assert_eq!(refused.code(), Some(503), "{path}: {refused}");
        assert!(
            refused.to_string().contains("first synchronisation"),
            "{refused}"
        );
    }
    for path in [
        "/api/v1/nodes",
        "/causeway/v1/status",
        "/version",
        "/api/v1",
    ] {
        edge.client.get_path(path).await.unwrap();
    }
    edge.stop().await;

    // A cloud that has nothing for the node says so, and that is an answer.
    let cloud = Cloud::start().await;
    let edge = cloud.edge(dir.path()).await;
    served(&edge, "an empty list", PODS_PATH, |it| {
        it["items"] == json!([])
    })
    .await;
    edge.stop().await;
    let edge = Edge::start_with(config(dir.path())).await;
    edge.client.get_path(PODS_PATH).await.unwrap();
    edge.stop().await;
}

#[tokio::test]
async fn both_sides_go_on_through_a_cut_and_resume() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start().await;
    let edge = cloud.edge(dir.path()).await;
    cloud.say(Op::Put, key("configmaps", "c"), &config_map("1"), None);
    served(&edge, "the first edit", CONFIG_MAP, |it| {
        it["data"]["value"] == "1"
    })
    .await;
    cloud.cut();
    for number in 2..=50 {
        let object = config_map(&number.to_string());
        cloud.say(Op::Put, key("configmaps", "c"), &object, None);
    }
    let label = json!({ "metadata": { "labels": { "while": "cut" } } });
    let merge = causeway_kube_api::client::PatchFormat::Merge;
    edge.client
        .patch(&CONFIGMAPS, "default", "c", merge, &label)
        .await
        .unwrap();
    cloud.sessions(2).await;
    assert!(
        matches!(cloud.end.starts()[1], Start::Resume { .. }),
        "{:?}",
        cloud.end.starts()
    );
    cloud
        .hears("the request", |records| {
            records
                .iter()
                .any(|stored| stored.record.header.op == Op::Apply)
        })
        .await;
    edge.stop().await;
    // The request is pending still, on top of what came after the cut.
    let edge = cloud.edge(dir.path()).await;
    let found = served(&edge, "the object", CONFIG_MAP, Value::is_object).await;
    assert_eq!(
        found["metadata"]["annotations"]["causeway.dev/pending"],
        "true"
    );
    edge.stop().await;
}

#[tokio::test]
async fn an_answered_request_is_no_longer_pending() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start().await;
    let edge = cloud.edge(dir.path()).await;
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "c", "namespace": "default" },
        "data": { "value": "edge" },
    });
    edge.client
        .create(&CONFIGMAPS, "default", &object)
        .await
        .unwrap();
    cloud
        .hears("the request", |records| !records.is_empty())
        .await;
    let request = cloud.heard().remove(0).record;
    let asked = Asked::decode(request.body.bytes()).unwrap();
    assert_eq!(asked.verb, Verb::Create);
    let (key, cause) = (request.header.key, Some(request.header.id));
    cloud.say(Op::Put, key.clone(), &asked.object.unwrap(), cause);
    cloud.say(Op::Apply, key, &Value::Null, cause);
    let settled = |it: &Value| it["metadata"].get("annotations").is_none();
    let found = served(&edge, "the answer", CONFIG_MAP, settled).await;
    assert_eq!(found["data"]["value"], "edge");
    edge.stop().await;
}

#[tokio::test]
async fn a_wiped_edge_is_brought_back() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let cloud = Cloud::start().await;
    let edge = cloud.edge(first.path()).await;
    cloud.say(Op::Put, key("configmaps", "c"), &config_map("1"), None);
    served(&edge, "the object", CONFIG_MAP, Value::is_object).await;
    edge.stop().await;
    let edge = cloud.edge(second.path()).await;
    served(&edge, "the object again", CONFIG_MAP, Value::is_object).await;
    let digest = cloud.end.digest(&cloud.end.own());
    let path = "/causeway/v1/nodes/edge-1/digest";
    served(&edge, "the same digest", path, |it| {
        it["down"]["digest"] == *digest
    })
    .await;
    edge.stop().await;
}

#[tokio::test]
async fn a_cloud_that_speaks_nonsense_costs_only_the_link() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(dir.path());
    config.cloud = Some(
        format!("ws://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap(),
    );
    let talkers = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&talkers);
    let nonsense = any(move |mut request: Request| async move {
        let (response, upgrading) = upgrade(&mut request).unwrap();
        let talk = async move {
            let mut transport = upgrading.finish().await.unwrap();
            transport.send(vec![0xee; 1000].into()).await.unwrap();
            drain(&mut transport).await;
        };
        kept.lock().push(spawn("nonsense", talk));
        response
    });
    let router = Router::new().route("/sync/v1/edge-1", nonsense);
    let shutdown = Shutdown::new();
    let _serving = serve_tcp(listener, router, HttpLimits::default(), shutdown.token());
    let edge = Edge::start_with(config).await;
    let told = |it: &Value| {
        let error = it["link"]["last_error"].as_str().unwrap_or_default();
        error.starts_with("closed (Violation)")
    };
    served(&edge, "the violation", "/causeway/v1/status", told).await;
    edge.client
        .create(&CONFIGMAPS, "default", &config_map("1"))
        .await
        .unwrap();
    edge.stop().await;
}

#[tokio::test]
async fn the_cloud_is_told_when_the_node_agent_falls_silent() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start().await;
    let edge = cloud.edge(dir.path()).await;
    let uid = Uid::Uuid(Uuid::from_u64_pair(3, 4));
    let node = Key::new(Resource::core("nodes"), "", "edge-1", uid.clone()).unwrap();
    let body = json!({
        "apiVersion": "v1", "kind": "Node", "spec": {},
        "metadata": { "name": "edge-1", "uid": uid.to_string() },
    });
    cloud.say(Op::Put, node, &body, None);
    let path = "/api/v1/nodes/edge-1";
    let mut found = served(&edge, "the node", path, Value::is_object).await;
    found["status"] = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
    edge.client.update_status(&NODES, &found).await.unwrap();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "edge-1", "namespace": "kube-node-lease" },
        "spec": { "holderIdentity": "edge-1", "leaseDurationSeconds": 1 },
    });
    edge.client
        .create(&LEASES, "kube-node-lease", &lease)
        .await
        .unwrap();
    let silent = |stored: &Stored| {
        let body: Value = serde_json::from_slice(stored.record.body.bytes()).unwrap_or_default();
        let ready = &body["conditions"][0];
        stored.record.header.op == Op::Status && ready["status"] == "Unknown"
    };
    cloud
        .hears("the silence", |records| records.iter().any(silent))
        .await;
    let leases = cloud.heard();
    let mut heartbeats = leases.iter().filter(|stored| {
        stored
            .record
            .header
            .key
            .resource
            .is("coordination.k8s.io", "leases")
    });
    assert!(heartbeats.next().is_none(), "heartbeats do not travel");
    edge.stop().await;
}
