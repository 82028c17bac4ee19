//! A device, through an MQTT client that is not ours.

use std::net::SocketAddr;

use causeway_simulator::mqtt::{Mqtt, Packet};
use serde_json::{Value, json};

use crate::world::*;

/// A device at the broker of its node, subscribed to what is wanted of it.
pub(crate) struct Device {
    mqtt: Mqtt,
    topics: String,
    /// Deltas that came while something else was waited for.
    deltas: Vec<Value>,
}

impl Device {
    /// Connects; the broker listens when its node knows of a device.
    pub(crate) async fn connect(broker: SocketAddr, namespace: &str, name: &str) -> Self {
        let client = format!("device-{name}");
        let mqtt = eventually("the broker of the node listens", async || {
            let connected = Mqtt::connect(broker, &client).await;
            connected.map_err(|error| error.to_string())
        })
        .await;
        let topics = format!("$hw/events/device/{namespace}/{name}");
        let mut device = Self {
            mqtt,
            topics,
            deltas: Vec::new(),
        };
        let deltas = format!("{}/twin/update/delta", device.topics);
        device.mqtt.subscribe(&deltas).await.unwrap();
        device
            .next(|packet| matches!(packet, Packet::SubAck(_)))
            .await;
        device
    }

    /// Reports a property; returns when the node has it on disk.
    pub(crate) async fn report(&mut self, property: &str, value: &str) {
        let payload = json!({"event_id": "e", "timestamp": 1_700_000_000_000_u64, "twin": {
            property: {"actual": {"value": value}, "metadata": {"type": "Updated"}}}});
        let (topic, payload) = (format!("{}/twin/update", self.topics), payload.to_string());
        self.mqtt.publish(&topic, payload.as_bytes()).await.unwrap();
        self.next(|packet| matches!(packet, Packet::PubAck(_)))
            .await;
    }

    /// Waits to be told that a property is to be so.
    pub(crate) async fn told(&mut self, property: &str, value: &str) {
        let is_it = |delta: Value| delta["delta"][property] == value;
        while !self.deltas.drain(..).any(is_it) {
            self.next(|packet| matches!(packet, Packet::Publish(_)))
                .await;
        }
    }

    /// Takes packets up to one that is right.
    async fn next(&mut self, is_right: impl Fn(&Packet) -> bool) {
        let coming = async {
            loop {
                let packet = self.mqtt.next().await.unwrap();
                if let Packet::Publish(delta) = &packet {
                    self.deltas
                        .extend(serde_json::from_slice::<Value>(&delta.payload));
                }
                if is_right(&packet) {
                    return;
                }
            }
        };
        let came = tokio::time::timeout(PATIENCE, coming).await;
        came.expect("the broker did not say what was waited for");
    }
}
