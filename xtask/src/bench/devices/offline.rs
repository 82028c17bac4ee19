//! Readings that devices make while the link is cut: through the broker and the edge's disk, and
//! after the cut to the cloud, where they are counted one by one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use causeway_simulator::proxy::{CutMode, Link};
use causeway_simulator::wait::eventually;
use serde_json::Value;

use super::with_devices;
use super::{DEVICES, REPORTS_PER_S, Samples, acknowledged, connect, name, report, update};
use crate::bench::site::{NODE, Site, memory_kb};
use crate::say;

/// Readings of each device in an hour.
const HOUR: u32 = 3600 * REPORTS_PER_S;
/// Readings of each device where there is no room for them, and the bytes there are.
const TOO_MANY: u32 = 600;
const BOUND_BYTES: u32 = 256 * 1024;
/// Reports that may be unacknowledged: an edge reads no more than 1,024.
const UNACKED_MAX: usize = 800;
/// What all of them may take to the cloud: readings travel behind state, in windows.
const CATCH_UP: Duration = Duration::from_secs(600);
/// The first value; the others follow it.
const FIRST: u64 = 30_000_000;

/// An hour of readings, with as much room for them as an edge has without configuration.
pub(super) async fn within(samples: &mut Samples) -> Result<()> {
    say::line("measuring an hour of readings through a cut; this takes some minutes");
    let (seen, note) = cut("", HOUR).await?;
    #[expect(clippy::cast_precision_loss, reason = "a million")]
    samples.add(
        "offline_readings_lost",
        (seen.missing() + seen.again) as f64,
    );
    samples.note("offline_readings_lost", note);
    Ok(())
}

/// Readings beyond the room for them.
pub(super) async fn beyond(samples: &mut Samples) -> Result<()> {
    say::line("measuring readings through a cut without room for them");
    let config = format!("[twins]\nhistory_bytes_max = {BOUND_BYTES}\n");
    let (seen, note) = cut(&config, TOO_MANY).await?;
    let wrong = seen.missing().abs_diff(seen.dropped) + seen.again;
    #[expect(clippy::cast_precision_loss, reason = "some thousand")]
    samples.add("offline_drops_miscounted", wrong as f64);
    samples.note("offline_drops_miscounted", note);
    Ok(())
}

/// Cuts the link, lets every device make so many readings, heals it; what the cloud has of them, and
/// how it went.
async fn cut(config: &str, readings: u32) -> Result<(Seen, String)> {
    let (site, broker) = with_devices(config).await?;
    let mode = CutMode::Silent;
    site.link.set(Link::Cut { mode });
    let begun = Instant::now();
    make(broker, readings).await?;
    let made_in = begun.elapsed().as_secs_f64();
    let held = waiting_bytes(&site).await? / 1e6;
    let pid = site.edge.pid().context("the edge does not run")?;
    let resident = memory_kb(pid, "VmRSS:")? * 1024.0 / 1e6;
    site.link.set(Link::Whole);
    let healed = Instant::now();
    let sent = eventually(
        "the readings travel",
        CATCH_UP,
        async || match waiting_bytes(&site).await {
            Ok(0.0) => Ok(()),
            Ok(bytes) => Err(format!("{bytes} bytes wait")),
            Err(error) => Err(error.to_string()),
        },
    );
    sent.await?;
    let arrived_in = healed.elapsed().as_secs_f64();
    let mut seen = Seen::default();
    for device in 0..DEVICES {
        seen.look(&site, device, u64::from(readings)).await?;
    }
    let Seen {
        made,
        here,
        again,
        dropped,
    } = seen;
    let note = format!(
        "{made} made in {made_in:.0} s and {held:.1} MB ({resident:.1} MB resident then), {here} in \
         the cloud {arrived_in:.0} s after the cut, {dropped} counted as given up, {again} twice or \
         out of order"
    );
    Ok((seen, note))
}

/// So many reports of each device, as fast as the edge makes them durable.
async fn make(broker: SocketAddr, readings: u32) -> Result<()> {
    let mut mqtt = connect(broker, "bench-offline").await?;
    let mut unacked = 0;
    for number in 0..readings {
        let payload = report(FIRST + u64::from(number), 1);
        for device in 0..DEVICES {
            mqtt.publish(&update(device), &payload).await?;
        }
        unacked += DEVICES;
        if unacked > UNACKED_MAX {
            acknowledged(&mut mqtt, DEVICES).await?;
            unacked -= DEVICES;
        }
    }
    acknowledged(&mut mqtt, unacked).await
}

/// Bytes of readings at the edge that the cloud has not acknowledged.
async fn waiting_bytes(site: &Site) -> Result<f64> {
    let text = site.edge_http.text("/metrics").await?;
    let gauge = |name: &str| -> Result<f64> {
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.with_context(|| format!("no metric {name}"))?;
        value
            .parse()
            .with_context(|| format!("{name} is {value:?}"))
    };
    Ok(gauge("causeway_twin_history_waiting_bytes")?
        + gauge("causeway_twin_history_unacked_bytes")?)
}

/// What the cloud has of the readings.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    made: u64,
    /// Different ones.
    here: u64,
    /// That came again, or after a later one.
    again: u64,
    /// Counted as given up.
    dropped: u64,
}

impl Seen {
    const fn missing(&self) -> u64 {
        self.made - self.here
    }

    /// Reads the history of a device, value by value.
    async fn look(&mut self, site: &Site, device: usize, readings: u64) -> Result<()> {
        let name = name(device);
        let path = format!("/causeway/v1/nodes/{NODE}/twins/default/{name}/history/p0");
        let mut lines = site.cloud_http.lines(&path).await?;
        let mut next = FIRST;
        let mut end = None;
        while let Some(line) = lines.next().await? {
            let item: Value = serde_json::from_slice(&line)?;
            if let Some(value) = item["value"].as_str() {
                let value: u64 = value.parse()?;
                if (next..FIRST + readings).contains(&value) {
                    next = value + 1;
                    self.here += 1;
                } else {
                    self.again += 1;
                }
            }
            self.dropped += item["dropped"].as_u64().unwrap_or(0);
            end = item.get("end").cloned().or(end);
        }
        end.context("a history breaks off")?;
        self.made += readings;
        Ok(())
    }
}
