//! The embedded broker and a client library of others, rumqttc, as devices have it.
//!
//! It does not mark what it sends again on another connection, and gives up what was on its way
//! when its session is gone.

use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, LastWill, MqttOptions, Packet, QoS};
use serde_json::{Value, json};

use crate::linked::Cloud;
use crate::mosquitto::{actual, internal, listens, port, topic};
use crate::{Edge, within};

/// Requests that may wait in the library, more than any test makes.
const REQUESTS: usize = 2000;
/// Messages that the library has on their way at once.
const INFLIGHT: u16 = 20;

fn options(client: &str, broker: SocketAddr) -> MqttOptions {
    let mut options = MqttOptions::new(client, broker.ip().to_string(), broker.port());
    options.set_keep_alive(Duration::ZERO);
    options.set_inflight(INFLIGHT);
    options.set_max_packet_size(1 << 20, 1 << 20);
    options
}

/// A client, with what it was told while it waited for something else.
struct Device {
    client: AsyncClient,
    events: EventLoop,
    told: Vec<(String, Value)>,
}

impl Device {
    /// Connected; whether the broker had its session.
    async fn connect(options: MqttOptions) -> (Self, bool) {
        let (client, events) = AsyncClient::new(options, REQUESTS);
        let mut device = Self {
            client,
            events,
            told: Vec::new(),
        };
        let Packet::ConnAck(welcome) = device.next().await else {
            panic!("no CONNACK came first");
        };
        (device, welcome.session_present)
    }

    async fn next(&mut self) -> Packet {
        let coming = async {
            loop {
                if let Event::Incoming(packet) = self.events.poll().await.unwrap() {
                    return packet;
                }
            }
        };
        let packet = within("a packet", coming).await;
        if let Packet::Publish(publish) = &packet {
            let body = serde_json::from_slice(&publish.payload).unwrap_or_default();
            self.told.push((publish.topic.clone(), body));
        }
        packet
    }

    async fn until(&mut self, is_right: impl Fn(&Packet) -> bool) {
        while !is_right(&self.next().await) {}
    }

    async fn subscribe(&mut self, filter: &str) {
        let subscribing = self.client.subscribe(filter, QoS::AtLeastOnce);
        subscribing.await.unwrap();
        self.until(|packet| matches!(packet, Packet::SubAck(_)))
            .await;
    }

    fn send(&self, topic: &str, qos: QoS, body: String) {
        self.client.try_publish(topic, qos, false, body).unwrap();
    }

    /// Publishes, and waits until the broker has it.
    async fn publish(&mut self, topic: &str, body: String) {
        self.send(topic, QoS::AtLeastOnce, body);
        self.until(|packet| matches!(packet, Packet::PubAck(_)))
            .await;
    }

    /// Waits to be told something; gives what it was.
    async fn hears(&mut self, is_right: impl Fn(&str, &Value) -> bool) -> Value {
        loop {
            let told = self.told.drain(..);
            let mut told = told.filter(|(topic, body)| is_right(topic, body));
            if let Some((_, body)) = told.next() {
                return body;
            }
            drop(told);
            self.next().await;
        }
    }
}

/// An edge with its own broker, which has the device `thermo`.
struct Node {
    _dir: tempfile::TempDir,
    cloud: Cloud,
    edge: Edge,
    broker: SocketAddr,
}

impl Node {
    async fn start(history: &str) -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), port());
        let cloud = Cloud::start().await;
        cloud.model();
        cloud.device("thermo", None, history);
        let edge = Edge::start_with(internal(dir.path(), &cloud, port)).await;
        listens(port).await;
        let node = Self {
            _dir: dir,
            cloud,
            edge,
            broker: SocketAddr::from(([127, 0, 0, 1], port)),
        };
        let mut asking = node.device("asking").await;
        asking.subscribe(&topic("thermo", "twin/get/result")).await;
        let knowing = async {
            loop {
                let question = "{}".to_owned();
                asking.publish(&topic("thermo", "twin/get"), question).await;
                if asking.hears(|_, _| true).await["twin"].is_object() {
                    return;
                }
            }
        };
        within("the device", knowing).await;
        node
    }

    async fn device(&self, name: &str) -> Device {
        Device::connect(options(name, self.broker)).await.0
    }
}

fn report(number: u64) -> String {
    // Each a moment after the one before, by the device's clock.
    let mut body = actual("temperature", &(number % 100).to_string());
    body["timestamp"] = json!(1_700_000_000_000 + number);
    body.to_string()
}

#[tokio::test]
async fn it_is_told_and_answered() {
    let node = Node::start("").await;
    let mut device = node.device("thermo").await;
    device.subscribe("$hw/events/device/default/thermo/#").await;
    node.cloud.device("thermo", Some("23"), "");
    let delta = |topic: &str, body: &Value| {
        topic.ends_with("twin/update/delta") && body["delta"]["target"] == "23"
    };
    device.hears(delta).await;
    let update = topic("thermo", "twin/update");
    let result = |topic: &str, _: &Value| topic.ends_with("twin/update/result");
    device
        .publish(&update, actual("target", "23").to_string())
        .await;
    let answer = device.hears(result).await;
    assert_eq!(
        answer["twin"]["target"]["actual"]["value"], "23",
        "{answer}"
    );
    // Beyond the bound: refused, acknowledged, and in nobody's way.
    let large = actual("label", &"x".repeat(300 * 1024)).to_string();
    device.publish(&update, large).await;
    assert_eq!(device.hears(result).await["code"], 400);
    device
        .publish(&update, actual("label", "small").to_string())
        .await;
    let answer = device.hears(result).await;
    assert_eq!(
        answer["twin"]["label"]["actual"]["value"], "small",
        "{answer}"
    );
    // Who does not listen any more is told nothing.
    let leaving = device
        .client
        .unsubscribe("$hw/events/device/default/thermo/#");
    leaving.await.unwrap();
    device
        .until(|packet| matches!(packet, Packet::UnsubAck(_)))
        .await;
    device.told.clear();
    device
        .publish(&update, actual("label", "unheard").to_string())
        .await;
    device.publish("app/x", "{}".to_owned()).await;
    assert_eq!(device.told, []);
    node.edge.stop().await;
}

#[tokio::test]
async fn its_will_its_session_and_what_is_retained_are_kept() {
    let node = Node::start("").await;
    let mut all = node.device("all").await;
    all.subscribe("$hw/events/device/+/+/state/update/result")
        .await;
    let mut mortal = options("mortal", node.broker);
    let body = json!({ "event_id": "will", "state": "offline" }).to_string();
    let state = topic("thermo", "state/update");
    mortal.set_last_will(LastWill::new(&state, body, QoS::AtLeastOnce, false));
    drop(Device::connect(mortal).await);
    let told = all.hears(|_, body| body["event_id"] == "will").await;
    assert_eq!(told["device"]["state"], "offline", "{told}");

    let mut kept = options("kept", node.broker);
    kept.set_clean_session(false);
    let (mut away, had_session) = Device::connect(kept.clone()).await;
    assert!(!had_session);
    away.subscribe("app/+").await;
    drop(away);
    for number in 0..30 {
        all.publish("app/x", number.to_string()).await;
    }
    let retaining = all
        .client
        .publish("other/state", QoS::AtLeastOnce, true, "\"kept\"");
    retaining.await.unwrap();
    all.until(|packet| matches!(packet, Packet::PubAck(_)))
        .await;
    let (mut back, had_session) = Device::connect(kept).await;
    assert!(had_session);
    back.hears(|_, body| *body == 29).await;
    back.subscribe("other/#").await;
    back.hears(|_, body| *body == "kept").await;
    node.edge.stop().await;
}

/// Publishes reports, breaking its connection now and then; until all are acknowledged.
async fn reports(device: &mut Device, qos: QoS, count: u64, breaks: usize) {
    let update = topic("thermo", "twin/update");
    let (mut sent, mut done, mut broken) = (0, 0, 0);
    let step = count / (breaks as u64 + 2);
    let mut next_break = step;
    while done < count {
        // What waits in the library for room is not safe there when a connection breaks.
        while sent < count && sent - done < u64::from(INFLIGHT) {
            sent += 1;
            device.send(&update, qos, report(sent));
        }
        let packet = device.next().await;
        let is_done = match qos {
            QoS::ExactlyOnce => matches!(packet, Packet::PubComp(_)),
            QoS::AtLeastOnce | QoS::AtMostOnce => matches!(packet, Packet::PubAck(_)),
        };
        done += u64::from(is_done);
        if broken < breaks && done > next_break {
            (broken, next_break) = (broken + 1, next_break + step);
            // As after an error: what is on its way goes out again on the next connection.
            device.events.clean();
        }
    }
}

#[tokio::test]
async fn nothing_is_lost_when_its_connections_break() {
    const REPORTS: u64 = 600;
    const BREAKS: usize = 5;
    let node = Node::start("temperature=all").await;
    let mut own = options("thermo", node.broker);
    own.set_clean_session(false);
    let (mut device, _) = Device::connect(own).await;
    reports(&mut device, QoS::AtLeastOnce, REPORTS, BREAKS).await;
    let all = |readings: usize| readings as u64 == REPORTS;
    let cloud = &node.cloud;
    cloud
        .hears("all readings", |_| all(cloud.readings().len()))
        .await;
    // What was acknowledged and the client did not hear of is taken again: it is not marked.
    let again: usize = cloud.readings().values().map(|count| count - 1).sum();
    assert!(
        again <= usize::from(INFLIGHT) * BREAKS,
        "{again} were taken again"
    );
    node.edge.stop().await;
}

#[tokio::test]
async fn what_it_delivers_exactly_once_is_taken_once_through_connections_that_break() {
    const REPORTS: u64 = 200;
    let node = Node::start("temperature=all").await;
    let mut own = options("thermo", node.broker);
    own.set_clean_session(false);
    let (mut device, _) = Device::connect(own).await;
    reports(&mut device, QoS::ExactlyOnce, REPORTS, 3).await;
    let all = |readings: usize| readings as u64 == REPORTS;
    let cloud = &node.cloud;
    cloud
        .hears("all readings", |_| all(cloud.readings().len()))
        .await;
    let again: usize = cloud.readings().values().map(|count| count - 1).sum();
    assert_eq!(again, 0, "taken again");
    node.edge.stop().await;
}
