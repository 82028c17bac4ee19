//! As much of MQTT 3.1.1 as a device needs.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::*;

const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const SUBACK: u8 = 9;

/// A device at the broker of its node, subscribed to what is wanted of it.
pub(crate) struct Device {
    stream: TcpStream,
    topics: String,
    /// Deltas that came while something else was waited for.
    deltas: Vec<Value>,
}

impl Device {
    /// Connects; the broker listens when its node knows of a device.
    pub(crate) async fn connect(broker: SocketAddr, namespace: &str, name: &str) -> Self {
        let stream = eventually("the broker of the node listens", async || {
            let connected = TcpStream::connect(broker).await;
            connected.map_err(|error| error.to_string())
        })
        .await;
        let mut device = Self {
            stream,
            topics: format!("$hw/events/device/{namespace}/{name}"),
            deltas: Vec::new(),
        };
        let mut connect = text("MQTT");
        connect.extend([4, 2, 0, 0]);
        connect.extend(text(&format!("device-{name}")));
        device.send(0x10, &connect).await;
        device.wait_for(CONNACK).await;
        let mut subscribe = vec![0, 1];
        subscribe.extend(text(&format!("{}/twin/update/delta", device.topics)));
        subscribe.push(1);
        device.send(0x82, &subscribe).await;
        device.wait_for(SUBACK).await;
        device
    }

    /// Reports a property; returns when the node has it on disk.
    pub(crate) async fn report(&mut self, property: &str, value: &str) {
        let payload = json!({"event_id": "e", "timestamp": 1_700_000_000_000_u64, "twin": {
            property: {"actual": {"value": value}, "metadata": {"type": "Updated"}}}});
        let mut publish = text(&format!("{}/twin/update", self.topics));
        publish.extend([0, 7]);
        publish.extend(payload.to_string().into_bytes());
        self.send(0x32, &publish).await;
        self.wait_for(PUBACK).await;
    }

    /// Waits to be told that a property is to be so.
    pub(crate) async fn told(&mut self, property: &str, value: &str) {
        let waiting = async {
            loop {
                if self
                    .deltas
                    .drain(..)
                    .any(|delta| delta["delta"][property] == value)
                {
                    return;
                }
                self.wait_for(PUBLISH).await;
            }
        };
        let told = tokio::time::timeout(PATIENCE, waiting).await;
        told.unwrap_or_else(|_| panic!("the device was never told of {property}={value}"));
    }

    async fn send(&mut self, kind: u8, body: &[u8]) {
        let mut packet = vec![kind];
        let mut length = body.len();
        loop {
            let more = if length > 127 { 128 } else { 0 };
            packet.push(u8::try_from(length % 128).unwrap() | more);
            length /= 128;
            if length == 0 {
                break;
            }
        }
        packet.extend(body);
        self.stream.write_all(&packet).await.unwrap();
    }

    /// Reads packets up to one of a kind.
    async fn wait_for(&mut self, wanted: u8) {
        let waiting = async {
            loop {
                let (kind, body) = self.read().await;
                if kind >> 4 == PUBLISH {
                    self.take_publish(kind, &body).await;
                }
                if kind >> 4 == wanted {
                    return;
                }
            }
        };
        let came = tokio::time::timeout(PATIENCE + Duration::from_secs(1), waiting).await;
        came.unwrap_or_else(|_| panic!("no packet of kind {wanted} came"));
    }

    async fn take_publish(&mut self, kind: u8, body: &[u8]) {
        let topic = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        let mut payload = topic;
        if kind & 0b110 != 0 {
            payload += 2;
            self.send(0x40, &body[topic..payload]).await;
        }
        self.deltas
            .extend(serde_json::from_slice::<Value>(&body[payload..]));
    }

    async fn read(&mut self) -> (u8, Vec<u8>) {
        let kind = self.stream.read_u8().await.unwrap();
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = self.stream.read_u8().await.unwrap();
            length |= usize::from(byte & 127) << shift;
            shift += 7;
            if byte & 128 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.unwrap();
        (kind, body)
    }
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    [&length, text.as_bytes()].concat()
}
