//! Devices on the embedded control plane: from a manifest to the device and back.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use causeway_simulator::proxy::CutMode;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::mqtt::Device;
use crate::world::*;

const PENDING: &str = "causeway.dev/pending";
const GROUP: &str = "/apis/devices.kubeedge.io/v1beta1/namespaces/default";
const OVEN: &str = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devices/oven";
pub(crate) const OVEN_STATUS: &str =
    "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devicestatuses/oven";

/// A model and a device of it, as users of KubeEdge have them.
pub(crate) fn model() -> Value {
    json!({
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "DeviceModel",
        "metadata": {"name": "heater", "namespace": "default"},
        "spec": {"protocol": "mqtt", "properties": [
            {"name": "temperature", "type": "FLOAT", "accessMode": "ReadOnly", "unit": "C"},
            {"name": "target", "type": "FLOAT", "accessMode": "ReadWrite",
                "minimum": "5", "maximum": "300"},
        ]},
    })
}

pub(crate) fn oven(node: &str, target: &str) -> Value {
    json!({
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "Device",
        "metadata": {
            "name": "oven",
            "namespace": "default",
            "annotations": {"causeway.dev/status-interval": "1s"},
        },
        "spec": {
            "deviceModelRef": {"name": "heater"},
            "nodeName": node,
            "protocol": {"protocolName": "mqtt", "configData": {"ip": "10.0.0.7", "retries": 3}},
            "properties": [
                {"name": "temperature", "reportToCloud": true, "collectCycle": 1000},
                {"name": "target", "desired": {"value": target}},
            ],
        },
    })
}

/// The configuration file of an edge with a broker, and where that listens.
pub(crate) fn with_broker(dir: &Path) -> (PathBuf, SocketAddr) {
    let broker = free_address();
    let file = dir.with_extension("toml");
    let text = format!("[mqtt]\nlisten = \"{broker}\"\n");
    std::fs::write(&file, text).unwrap();
    (file, broker)
}

/// What a DeviceStatus says of a property.
pub(crate) fn reported<'a>(status: &'a Value, property: &str) -> &'a str {
    let twins = status["status"]["twins"].as_array();
    let mut twins = twins.into_iter().flatten();
    let twin = twins.find(|twin| twin["propertyName"] == property);
    twin.and_then(|twin| twin["reported"]["value"].as_str())
        .unwrap_or_default()
}

/// The patch that wants `target` to be so.
pub(crate) fn wanting(device: &Value, target: &str) -> Value {
    let mut properties = device["spec"]["properties"].clone();
    properties[1]["desired"]["value"] = json!(target);
    json!({"spec": {"properties": properties}})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wanted_reaches_the_device_and_what_it_reports_the_cluster() {
    let mut world = World::start().await;
    let dir = world.scratch().join("edge-2");
    let (file, broker) = with_broker(&dir);
    let config = format!("--config={}", file.display());
    world.add_edge_with("edge-2", &dir, &[&config]).await;
    world.node_ready("edge-2").await;
    let cloud = world.cloud.http();
    create(&cloud, &format!("{GROUP}/devicemodels"), &model()).await;

    // What the model does not allow is refused by its field.
    let devices = format!("{GROUP}/devices");
    let wrong = oven("edge-2", "900");
    let refused = cloud.json(Method::POST, &devices, Some(&wrong)).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
    let said = refused.to_string();
    assert!(said.contains("spec.properties[1].desired.value"), "{said}");

    create(&cloud, &devices, &oven("edge-2", "180")).await;
    let mut device = Device::connect(broker, "default", "oven").await;
    device.report("temperature", "20.5").await;
    device.report("target", "20").await;
    device.told("target", "180").await;
    seen(&cloud, OVEN_STATUS, "shows what was reported", |status| {
        reported(status, "temperature") == "20.5"
    })
    .await;

    // Wanted in the cloud, told at the edge.
    let patch = wanting(&cloud.get(OVEN).await.unwrap(), "190");
    cloud.merge_patch(OVEN, &patch).await.unwrap();
    device.told("target", "190").await;
    device.report("target", "190").await;
    seen(&cloud, OVEN_STATUS, "shows that it was reached", |status| {
        reported(status, "target") == "190"
    })
    .await;

    // Wanted at the edge, decided by the cloud.
    let edge = world.edges.last().unwrap().http();
    let patch = wanting(&edge.get(OVEN).await.unwrap(), "200");
    edge.merge_patch(OVEN, &patch).await.unwrap();
    let wanted = |device: &Value| device["spec"]["properties"][1]["desired"]["value"].clone();
    let asked_for = "wants what was asked for";
    seen(&cloud, OVEN, asked_for, |device| wanted(device) == "200").await;

    // Without the cloud: asked for, pending, and decided afterwards.
    let is_pending = |device: &Value| device["metadata"]["annotations"][PENDING].is_string();
    seen(&edge, OVEN, "has the answer", |device| !is_pending(device)).await;
    let link = &world.edges.last().unwrap().link;
    link.cut(CutMode::Reset);
    let patch = wanting(&edge.get(OVEN).await.unwrap(), "210");
    edge.merge_patch(OVEN, &patch).await.unwrap();
    let asked = edge.get(OVEN).await.unwrap();
    assert_eq!(wanted(&asked), "210");
    assert!(is_pending(&asked), "{asked}");
    assert_eq!(wanted(&cloud.get(OVEN).await.unwrap()), "200");
    link.heal();
    seen(&cloud, OVEN, asked_for, |device| wanted(device) == "210").await;
    device.told("target", "210").await;
    let elsewhere = json!({"spec": {"nodeName": "edge-1"}});
    let refused = edge.merge_patch(OVEN, &elsewhere).await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::FORBIDDEN));

    cloud.json(Method::DELETE, OVEN, None).await.unwrap();
    gone(&cloud, OVEN_STATUS).await;
    gone(&edge, OVEN).await;
}
