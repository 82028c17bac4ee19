//! The real process, killed between a report and its acknowledgement.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use causeway_daemon::tasks::spawn;
use causeway_edge_sync::EdgeConfig;
use causeway_kube_api::client::Client;
use causeway_log::Op;
use causeway_projections::twin::history::Chunk;
use serde_json::json;

use super::{
    Mosquitto, external, internal, knows, listens, port, publish_lines, topic, try_publish,
};
use crate::linked::Cloud;
use crate::within;

struct Process(Child);

impl Process {
    async fn start(dir: &Path, config: &EdgeConfig) -> Self {
        let file = dir.join("edge.toml");
        std::fs::write(&file, config.dump()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_edge-sync"));
        command.args(["--log-level", "warn", "--config"]).arg(file);
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let client = Client::unix(config.dir.join("edge.sock"));
        let answers = async {
            while client.get_path("/causeway/v1/status").await.is_err() {
                assert_eq!(child.try_wait().unwrap(), None, "the edge did not start");
                tokio::task::yield_now().await;
            }
        };
        within("the start", answers).await;
        Self(child)
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn report(value: u32) -> String {
    // Each a moment after the one before, by the device's clock.
    let time = 1_700_000_000_000 + u64::from(value);
    json!({
        "timestamp": time,
        "twin": { "temperature": { "actual": { "value": format!("{}", f64::from(value) / 100.0) } } },
    })
    .to_string()
}

impl Cloud {
    /// The readings that arrived, by their source time, and how often.
    pub(crate) fn readings(&self) -> BTreeMap<u64, usize> {
        let mut found = BTreeMap::new();
        for stored in self.heard() {
            let header = &stored.record.header;
            if header.op == Op::Fact && &*header.key.resource.plural == "devicereadings" {
                let chunk = Chunk::decode(stored.record.body.bytes()).unwrap();
                for (_, readings) in chunk.series() {
                    for reading in readings {
                        let number = reading.time.unix_millis() - 1_700_000_000_000;
                        *found.entry(number).or_default() += 1;
                    }
                }
            }
        }
        found
    }
}

#[tokio::test]
async fn nothing_that_a_broker_holds_is_lost_when_the_edge_is_killed() {
    const REPORTS: u32 = 3000;
    let (dir, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = Mosquitto::start("").await;
    let cloud = Cloud::start().await;
    cloud.model();
    cloud.device("thermo", None, "temperature=all");
    let config = external(home.path(), &cloud, broker.port);
    let mut edge = Process::start(dir.path(), &config).await;
    let (port, update) = (broker.port, topic("thermo", "twin/update"));
    knows(port, "thermo").await;
    let lines: Vec<String> = (1..=REPORTS).map(report).collect();
    let publishing = spawn("publisher", async move {
        for some in lines.chunks(100) {
            publish_lines(port, &update, some).await;
        }
    });
    for round in 0..5_u64 {
        let taken = "causeway_mqtt_received_total{outcome=\"taken\"}";
        super::until_metric(home.path(), taken, |count| count > 20 + round * 30).await;
        edge.kill();
        edge = Process::start(dir.path(), &config).await;
    }
    tokio::time::timeout(Duration::from_secs(60), publishing.join())
        .await
        .unwrap();
    let arrived = |readings: &BTreeMap<u64, usize>| readings.len() == REPORTS as usize;
    cloud
        .hears("all readings", |_| arrived(&cloud.readings()))
        .await;
    let twice: Vec<_> = cloud
        .readings()
        .into_iter()
        .filter(|(_, count)| *count > 1)
        .collect();
    assert!(twice.is_empty(), "taken twice: {twice:?}");
}

#[tokio::test]
async fn nothing_that_the_embedded_broker_acknowledged_is_lost_when_it_is_killed() {
    let (dir, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (cloud, port) = (Cloud::start().await, port());
    cloud.model();
    cloud.device("thermo", None, "temperature=all");
    let config = internal(home.path(), &cloud, port);
    let mut edge = Process::start(dir.path(), &config).await;
    listens(port).await;
    knows(port, "thermo").await;
    let mut acknowledged = BTreeSet::new();
    let mut value = 0;
    for round in 1..=4_usize {
        listens(port).await;
        let until = acknowledged.len() + 10 * round;
        while acknowledged.len() < until {
            value += 1;
            let sent = report(value).into_bytes();
            if try_publish(port, &topic("thermo", "twin/update"), sent, &[]).await {
                acknowledged.insert(u64::from(value));
            }
        }
        // The next one is on its way while the process dies.
        let killing = async { edge.kill() };
        value += 1;
        let sent = report(value).into_bytes();
        let update = topic("thermo", "twin/update");
        let (acked, ()) = tokio::join!(try_publish(port, &update, sent, &[]), killing);
        if acked {
            acknowledged.insert(u64::from(value));
        }
        edge = Process::start(dir.path(), &config).await;
    }
    cloud
        .hears("all readings", |_| {
            let readings = cloud.readings();
            acknowledged
                .iter()
                .all(|value| readings.contains_key(value))
        })
        .await;
    drop(edge);
}
