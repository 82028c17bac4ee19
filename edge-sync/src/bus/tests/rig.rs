//! Twins on a store in memory with a real writer, and a broker that does as the test says.

use std::sync::Arc;

use bytes::Bytes;
use causeway_daemon::tasks::{Shutdown, Task, spawn};
use causeway_kube_api::View;
use causeway_kube_api::source::system_clock;
use causeway_log::replication::{Incoming as Received, SessionWrite};
use causeway_log::store::memory::MemoryStore;
use causeway_log::writer::{Writer, WriterHandle};
use causeway_log::{
    Body, Draft, Epoch, EventId, Key, NodeName, Offset, Op, Store, StreamId, Uid, WallTime,
};
use causeway_projections::rebuild::rebuild;
use causeway_projections::twin::{
    Desired, Device, DeviceName, TwinVersion, Value, devices, rebuild_twins,
};
use serde_json::{Value as Json, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use super::super::client::Client;
use super::super::desk::Desk;
use super::super::limits::Rates;
use super::super::mqtt::{Incoming, Packet, Publish, Qos, Wire};
use super::super::stats::Stats;
use crate::config::{MqttConfig, TwinsConfig};
use crate::first_sync::FirstSync;
use crate::machine::{EdgeMachine, Request, begin};
use crate::twins::{TwinsHandle, TwinsView};

const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);

/// What hangs says where.
pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen in time"),
    }
}

pub(super) struct Rig {
    pub(super) store: Arc<MemoryStore>,
    pub(super) twins: TwinsHandle,
    writer: WriterHandle<Request>,
    _thread: Writer,
    offset: u64,
}

fn node() -> NodeName {
    NodeName::new("edge-1").unwrap()
}

pub(super) fn thermo() -> DeviceName {
    DeviceName::new("default", "thermo")
}

fn key(name: &str) -> Key {
    let uid = Uid::Uuid(Uuid::from_u64_pair(3, name.len() as u64));
    Key::new(devices(), "default", name, uid).unwrap()
}

impl Rig {
    /// With the device `thermo`, of which `target` is wanted to be 21, and all readings of `label`
    /// are kept.
    pub(super) async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let on = Arc::clone(&store) as Arc<dyn Store>;
        let node = node();
        begin(&*on, &node, Epoch::new(Uuid::from_u64_pair(1, 1))).unwrap();
        let streams = [StreamId::down(node.clone()), StreamId::up(node.clone())];
        let view = View::new(rebuild(&*on, &streams).unwrap());
        let (head, _) = watch::channel(Offset::ZERO);
        let first_sync = FirstSync::read(&*on, &node).unwrap();
        let clock = system_clock();
        let (of, to) = (node.clone(), Arc::clone(&on));
        let machine = EdgeMachine::new(of, to, view.clone(), head, first_sync, clock);
        let twins = TwinsView::new(rebuild_twins(&*on, &node).unwrap());
        let machine = machine.with_twins(twins.clone(), TwinsConfig::default());
        let (thread, writer) = Writer::spawn("test-writer", on, machine.unwrap());
        let mut rig = Self {
            store,
            twins: TwinsHandle::new(twins, view, writer.clone()),
            writer,
            _thread: thread,
            offset: 0,
        };
        let object = json!({
            "metadata": { "annotations": { "causeway.dev/history": "label=all" } },
            "spec": { "properties": [{ "name": "target" }, { "name": "label" }] },
        });
        rig.desire("thermo", Op::Put, object.to_string().into_bytes())
            .await;
        let wishes = [("target".into(), Value::new("21"))].into();
        let now = WallTime::from_unix_millis(1);
        let desired = Desired::default().advance(&wishes, TwinVersion::new(1), now);
        rig.desire("thermo", Op::Twin, desired.unwrap().encode())
            .await;
        rig
    }

    /// What the cloud says of a device arrives.
    pub(super) async fn desire(&mut self, name: &str, op: Op, body: Vec<u8>) {
        self.offset += 1;
        let draft = Draft {
            id: EventId::new(Uuid::new_v4()),
            cause: None,
            time: WallTime::from_unix_millis(5),
            key: key(name),
            version: None,
            op,
            body: Body::new(body.into()),
        };
        let received = Received {
            epoch: Epoch::new(Uuid::from_u64_pair(2, 2)),
            records: vec![(Offset::new(self.offset), draft)],
            upto: Some(Offset::new(self.offset)),
            caught_up: true,
        };
        let (done, told) = oneshot::channel();
        let write = SessionWrite::Incoming(received);
        let sent = self.writer.send(Request::Session { write, done }).await;
        sent.unwrap();
        told.await.unwrap().unwrap();
    }

    pub(super) fn device(&self) -> Arc<Device> {
        self.twins
            .read(|twins| twins.get(&thermo()).cloned())
            .unwrap()
    }

    /// The version of the reported `label`: how often it changed.
    pub(super) fn changes(&self) -> u64 {
        let device = self.device();
        let label = device.twin.reported.properties.get("label");
        label.map_or(0, |label| label.version.get())
    }

    /// A client of the broker, which runs as long as what is given back is kept.
    pub(super) fn client(&self, broker: &Broker) -> (Shutdown, Task) {
        let config = MqttConfig::default();
        let address = broker.listener.local_addr().unwrap();
        let url = format!("tcp://{address}").parse().unwrap();
        let rates = Rates::new(1000, 1000);
        let desk = Desk::new(node(), self.twins.clone(), rates, Stats::default());
        let client = Client::new(config, url, Arc::new(desk));
        let shutdown = Shutdown::new();
        let task = spawn("client", client.run(shutdown.token()));
        (shutdown, task)
    }
}

/// A broker of which the test plays the part.
pub(super) struct Broker {
    listener: TcpListener,
}

/// A connection to it.
pub(super) struct Peer {
    pub(super) wire: Wire<TcpStream>,
}

impl Broker {
    pub(super) async fn start() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    /// The next connection, welcomed.
    pub(super) async fn accept(&self, session_present: bool) -> Peer {
        let accepted = within("a connection", self.listener.accept()).await;
        let mut peer = Peer {
            wire: Wire::new(accepted.unwrap().0, 1024 * 1024),
        };
        let Packet::Connect(connect) = peer.next().await else {
            panic!("no CONNECT");
        };
        assert_eq!(connect.client, "causeway-edge-1");
        assert!(!connect.clean);
        peer.send(&Packet::ConnAck {
            session_present,
            code: 0,
        })
        .await;
        peer
    }
}

impl Peer {
    pub(super) async fn send(&mut self, packet: &Packet) {
        self.wire.send(packet);
        self.wire.flush().await.unwrap();
    }

    /// The next packet that is no ping.
    pub(super) async fn next(&mut self) -> Packet {
        loop {
            match within("a packet", self.wire.receive()).await.unwrap() {
                Incoming::Packet(Packet::PingReq) => {}
                Incoming::Packet(packet) => return packet,
                Incoming::Oversized { head, bytes } => panic!("{bytes} on {}", head.topic),
            }
        }
    }

    /// Takes packets until one is right. Messages are acknowledged if `acks`.
    pub(super) async fn until(&mut self, acks: bool, right: impl Fn(&Packet) -> bool) -> Packet {
        loop {
            let packet = self.next().await;
            if acks && let Packet::Publish(publish) = &packet {
                self.wire.send(&Packet::PubAck(publish.id));
            }
            if right(&packet) {
                return packet;
            }
        }
    }

    /// Confirms the subscription that comes.
    pub(super) async fn subscribed(&mut self) {
        let subscribe = self
            .until(true, |it| matches!(it, Packet::Subscribe { .. }))
            .await;
        let Packet::Subscribe { id, filters } = subscribe else {
            unreachable!();
        };
        let codes = vec![1; filters.len()];
        self.send(&Packet::SubAck { id, codes }).await;
    }

    /// Sends a report of `label`.
    pub(super) async fn report(&mut self, id: u16, dup: bool, value: &str) {
        let body = json!({
            "event_id": value,
            "timestamp": 1000 + u64::from(id),
            "twin": { "label": { "actual": { "value": value } } },
        });
        self.say(id, dup, "twin/update", body.to_string().into())
            .await;
    }

    pub(super) async fn say(&mut self, id: u16, dup: bool, what: &str, payload: Bytes) {
        let publish = Publish {
            dup,
            qos: Qos::One,
            retain: false,
            topic: format!("$hw/events/device/default/thermo/{what}").into(),
            id,
            payload,
        };
        self.send(&Packet::Publish(publish)).await;
    }

    pub(super) async fn acked(&mut self, acks: bool, id: u16) {
        self.until(acks, |packet| *packet == Packet::PubAck(id))
            .await;
    }
}

/// Whether a packet is a message on a topic that ends so.
pub(super) fn is_on(packet: &Packet, end: &str) -> bool {
    matches!(packet, Packet::Publish(publish) if publish.topic.ends_with(end))
}

/// What is in a message.
pub(super) fn body(packet: &Packet) -> Json {
    let Packet::Publish(publish) = packet else {
        panic!("{packet:?}");
    };
    serde_json::from_slice(&publish.payload).unwrap()
}
