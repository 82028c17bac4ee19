//! The embedded broker, to stock clients.

use std::net::TcpListener;

use causeway_edge_sync::config::MqttMode;
use serde_json::json;

use super::{
    ALL, Listener, Mosquitto, Site, actual, external, internal, is_open, knows, listens, port,
    publish, publish_with, topic, try_publish,
};
use crate::Edge;
use crate::linked::Cloud;

#[tokio::test]
async fn it_listens_once_there_is_a_device() {
    let (dir, port) = (tempfile::tempdir().unwrap(), port());
    let cloud = Cloud::start().await;
    cloud.model();
    let mut config = internal(dir.path(), &cloud, port);
    config.mqtt.mode = MqttMode::Auto;
    let edge = Edge::start_with(config).await;
    assert!(!is_open(port));
    cloud.device("thermo", None, "");
    listens(port).await;
    knows(port, "thermo").await;
    edge.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_costs_the_broker_and_not_the_edge() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let cloud = Cloud::start().await;
    cloud.model();
    cloud.device("thermo", None, "");
    let edge = Edge::start_with(internal(dir.path(), &cloud, port)).await;
    edge.client.get_path("/version").await.unwrap();
    drop(taken);
    listens(port).await;
    knows(port, "thermo").await;
    edge.stop().await;
}

#[tokio::test]
async fn it_admits_who_knows_the_password() {
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    let (cloud, home, port) = (Cloud::start().await, tempfile::tempdir().unwrap(), port());
    let mut config = internal(home.path(), &cloud, port);
    config.mqtt.username = Some("device".to_owned());
    config.mqtt.password_file = Some(password);
    let edge = Edge::start_with(config).await;
    listens(port).await;
    let publishes = async |more: &[&str]| try_publish(port, "a/b", b"x".to_vec(), more).await;
    assert!(publishes(&["-u", "device", "-P", "secret"]).await);
    assert!(!publishes(&["-u", "device", "-P", "secreT"]).await);
    assert!(!publishes(&["-u", "device"]).await);
    assert!(!publishes(&["-u", "devicE", "-P", "secret"]).await);
    assert!(!publishes(&[]).await);
    // MQTT 5 is told that it is not spoken.
    assert!(!publishes(&["-u", "device", "-P", "secret", "-V", "mqttv5"]).await);
    edge.stop().await;
}

#[tokio::test]
async fn a_client_that_was_away_gets_what_was_kept_for_it() {
    let site = Site::embedded("").await;
    let session = ["-c", "-i", "kept"];
    let first = Listener::start_as(site.port, &["app/+"], &["-i", "first"]).await;
    let kept = Listener::start_as(site.port, &["app/+"], &session[..]).await;
    drop(kept);
    for number in 1..=10 {
        publish(
            site.port,
            "app/x",
            &json!({ "event_id": number.to_string() }).to_string(),
        )
        .await;
    }
    first.answer("app/x", "10").await;
    let kept = Listener::start_as(site.port, &["app/+"], &session[..]).await;
    kept.answer("app/x", "10").await;
    assert_eq!(kept.count(|topic, _| topic == "app/x"), 10);
    // What is retained is there for who comes later.
    let state = "{\"event_id\":\"state\"}".as_bytes().to_vec();
    publish_with(site.port, "app/state", state, &["-r"]).await;
    let late = Listener::start_as(site.port, &["app/#"], &["-i", "late"]).await;
    late.answer("app/state", "state").await;
    site.stop().await;
}

#[tokio::test]
async fn the_will_of_a_device_that_is_lost_is_its_state() {
    let site = Site::embedded("").await;
    let all = site.listener().await;
    let (will, body) = (
        topic("thermo", "state/update"),
        "{\"state\":\"offline\",\"event_id\":\"will\"}",
    );
    let more = [
        "--will-topic",
        &will,
        "--will-payload",
        body,
        "-i",
        "device",
    ];
    let device = Listener::start_as(site.port, &["app/none"], &more[..]).await;
    drop(device);
    let told = all.answer("state/update/result", "will").await;
    assert_eq!(told["device"]["state"], "offline");
    site.stop().await;
}

#[tokio::test]
async fn who_subscribes_is_told_what_is_still_to_be_done() {
    let site = Site::embedded("").await;
    site.cloud.device("thermo", Some("23"), "");
    let is_delta = |topic: &str, it: &serde_json::Value| {
        topic.ends_with("thermo/twin/update/delta") && it["delta"]["target"] == "23"
    };
    let all = site.listener().await;
    all.hears("the delta", is_delta).await;
    let late = Listener::start(site.port, &ALL).await;
    late.hears("the delta", is_delta).await;
    let Site {
        dir, cloud, edge, ..
    } = site;
    edge.stop().await;
    let edge = Edge::start_with(internal(dir.path(), &cloud, site.port)).await;
    listens(site.port).await;
    let after = Listener::start(site.port, &ALL).await;
    after.hears("the delta after a restart", is_delta).await;
    edge.stop().await;
}

#[tokio::test]
async fn with_both_brokers_what_is_said_at_one_is_told_at_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, port) = (Mosquitto::start("").await, port());
    let cloud = Cloud::start().await;
    cloud.model();
    cloud.device("thermo", None, "");
    let mut config = external(dir.path(), &cloud, broker.port);
    config.mqtt.mode = MqttMode::Both;
    config.mqtt.listen = internal(dir.path(), &cloud, port).mqtt.listen;
    let edge = Edge::start_with(config).await;
    listens(port).await;
    knows(port, "thermo").await;
    knows(broker.port, "thermo").await;
    let is_document = |value: &'static str| {
        move |topic: &str, it: &serde_json::Value| {
            let pair = &it["twin"]["temperature"];
            topic.ends_with("update/document") && pair["current"]["actual"]["value"] == value
        }
    };
    let (here, there) = tokio::join!(
        Listener::start(port, &ALL),
        Listener::start(broker.port, &ALL)
    );
    let update = topic("thermo", "twin/update");
    publish(port, &update, &actual("temperature", "1").to_string()).await;
    there.hears("what was said here", is_document("1")).await;
    publish(
        broker.port,
        &update,
        &actual("temperature", "2").to_string(),
    )
    .await;
    here.hears("what was said there", is_document("2")).await;
    // An answer is for who asked.
    assert_eq!(here.count(|topic, _| topic.ends_with("update/result")), 1);
    edge.stop().await;
}
