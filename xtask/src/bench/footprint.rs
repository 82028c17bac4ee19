//! Size, memory, idle traffic, and the start without a cloud.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::figures::Samples;
use super::shipped;
use super::site::{CONFIG_MAPS, PATIENCE, PODS, Site, config_map, memory_kb, pod, seen};

const PODS_COUNT: usize = 10;
const MAPS_PER_POD: usize = 10;
const IDLE: Duration = Duration::from_secs(60);
const IDLE_RUNS: usize = 3;
const STARTS: usize = 5;

/// Sizes of the binaries as they are shipped, without symbols.
pub(super) fn binaries(samples: &mut Samples) -> Result<()> {
    samples.add("edge_binary_mb", megabytes("causeway-edge")?);
    samples.add("cloud_binary_mb", megabytes("cloud-sync")?);
    Ok(())
}

/// Idle traffic over a minute, memory, and the start of an edge whose cloud is away.
pub(super) async fn idle(site: &mut Site, samples: &mut Samples) -> Result<()> {
    populate(site).await?;
    site.quiet().await;
    for _ in 0..IDLE_RUNS {
        let before = site.link.traffic();
        tokio::time::sleep(IDLE).await;
        let carried = site.link.traffic().since(before);
        #[expect(clippy::cast_precision_loss, reason = "some thousand bytes")]
        samples.add(
            "idle_bytes_per_s",
            carried.bytes() as f64 / IDLE.as_secs_f64(),
        );
        resident(site, samples)?;
    }
    offline_start(site, samples).await
}

async fn populate(site: &Site) -> Result<()> {
    for number in 0..PODS_COUNT {
        let needs: Vec<_> = (0..MAPS_PER_POD)
            .map(|map| format!("map-{number}-{map}"))
            .collect();
        for name in &needs {
            let data = json!({"text": "x".repeat(400), "name": name});
            site.create(CONFIG_MAPS, &config_map(name, &data)).await?;
        }
        site.create(PODS, &pod(&format!("pod-{number}"), &needs))
            .await?;
    }
    for number in 0..PODS_COUNT {
        let path = format!("{PODS}/pod-{number}");
        seen(&site.cloud_http, &path, |pod| {
            pod["status"]["phase"] == "Running"
        })
        .await?;
    }
    Ok(())
}

fn resident(site: &Site, samples: &mut Samples) -> Result<()> {
    let pid = site.edge.pid().context("the edge does not run")?;
    let megabytes = |field| Ok::<_, anyhow::Error>(memory_kb(pid, field)? * 1024.0 / 1e6);
    samples.add("edge_rss_mb", megabytes("VmRSS:")?);
    let (own, file) = (megabytes("RssAnon:")?, megabytes("RssFile:")?);
    let note = format!(
        "last run: {own:.2} MB of its own, {file:.2} MB of binary and libraries mapped from disk"
    );
    samples.note("edge_rss_mb", note);
    Ok(())
}

/// From the start of the process until its local API lists the pods, with no cloud.
async fn offline_start(site: &mut Site, samples: &mut Samples) -> Result<()> {
    site.cloud.kill().await?;
    for _ in 0..STARTS {
        site.edge.kill().await?;
        let begun = Instant::now();
        site.edge.start()?;
        loop {
            if let Ok(list) = site.edge_http.get(PODS).await
                && list["items"].as_array().map(Vec::len) == Some(PODS_COUNT)
            {
                break;
            }
            if begun.elapsed() > PATIENCE {
                bail!("the edge does not start without a cloud");
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        samples.add("offline_start_ms", begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(())
}

fn megabytes(name: &str) -> Result<f64> {
    let path = shipped(name)?;
    let file = std::fs::metadata(&path).with_context(|| format!("no {}", path.display()))?;
    #[expect(clippy::cast_precision_loss, reason = "some million bytes")]
    Ok(file.len() as f64 / 1e6)
}
