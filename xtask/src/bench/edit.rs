//! Edits through a whole link: how soon, and how many bytes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::figures::{Samples, percentile};
use super::site::{CONFIG_MAPS, NODE, PATIENCE, PODS, Site, config_map, pod};

const ROUNDS: usize = 5;
const EDITS_PER_ROUND: u64 = 200;
/// Edits apart from each other: what one edit costs, not what a queue of them costs.
const PAUSE: Duration = Duration::from_millis(5);

/// From the cloud's answer to a write until the record is durable at the edge, as the edge's log
/// says, which shows durable records only.
pub(super) async fn propagation(site: &Site, samples: &mut Samples) -> Result<()> {
    site.create(
        CONFIG_MAPS,
        &config_map("quick", &Value::Object(Map::new())),
    )
    .await?;
    site.create(PODS, &pod("quick", &["quick".to_owned()]))
        .await?;
    site.edit("quick", "text", "first").await?;
    site.arrived("quick", "text", "first").await?;
    site.quiet().await;
    let mut arrivals = Arrivals::follow(site).await?;
    for round in 0..ROUNDS {
        let mut latencies = Vec::new();
        for number in 0..EDITS_PER_ROUND {
            let version = site
                .edit("quick", "text", &format!("{round}/{number}"))
                .await?;
            let answered = Instant::now();
            let arrived = arrivals.of(version).await?;
            let late = arrived.saturating_duration_since(answered);
            latencies.push(late.as_secs_f64() * 1000.0);
            tokio::time::sleep(PAUSE).await;
        }
        samples.add("propagation_p50_ms", percentile(&latencies, 0.50));
        samples.add("propagation_p99_ms", percentile(&latencies, 0.99));
    }
    Ok(())
}

/// Bytes of both directions for one changed key of a ConfigMap of 100 KB, acks included.
pub(super) async fn small_edit(site: &Site, samples: &mut Samples) -> Result<()> {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut data = Map::new();
    for number in 0..1000 {
        let text: String = (0..90).map(|_| rng.alphanumeric()).collect();
        data.insert(format!("key-{number:04}"), Value::String(text));
    }
    site.create(CONFIG_MAPS, &config_map("large", &Value::Object(data)))
        .await?;
    site.create(PODS, &pod("large", &["large".to_owned()]))
        .await?;
    site.edit("large", "key-0500", "first").await?;
    site.arrived("large", "key-0500", "first").await?;
    for round in 0..ROUNDS {
        let before = site.quiet().await;
        let text = format!("changed in round {round}");
        site.edit("large", "key-0500", &text).await?;
        site.arrived("large", "key-0500", &text).await?;
        let after = site.quiet().await.since(before);
        #[expect(clippy::cast_precision_loss, reason = "some hundred bytes")]
        samples.add("small_edit_bytes", after.bytes() as f64);
        samples.note(
            "small_edit_bytes",
            format!("last run: {} down, {} up", after.down_bytes, after.up_bytes),
        );
    }
    Ok(())
}

/// When the versions of `down` records became durable at the edge.
pub(super) struct Arrivals {
    versions: mpsc::Receiver<(u64, Instant)>,
    _reader: JoinSet<()>,
}

impl Arrivals {
    /// Follows the edge's log from here on.
    ///
    /// # Errors
    /// When the edge does not answer.
    pub(super) async fn follow(site: &Site) -> Result<Self> {
        let after = site.edge_revision().await?;
        let path = format!("/causeway/v1/nodes/{NODE}/log?stream=down&after={after}&follow=true");
        let mut lines = site.edge_http.lines(&path).await?;
        let (sender, versions) = mpsc::channel(4096);
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            while let Ok(Some(line)) = lines.next().await {
                let now = Instant::now();
                let version = serde_json::from_slice::<Value>(&line)
                    .ok()
                    .and_then(|record| record["version"].as_u64());
                if let Some(version) = version
                    && sender.send((version, now)).await.is_err()
                {
                    return;
                }
            }
        });
        Ok(Self {
            versions,
            _reader: reader,
        })
    }

    /// When this version, or a newer one, arrived.
    ///
    /// # Errors
    /// When it does not in time.
    pub(super) async fn of(&mut self, version: u64) -> Result<Instant> {
        let arrived = async {
            while let Some((seen, at)) = self.versions.recv().await {
                if seen >= version {
                    return Some(at);
                }
            }
            None
        };
        let arrived = tokio::time::timeout(PATIENCE, arrived).await;
        arrived
            .context("a record does not arrive")?
            .context("the edge's log ended")
    }
}
