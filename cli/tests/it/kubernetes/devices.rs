//! Devices on a real control plane: the definitions of the chart, kubectl, its rights and its garbage
//! collector.

use super::Cluster;
use crate::devices::{OVEN_STATUS, model, oven, reported, wanting, with_broker};
use crate::mqtt::Device;
use crate::world::*;

const OVEN: &str = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devices/oven";

#[tokio::test(flavor = "multi_thread")]
async fn devices_of_a_cluster_are_served_and_what_they_report_is_published() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let mut world = cluster.cloud(&cluster.kubeconfig());
    world.cloud_ready().await;
    let dir = world.scratch().join("edge-1");
    let (file, broker) = with_broker(&dir);
    let config = format!("--config={}", file.display());
    world.add_edge_with("edge-1", &dir, &[&config]).await;
    cluster.node_is("edge-1", "True").await;

    // The device first, its model later.
    cluster.apply(&oven("edge-1", "180").to_string());
    cluster.apply(&model().to_string());
    let listed = cluster.kubectl(&["get", "devices", "-n", "default"]);
    assert!(
        listed.contains("NODE") && listed.contains("heater"),
        "{listed}"
    );
    let wrong = model().to_string().replace("\"FLOAT\"", "\"DECIMAL\"");
    let refused = tokio::task::block_in_place(|| cluster.plane.apply(&wrong));
    let refused = format!("{:#}", refused.unwrap_err());
    assert!(refused.contains("spec.properties[0].type"), "{refused}");

    let mut device = Device::connect(broker, "default", "oven").await;
    device.report("temperature", "20.5").await;
    device.report("target", "20").await;
    device.told("target", "180").await;
    seen(
        &cluster.api,
        OVEN_STATUS,
        "shows what was reported",
        |status| reported(status, "temperature") == "20.5",
    )
    .await;

    let patch = wanting(&oven("edge-1", "180"), "190").to_string();
    let patch = ["patch", "device", "oven", "--type=merge", "-p", &patch];
    cluster.kubectl(&patch);
    device.told("target", "190").await;

    // Asked for at the edge: the service writes it, with the node as field manager.
    let edge = world.edge().http();
    let patch = wanting(&edge.get(OVEN).await.unwrap(), "200");
    edge.merge_patch(OVEN, &patch).await.unwrap();
    let asked = seen(&cluster.api, OVEN, "wants what was asked for", |device| {
        device["spec"]["properties"][1]["desired"]["value"] == "200"
    })
    .await;
    let managers = asked["metadata"]["managedFields"].to_string();
    assert!(managers.contains("causeway/edge-1"), "{managers}");

    goes_on_without_the_kind(&cluster, &world, &mut device).await;
}

/// `up` brings the thermostat of its example where there are devices.
#[tokio::test(flavor = "multi_thread")]
async fn up_serves_a_thermostat_to_a_cluster_that_knows_devices() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let dir = cluster.scratch().join("road");
    let kubeconfig = format!("--kubernetes={}", cluster.plane.kubeconfig().display());
    let mut up = crate::up::start(&dir, &[&kubeconfig]);
    crate::up::told(&mut up).await;
    assert!(up.log_tail(1000).contains("patch device thermostat"));
    let statuses = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devicestatuses";
    let path = format!("{statuses}/thermostat");
    seen(&cluster.api, &path, "shows what it reports", |status| {
        reported(status, "target").starts_with("21") && !reported(status, "temperature").is_empty()
    })
    .await;
    let ended = up.terminate(PATIENCE).await.unwrap();
    let is_well = ended.is_some_and(|ended| ended.success());
    assert!(is_well, "{ended:?}: {}", up.log_tail(20));
}

/// Without the kind nothing is published, that is said once, and everything else goes on.
async fn goes_on_without_the_kind(cluster: &Cluster, world: &World, device: &mut Device) {
    let definition = "devicestatuses.devices.kubeedge.io";
    cluster.kubectl(&["delete", "crd", definition]);
    device.report("temperature", "21").await;
    let said = "what devices report is kept, but not published";
    let log = world.scratch().join("cloud.log");
    eventually("the log says that the kind is missing", async || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.contains(said)
            .then_some(())
            .ok_or_else(|| text.len().to_string())
    })
    .await;
    device.report("temperature", "22").await;
    let patch = wanting(&oven("edge-1", ""), "210").to_string();
    cluster.kubectl(&["patch", "device", "oven", "--type=merge", "-p", &patch]);
    device.told("target", "210").await;
    let text = std::fs::read_to_string(&log).unwrap();
    assert_eq!(text.matches(said).count(), 1, "it is said once");
}
