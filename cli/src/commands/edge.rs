//! `causeway edge`: the edge daemon and the light kubelet in one process, on one thread.

use anyhow::Result;
use causeway_edge::{Options, OptionsError};

use super::cloud::Running;
use crate::exit::{Code, Coded};

/// Run an edge node: sync daemon, local API and light kubelet
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  causeway edge --node edge-1 --dir /var/lib/causeway/edge --cloud ws://cloud.example:10000
  causeway edge --node edge-1 --dir /tmp/edge --api-listen 127.0.0.1:0     no cloud at all

Pods run as host processes with the rights of this process: a development runtime.
Small machines install the binary causeway-edge, which is this command alone.")]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
    /// Check the configuration and end
    #[arg(long)]
    check_config: bool,
    #[command(flatten)]
    running: Running,
}

/// Runs it until a signal.
pub(crate) async fn run(args: Args) -> Result<Code> {
    let edge = args.options.read().map_err(|error| match error {
        OptionsError::Config(_) => Coded::config(error.to_string()),
        OptionsError::Missing | OptionsError::Name(_) => Coded::usage(error.to_string()),
    })?;
    if args.check_config {
        return Ok(Code::Done);
    }
    let (asked, _tasks) = args.running.start()?;
    edge.run(asked.token()).await?;
    Ok(Code::Done)
}
