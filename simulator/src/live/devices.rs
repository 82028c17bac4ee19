//! Devices of a live run: they report by MQTT to the broker of their node.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use causeway_daemon::telemetry::error_chain;
use causeway_kube_api::client::Client;
use causeway_log::NodeName;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Live;
use crate::http::Http;
use crate::mqtt::{Mqtt, MqttError, Packet};
use crate::scenario::{Report, TwinEnds, TwinSight};
use crate::wait::eventually;

/// A broker listens once its node has a device; it may take so long until it does.
const LISTENS_WITHIN: Duration = Duration::from_secs(10);
/// A report is durable by then.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

impl Live {
    /// A device reports; its message is acknowledged when what it says is durable.
    pub(super) fn report(&mut self, report: &Report) {
        for name in &report.nodes {
            let Some(node) = self.site.node(name) else {
                continue;
            };
            let (broker, api) = (node.mqtt, node.api.clone());
            let told = self.runtime.block_on(tell(broker, &api, name, report));
            if let Err(why) = told {
                let (namespace, device) = (&report.namespace, &report.name);
                let why = format!("report of {namespace}/{device} at {name}: {why}");
                self.refusals.push((self.pace.now(), why));
            }
        }
    }

    pub(super) fn twin_ends(&mut self, node: &NodeName, namespace: &str, name: &str) -> TwinEnds {
        let path = format!("/causeway/v1/nodes/{node}/twins/{namespace}/{name}");
        let cloud = self.site.cloud_api.clone();
        let edge = self.site.node(node).map(|node| node.api.clone());
        self.runtime.block_on(async {
            TwinEnds {
                cloud: sight(&cloud, &path).await,
                edge: match &edge {
                    Some(edge) => sight(edge, &path).await,
                    None => None,
                },
            }
        })
    }

    pub(super) fn count_readings(
        &self,
        node: &NodeName,
        namespace: &str,
        name: &str,
        property: &str,
    ) -> Option<u64> {
        let path = format!("/causeway/v1/nodes/{node}/twins/{namespace}/{name}/history/{property}");
        let cloud = Http::tcp(self.site.api);
        self.runtime.block_on(async {
            let mut lines = timeout(ANSWERS_WITHIN, cloud.lines(&path))
                .await
                .ok()?
                .ok()?;
            let mut last = None;
            while let Ok(Some(line)) = lines.next().await {
                if !line.is_empty() {
                    last = Some(line);
                }
            }
            let last: Value = serde_json::from_slice(&last?).ok()?;
            last["end"]["readings"].as_u64()
        })
    }
}

async fn tell(
    broker: SocketAddr,
    api: &Client,
    node: &NodeName,
    report: &Report,
) -> Result<(), String> {
    let Report {
        nodes: _,
        namespace,
        name,
        values,
        state,
    } = report;
    // Whoever applied the device a moment ago means it to be there.
    let path = format!("/causeway/v1/nodes/{node}/twins/{namespace}/{name}");
    let known = eventually("the node has the device", LISTENS_WITHIN, async || {
        let found = api.get_path(&path).await;
        found.map(drop).map_err(|error| error.to_string())
    });
    known.await.map_err(|error| error.to_string())?;
    let client = format!("{namespace}-{name}");
    let connected = eventually("the broker listens", LISTENS_WITHIN, async || {
        let connected = Mqtt::connect(broker, &client).await;
        connected.map_err(|error| error_chain(&error).to_string())
    });
    let mut mqtt = connected.await.map_err(|error| error.to_string())?;
    let device = format!("$hw/events/device/{namespace}/{name}");
    let twin: BTreeMap<&String, Value> = values
        .iter()
        .map(|(property, value)| (property, json!({ "actual": { "value": value } })))
        .collect();
    if !twin.is_empty() {
        let payload = json!({ "event_id": "", "twin": twin });
        publish(&mut mqtt, &format!("{device}/twin/update"), &payload).await?;
    }
    if let Some(state) = state {
        let payload = json!({ "event_id": "", "state": state });
        publish(&mut mqtt, &format!("{device}/state/update"), &payload).await?;
    }
    Ok(())
}

/// Publishes, and hears what became of it.
async fn publish(mqtt: &mut Mqtt, topic: &str, payload: &Value) -> Result<(), String> {
    let broken = |error: MqttError| error_chain(&error).to_string();
    let results = format!("{topic}/result");
    mqtt.subscribe(&results).await.map_err(broken)?;
    let payload = payload.to_string();
    let published = mqtt.publish(topic, payload.as_bytes()).await;
    published.map_err(broken)?;
    let taken = async {
        let mut refusal = None;
        loop {
            let packet = mqtt.next().await.map_err(broken)?;
            if let Packet::PubAck(_) = packet {
                // Nothing else is on its way.
                return Ok(refusal);
            }
            if let Packet::Publish(publish) = packet
                && publish.topic == results
            {
                let result = serde_json::from_slice(&publish.payload);
                let result: Value = result.unwrap_or_default();
                // Of an error there are a code and a reason.
                if result["code"].as_u64().is_some_and(|code| code >= 400) {
                    refusal = Some(result["reason"].to_string());
                }
            }
        }
    };
    match timeout(TAKEN_WITHIN, taken).await {
        Ok(Ok(None)) => Ok(()),
        Ok(Ok(Some(why)) | Err(why)) => Err(why),
        Err(_) => Err("it was not acknowledged".to_owned()),
    }
}

async fn sight(api: &Client, path: &str) -> Option<TwinSight> {
    let twin = timeout(ANSWERS_WITHIN, api.get_path(path))
        .await
        .ok()?
        .ok()?;
    let side = |side: &str| -> BTreeMap<String, String> {
        let properties = twin["properties"].as_array().into_iter().flatten();
        properties
            .filter_map(|property| {
                let value = property[side]["value"].as_str()?;
                Some((property["name"].as_str()?.to_owned(), value.to_owned()))
            })
            .collect()
    };
    Some(TwinSight {
        desired: side("desired"),
        reported: side("reported"),
        state: twin["state"]["state"].as_str().map(ToOwned::to_owned),
        digest: twin["digest"].as_str()?.to_owned(),
    })
}
