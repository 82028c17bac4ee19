//! Mosquitto as the broker of an edge: what goes wrong between the two.

use causeway_edge_sync::config::MqttMode;
use serde_json::json;

use super::{
    ALL, Listener, Mosquitto, Site, actual, external, knows, port, publish, publish_with, topic,
    until_metric,
};
use crate::linked::Cloud;
use crate::{Edge, within};

#[tokio::test]
async fn an_edge_starts_without_its_broker_and_finds_it_later() {
    let (dir, port) = (tempfile::tempdir().unwrap(), port());
    let cloud = Cloud::start().await;
    cloud.model();
    cloud.device("thermo", None, "");
    let edge = Edge::start_with(external(dir.path(), &cloud, port)).await;
    until_metric(dir.path(), "causeway_mqtt_failures_total", |count| {
        count >= 2
    })
    .await;
    edge.client.get_path("/version").await.unwrap();
    let mut broker = Mosquitto::start_on(port, "").await;
    knows(port, "thermo").await;
    // Once more, after the broker has lost all that it knew of this edge.
    broker.kill();
    until_metric(dir.path(), "causeway_mqtt_connected", |connected| {
        connected == 0
    })
    .await;
    broker.again().await;
    knows(port, "thermo").await;
    edge.stop().await;
}

#[tokio::test]
async fn what_is_reported_while_the_edge_is_away_arrives_when_it_is_back() {
    let site = Site::external("").await;
    let Site {
        dir, cloud, edge, ..
    } = site;
    edge.stop().await;
    for value in 1..=50 {
        let body = actual("temperature", &value.to_string()).to_string();
        publish(site.port, &topic("thermo", "twin/update"), &body).await;
    }
    cloud.device("thermo", Some("22"), "");
    let all = Listener::start(site.port, &ALL).await;
    let edge = Edge::start_with(external(dir.path(), &cloud, site.port)).await;
    let is_result = |topic: &str| topic.ends_with("update/result");
    all.hears("all answers", |topic, it| {
        let value = &it["twin"]["temperature"]["actual"]["value"];
        let all_there = all.count(|topic, _| is_result(topic)) == 50;
        is_result(topic) && *value == "50" && all_there
    })
    .await;
    // What changed meanwhile on the other side is told, too.
    all.hears("the delta", |topic, it| {
        topic.ends_with("update/delta") && it["delta"]["target"] == "22"
    })
    .await;
    edge.stop().await;
    // And again by the next process, as long as it is not done.
    let all = Listener::start(site.port, &ALL).await;
    let edge = Edge::start_with(external(dir.path(), &cloud, site.port)).await;
    all.hears("the delta again", |topic, it| {
        topic.ends_with("update/delta") && it["delta"]["target"] == "22"
    })
    .await;
    edge.stop().await;
}

#[tokio::test]
async fn a_broker_may_want_tls_and_a_password() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(file("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(file("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let mut passwords = std::process::Command::new("mosquitto_passwd");
    passwords.args(["-c", "-b", &file("passwords"), "edge", "secret"]);
    assert!(passwords.status().unwrap().success());
    let broker = Mosquitto::start(&format!(
        "allow_anonymous false\npassword_file {}\ncafile {1}\ncertfile {1}\nkeyfile {2}",
        file("passwords"),
        file("cert.pem"),
        file("key.pem"),
    ))
    .await;

    let cloud = Cloud::start().await;
    cloud.model();
    cloud.device("thermo", None, "");
    let home = tempfile::tempdir().unwrap();
    let mut config = external(home.path(), &cloud, broker.port);
    config.mqtt.mode = MqttMode::Auto;
    config.mqtt.server = Some(format!("tls://127.0.0.1:{}", broker.port).parse().unwrap());
    config.mqtt.ca_file = Some(file("cert.pem").into());
    config.mqtt.username = Some("edge".to_owned());
    config.mqtt.password_file = Some(file("password").into());
    std::fs::write(file("password"), "wrong\n").unwrap();
    let edge = Edge::start_with(config).await;
    until_metric(home.path(), "causeway_mqtt_failures_total", |count| {
        count >= 2
    })
    .await;
    // Read anew each time.
    std::fs::write(file("password"), "secret\n").unwrap();
    until_metric(home.path(), "causeway_mqtt_connected", |connected| {
        connected == 1
    })
    .await;

    let cert = file("cert.pem");
    let more = ["--cafile", &cert, "-u", "edge", "-P", "secret"];
    let result = topic("thermo", "twin/get/result");
    let listener = Listener::start_with(broker.port, &[&result], &more, &[]).await;
    let asking = async {
        while listener.count(|_, it| it["twin"].is_object()) == 0 {
            let asked = topic("thermo", "twin/get");
            publish_with(broker.port, &asked, b"{}".to_vec(), &more).await;
        }
    };
    within("an answer", asking).await;
    edge.stop().await;
}

#[tokio::test]
async fn what_a_broker_retained_does_not_undo_what_came_after_it() {
    let site = Site::external("").await;
    let all = site.listener().await;
    let at = |value: &str, time: u64| {
        let mut body = actual("temperature", value);
        body["timestamp"] = json!(time);
        body
    };
    let retained = at("1", 1000).to_string().into_bytes();
    publish_with(
        site.port,
        &topic("thermo", "twin/update"),
        retained,
        &["-r"],
    )
    .await;
    site.ask(&all, "twin/update", "later", at("2", 2000)).await;
    let Site {
        dir, cloud, edge, ..
    } = site;
    edge.stop().await;
    // Under another name it is a new client, which subscribes and is given what is retained.
    let mut config = external(dir.path(), &cloud, site.port);
    config.mqtt.client_id = Some("renamed".to_owned());
    let edge = Edge::start_with(config).await;
    let again = "causeway_mqtt_received_total{outcome=\"duplicate\"}";
    until_metric(dir.path(), again, |count| count == 1).await;
    publish(
        site.port,
        &topic("thermo", "twin/get"),
        "{\"event_id\":\"after\"}",
    )
    .await;
    let twin = all.answer("twin/get/result", "after").await;
    assert_eq!(twin["twin"]["temperature"]["actual"]["value"], "2");
    edge.stop().await;
}
