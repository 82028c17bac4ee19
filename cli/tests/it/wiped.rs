//! Disks that were lost or put back: epochs and digests notice, differences travel.

use std::path::Path;

use causeway_simulator::proxy::CutMode;
use http::Method;
use serde_json::json;

use crate::world::*;

const SLEEP: &str = "while true; do sleep 1; done";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_edge_gets_everything_again() {
    let mut world = World::start().await;
    let cloud = world.cloud.http();
    create(&cloud, CONFIG_MAPS, &config_map("settings", "kept")).await;
    create(&cloud, PODS, &pod("web", "edge-1", SLEEP, &["settings"])).await;
    seen(&cloud, &format!("{PODS}/web"), "Running", |pod| {
        pod["status"]["phase"] == "Running"
    })
    .await;
    world.converged().await;

    let edge = world.edge();
    edge.process.kill().await.unwrap();
    kill_all_below(&edge.dir);
    eventually("the directory can be removed", async || {
        std::fs::remove_dir_all(&edge.dir).map_err(|error| error.to_string())
    })
    .await;
    edge.process.start().unwrap();
    let local = edge.http();
    let settings = format!("{CONFIG_MAPS}/settings");
    seen(&local, &settings, "it is back", |map| {
        map["data"]["text"] == "kept"
    })
    .await;
    seen(&local, &format!("{PODS}/web"), "Running", |pod| {
        pod["status"]["phase"] == "Running"
    })
    .await;
    world.converged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_cloud_meets_its_node_again() {
    let mut world = World::start().await;
    let cloud = world.cloud.http();
    create(&cloud, PODS, &pod("web", "edge-1", SLEEP, &[])).await;
    world.converged().await;

    world.cloud.process.kill().await.unwrap();
    std::fs::remove_dir_all(&world.cloud.dir).unwrap();
    world.cloud.process.start().unwrap();
    world.cloud_ready().await;
    world.node_ready("edge-1").await;
    world.converged().await;
    // The road works: what is wanted from now on arrives.
    create(&cloud, PODS, &pod("again", "edge-1", SLEEP, &[])).await;
    seen(&cloud, &format!("{PODS}/again"), "Running", |pod| {
        pod["status"]["phase"] == "Running"
    })
    .await;
    world.converged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_edge_joins_a_cloud_that_is_wiped_after_it() {
    let mut world = World::start().await;
    world.converged().await;
    let edge = world.edge();
    edge.process.kill().await.unwrap();
    kill_all_below(&edge.dir);
    eventually("the directory can be removed", async || {
        std::fs::remove_dir_all(&edge.dir).map_err(|error| error.to_string())
    })
    .await;
    edge.process.start().unwrap();
    let local = edge.http();
    // It finds its node there, so nothing in its log asks for one.
    let node = "/api/v1/nodes/edge-1";
    seen(&local, node, "the node is there", |node| {
        node["metadata"]["uid"].is_string()
    })
    .await;
    world.converged().await;

    world.cloud.process.kill().await.unwrap();
    std::fs::remove_dir_all(&world.cloud.dir).unwrap();
    world.cloud.process.start().unwrap();
    world.cloud_ready().await;
    world.node_ready("edge-1").await;
    let cloud = world.cloud.http();
    seen(&cloud, node, "edged's labels", |node| {
        node["metadata"]["labels"]["kubernetes.io/hostname"] == "edge-1"
    })
    .await;
    create(&cloud, PODS, &pod("web", "edge-1", SLEEP, &[])).await;
    seen(&cloud, &format!("{PODS}/web"), "Running", |pod| {
        pod["status"]["phase"] == "Running"
    })
    .await;
    world.converged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_node_stays_away_until_the_next_session() {
    let mut world = World::start().await;
    world.converged().await;
    let (cloud, local) = (world.cloud.http(), world.edge().http());
    let node = "/api/v1/nodes/edge-1";
    cloud.json(Method::DELETE, node, None).await.unwrap();
    gone(&local, node).await;
    // What is asked after the deletion is answered after it, and the node is not back.
    create(&cloud, CONFIG_MAPS, &config_map("after", "it")).await;
    gone(&cloud, node).await;

    world.edge().link.cut(CutMode::Reset);
    seen(
        &local,
        "/causeway/v1/status",
        "the session is over",
        |status| status["link"]["state"] != "connected",
    )
    .await;
    world.edge().link.heal();
    world.node_ready("edge-1").await;
    world.converged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cloud_restored_from_a_backup_wins_over_what_came_after_it() {
    let mut world = World::start().await;
    let cloud = world.cloud.http();
    create(&cloud, CONFIG_MAPS, &config_map("settings", "backed up")).await;
    create(&cloud, PODS, &pod("web", "edge-1", SLEEP, &["settings"])).await;
    world.converged().await;

    world.cloud.process.kill().await.unwrap();
    let backup = world.scratch().join("backup");
    copy(&world.cloud.dir, &backup);
    world.cloud.process.start().unwrap();
    world.cloud_ready().await;
    let settings = format!("{CONFIG_MAPS}/settings");
    cloud
        .merge_patch(&settings, &json!({"data": {"text": "after"}}))
        .await
        .unwrap();
    let local = world.edge().http();
    seen(&local, &settings, "the edit arrived", |map| {
        map["data"]["text"] == "after"
    })
    .await;

    world.cloud.process.kill().await.unwrap();
    std::fs::remove_dir_all(&world.cloud.dir).unwrap();
    std::fs::rename(&backup, &world.cloud.dir).unwrap();
    world.cloud.process.start().unwrap();
    world.cloud_ready().await;
    seen(&local, &settings, "the backup's text", |map| {
        map["data"]["text"] == "backed up"
    })
    .await;
    world.converged().await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
