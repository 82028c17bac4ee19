//! The vertical road: from a manifest to a process and back, whole and cut.

use std::collections::BTreeSet;

use causeway_simulator::http::Http;
use causeway_simulator::proxy::CutMode;
use serde_json::{Value, json};

use crate::world::*;

fn running(pod: &Value) -> bool {
    pod["status"]["phase"] == "Running"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_becomes_a_process_and_its_status_comes_back() {
    let mut world = World::start().await;
    let cloud = world.cloud.http();
    let pid_file = world.scratch().join("pid");
    create(
        &cloud,
        PODS,
        &pod("web", "edge-1", &long_running(&pid_file), &[]),
    )
    .await;
    assert!(is_alive(process_of(&pid_file).await));
    seen(&cloud, &format!("{PODS}/web"), "Running", running).await;
    seen(
        &world.edge().http(),
        &format!("{PODS}/web"),
        "Running",
        running,
    )
    .await;
    world.converged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_without_a_node_is_bound_and_runs() {
    let world = World::start().await;
    let cloud = world.cloud.http();
    let mut free = pod("free", "", "while true; do sleep 1; done", &[]);
    free["spec"].as_object_mut().unwrap().remove("nodeName");
    create(&cloud, PODS, &free).await;
    let bound = seen(&cloud, &format!("{PODS}/free"), "Running", running).await;
    assert_eq!(bound["spec"]["nodeName"], "edge-1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_and_a_crash_lose_nothing_on_either_side() {
    let mut world = World::start().await;
    let cloud = world.cloud.http();
    let (kept_pid, doomed_pid) = (world.scratch().join("kept"), world.scratch().join("doomed"));
    create(&cloud, CONFIG_MAPS, &config_map("settings", "before")).await;
    let kept = pod("kept", "edge-1", &long_running(&kept_pid), &["settings"]);
    let doomed = pod("doomed", "edge-1", &long_running(&doomed_pid), &[]);
    create(&cloud, PODS, &kept).await;
    create(&cloud, PODS, &doomed).await;
    let (kept_pid, doomed_pid) = (process_of(&kept_pid).await, process_of(&doomed_pid).await);
    seen(&cloud, &format!("{PODS}/kept"), "Running", running).await;
    world.converged().await;

    // The tide comes in: the cloud goes on, and the edge's daemon crashes.
    let edge = world.edge();
    edge.link.cut(CutMode::Silent);
    let settings = format!("{CONFIG_MAPS}/settings");
    cloud
        .merge_patch(&settings, &json!({"data": {"text": "during"}}))
        .await
        .unwrap();
    cloud
        .json(http::Method::DELETE, &format!("{PODS}/doomed"), None)
        .await
        .unwrap();
    edge.crash_and_restart().await;
    edge.serving().await;
    let local = edge.http();
    let stale = local.get(&settings).await.unwrap();
    assert_eq!(
        stale["data"]["text"], "before",
        "the edge serves what it has"
    );
    assert!(
        is_alive(kept_pid) && is_alive(doomed_pid),
        "processes survive the crash"
    );
    seen(&local, &format!("{PODS}/kept"), "Running", running).await;
    // The edge has something to say that the cloud cannot hear yet.
    create(&local, EVENTS, &event("while-cut")).await;

    // And falls.
    edge.link.heal();
    seen(&local, &settings, "the edit arrived", |map| {
        map["data"]["text"] == "during"
    })
    .await;
    gone(&cloud, &format!("{PODS}/doomed")).await;
    gone(&local, &format!("{PODS}/doomed")).await;
    events_are(&cloud, &BTreeSet::from(["while-cut".to_owned()])).await;
    world.converged().await;
    assert!(is_alive(kept_pid), "it never noticed");
    assert!(!is_alive(doomed_pid), "it was ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_starts_and_serves_with_no_cloud_at_all() {
    let mut world = World::start().await;
    let pid_file = world.scratch().join("pid");
    let web = pod("web", "edge-1", &long_running(&pid_file), &[]);
    create(&world.cloud.http(), PODS, &web).await;
    let pid = process_of(&pid_file).await;
    world.converged().await;
    world.cloud.process.kill().await.unwrap();
    let edge = world.edge();
    edge.crash_and_restart().await;
    edge.serving().await;
    seen(&edge.http(), &format!("{PODS}/web"), "Running", running).await;
    assert!(is_alive(pid));
    world.cloud.process.start().unwrap();
    world.cloud_ready().await;
    world.converged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flapping_slow_link_still_converges() {
    let mut world = World::start().await;
    let cloud = world.cloud.http();
    let script = "while true; do sleep 1; done";
    create(&cloud, PODS, &pod("web", "edge-1", script, &["settings"])).await;
    create(&cloud, CONFIG_MAPS, &config_map("settings", "0")).await;
    let link = causeway_simulator::proxy::Link::Flap {
        up_ms: 400,
        down_ms: 200,
    };
    world.edge().link.set(link);
    let settings = format!("{CONFIG_MAPS}/settings");
    for round in 1..=100 {
        let patch = json!({"data": {"text": round.to_string()}});
        cloud.merge_patch(&settings, &patch).await.unwrap();
    }
    // Convergence must not need the link to stay up for good.
    let local = world.edge().http();
    seen(&local, &settings, "the last edit", |map| {
        map["data"]["text"] == "100"
    })
    .await;
    world.edge().link.heal();
    world.converged().await;
}

/// Waits until the cloud has each of these events of ours, then checks that it has each once. In the
/// cluster an event is named after its record, so ours are known by their message.
pub(crate) async fn events_are(cloud: &Http, messages: &BTreeSet<String>) {
    let held = eventually("the cloud has all events", async || {
        let list = cloud.get(EVENTS).await.map_err(|error| error.to_string())?;
        let events = list["items"].as_array().cloned().unwrap_or_default();
        let ours = events.iter().filter(|event| event["reason"] == "Tested");
        let held: Vec<String> = ours
            .filter_map(|event| Some(event["message"].as_str()?.to_owned()))
            .collect();
        let missing: Vec<_> = messages.iter().filter(|one| !held.contains(one)).collect();
        if missing.is_empty() {
            Ok(held)
        } else {
            Err(format!("missing: {missing:?}"))
        }
    })
    .await;
    let once: BTreeSet<&String> = held.iter().collect();
    assert_eq!(once.len(), held.len(), "an event was applied twice");
}

pub(crate) fn event(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": name, "namespace": "default"},
        "involvedObject": {"kind": "Node", "name": "edge-1"},
        "reason": "Tested", "message": name, "type": "Normal",
    })
}
