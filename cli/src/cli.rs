//! The command line as a whole.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::commands::{
    cloud, completions, digest, edge, edged, get, link, log, node, status, twin,
};
use crate::exit::{self, Code};
use crate::{sim, up};

const EXAMPLES: &str = "\
Start here:
  causeway up                      cloud, one edge node and a link between them, with an example
  causeway link cut edge-1         the tide comes in
  causeway log edge-1 --follow     watch what travels
  causeway link heal edge-1        and falls
  causeway digest edge-1           both sides hold the same";

/// A raised road between a Kubernetes control plane and edge nodes on bad networks.
#[derive(Debug, Parser)]
#[command(
    name = "causeway",
    version,
    max_term_width = 100,
    subcommand_required = true
)]
#[command(arg_required_else_help = true, after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Args),
    Status(status::Args),
    Link(link::Args),
    Log(log::Args),
    Get(get::Args),
    Digest(digest::Args),
    Twin(twin::Args),
    Node(node::Args),
    Sim(sim::Args),
    Cloud(cloud::Args),
    Edge(edge::Args),
    Edged(edged::Args),
    Completions(completions::Args),
}

/// Reads the command line; what is wrong with it, or the help asked for, is said at once.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        // Help and version are answers, not errors: clap prints them to stdout.
        let code = if error.use_stderr() {
            Code::Usage
        } else {
            Code::Done
        };
        let _ = error.print();
        code.into()
    })
}

/// Runs it.
pub(crate) fn run(cli: Cli) -> Result<Code> {
    if let Command::Completions(args) = &cli.command {
        return completions::run(args, &mut Cli::command());
    }
    // Virtual time needs no runtime; a live run brings its own.
    if let Command::Sim(args) = &cli.command {
        return sim::run(args);
    }
    // An edge node may have one core and little memory; the cloud serves thousands of sessions.
    let mut builder = if matches!(cli.command, Command::Cloud(_)) {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder
            .max_blocking_threads(4)
            .thread_keep_alive(Duration::from_secs(1));
        builder
    };
    let runtime = builder
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(Box::pin(dispatch(cli.command)));
    // A blocked helper thread must not hold up the end.
    runtime.shutdown_background();
    result
}

async fn dispatch(command: Command) -> Result<Code> {
    match command {
        Command::Up(args) => Box::pin(up::run(args)).await,
        Command::Status(args) => Box::pin(status::run(args)).await,
        Command::Link(args) => Box::pin(link::run(args)).await,
        Command::Log(args) => Box::pin(log::run(args)).await,
        Command::Get(args) => Box::pin(get::run(args)).await,
        Command::Digest(args) => Box::pin(digest::run(args)).await,
        Command::Twin(args) => Box::pin(twin::run(args)).await,
        Command::Node(args) => Box::pin(node::run(args)).await,
        Command::Sim(args) => sim::run(&args),
        Command::Cloud(args) => Box::pin(cloud::run(args)).await,
        Command::Edge(args) => Box::pin(edge::run(args)).await,
        Command::Edged(args) => Box::pin(edged::run(args)).await,
        Command::Completions(args) => completions::run(&args, &mut Cli::command()),
    }
}

#[cfg(test)]
mod tests;
