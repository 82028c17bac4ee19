//! `causeway edged`: the light kubelet alone, in this process.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use causeway_daemon::telemetry;
use causeway_edged::EdgedConfig;

use super::cloud::Running;
use crate::exit::{Code, Coded};

/// Run the light kubelet alone, beside a sync daemon that runs no pods itself
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  causeway edge --no-kubelet --node edge-1 --dir /tmp/edge --cloud ws://cloud.example:10000 &
  causeway edged deploy/config/edged.toml    pods, through the socket of that sync daemon

Two processes can be upgraded, and die, one without the other. `causeway edge` runs both in one.")]
pub(crate) struct Args {
    /// Configuration file; see deploy/config/edged.toml
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// Check the configuration and end
    #[arg(long)]
    check_config: bool,
    #[command(flatten)]
    running: Running,
}

/// Runs it until a signal.
pub(crate) async fn run(args: Args) -> Result<Code> {
    let config = EdgedConfig::load(&args.config)
        .map_err(|error| Coded::config(telemetry::error_chain(&error).to_string()))?;
    if args.check_config {
        return Ok(Code::Done);
    }
    let (asked, _tasks) = args.running.start()?;
    causeway_edged::run(config, asked.token())
        .await
        .context("the kubelet cannot run")?;
    Ok(Code::Done)
}
