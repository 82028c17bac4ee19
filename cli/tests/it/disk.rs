//! A full disk: reads go on, writes are refused with the reason, nothing is acked, and it recovers
//! without a restart when space returns.
//!
//! Needs a small file system of its own, whose path `cargo xtask test disk` gives in
//! `CAUSEWAY_SMALL_DISK`; elsewhere these tests pass and say that they did nothing.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use causeway_simulator::http::Http;
use http::Method;
use serde_json::json;

use crate::world::*;

const SLEEP: &str = "while true; do sleep 1; done";

fn small_disk() -> Option<PathBuf> {
    let disk = std::env::var_os("CAUSEWAY_SMALL_DISK").map(PathBuf::from);
    if disk.is_none() {
        println!("skipped: CAUSEWAY_SMALL_DISK names no small file system");
    }
    disk
}

/// Takes all space until dropped.
struct Ballast(PathBuf);

impl Ballast {
    fn fill(disk: &Path) -> Self {
        let path = disk.join("ballast");
        let mut file = File::create(&path).unwrap();
        let mut piece = vec![0x55; 1 << 20];
        while !piece.is_empty() {
            if file.write_all(&piece).is_err() {
                piece.truncate(piece.len() / 2);
            }
        }
        Self(path)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

/// The process is healthy, and says why it cannot do its work.
async fn not_ready_for(api: &Http, reason: &str) {
    assert!(api.text("/healthz").await.is_ok());
    let refusal = api.text("/readyz").await.unwrap_err();
    let unavailable = refusal.status() == Some(http::StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        unavailable && refusal.to_string().contains(reason),
        "{refusal}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cloud_whose_disk_is_full_reads_refuses_and_recovers() {
    let Some(disk) = small_disk() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let world = World::with_cloud(scratch, disk.join("cloud")).await;
    let cloud = world.cloud.http();
    create(&cloud, CONFIG_MAPS, &config_map("settings", "before")).await;
    let ballast = Ballast::fill(&disk);
    let path = format!("{CONFIG_MAPS}/settings");
    let refusal = eventually("a write is refused", async || {
        let large = json!({"data": {"text": "x".repeat(500_000)}});
        match cloud.merge_patch(&path, &large).await {
            Ok(_) => Err("accepted".to_owned()),
            Err(error) => Ok(error),
        }
    })
    .await;
    assert!(
        refusal
            .status()
            .is_some_and(|status| status.is_server_error()),
        "{refusal}"
    );
    assert!(cloud.get(&path).await.is_ok(), "reads go on");
    not_ready_for(&cloud, "read-only").await;
    drop(ballast);
    eventually("writes work again", async || {
        let patch = json!({"data": {"text": "after"}});
        cloud
            .merge_patch(&path, &patch)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    })
    .await;
    world.cloud_ready().await;
    drop(world);
    std::fs::remove_dir_all(disk.join("cloud")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_whose_disk_is_full_reads_refuses_and_recovers() {
    let Some(disk) = small_disk() else { return };
    let mut world = World::cloud_only().await;
    world.add_edge_in("edge-1", &disk.join("edge")).await;
    world.node_ready("edge-1").await;
    let (cloud, local) = (world.cloud.http(), world.edge().http());
    create(&cloud, CONFIG_MAPS, &config_map("settings", "before")).await;
    create(&cloud, PODS, &pod("web", "edge-1", SLEEP, &["settings"])).await;
    let path = format!("{CONFIG_MAPS}/settings");
    seen(&local, &path, "it arrived", |map| {
        map["data"]["text"] == "before"
    })
    .await;
    world.converged().await;
    let ballast = Ballast::fill(&disk);
    let refusal = eventually("a write is refused", async || {
        let mut event = crate::road::event(&format!("event-{}", fastrand::u64(..)));
        event["message"] = json!("x".repeat(900));
        match local.json(Method::POST, EVENTS, Some(&event)).await {
            Ok(_) => Err("accepted".to_owned()),
            Err(error) => Ok(error),
        }
    })
    .await;
    assert!(
        refusal
            .status()
            .is_some_and(|status| status.is_server_error()),
        "{refusal}"
    );
    assert!(local.get(&path).await.is_ok(), "reads go on");
    not_ready_for(&local, "read-only").await;
    cloud
        .merge_patch(&path, &json!({"data": {"text": "after"}}))
        .await
        .unwrap();
    drop(ballast);
    seen(&local, &path, "what was missed arrives", |map| {
        map["data"]["text"] == "after"
    })
    .await;
    world.converged().await;
    world.edge().serving().await;
    drop(world);
    // Its pods live outside the directory that the world tidies.
    kill_all_below(&disk.join("edge"));
    std::fs::remove_dir_all(disk.join("edge")).unwrap();
}
