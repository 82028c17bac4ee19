//! The MQTT bus with mosquitto: as broker, and its stock clients against the embedded broker.
//!
//! A tier of its own (`cargo xtask test mqtt`): mosquitto has to be installed.

mod bus;
mod embedded;
mod external;
mod killed;
mod load;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use causeway_daemon::tasks::{Task, spawn};
use causeway_edge_sync::EdgeConfig;
use causeway_edge_sync::config::MqttMode;
use causeway_log::{Key, Op, Resource, Uid, WallTime};
use causeway_projections::twin::{Desired, TwinVersion, Value as Wish};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use uuid::Uuid;

use crate::linked::Cloud;
use crate::{Edge, config, within};

/// A port that is free now.
pub(crate) fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A real broker.
struct Mosquitto {
    child: Child,
    port: u16,
    config: String,
    dir: tempfile::TempDir,
}

impl Mosquitto {
    async fn start(more: &str) -> Self {
        Self::start_on(port(), more).await
    }

    async fn start_on(port: u16, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "listener {port} 127.0.0.1\nuser root\nmax_queued_messages 0\nmax_inflight_messages 0\n{more}\n"
        );
        let child = Self::spawn(dir.path(), &config);
        let broker = Self {
            child,
            port,
            config,
            dir,
        };
        broker.listens().await;
        broker
    }

    /// With these lines instead of `allow_anonymous`.
    fn spawn(dir: &Path, config: &str) -> Child {
        let file = dir.join("mosquitto.conf");
        let anyone = if config.contains("allow_anonymous") {
            ""
        } else {
            "allow_anonymous true\n"
        };
        std::fs::write(&file, format!("{anyone}{config}")).unwrap();
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(file);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null()).spawn().unwrap()
    }

    async fn listens(&self) {
        listens(self.port).await;
    }

    /// Ends it, with all that it keeps in memory.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    async fn again(&mut self) {
        self.child = Self::spawn(self.dir.path(), &self.config);
        self.listens().await;
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn listens(port: u16) {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let trying = async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within("a listener", trying).await;
}

/// Runs `mosquitto_pub`; returns when the broker has acknowledged.
async fn publish(port: u16, topic: &str, message: &str) {
    publish_with(port, topic, message.as_bytes().to_vec(), &[]).await;
}

async fn publish_with(port: u16, topic: &str, message: Vec<u8>, more: &[&str]) {
    let publishing = try_publish(port, topic, message, more);
    assert!(publishing.await, "mosquitto_pub failed");
}

/// Whether the broker acknowledged.
async fn try_publish(port: u16, topic: &str, message: Vec<u8>, more: &[&str]) -> bool {
    let mut command = Command::new("mosquitto_pub");
    // It takes nothing from its input for no message.
    let from = if message.is_empty() { "-n" } else { "-s" };
    command
        .args(["-h", "127.0.0.1", "-q", "1", "-t", topic, from, "-p"])
        .arg(port.to_string())
        .args(more)
        .stdin(Stdio::piped())
        .stderr(Stdio::null());
    let publishing = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        // One that is refused may be gone before it has read all.
        let _ = child.stdin.take().unwrap().write_all(&message);
        child.wait().unwrap().success()
    });
    within("the publish", publishing).await.unwrap()
}

/// A running `mosquitto_sub`, with all that it was told.
struct Listener {
    child: Child,
    heard: watch::Receiver<u64>,
    lines: Arc<Mutex<Vec<(String, Value)>>>,
    _reading: Task,
}

static READY: AtomicU32 = AtomicU32::new(0);

impl Listener {
    /// Subscribes, and waits until that is so.
    async fn start(port: u16, topics: &[&str]) -> Self {
        Self::start_with(port, topics, &[], &[]).await
    }

    /// With these arguments for the listener alone.
    async fn start_as(port: u16, topics: &[&str], as_whom: &[&str]) -> Self {
        Self::start_with(port, topics, &[], as_whom).await
    }

    /// With `more` arguments for all clients.
    async fn start_with(port: u16, topics: &[&str], more: &[&str], as_whom: &[&str]) -> Self {
        let ready = format!("ready/{}", READY.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", "127.0.0.1", "-q", "1", "-F", "%t %p", "-p"]);
        command.arg(port.to_string()).args(more).args(as_whom);
        for topic in topics.iter().copied().chain([ready.as_str()]) {
            command.args(["-t", topic]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, heard) = watch::channel(0);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let reading = tokio::task::spawn_blocking(move || {
            for line in BufReader::new(stdout).lines() {
                let line = line.unwrap();
                let (topic, payload) = line.split_once(' ').unwrap();
                let payload = serde_json::from_str(payload).unwrap_or_default();
                kept.lock().push((topic.to_owned(), payload));
                sender.send_modify(|count| *count += 1);
            }
        });
        let reading = spawn("mosquitto_sub", async move {
            reading.await.unwrap();
        });
        let listener = Self {
            child,
            heard,
            lines,
            _reading: reading,
        };
        let is_ready = |lines: &[(String, Value)]| lines.iter().any(|(topic, _)| *topic == ready);
        let readying = async {
            while !is_ready(&listener.lines.lock()) {
                publish_with(port, &ready, b"1".to_vec(), more).await;
            }
        };
        within("the subscription", readying).await;
        listener.lines.lock().retain(|(topic, _)| *topic != ready);
        listener
    }

    /// Waits for a message that is right.
    async fn hears(&self, what: &str, right: impl Fn(&str, &Value) -> bool) -> Value {
        let mut heard = self.heard.clone();
        let hearing = async {
            loop {
                heard.mark_unchanged();
                let lines = self.lines.lock().clone();
                if let Some((_, found)) = lines.into_iter().find(|(topic, it)| right(topic, it)) {
                    return found;
                }
                heard.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(crate::DEADLINE, hearing).await {
            Ok(found) => found,
            Err(_) => {
                let lines = self.lines.lock();
                let last = &lines[lines.len().saturating_sub(20)..];
                panic!("{what} was not heard, at last {last:#?}")
            }
        }
    }

    /// Waits for a message on a topic that ends so, with this event id.
    async fn answer(&self, end: &str, event_id: &str) -> Value {
        let what = format!("{end} of {event_id}");
        self.hears(&what, |topic, it| {
            topic.ends_with(end) && it["event_id"] == *event_id
        })
        .await
    }

    fn count(&self, right: impl Fn(&str, &Value) -> bool) -> usize {
        let lines = self.lines.lock();
        lines.iter().filter(|(topic, it)| right(topic, it)).count()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What listens to all of a device and of the node's membership.
const ALL: [&str; 2] = ["$hw/events/device/#", "$hw/events/node/#"];

pub(crate) fn topic(device: &str, what: &str) -> String {
    format!("$hw/events/device/default/{device}/{what}")
}

fn device_key(resource: &str, name: &str) -> Key {
    let number = name.bytes().fold(7_u64, |sum, it| sum * 31 + u64::from(it));
    let uid = Uid::Uuid(Uuid::from_u64_pair(9, number));
    let resource = Resource::new("devices.kubeedge.io", resource);
    Key::new(resource, "default", name, uid).unwrap()
}

impl Cloud {
    /// The model of all devices in these tests.
    pub(crate) fn model(&self) {
        let key = device_key("devicemodels", "thermostat");
        let model = json!({
            "apiVersion": "devices.kubeedge.io/v1beta1",
            "kind": "DeviceModel",
            "metadata": { "name": "thermostat", "namespace": "default", "uid": key.uid.to_string() },
            "spec": { "properties": [
                { "name": "temperature", "type": "FLOAT", "accessMode": "ReadOnly", "minimum": "-40", "maximum": "125" },
                { "name": "target", "type": "INT", "accessMode": "ReadWrite", "minimum": "5", "maximum": "30" },
                { "name": "label", "type": "STRING", "accessMode": "ReadWrite" },
            ] },
        });
        self.say(Op::Put, key, &model, None);
    }

    /// A device with what is wanted of its `target`, if anything is.
    pub(crate) fn device(&self, name: &str, target: Option<&str>, history: &str) {
        self.device_with(name, target, history, &[]);
    }

    fn device_with(&self, name: &str, target: Option<&str>, history: &str, more: &[Value]) {
        let key = device_key("devices", name);
        let mut properties = vec![json!({ "name": "temperature" }), json!({ "name": "label" })];
        properties.extend(more.iter().cloned());
        properties.push(match target {
            None => json!({ "name": "target" }),
            Some(target) => json!({ "name": "target", "desired": { "value": target } }),
        });
        let mut device = json!({
            "apiVersion": "devices.kubeedge.io/v1beta1",
            "kind": "Device",
            "metadata": { "name": name, "namespace": "default", "uid": key.uid.to_string() },
            "spec": {
                "deviceModelRef": { "name": "thermostat" },
                "nodeName": "edge-1",
                "properties": properties,
            },
        });
        if !history.is_empty() {
            device["metadata"]["annotations"] = json!({ "causeway.dev/history": history });
        }
        self.say(Op::Put, key.clone(), &device, None);
        let wishes = target.map(|target| ("target".into(), Wish::new(target)));
        let version = TwinVersion::new(WISHES.fetch_add(1, Ordering::Relaxed).into());
        let now = WallTime::from_unix_millis(1);
        let desired = Desired::default().advance(&wishes.into_iter().collect(), version, now);
        if let Some(desired) = desired {
            let document: Value = serde_json::from_slice(&desired.encode()).unwrap();
            self.say(Op::Twin, key, &document, None);
        }
    }

    fn no_device(&self, name: &str) {
        self.say(Op::Delete, device_key("devices", name), &Value::Null, None);
    }
}

/// Versions of wishes only grow.
static WISHES: AtomicU32 = AtomicU32::new(1);

fn edge_config(dir: &Path, cloud: &Cloud) -> EdgeConfig {
    let mut config = config(dir);
    config.cloud = Some(cloud.url.parse().unwrap());
    config
}

/// An edge that uses the broker at a port.
fn external(dir: &Path, cloud: &Cloud, port: u16) -> EdgeConfig {
    let mut config = edge_config(dir, cloud);
    config.mqtt.mode = MqttMode::External;
    config.mqtt.server = Some(format!("tcp://127.0.0.1:{port}").parse().unwrap());
    config
}

/// An edge with its own broker at a port.
pub(crate) fn internal(dir: &Path, cloud: &Cloud, port: u16) -> EdgeConfig {
    let mut config = edge_config(dir, cloud);
    config.mqtt.mode = MqttMode::Internal;
    config.mqtt.listen = SocketAddr::from(([127, 0, 0, 1], port));
    config
}

/// Waits until the bus listens to the broker at a port, and the edge knows a device.
async fn knows(port: u16, device: &str) {
    let listener = Listener::start(port, &[&topic(device, "twin/get/result")]).await;
    let asking = async {
        while listener.count(|_, it| it["twin"].is_object()) == 0 {
            publish(port, &topic(device, "twin/get"), "{}").await;
        }
    };
    within("the device", asking).await;
}

/// The number in the metrics of an edge after this name and these labels.
async fn metric(dir: &Path, name: &str) -> u64 {
    let mut stream = tokio::net::UnixStream::connect(dir.join("edge.sock"))
        .await
        .unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |number| number.trim().parse().unwrap())
}

/// Waits until a number in the metrics is right.
async fn until_metric(dir: &Path, name: &str, right: impl Fn(u64) -> bool) {
    let asking = async {
        while !right(metric(dir, name).await) {
            tokio::task::yield_now().await;
        }
    };
    within(name, asking).await;
}

/// One broker of either kind with an edge that has the device `thermo`.
struct Site {
    dir: tempfile::TempDir,
    cloud: Cloud,
    edge: Edge,
    port: u16,
    _broker: Option<Mosquitto>,
}

impl Site {
    async fn external(history: &str) -> Self {
        let broker = Mosquitto::start("").await;
        let port = broker.port;
        Self::start(Some(broker), port, history, |_| {}).await
    }

    async fn embedded(history: &str) -> Self {
        Self::start(None, port(), history, |_| {}).await
    }

    async fn start(
        broker: Option<Mosquitto>,
        port: u16,
        history: &str,
        change: impl FnOnce(&mut EdgeConfig),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cloud = Cloud::start().await;
        cloud.model();
        cloud.device("thermo", None, history);
        let mut config = match &broker {
            Some(broker) => external(dir.path(), &cloud, broker.port),
            None => internal(dir.path(), &cloud, port),
        };
        change(&mut config);
        let edge = Edge::start_with(config).await;
        listens(port).await;
        knows(port, "thermo").await;
        Self {
            dir,
            cloud,
            edge,
            port,
            _broker: broker,
        }
    }

    async fn listener(&self) -> Listener {
        Listener::start(self.port, &ALL).await
    }

    /// Says something on a topic of the device, and waits for the answer.
    async fn ask(&self, listener: &Listener, what: &str, event: &str, body: Value) -> Value {
        let mut body = body;
        body["event_id"] = json!(event);
        publish(self.port, &topic("thermo", what), &body.to_string()).await;
        listener.answer(&format!("{what}/result"), event).await
    }

    async fn stop(self) {
        self.edge.stop().await;
        drop(self.dir);
    }
}

pub(crate) fn actual(property: &str, value: &str) -> Value {
    json!({ "twin": { property: { "actual": { "value": value } } } })
}

/// Whether a port takes connections.
fn is_open(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Runs `mosquitto_pub` once for many messages; returns when the broker has acknowledged all.
async fn publish_lines(port: u16, topic: &str, lines: &[String]) {
    let mut command = Command::new("mosquitto_pub");
    command
        .args(["-h", "127.0.0.1", "-q", "1", "-t", topic, "-l", "-p"])
        .arg(port.to_string())
        .stdin(Stdio::piped());
    let text = lines.join("\n") + "\n";
    let publishing = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        assert!(child.wait().unwrap().success(), "mosquitto_pub failed");
    });
    within("the publishes", publishing).await.unwrap();
}
