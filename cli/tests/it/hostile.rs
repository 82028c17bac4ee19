//! Peers that lie, babble or pretend: they hurt only themselves.

use std::path::PathBuf;

use causeway_simulator::process::Process;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::world::*;

const SLEEP: &str = "while true; do sleep 1; done";

/// The road of edge-1 carries an edit.
async fn the_road_works(world: &mut World, text: &str) {
    let settings = format!("{CONFIG_MAPS}/settings");
    let patch = json!({"data": {"text": text}});
    world
        .cloud
        .http()
        .merge_patch(&settings, &patch)
        .await
        .unwrap();
    let local = world.edge().http();
    seen(&local, &settings, "the edit arrived", |map| {
        map["data"]["text"] == text
    })
    .await;
}

async fn with_a_road() -> World {
    let mut world = World::start().await;
    let cloud = world.cloud.http();
    create(&cloud, CONFIG_MAPS, &config_map("settings", "0")).await;
    create(&cloud, PODS, &pod("web", "edge-1", SLEEP, &["settings"])).await;
    the_road_works(&mut world, "first").await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_http_are_refused_and_others_go_on() {
    let mut world = with_a_road().await;
    let mut rng = fastrand::Rng::with_seed(7);
    for round in 0..20 {
        let mut stream = TcpStream::connect(world.cloud.sync).await.unwrap();
        let mut garbage: Vec<u8> = (0..rng.usize(1..4096)).map(|_| rng.u8(..)).collect();
        if round % 2 == 0 {
            garbage.splice(0..0, *b"GET /sync/v1/edge-1 HTTP/1.1\r\nhost: x\r\n\r\n");
        }
        // The server may close before it has read everything.
        let _ = stream.write_all(&garbage).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(
            !answer.starts_with(b"HTTP/1.1 101"),
            "nothing was agreed on"
        );
    }
    the_road_works(&mut world, "after the garbage").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_no_protocol_end_their_session_with_a_code() {
    let mut world = with_a_road().await;
    let mut rng = fastrand::Rng::with_seed(8);
    for round in 0..10 {
        let url = format!("ws://{}/sync/v1/stranger-{round}", world.cloud.sync);
        let stream = TcpStream::connect(world.cloud.sync).await.unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        let frame: Vec<u8> = (0..rng.usize(1..2000)).map(|_| rng.u8(..)).collect();
        let message = match round % 3 {
            0 => Message::text("not binary"),
            _ => Message::binary(frame),
        };
        socket.send(message).await.unwrap();
        let code = eventually("a close frame", async || match socket.next().await {
            Some(Ok(Message::Close(Some(close)))) => Ok(Some(u16::from(close.code))),
            Some(Ok(other)) => Err(format!("{other:?}")),
            // A peer that breaks the framing itself is simply dropped.
            Some(Err(_)) | None => Ok(None),
        })
        .await;
        assert!(
            code.is_some_and(|code| code >= 1002),
            "round {round}: close code {code:?}"
        );
    }
    the_road_works(&mut world, "after the frames").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_no_node_name_is_refused_at_the_door() {
    let world = World::cloud_only().await;
    for name in ["", "UPPER", "..", "a_b", "%2e%2e", &"x".repeat(300)] {
        let url = format!("ws://{}/sync/v1/{name}", world.cloud.sync);
        let stream = TcpStream::connect(world.cloud.sync).await.unwrap();
        let agreed = tokio_tungstenite::client_async(url, stream).await;
        assert!(agreed.is_err(), "{name:?} was let in");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_edges_with_one_name_one_is_fenced_and_both_sides_say_so() {
    let mut world = with_a_road().await;
    // A clone: another disk and another process under the same name.
    let clone: PathBuf = world.scratch().join("clone");
    world.add_edge_in("edge-1", &clone).await;
    let logs: Vec<PathBuf> = std::iter::once(&world.cloud.process)
        .chain(world.edges.iter().map(|edge| &edge.process))
        .map(|process: &Process| process.program().log.clone())
        .collect();
    let says = |log: &PathBuf| {
        let text = std::fs::read_to_string(log)
            .unwrap_or_default()
            .to_lowercase();
        text.contains("fence") || text.contains("newer session") || text.contains("superseded")
    };
    eventually("the cloud and an edge speak of the fence", async || {
        let (cloud, edges) = (says(&logs[0]), logs[1..].iter().any(says));
        if cloud && edges {
            Ok(())
        } else {
            Err(format!("cloud {cloud}, edges {edges}"))
        }
    })
    .await;
    // The impostor gone, the rightful one has its road back.
    let mut impostor = world.edges.pop().unwrap();
    impostor.process.kill().await.unwrap();
    the_road_works(&mut world, "after the impostor").await;
    world.converged().await;
}
