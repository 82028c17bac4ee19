//! What a reconnect carries after an outage, and how long it takes.

use std::time::{Duration, Instant};

use anyhow::Result;
use causeway_simulator::proxy::CutMode;
use serde_json::json;

use super::edit::Arrivals;
use super::figures::Samples;
use super::site::{CONFIG_MAPS, PODS, Site, config_map, pod};

const ROUNDS: usize = 5;
const UPDATES: usize = 500;
const KEYS: usize = 1000;
const KEYS_PER_POD: usize = 100;

/// 500 updates of one object missed. The time runs from the first connection that the healed link
/// carries: when the edge dials again is a matter of its backoff, and told beside the figure.
pub(super) async fn one_object(site: &Site, samples: &mut Samples) -> Result<()> {
    site.create(CONFIG_MAPS, &config_map("busy", &json!({"text": "first"})))
        .await?;
    site.create(PODS, &pod("busy", &["busy".to_owned()]))
        .await?;
    site.arrived("busy", "text", "first").await?;
    let mut after_heal = Vec::new();
    for round in 0..ROUNDS {
        let before = site.quiet().await;
        let mut arrivals = Arrivals::follow(site).await?;
        site.link.cut(CutMode::Reset);
        let mut version = 0;
        for number in 0..UPDATES {
            version = site
                .edit("busy", "text", &format!("{round}/{number}"))
                .await?;
        }
        let cut_off = site.link.traffic();
        site.link.heal();
        let healed = Instant::now();
        while site.link.traffic().connections == cut_off.connections {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        let connected = Instant::now();
        let arrived = arrivals.of(version).await?;
        let converged = arrived.saturating_duration_since(connected);
        samples.add("resume_ms", converged.as_secs_f64() * 1000.0);
        after_heal.push(arrived.saturating_duration_since(healed).as_millis());
        let carried = site.quiet().await.since(before);
        #[expect(clippy::cast_precision_loss, reason = "some thousand bytes")]
        samples.add("resume_bytes", carried.bytes() as f64);
        samples.note(
            "resume_bytes",
            format!(
                "last run: {} down, {} up",
                carried.down_bytes, carried.up_bytes
            ),
        );
    }
    let note = format!("from healing the link, backoff of the edge included: {after_heal:?} ms");
    samples.note("resume_ms", note);
    Ok(())
}

/// 1,000 objects changed once each while the link was cut.
pub(super) async fn thousand_keys(site: &Site, samples: &mut Samples) -> Result<()> {
    let name = |number: usize| format!("many-{number:04}");
    for number in 0..KEYS {
        let data = json!({"text": "first", "owner": "bench", "number": number.to_string()});
        site.create(CONFIG_MAPS, &config_map(&name(number), &data))
            .await?;
    }
    for first in (0..KEYS).step_by(KEYS_PER_POD) {
        let needs: Vec<_> = (first..first + KEYS_PER_POD).map(name).collect();
        site.create(PODS, &pod(&format!("many-{first}"), &needs))
            .await?;
    }
    for number in 0..KEYS {
        site.arrived(&name(number), "text", "first").await?;
    }
    for round in 0..3 {
        let before = site.quiet().await;
        site.link.cut(CutMode::Reset);
        for number in 0..KEYS {
            site.edit(&name(number), "text", &format!("round {round}"))
                .await?;
        }
        site.link.heal();
        for number in 0..KEYS {
            site.arrived(&name(number), "text", &format!("round {round}"))
                .await?;
        }
        let carried = site.quiet().await.since(before);
        #[expect(clippy::cast_precision_loss, reason = "some hundred thousand bytes")]
        samples.add("resume_1000_keys_bytes", carried.bytes() as f64);
    }
    Ok(())
}
