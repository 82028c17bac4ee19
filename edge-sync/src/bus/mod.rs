//! The MQTT bus: devices that speak MQTT, by KubeEdge's topics and payloads.
//!
//! ```text
//!   devices ◀─▶ external broker ◀─▶ client ─┐
//!                                           ├─▶ desk ─▶ decide ─▶ twins: report, wish
//!   devices ◀─▶ embedded broker ────────────┘     │                   │ durable
//!                     ▲    ▲                      ▼                   ▼
//!                     │    └─────────── outbox ◀─ answer         changes of twins
//!                     └── acknowledged when durable
//! ```
//!
//! # Guarantees
//! - A report with QoS 1 is acknowledged when it is durable, by the embedded broker to the device
//!   itself, and by the client to the external broker. A report that is refused is acknowledged
//!   too, and its publisher told why.
//! - Reports of a connection are taken in their order, many at a time.
//! - Whatever arrives is bounded: packets, topics, rates, what waits.

mod answer;
#[cfg(feature = "broker")]
mod broker;
mod client;
mod decide;
mod desk;
mod inbound;
mod intake;
mod life;
mod limits;
mod mqtt;
mod outbox;
mod payload;
mod seen;
mod stats;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod tls;
mod topics;
mod window;

use std::sync::Arc;

use bytes::Bytes;
use causeway_daemon::metrics::Metrics;
use causeway_daemon::tasks::{self, Shutdown, Task};
use causeway_log::NodeName;

#[cfg(feature = "testing")]
pub(crate) use self::mqtt::decode_anything;

use self::client::Client;
use self::desk::Desk;
use self::limits::Rates;
use self::stats::Stats;
use crate::config::MqttConfig;
use crate::twins::TwinsHandle;

/// Longest password.
const PASSWORD_BYTES_MAX: usize = 1024;

/// Starts what the configuration asks for.
pub(crate) fn start(
    config: &MqttConfig,
    node: &NodeName,
    twins: &TwinsHandle,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Vec<Task> {
    let stats = Stats::default();
    metrics.register(|registry| stats.register(registry));
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let rates = Rates::new(number(config.rate), number(config.burst));
    let desk = Arc::new(Desk::new(node.clone(), twins.clone(), rates, stats));
    let mut tasks = Vec::new();
    if let Some(url) = config.external() {
        let client = Client::new(config.clone(), url, Arc::clone(&desk));
        tasks.push(tasks::spawn("mqtt-client", client.run(shutdown.token())));
    }
    if config.is_internal() {
        embedded(config, &desk, shutdown, &mut tasks);
    }
    tasks
}

#[cfg(feature = "broker")]
fn embedded(config: &MqttConfig, desk: &Arc<Desk>, shutdown: &Shutdown, tasks: &mut Vec<Task>) {
    let broker = broker::run(config.clone(), Arc::clone(desk), shutdown.token());
    tasks.push(tasks::spawn("mqtt-broker", broker));
}

#[cfg(not(feature = "broker"))]
fn embedded(config: &MqttConfig, _: &Arc<Desk>, _: &Shutdown, _: &mut Vec<Task>) {
    if config.mode != crate::config::MqttMode::Auto {
        tracing::warn!("this build has no embedded MQTT broker; name an external one");
    }
}

/// The password of the configuration, read anew each time: it may have been changed.
async fn password(config: &MqttConfig) -> std::io::Result<Option<Bytes>> {
    let Some(path) = config.password_file.clone() else {
        return Ok(None);
    };
    let read = tokio::task::spawn_blocking(move || std::fs::read(path));
    let mut password = read.await.map_err(std::io::Error::other)??;
    while password
        .last()
        .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
    {
        password.pop();
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(std::io::Error::other("the password is too long"));
    }
    Ok(Some(password.into()))
}
