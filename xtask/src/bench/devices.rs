//! Devices: a hundred of them with ten properties each, by MQTT and DMI, over real processes.

mod mapper;
mod offline;

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use causeway_simulator::mqtt::{Mqtt, Packet};
use causeway_simulator::wait::eventually;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::task::{JoinSet, LocalSet};

use self::mapper::Mapper;
use super::figures::{Samples, percentile};
use super::site::{NODE, PATIENCE, Site, free_address, memory_kb, seen};
use crate::say;

pub(super) const NAMES: [&str; 10] = [
    "twin_updates_per_s",
    "twin_updates_mosquitto_per_s",
    "twin_desired_to_device_p50_ms",
    "twin_desired_to_device_p99_ms",
    "twin_desired_to_dmi_p50_ms",
    "twin_desired_to_dmi_p99_ms",
    "twin_apiserver_writes_per_min",
    "edge_rss_100_devices_mb",
    "offline_readings_lost",
    "offline_drops_miscounted",
];
/// Those of one edge with its own broker.
const EMBEDDED: [&[&str]; 4] = [
    &["twin_updates_per_s"],
    &[
        "twin_desired_to_device_p50_ms",
        "twin_desired_to_device_p99_ms",
    ],
    &["twin_desired_to_dmi_p50_ms", "twin_desired_to_dmi_p99_ms"],
    &["twin_apiserver_writes_per_min", "edge_rss_100_devices_mb"],
];

const DEVICES: usize = 100;
const PROPERTIES: usize = 10;
const API: &str = "/apis/devices.kubeedge.io/v1beta1/namespaces/default";
/// Clients that report, each for its share of the devices.
const CLIENTS: usize = 10;
/// Reports of a client that may be unanswered; a broker's usual bound is 20.
const UNANSWERED_MAX: usize = 20;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(10);
/// Desired values of a round.
const WISHES: usize = 200;
/// The device that a mapper serves; the others speak MQTT.
const MAPPED: usize = 1;
/// Reports a second of each device where it matters how much comes of them.
const REPORTS_PER_S: u32 = 3;

/// Measures what was asked for.
pub(super) async fn measure(samples: &mut Samples, wanted: impl Fn(&[&str]) -> bool) -> Result<()> {
    let [throughput, by_mqtt, by_dmi, minute] = EMBEDDED;
    if wanted(&EMBEDDED.concat()) {
        let (site, broker) = with_devices("").await?;
        if wanted(throughput) {
            updates("twin_updates_per_s", broker, samples).await?;
        }
        if wanted(by_mqtt) {
            desired_by_mqtt(&site, broker, samples).await?;
        }
        if wanted(by_dmi) {
            desired_by_dmi(&site, samples).await?;
        }
        if wanted(minute) {
            writes(&site, broker, samples).await?;
        }
    }
    if wanted(&["twin_updates_mosquitto_per_s"]) {
        let (_mosquitto, broker) = mosquitto().await?;
        let config = format!("[mqtt]\nmode = \"external\"\nserver = \"tcp://{broker}\"\n");
        let site = Site::start_with(None, &config).await?;
        populate(&site).await?;
        updates("twin_updates_mosquitto_per_s", broker, samples).await?;
    }
    if wanted(&["offline_readings_lost"]) {
        offline::within(samples).await?;
    }
    if wanted(&["offline_drops_miscounted"]) {
        offline::beyond(samples).await?;
    }
    Ok(())
}

/// An edge with its own broker and all devices; `more` stands in its configuration.
async fn with_devices(more: &str) -> Result<(Site, SocketAddr)> {
    let broker = free_address()?;
    let config = format!("{more}[mqtt]\nlisten = \"{broker}\"\n");
    let site = Site::start_with(None, &config).await?;
    populate(&site).await?;
    Ok((site, broker))
}

fn name(number: usize) -> String {
    format!("device-{number:03}")
}

/// A hundred devices of one model, of which the node knows.
async fn populate(site: &Site) -> Result<()> {
    let properties = |one: fn(usize) -> Value| (0..PROPERTIES).map(one).collect::<Vec<_>>();
    let model = json!({
        "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceModel",
        "metadata": {"name": "bench", "namespace": "default"},
        "spec": {"properties": properties(|number| json!({
            "name": format!("p{number}"), "type": "INT", "accessMode": "ReadWrite",
        }))},
    });
    site.create(&format!("{API}/devicemodels"), &model).await?;
    for number in 0..DEVICES {
        let protocol = match number {
            MAPPED => mapper::PROTOCOL,
            _ => "mqtt",
        };
        let device = json!({
            "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device",
            "metadata": {
                "name": name(number), "namespace": "default",
                "annotations": {"causeway.dev/history": "p0=all"},
            },
            "spec": {
                "nodeName": NODE,
                "deviceModelRef": {"name": "bench"},
                "protocol": {"protocolName": protocol},
                "properties": properties(|number| json!({"name": format!("p{number}")})),
            },
        });
        site.create(&format!("{API}/devices"), &device).await?;
    }
    let path = format!("/causeway/v1/nodes/{NODE}/twins");
    seen(&site.edge_http, &path, |list| {
        let devices = list["devices"].as_array();
        let known = |device: &&Value| device["modelIsHere"] == true;
        devices.is_some_and(|all| all.iter().filter(known).count() == DEVICES)
    })
    .await
}

async fn connect(broker: SocketAddr, client: &str) -> Result<Mqtt> {
    let connected = eventually("the broker listens", PATIENCE, async || {
        let connected = Mqtt::connect(broker, client).await;
        connected.map_err(|error| error.to_string())
    });
    Ok(connected.await?)
}

fn update(device: usize) -> String {
    format!("$hw/events/device/default/{}/twin/update", name(device))
}

/// What a device reports: all its properties, or only those asked for.
fn report(value: u64, properties: usize) -> Vec<u8> {
    let twin: serde_json::Map<String, Value> = (0..properties)
        .map(|number| {
            let actual = json!({"actual": {"value": value.to_string()}});
            (format!("p{number}"), actual)
        })
        .collect();
    json!({"event_id": value.to_string(), "twin": twin})
        .to_string()
        .into_bytes()
}

/// Properties that are durable and told again, a second: the result of a report is published when it
/// is durable and projected.
async fn updates(figure: &'static str, broker: SocketAddr, samples: &mut Samples) -> Result<()> {
    say::line(format!("measuring {figure}"));
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let clients = async {
            let mut clients = JoinSet::new();
            for client in 0..CLIENTS {
                clients.spawn_local(flood(broker, round, client));
            }
            let mut answered = 0;
            while let Some(client) = clients.join_next().await {
                answered += client.context("a client panicked")??;
            }
            Ok::<u64, anyhow::Error>(answered)
        };
        let answered = LocalSet::new().run_until(clients).await?;
        let properties = answered * PROPERTIES as u64;
        #[expect(clippy::cast_precision_loss, reason = "some million")]
        samples.add(figure, properties as f64 / begun.elapsed().as_secs_f64());
    }
    let note = format!(
        "{DEVICES} devices, {PROPERTIES} properties in each report, {CLIENTS} clients with up to \
         {UNANSWERED_MAX} reports unanswered; properties a second"
    );
    samples.note(figure, note);
    Ok(())
}

/// One client reports for its share of the devices; how many reports were answered.
async fn flood(broker: SocketAddr, round: usize, client: usize) -> Result<u64> {
    let share = DEVICES / CLIENTS;
    let mut mqtt = connect(broker, &format!("bench-{round}-{client}")).await?;
    for device in 0..share {
        let filter = format!("{}/result", update(client * share + device));
        mqtt.subscribe(&filter).await?;
    }
    let begun = Instant::now();
    let (mut sent, mut answered) = (0_usize, 0_usize);
    let base = (round as u64 + 1) * 10_000_000;
    loop {
        while sent - answered < UNANSWERED_MAX && begun.elapsed() < ROUND {
            let device = client * share + sent % share;
            let payload = report(base + sent as u64, PROPERTIES);
            mqtt.publish(&update(device), &payload).await?;
            sent += 1;
        }
        if sent == answered {
            return Ok(answered as u64);
        }
        let next = tokio::time::timeout(PATIENCE, mqtt.next()).await??;
        if let Packet::Publish(publish) = next
            && publish.topic.ends_with("/result")
        {
            let result: Value = serde_json::from_slice(&publish.payload)?;
            if result["code"].as_u64().is_some_and(|code| code >= 400) {
                bail!("a report was refused: {result}");
            }
            answered += 1;
        }
    }
}

/// From sending a PATCH until the device is told by MQTT.
async fn desired_by_mqtt(site: &Site, broker: SocketAddr, samples: &mut Samples) -> Result<()> {
    say::line("measuring wishes on their way to devices");
    let mut mqtt = connect(broker, "bench-desired").await?;
    mqtt.subscribe(&format!("{}/delta", update(0))).await?;
    for _ in 0..ROUNDS {
        let latencies = wishes(site, 0, async |wish| {
            loop {
                let next = tokio::time::timeout(PATIENCE, mqtt.next()).await??;
                if let Packet::Publish(publish) = next
                    && String::from_utf8_lossy(&publish.payload).contains(wish)
                {
                    return Ok(Instant::now());
                }
            }
        });
        let latencies = latencies.await?;
        let (p50, p99) = (percentile(&latencies, 0.50), percentile(&latencies, 0.99));
        samples.add("twin_desired_to_device_p50_ms", p50);
        samples.add("twin_desired_to_device_p99_ms", p99);
    }
    Ok(())
}

/// From sending a PATCH until the mapper, called by the node, writes it to its device.
async fn desired_by_dmi(site: &Site, samples: &mut Samples) -> Result<()> {
    say::line("measuring wishes on their way to a mapper");
    let mut mapper = Mapper::start(&site.edge_dir());
    for _ in 0..ROUNDS {
        let latencies = wishes(site, MAPPED, async |wish| mapper.wrote(wish).await);
        let latencies = latencies.await?;
        let (p50, p99) = (percentile(&latencies, 0.50), percentile(&latencies, 0.99));
        samples.add("twin_desired_to_dmi_p50_ms", p50);
        samples.add("twin_desired_to_dmi_p99_ms", p99);
    }
    Ok(())
}

/// Desires one value after the other of a device; how many milliseconds after the PATCH began it was
/// told each. The first, with which connections are made, does not count.
async fn wishes(
    site: &Site,
    device: usize,
    mut told: impl AsyncFnMut(&str) -> Result<Instant>,
) -> Result<Vec<f64>> {
    let path = format!("{API}/devices/{}", name(device));
    let mut latencies = Vec::new();
    for number in 0..=WISHES {
        let wish = format!("{}", 1_000_000_000 + number);
        let patch = json!({"spec": {"properties": (0..PROPERTIES).map(|at| match at {
            0 => json!({"name": "p0", "desired": {"value": wish}}),
            _ => json!({"name": format!("p{at}")}),
        }).collect::<Vec<_>>()}});
        let begun = Instant::now();
        site.plane.merge_patch(&path, &patch).await?;
        let told = told(&wish).await?;
        if number > 0 {
            latencies.push(told.saturating_duration_since(begun).as_secs_f64() * 1000.0);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(latencies)
}

/// Reports as fast as each device makes them, for a while.
async fn chatter(broker: SocketAddr, base: u64, reports: u32) -> Result<()> {
    let mut mqtt = connect(broker, "bench-chatter").await?;
    let mut due = tokio::time::interval(Duration::from_secs(1) / REPORTS_PER_S);
    for number in 0..reports {
        due.tick().await;
        for device in 0..DEVICES {
            let payload = report(base + u64::from(number), 1);
            mqtt.publish(&update(device), &payload).await?;
        }
        acknowledged(&mut mqtt, DEVICES).await?;
    }
    Ok(())
}

/// Waits until so many reports are durable.
async fn acknowledged(mqtt: &mut Mqtt, count: usize) -> Result<()> {
    let mut left = count;
    while left > 0 {
        if let Packet::PubAck(_) = tokio::time::timeout(PATIENCE, mqtt.next()).await?? {
            left -= 1;
        }
    }
    Ok(())
}

/// Writes of `DeviceStatus` in the cloud in a minute of reports, as a watch of them shows.
async fn writes(site: &Site, broker: SocketAddr, samples: &mut Samples) -> Result<()> {
    say::line("measuring what a minute of reports writes to the cluster");
    let list = site.plane.get(&format!("{API}/devicestatuses")).await?;
    let version = list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or("0")
        .to_owned();
    let path = format!("{API}/devicestatuses?watch=true&resourceVersion={version}");
    let mut lines = site.plane.lines(&path).await?;
    let minute = chatter(broker, 20_000_000, 60 * REPORTS_PER_S);
    tokio::pin!(minute);
    let mut events = 0_u32;
    loop {
        tokio::select! {
            done = &mut minute => {
                done?;
                break;
            }
            line = lines.next() => {
                let Some(line) = line? else { bail!("the watch ended") };
                let event: Value = serde_json::from_slice(&line).unwrap_or_default();
                if matches!(event["type"].as_str(), Some("ADDED" | "MODIFIED")) {
                    events += 1;
                }
            }
        }
    }
    samples.add("twin_apiserver_writes_per_min", f64::from(events));
    let pid = site.edge.pid().context("the edge does not run")?;
    let megabytes = memory_kb(pid, "VmRSS:")? * 1024.0 / 1e6;
    samples.add("edge_rss_100_devices_mb", megabytes);
    Ok(())
}

/// A broker as Debian has it, which keeps nothing on disk.
async fn mosquitto() -> Result<(Child, SocketAddr)> {
    let broker = free_address()?;
    let child = Command::new("mosquitto")
        .args(["-p", &broker.port().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start mosquitto; it is a package of Debian")?;
    connect(broker, "bench-probe").await?;
    Ok((child, broker))
}
