//! An edge with a cloud that sends devices, and mappers that obey.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::tasks::{Task, spawn};
use causeway_dmi::messages::{
    Device, DeviceMessage, DeviceStatus, MapperInfo, MapperRegisterRequest, MapperRegisterResponse,
    ModelMessage, NameMessage, ReportDeviceStatusRequest, Twin, TwinProperty,
};
use causeway_dmi::{DeviceMapper, Door, ManagerClient, Status, serve_mapper};
use causeway_edge_sync::EdgeConfig;
use causeway_log::{Key, Op, Resource, Uid};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::linked::Cloud;
use crate::{Edge, within};

/// The model of all devices here.
pub(crate) const MODEL: &str = "thermostat";

pub(crate) struct Site {
    pub(crate) cloud: Cloud,
    pub(crate) dir: TempDir,
    edge: Option<Edge>,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut EdgeConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cloud = Cloud::start().await;
        let edge = Some(cloud.edge_with(dir.path(), change).await);
        Self { cloud, dir, edge }
    }

    pub(crate) async fn start_edge(&mut self) {
        self.edge = Some(self.cloud.edge(self.dir.path()).await);
    }

    pub(crate) async fn stop_edge(&mut self) {
        self.edge.take().unwrap().stop().await;
    }

    pub(crate) async fn stop(mut self) {
        self.stop_edge().await;
    }

    pub(crate) fn edge(&self) -> &Edge {
        self.edge.as_ref().unwrap()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("dmi.sock")
    }

    pub(crate) fn put(&self, plural: &str, name: &str, object: &Value) {
        self.cloud.say(Op::Put, key(plural, name), object, None);
    }

    pub(crate) fn model(&self) {
        let model = json!({
            "apiVersion": "devices.kubeedge.io/v1beta1",
            "kind": "DeviceModel",
            "metadata": { "name": MODEL, "namespace": "default" },
            "spec": { "protocol": "modbus", "properties": [
                { "name": "target", "type": "FLOAT", "accessMode": "ReadWrite" },
                { "name": "temperature", "type": "FLOAT", "accessMode": "ReadOnly",
                  "minimum": "-40", "maximum": "80" },
            ]},
        });
        self.put("devicemodels", MODEL, &model);
    }

    /// There is a device, or it changed.
    pub(crate) fn device(&self, name: &str, protocol: &str, desired: &str) {
        self.put("devices", name, &device(name, protocol, desired));
    }

    pub(crate) fn gone(&self, name: &str) {
        let key = key("devices", name);
        self.cloud.say(Op::Delete, key, &Value::Null, None);
    }

    /// Waits until the edge has exactly these devices.
    pub(crate) async fn knows(&self, names: &[&str]) {
        let metrics = async {
            loop {
                let text = self.metrics().await;
                let count = |name: &str| {
                    let mut lines = text.lines();
                    let line = lines.find_map(|line| line.strip_prefix(name));
                    line.map_or(0, |value| value.trim().parse::<usize>().unwrap())
                };
                let served = count("causeway_dmi_devices_served");
                let all = served + count("causeway_dmi_devices_unserved");
                if all == names.len() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        within("the devices", metrics).await;
    }

    pub(crate) async fn metrics(&self) -> String {
        let socket = self.dir.path().join("edge.sock");
        let mut stream = UnixStream::connect(socket).await.unwrap();
        let asked = b"GET /metrics HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n";
        stream.write_all(asked).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    /// Reports, and waits until the cloud has it.
    pub(crate) async fn reported(&self, node: &ManagerClient, report: ReportDeviceStatusRequest) {
        let twin = report.reported_device.as_ref().unwrap().twins[0].clone();
        let value = twin.reported.unwrap().value;
        let name = report.device_name.clone();
        node.report_device_status(report).await.unwrap();
        self.cloud_hears(&name, &twin.property_name, &value).await;
    }

    /// Waits until the newest report of a device says so.
    pub(crate) async fn cloud_hears(&self, device: &str, property: &str, value: &str) {
        let says = |body: &Value| body["properties"][property]["value"]["value"] == value;
        self.cloud_hears_that(device, says).await;
    }

    /// Waits until the newest report of a device says that it is in this state.
    pub(crate) async fn cloud_hears_state(&self, device: &str, state: &str) {
        let says = |body: &Value| body["state"]["state"] == state;
        self.cloud_hears_that(device, says).await;
    }

    async fn cloud_hears_that(&self, device: &str, says: impl Fn(&Value) -> bool) {
        self.cloud
            .hears("the report", |records| {
                let mut twins = records.iter().rev().filter(|stored| {
                    let header = &stored.record.header;
                    header.op == Op::Twin && *header.key.name == *device
                });
                twins.next().is_some_and(|stored| {
                    says(&serde_json::from_slice(stored.record.body.bytes()).unwrap())
                })
            })
            .await;
    }
}

fn key(plural: &str, name: &str) -> Key {
    let uid = Uid::Uuid(Uuid::from_u64_pair(1, 2));
    let resource = Resource::new("devices.kubeedge.io", plural);
    Key::new(resource, "default", name, uid).unwrap()
}

pub(crate) fn device(name: &str, protocol: &str, desired: &str) -> Value {
    json!({
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "Device",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": key("devices", name).uid.to_string(),
        },
        "spec": {
            "deviceModelRef": { "name": MODEL },
            "nodeName": "edge-1",
            "protocol": { "protocolName": protocol },
            "properties": [
                { "name": "target", "desired": { "value": desired } },
                { "name": "temperature", "reportToCloud": true },
            ],
        },
    })
}

/// Values of a device at one moment.
pub(crate) fn report(device: &str, values: &[(&str, &str)]) -> ReportDeviceStatusRequest {
    let twin = |(name, value): &(&str, &str)| Twin {
        property_name: (*name).to_owned(),
        observed_desired: None,
        reported: Some(TwinProperty {
            value: (*value).to_owned(),
            metadata: BTreeMap::new(),
        }),
    };
    ReportDeviceStatusRequest {
        device_name: device.to_owned(),
        device_namespace: "default".to_owned(),
        reported_device: Some(DeviceStatus {
            twins: values.iter().map(twin).collect(),
            ..DeviceStatus::default()
        }),
    }
}

/// A mapper that obeys, and tells of each call in one line.
pub(crate) struct Mapper {
    name: String,
    protocol: String,
    address: PathBuf,
    node: ManagerClient,
    calls: mpsc::Receiver<String>,
    /// Calls that came before one that was waited for.
    passed: Vec<String>,
    hangs: watch::Sender<bool>,
    task: Task,
}

struct Obeys {
    tell: mpsc::Sender<String>,
    hangs: watch::Receiver<bool>,
    devices: Mutex<BTreeMap<String, Device>>,
}

/// Long enough that only a call that never ends meets it.
const TIMEOUT: Duration = Duration::from_secs(60);

impl Mapper {
    pub(crate) fn start(site: &Site, protocol: &str, name: &str) -> Self {
        let address = site.dir.path().join(format!("{name}.sock"));
        let (tell, calls) = mpsc::channel(256);
        let (hangs, hanging) = watch::channel(false);
        let door = Door::open(&address).unwrap();
        let service = Obeys {
            tell,
            hangs: hanging,
            devices: Mutex::default(),
        };
        let task = spawn("mapper", async move {
            let served = serve_mapper(door, Arc::new(service), std::future::pending());
            served.await.unwrap();
        });
        Self {
            name: name.to_owned(),
            protocol: protocol.to_owned(),
            address,
            node: ManagerClient::new(&site.socket(), TIMEOUT).unwrap(),
            calls,
            passed: Vec::new(),
            hangs,
            task,
        }
    }

    /// It ends without a word, with what it knew.
    pub(crate) async fn kill(self) {
        let Self { task, .. } = self;
        drop(task);
        tokio::task::yield_now().await;
    }

    pub(crate) fn hang(&self, hangs: bool) {
        self.hangs.send_replace(hangs);
    }

    pub(crate) fn node(&self) -> ManagerClient {
        self.node.clone()
    }

    pub(crate) async fn register(&self, with_data: bool) -> Result<MapperRegisterResponse, Status> {
        let address = self.address.as_os_str().as_encoded_bytes();
        self.ask(&self.name, address, with_data).await
    }

    pub(crate) async fn register_as(
        &self,
        name: &str,
        address: &[u8],
    ) -> Result<MapperRegisterResponse, Status> {
        self.ask(name, address, true).await
    }

    async fn ask(
        &self,
        name: &str,
        address: &[u8],
        with_data: bool,
    ) -> Result<MapperRegisterResponse, Status> {
        let request = MapperRegisterRequest {
            with_data,
            mapper: Some(MapperInfo {
                name: name.to_owned(),
                protocol: self.protocol.clone(),
                address: address.to_vec(),
                ..MapperInfo::default()
            }),
        };
        self.node.mapper_register(request).await
    }

    /// Waits for a call; it may have come already.
    pub(crate) async fn hears(&mut self, call: &str) {
        let known = self.passed.iter().position(|passed| passed == call);
        if let Some(at) = known {
            self.passed.remove(at);
            return;
        }
        let hearing = async {
            loop {
                let heard = self.calls.recv().await.expect("it lives");
                if heard == call {
                    return;
                }
                self.passed.push(heard);
            }
        };
        within(call, hearing).await;
    }

    /// Calls that nobody waited for.
    pub(crate) fn calls(&mut self) -> Vec<String> {
        let more = std::iter::from_fn(|| self.calls.try_recv().ok());
        self.passed.drain(..).chain(more).collect()
    }
}

impl Obeys {
    async fn tell(&self, line: String) {
        let mut hangs = self.hangs.clone();
        let _ = hangs.wait_for(|hangs| !hangs).await;
        self.tell.send(line).await.unwrap();
    }

    async fn hold(&self, what: &str, message: DeviceMessage) -> NameMessage {
        let device = message.device.unwrap();
        let spec = device.spec.clone().unwrap();
        let desired = spec.properties[0].desired.clone().unwrap_or_default();
        let line = format!("{what} {} {}", device.name, desired.value);
        let name = NameMessage {
            name: device.name.clone(),
            namespace: device.namespace.clone(),
        };
        self.devices.lock().insert(device.name.clone(), device);
        self.tell(line).await;
        name
    }
}

impl DeviceMapper for Obeys {
    async fn register_device(&self, it: DeviceMessage) -> Result<NameMessage, Status> {
        Ok(self.hold("register", it).await)
    }

    async fn remove_device(&self, it: NameMessage) -> Result<(), Status> {
        self.devices.lock().remove(&it.name);
        self.tell(format!("remove {}", it.name)).await;
        Ok(())
    }

    async fn update_device(&self, it: DeviceMessage) -> Result<(), Status> {
        self.hold("update", it).await;
        Ok(())
    }

    async fn create_device_model(&self, it: ModelMessage) -> Result<NameMessage, Status> {
        let name = it.model.unwrap().name;
        self.tell(format!("model {name}")).await;
        Ok(NameMessage {
            name,
            namespace: "default".to_owned(),
        })
    }

    async fn remove_device_model(&self, it: NameMessage) -> Result<(), Status> {
        self.tell(format!("remove model {}", it.name)).await;
        Ok(())
    }

    async fn update_device_model(&self, it: ModelMessage) -> Result<(), Status> {
        let name = it.model.unwrap().name;
        self.tell(format!("update model {name}")).await;
        Ok(())
    }

    async fn get_device(&self, it: NameMessage) -> Result<DeviceMessage, Status> {
        let device = self.devices.lock().get(&it.name).cloned();
        let device = device.ok_or_else(|| Status::not_found(it.name))?;
        Ok(DeviceMessage {
            device: Some(device),
        })
    }
}
