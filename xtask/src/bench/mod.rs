//! `cargo xtask bench`: builds what is shipped, then measures it.
//!
//! The measurements are behind the feature `bench`, so that the test tiers start without building
//! the engine: this command builds the daemons as they are shipped (`cargo xtask dist`) and itself
//! in release mode, and runs itself again.

#[cfg(feature = "bench")]
use std::path::PathBuf;

use anyhow::Result;

use crate::test::cargo;

#[cfg(feature = "bench")]
mod devices;
#[cfg(feature = "bench")]
mod edit;
#[cfg(feature = "bench")]
mod figures;
#[cfg(feature = "bench")]
mod footprint;
#[cfg(feature = "bench")]
mod k8s;
#[cfg(feature = "bench")]
mod measure;
#[cfg(feature = "bench")]
mod resume;
#[cfg(feature = "bench")]
mod sim;
#[cfg(feature = "bench")]
mod site;
#[cfg(feature = "bench")]
mod store;

/// Measure against the budgets, and write target/bench/summary.json
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Figures:
  append_synced_batched append_synced_single scan rebuild
  propagation_p50_ms propagation_p99_ms small_edit_bytes
  resume_bytes resume_ms resume_1000_keys_bytes idle_bytes_per_s
  edge_rss_mb edge_binary_mb cloud_binary_mb offline_start_ms
  k8s_propagation_p50_ms k8s_propagation_p99_ms k8s_pod_running_p50_ms
  k8s_api_writes_per_delivered_object cloud_rss_mb k8s_list_after_restart_bytes_to_edges
  twin_updates_per_s twin_updates_mosquitto_per_s twin_desired_to_device_p50_ms
  twin_desired_to_device_p99_ms twin_desired_to_dmi_p50_ms twin_desired_to_dmi_p99_ms
  twin_apiserver_writes_per_min edge_rss_100_devices_mb
  offline_readings_lost offline_drops_miscounted
  sim_node_seconds_per_s sim_events_per_s sim_storm_1000_nodes_s model_states

Each is a median of several runs, shown with its spread. docs/benchmarks.md says how each is
measured. A machine that does something else at the same time gives other figures.")]
pub(crate) struct Args {
    /// Only these figures
    names: Vec<String>,
    /// Everything is built: measure
    #[arg(long, hide = true)]
    measure: bool,
}

/// Figures for which nothing is shipped.
const SIMULATED: [&str; 4] = [
    "sim_node_seconds_per_s",
    "sim_events_per_s",
    "sim_storm_1000_nodes_s",
    "model_states",
];

/// Builds and measures; `false` when a figure misses its budget.
pub(crate) fn run(args: &Args) -> Result<bool> {
    if args.measure {
        return measure(args);
    }
    let is_simulated = |name: &String| SIMULATED.contains(&name.as_str());
    if args.names.is_empty() || !args.names.iter().all(is_simulated) {
        crate::dist::run()?;
    }
    let mut again = cargo([
        "run",
        "--release",
        "--package",
        "xtask",
        "--features",
        "bench",
    ]);
    again.args(["--", "bench", "--measure"]).args(&args.names);
    Ok(again.status()?.success())
}

#[cfg(feature = "bench")]
fn measure(args: &Args) -> Result<bool> {
    measure::run(&args.names)
}

#[cfg(not(feature = "bench"))]
fn measure(_: &Args) -> Result<bool> {
    anyhow::bail!("built without the feature `bench`")
}

/// Where a binary under measurement is.
#[cfg(feature = "bench")]
fn shipped(name: &str) -> Result<PathBuf> {
    Ok(crate::dist::dir()?.join(name))
}
