//! `causeway sim`: the system in virtual time.

use std::path::Path;

use anyhow::{Context as _, Result};
use causeway_simulator::scenario::{Directory, Scenario};
use clap::Subcommand;

use crate::exit::{Code, Coded};

mod check;
mod progress;
mod replay;
mod run;
mod subject;
mod sweep;
mod trace;

/// Try the system in virtual time: your manifests, faults, and what must hold
#[derive(Debug, clap::Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  causeway sim check examples/scenarios/long-offline.yaml --html out.html
                                             30 days without a cloud, in seconds
  causeway sim sweep --seeds 0..1000         a thousand worlds, each with its own misfortunes
  causeway sim trace examples/scenarios/long-offline.yaml | grep edge-1
                                             everything that happened, one line each
  causeway log edge-1 --export edge-1.ndjson && causeway sim replay edge-1.ndjson
                                             what a node's history leads to"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    Run(run::Args),
    Sweep(sweep::Args),
    Trace(trace::Args),
    Shrink(run::ShrinkArgs),
    Replay(replay::Args),
}

/// Runs it. Nothing here waits for anything but the processor.
pub(crate) fn run(args: &Args) -> Result<Code> {
    match &args.command {
        Command::Check(args) => check::run(args),
        Command::Run(args) => run::run(args),
        Command::Sweep(args) => sweep::run(args),
        Command::Shrink(args) => run::run_shrink(args),
        Command::Trace(args) => trace::run(args),
        Command::Replay(args) => replay::run(args),
    }
}

/// Reads a scenario and the manifests it names.
fn load(file: &Path) -> Result<Scenario> {
    let what = || format!("cannot read {}", file.display());
    let text = std::fs::read_to_string(file).with_context(what)?;
    let files = Directory(file.parent().unwrap_or_else(|| Path::new(".")).to_owned());
    Scenario::parse(&file.display().to_string(), &text, &files).map_err(|mistakes| {
        let count = mistakes.list().len();
        let noun = if count == 1 { "mistake" } else { "mistakes" };
        let what = format!("{} has {count} {noun}\n{mistakes}", file.display());
        Coded::config(what)
            .hint("docs/simulator.md describes the language")
            .into()
    })
}
