//! A whole mapper, real sockets, and a node that the test plays.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that goes wrong"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use causeway_dmi::messages::{
    self, Device, DeviceMessage, MapperRegisterRequest, MapperRegisterResponse, NameMessage,
    ReportDeviceStatesRequest, ReportDeviceStatusRequest,
};
use causeway_dmi::{Code, DeviceManager, Door, MapperClient, Status, convert, serve_manager};
use causeway_mapper::thermostat::Thermostats;
use causeway_mapper::{Config, RunError, run};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Longer than anything here takes; only what never comes meets it.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the node heard.
#[derive(Debug, PartialEq)]
enum Heard {
    Registered(String),
    Value(String, String, String),
    Observed(String, String, String),
    State(String, String),
}

struct Node {
    heard: mpsc::Sender<Heard>,
    devices: Vec<Device>,
    models: Vec<messages::DeviceModel>,
}

impl DeviceManager for Node {
    async fn mapper_register(
        &self,
        request: MapperRegisterRequest,
    ) -> Result<MapperRegisterResponse, Status> {
        let mapper = request.mapper.unwrap_or_default();
        let _ = self.heard.send(Heard::Registered(mapper.name)).await;
        Ok(MapperRegisterResponse {
            model_list: self.models.clone(),
            device_list: self.devices.clone(),
        })
    }

    async fn report_device_status(&self, it: ReportDeviceStatusRequest) -> Result<(), Status> {
        for twin in it.reported_device.unwrap_or_default().twins {
            let place = (it.device_name.clone(), twin.property_name);
            if let Some(seen) = twin.observed_desired {
                let (device, property) = place.clone();
                let seen = Heard::Observed(device, property, seen.value);
                let _ = self.heard.send(seen).await;
            }
            if let Some(value) = twin.reported {
                assert!(value.metadata.contains_key("timestamp"));
                let value = Heard::Value(place.0, place.1, value.value);
                let _ = self.heard.send(value).await;
            }
        }
        Ok(())
    }

    async fn report_device_states(&self, it: ReportDeviceStatesRequest) -> Result<(), Status> {
        let _ = self
            .heard
            .send(Heard::State(it.device_name, it.state))
            .await;
        Ok(())
    }
}

fn model() -> serde_json::Value {
    json!({"metadata": {"name": "thermostat", "namespace": "default"}, "spec": {"properties": [
        {"name": "temperature", "type": "FLOAT", "accessMode": "ReadOnly"},
        {"name": "target", "type": "FLOAT", "accessMode": "ReadWrite"},
    ]}})
}

fn thermostat(name: &str, target: &str, outside: serde_json::Value) -> Device {
    let property = |name: &str, desired: &str| json!({"name": name, "desired": {"value": desired}, "collectCycle": 10, "reportToCloud": true});
    let device = json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "deviceModelRef": {"name": "thermostat"},
            "protocol": {"protocolName": "virtual", "configData": {"outside": outside, "inertia": 0.2}},
            "properties": [property("temperature", ""), property("target", target)],
        },
    });
    convert::device(&device, Some(&model())).unwrap()
}

/// A mapper and its node.
struct Site {
    dir: TempDir,
    heard: mpsc::Receiver<Heard>,
    tell: mpsc::Sender<Heard>,
    node: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    _mapper: (oneshot::Sender<()>, JoinHandle<Result<(), RunError>>),
    client: MapperClient,
}

#[expect(clippy::disallowed_methods, reason = "the site owns its tasks")]
impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (tell, heard) = mpsc::channel(100_000);
        let config = Self::config(dir.path().to_owned());
        let client = MapperClient::new(&config.socket, DEADLINE).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let mapper = tokio::spawn(run(Thermostats, config, async move {
            stopped.await.unwrap_or_default();
        }));
        Self {
            dir,
            heard,
            tell,
            node: None,
            _mapper: (stop, mapper),
            client,
        }
    }

    fn config(dir: PathBuf) -> Config {
        Config {
            name: "rooms".to_owned(),
            socket: dir.join("rooms.sock"),
            node: dir.join("dmi.sock"),
        }
    }

    fn start_node(&mut self, devices: Vec<Device>) {
        let socket = self.dir.path().join("dmi.sock");
        let _ = std::fs::remove_file(&socket);
        let node = Node {
            heard: self.tell.clone(),
            devices,
            models: vec![convert::model(&model())],
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let door = Door::open(&socket).unwrap();
        let serving = async move {
            let stopped = async move { stopped.await.unwrap_or_default() };
            serve_manager(door, Arc::new(node), stopped).await.unwrap();
        };
        self.node = Some((stop, tokio::spawn(serving)));
    }

    async fn stop_node(&mut self) {
        let (stop, serving) = self.node.take().unwrap();
        // Connections end one by one; none is made anew.
        std::fs::remove_file(self.dir.path().join("dmi.sock")).unwrap();
        drop(stop);
        serving.await.unwrap();
    }

    /// Waits until the node heard it.
    async fn hear(&mut self, what: impl Fn(&Heard) -> bool) -> Heard {
        let heard = async {
            loop {
                let heard = self.heard.recv().await.unwrap();
                if what(&heard) {
                    return heard;
                }
            }
        };
        tokio::time::timeout(DEADLINE, heard).await.unwrap()
    }

    async fn reaches(&mut self, name: &str, degrees: f64) {
        let is_there = |heard: &Heard| {
            let Heard::Value(device, property, value) = heard else {
                return false;
            };
            let value: f64 = value.parse().unwrap();
            device == name && property == "temperature" && (value - degrees).abs() < 4.0
        };
        self.hear(is_there).await;
    }
}

fn observed(device: &str, value: &str) -> impl Fn(&Heard) -> bool {
    let wanted = Heard::Observed(device.to_owned(), "target".to_owned(), value.to_owned());
    move |heard| *heard == wanted
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desired_temperature_is_reached_and_seen() {
    let mut site = Site::new();
    site.start_node(vec![thermostat("hall", "24", json!(5))]);
    site.hear(|heard| *heard == Heard::Registered("rooms".to_owned()))
        .await;
    site.hear(observed("hall", "24")).await;
    site.reaches("hall", 24.0).await;

    let update = DeviceMessage {
        device: Some(thermostat("hall", "12", json!(5))),
    };
    site.client.update_device(update).await.unwrap();
    site.hear(observed("hall", "12")).await;
    site.reaches("hall", 12.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_late_or_again_is_told() {
    let mut site = Site::new();
    site.start_node(vec![thermostat("hall", "24", json!(5))]);
    site.reaches("hall", 24.0).await;
    site.stop_node().await;
    // What it names now is what is served: another device, and the first no more.
    site.start_node(vec![thermostat("attic", "15", json!(5))]);
    site.hear(|heard| matches!(heard, Heard::Registered(_)))
        .await;
    site.reaches("attic", 15.0).await;
    let name = NameMessage {
        name: "hall".to_owned(),
        namespace: "default".to_owned(),
    };
    let gone = site.client.get_device(name).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_cannot_be_opened_stops_no_other() {
    let mut site = Site::new();
    let wrong = thermostat("cellar", "24", json!("cold"));
    site.start_node(vec![wrong, thermostat("hall", "24", json!(5))]);
    let offline = Heard::State("cellar".to_owned(), "offline".to_owned());
    site.hear(|heard| *heard == offline).await;
    site.reaches("hall", 24.0).await;
    // Its settings mended, it is opened.
    let mended = DeviceMessage {
        device: Some(thermostat("cellar", "10", json!("5"))),
    };
    site.client.register_device(mended).await.unwrap();
    let online = Heard::State("cellar".to_owned(), "online".to_owned());
    site.hear(|heard| *heard == online).await;
    site.reaches("cellar", 10.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_removed_is_served_no_more() {
    let mut site = Site::new();
    site.start_node(vec![thermostat("hall", "24", json!(5))]);
    site.hear(observed("hall", "24")).await;
    let name = NameMessage {
        name: "hall".to_owned(),
        namespace: "default".to_owned(),
    };
    let known = site.client.get_device(name.clone()).await.unwrap();
    assert_eq!(known.device.unwrap().name, "hall");
    site.client.remove_device(name.clone()).await.unwrap();
    site.client.remove_device(name.clone()).await.unwrap();
    let gone = site.client.get_device(name).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let config = Site::config(dir.path().to_owned());
    drop(UnixListener::bind(&config.socket).unwrap());
    let ended = run(Thermostats, config.clone(), async {}).await;
    assert!(ended.is_ok(), "{ended:?}");

    std::fs::remove_file(&config.socket).unwrap();
    let _other = UnixListener::bind(&config.socket).unwrap();
    let refused = run(Thermostats, config.clone(), async {})
        .await
        .unwrap_err();
    assert!(matches!(refused, RunError::Listen { .. }), "{refused:?}");

    std::fs::remove_file(&config.socket).unwrap();
    std::fs::write(&config.socket, "mine").unwrap();
    assert!(run(Thermostats, config.clone(), async {}).await.is_err());
    assert_eq!(std::fs::read(&config.socket).unwrap(), b"mine");
}

#[tokio::test]
async fn requests_without_what_they_need_are_refused() {
    let site = Site::new();
    while std::fs::metadata(site.dir.path().join("rooms.sock")).is_err() {
        tokio::task::yield_now().await;
    }
    let refused = |status: Status| status.code();
    let none = site.client.register_device(DeviceMessage::default()).await;
    assert_eq!(refused(none.unwrap_err()), Code::InvalidArgument);
    let nameless = DeviceMessage {
        device: Some(Device::default()),
    };
    let nameless = site.client.update_device(nameless).await;
    assert_eq!(refused(nameless.unwrap_err()), Code::InvalidArgument);
    let model = messages::ModelMessage::default();
    let model = site.client.create_device_model(model).await;
    assert_eq!(refused(model.unwrap_err()), Code::InvalidArgument);
}
