//! An API server that is away, refuses, is slow, or has forgotten: it costs time and nothing else.

use causeway_testbed::{Component, Faults};
use serde_json::{Value, json};

use super::Cluster;
use crate::world::*;

impl Cluster {
    fn stop_api(&mut self) {
        tokio::task::block_in_place(|| self.plane.stop_component(Component::ApiServer).unwrap());
    }

    fn start_api(&mut self) {
        tokio::task::block_in_place(|| {
            self.plane.start_component(Component::ApiServer).unwrap();
            self.plane.ready().unwrap();
        });
    }

    fn wrong(&self, faults: &Faults) {
        tokio::task::block_in_place(|| self.proxy.set(faults).unwrap());
    }

    async fn write(&self, text: &str) {
        let path = format!("{CONFIG_MAPS}/settings");
        let patch = json!({"data": {"text": text}});
        self.api.merge_patch(&path, &patch).await.unwrap();
    }
}

const NEWER_EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

fn newer_event() -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": "newer", "namespace": "default"},
        "regarding": {"kind": "Pod", "namespace": "default", "name": "reader"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "action": "Tell",
        "reportingController": "example.com/teller", "reportingInstance": "teller-1",
        "reason": "Newer", "note": "in the newer dialect", "type": "Normal",
    })
}

/// Waits until the cluster has one Event of a reason, which is right.
async fn told_once(cluster: &Cluster, reason: &str, right: impl Fn(&Value) -> bool) {
    let told = format!("{EVENTS}?fieldSelector=reason%3D{reason}");
    seen(&cluster.api, &told, "one Event", |list| {
        let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
        matches!(items, [event] if right(event))
    })
    .await;
}

/// Waits until the edge has a text.
async fn arrived(edge: &Edge, text: &str) {
    let path = format!("{CONFIG_MAPS}/settings");
    seen(&edge.http(), &path, text, |map| map["data"]["text"] == text).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_in_trouble_costs_time_and_nothing_else() {
    let Some(mut cluster) = Cluster::start() else {
        return;
    };
    let kubeconfig = cluster.kubeconfig();

    // Away at the start: nobody is served half a cluster.
    cluster.stop_api();
    let mut world = cluster.cloud(&kubeconfig);
    let cloud = world.cloud.http();
    eventually("the cloud says why it is not ready", async || {
        match cloud.text("/readyz").await {
            Err(error) if error.status().is_some() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    world.add_edge("edge-1").await;
    cluster.start_api();
    world.cloud_ready().await;
    cluster.node_is("edge-1", "True").await;
    create(&cluster.api, CONFIG_MAPS, &config_map("settings", "first")).await;
    create(&cluster.api, CONFIG_MAPS, &config_map("doomed", "first")).await;
    let script = "while true; do sleep 1; done";
    let reader = pod("reader", "edge-1", script, &["settings", "doomed"]);
    create(&cluster.api, PODS, &reader).await;
    let path = format!("{PODS}/reader");
    seen(&cluster.api, &path, "Running", |pod| {
        pod["status"]["phase"] == "Running"
    })
    .await;
    let edge = &world.edges[0];
    arrived(edge, "first").await;

    // Away in the middle: what the edge says meanwhile is told once it is back.
    cluster.stop_api();
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": "meanwhile", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "reader"},
        "reason": "Meanwhile", "message": "said during an outage", "type": "Normal",
    });
    create(&edge.http(), EVENTS, &event).await;
    let again = json!({"count": 2, "message": "said twice"});
    let path = format!("{EVENTS}/meanwhile");
    edge.http().merge_patch(&path, &again).await.unwrap();
    create(&edge.http(), NEWER_EVENTS, &newer_event()).await;
    cluster.start_api();
    cluster.write("second").await;
    arrived(edge, "second").await;
    told_once(&cluster, "Meanwhile", |event| event["count"] == 2).await;
    told_once(&cluster, "Newer", |event| {
        event["eventTime"] == "2026-01-01T00:00:00.000000Z"
            && event["message"] == "in the newer dialect"
    })
    .await;
    // Counted where the cluster has it already.
    let again = json!({"count": 4, "message": "and again"});
    edge.http().merge_patch(&path, &again).await.unwrap();
    told_once(&cluster, "Meanwhile", |event| {
        event["count"] == 4 && event["message"] == "and again"
    })
    .await;

    refused_late_and_forgetful(&mut cluster, edge).await;
    world.converged().await;
}

async fn refused_late_and_forgetful(cluster: &mut Cluster, edge: &Edge) {
    // A quarter of all requests refused, in both ways; then everything late. Of a half, some runs would
    // have too many in a row to be waited for.
    for (status, retry_after) in [(429, 1), (500, 0)] {
        cluster.wrong(&Faults {
            status,
            retry_after,
            percent: 25,
            ..Faults::default()
        });
        let text = format!("while {status}");
        cluster.write(&text).await;
        arrived(edge, &text).await;
    }
    cluster.wrong(&Faults {
        delay_ms: 2000,
        ..Faults::default()
    });
    cluster.write("late").await;
    arrived(edge, "late").await;

    // Restarted with no history: what was deleted and changed where nobody looked is found.
    cluster.wrong(&Faults {
        status: 503,
        methods: vec!["GET".to_owned()],
        ..Faults::default()
    });
    cluster.stop_api();
    cluster.start_api();
    cluster.write("behind the horizon").await;
    cluster.kubectl(&["delete", "configmap", "doomed"]);
    tokio::task::block_in_place(|| cluster.plane.compact().unwrap());
    cluster.stop_api();
    cluster.start_api();
    cluster.wrong(&Faults::default());
    arrived(edge, "behind the horizon").await;
    gone(&edge.http(), &format!("{CONFIG_MAPS}/doomed")).await;
}
