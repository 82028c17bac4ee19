//! `causeway node`: ends and starts processes of a running `up`.

use anyhow::Result;
use clap::Subcommand;
use http::Method;
use serde_json::json;

use crate::exit::Code;
use crate::locate::Target;
use crate::output::{json, talk};

/// Kill, start or restart the process of a node, or of the cloud
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  causeway node restart edge-1     kill -9, then start: pods go on, the node picks them up again
  causeway node kill cloud         the control plane is gone; edges and their APIs go on
  causeway node start cloud        and back; nothing acked was lost")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Kill it (SIGKILL) and start it again
    Restart(Which),
    /// Kill it (SIGKILL); it stays down until started
    Kill(Which),
    /// Start it after a kill
    Start(Which),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Name of the node, or `cloud`
    node: String,
    /// End it with SIGTERM, so that it can tidy up first
    #[arg(long)]
    graceful: bool,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Asks `up`.
pub(crate) async fn run(args: Args) -> Result<Code> {
    let (word, which) = match args.action {
        Action::Restart(which) => ("restart", which),
        Action::Kill(which) => ("kill", which),
        Action::Start(which) => ("start", which),
    };
    let up = which.target.up()?;
    if which.node != "cloud" {
        up.node(&which.node)?;
    }
    let path = format!("/v1/processes/{}/{word}", which.node);
    let body = json!({ "graceful": which.graceful });
    let answer = which
        .target
        .control()?
        .json(Method::POST, &path, Some(&body))
        .await?;
    if which.json {
        json(&answer)?;
    } else {
        match answer["pid"].as_u64() {
            Some(pid) => talk(format_args!("{} runs as process {pid}", which.node)),
            None => talk(format_args!("{} is down", which.node)),
        }
    }
    Ok(Code::Done)
}
