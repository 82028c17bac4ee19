//! Size, memory, idle traffic, and the start without a cloud.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::figures::Samples;
use super::site::{CONFIG_MAPS, PATIENCE, PODS, Site, config_map, pod, resident_kb, seen};
use super::{release, target};

const PODS_COUNT: usize = 10;
const MAPS_PER_POD: usize = 10;
const IDLE: Duration = Duration::from_secs(60);
const IDLE_RUNS: usize = 3;
const STARTS: usize = 5;

/// Sizes of the release binaries that all other figures are measured on, stripped.
pub(super) fn binaries(samples: &mut Samples) -> Result<()> {
    let edge = stripped_mb("edge-sync")? + stripped_mb("edged")?;
    samples.add("edge_binary_mb", edge);
    samples.add("cloud_binary_mb", stripped_mb("cloud-sync")?);
    samples.note(
        "edge_binary_mb",
        "edge-sync and edged, release profile, stripped".to_owned(),
    );
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
    let kubelet = site.kubelet.as_ref().and_then(|kubelet| kubelet.pid());
    let (Some(edge), Some(kubelet)) = (site.edge.pid(), kubelet) else {
        bail!("the edge does not run");
    };
    let (edge, kubelet) = (
        resident_kb(edge)? * 1024.0 / 1e6,
        resident_kb(kubelet)? * 1024.0 / 1e6,
    );
    samples.add("edge_rss_mb", edge + kubelet);
    let note = format!("last run: edge-sync {edge:.2} MB, edged {kubelet:.2} MB");
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

fn stripped_mb(name: &str) -> Result<f64> {
    let dir = target().join("bench");
    std::fs::create_dir_all(&dir)?;
    let copy = dir.join(name);
    strip(&release(name), &copy)?;
    let bytes = std::fs::metadata(&copy)?.len();
    #[expect(clippy::cast_precision_loss, reason = "some million bytes")]
    Ok(bytes as f64 / 1e6)
}

fn strip(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("strip").arg("-o").arg(to).arg(from).status();
    if !status.context("cannot run strip (binutils)")?.success() {
        bail!("strip {} failed", from.display());
    }
    Ok(())
}
