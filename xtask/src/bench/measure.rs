//! Which measurements run, in which order.

use anyhow::{Result, bail};

use super::figures::{FIGURES, Samples};
use super::site::Site;
use super::{devices, edit, footprint, k8s, resume, sim, store};
use crate::{say, tree};

/// Measures what was asked for, everything when nothing was; `false` when a budget is missed.
pub(super) fn run(names: &[String]) -> Result<bool> {
    check(names)?;
    let wanted =
        |some: &[&str]| names.is_empty() || names.iter().any(|name| some.contains(&name.as_str()));
    let mut samples = Samples::default();
    if wanted(&[
        "append_synced_batched",
        "append_synced_single",
        "scan",
        "rebuild",
    ]) {
        say::line("measuring the store");
        store::measure(&mut samples)?;
    }
    if wanted(&["edge_binary_mb", "cloud_binary_mb"]) {
        footprint::binaries(&mut samples)?;
    }
    if wanted(&["sim_node_seconds_per_s", "sim_events_per_s"]) {
        say::line("measuring simulated worlds");
        sim::idle(&mut samples)?;
    }
    if wanted(&["sim_storm_1000_nodes_s"]) {
        sim::storm(&mut samples)?;
    }
    if wanted(&["model_states"]) {
        say::line("exploring the models of a session");
        sim::models(&mut samples)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(Box::pin(async {
        if wanted(&[
            "propagation_p50_ms",
            "propagation_p99_ms",
            "small_edit_bytes",
        ]) {
            say::line("measuring edits through a whole link");
            let site = Site::start().await?;
            edit::propagation(&site, &mut samples).await?;
            edit::small_edit(&site, &mut samples).await?;
        }
        if wanted(&["resume_bytes", "resume_ms", "resume_1000_keys_bytes"]) {
            say::line("measuring what a resume costs");
            let site = Site::start().await?;
            resume::one_object(&site, &mut samples).await?;
            resume::thousand_keys(&site, &mut samples).await?;
        }
        if wanted(&["idle_bytes_per_s", "edge_rss_mb", "offline_start_ms"]) {
            say::line("measuring an idle edge; this takes some minutes");
            let mut site = Site::start().await?;
            footprint::idle(&mut site, &mut samples).await?;
        }
        if wanted(&devices::NAMES) {
            say::line("measuring devices");
            devices::measure(&mut samples, wanted).await?;
        }
        if wanted(&k8s::NAMES) {
            say::line("measuring on a Kubernetes control plane");
            k8s::measure(&mut samples, wanted).await?;
        }
        Ok::<(), anyhow::Error>(())
    }))?;
    let summary = tree::target().join("bench").join("summary.json");
    let good = samples.report(&summary)?;
    say::line(format!("\nwritten to {}", summary.display()));
    Ok(good)
}

/// Refuses names of no figure.
fn check(names: &[String]) -> Result<()> {
    let is_known = |name: &String| FIGURES.iter().any(|figure| figure.name == name);
    let Some(unknown) = names.iter().find(|name| !is_known(name)) else {
        return Ok(());
    };
    let known: Vec<_> = FIGURES.iter().map(|figure| figure.name).collect();
    bail!(
        "there is no figure {unknown:?}; figures: {}",
        known.join(", ")
    );
}
