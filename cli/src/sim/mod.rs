//! `causeway sim`: the system under faults, in virtual time or on real processes.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use causeway_simulator::scenario::{Directory, Mistakes, Scenario};
use clap::Subcommand;

use crate::exit::{Code, Coded};

mod check;
mod live;
mod progress;
mod replay;
mod reports;
mod run;
mod subject;
mod sweep;
mod trace;

/// Try the system under faults, in virtual time or live: your manifests, and what must hold
#[derive(Debug, clap::Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  causeway sim check examples/scenarios/long-offline.yaml --html out.html
                                             30 days without a cloud, in seconds
  causeway sim live examples/scenarios/reboot-while-cut.yaml
                                             the same on real daemons, with kill -9
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
    Live(live::Args),
    Run(run::Args),
    Sweep(sweep::Args),
    Trace(trace::Args),
    Shrink(run::ShrinkArgs),
    Replay(replay::Args),
}

/// Runs it. Only a live run needs threads, and brings them.
pub(crate) fn run(args: &Args) -> Result<Code> {
    match &args.command {
        Command::Check(args) => check::run(args),
        Command::Live(args) => live::run(args),
        Command::Run(args) => run::run(args),
        Command::Sweep(args) => sweep::run(args),
        Command::Shrink(args) => run::run_shrink(args),
        Command::Trace(args) => trace::run(args),
        Command::Replay(args) => replay::run(args),
    }
}

/// A scenario file.
#[derive(Debug)]
struct File {
    path: PathBuf,
    /// As it was named, for messages.
    name: String,
    text: String,
}

impl File {
    fn read(path: &Path) -> Result<Self> {
        let what = || format!("cannot read {}", path.display());
        Ok(Self {
            path: path.to_owned(),
            name: path.display().to_string(),
            text: std::fs::read_to_string(path).with_context(what)?,
        })
    }

    /// The scenario, with the manifests it names and the first `nodes_max` of its nodes.
    fn parse(&self, nodes_max: usize) -> Result<Scenario> {
        let beside = self.path.parent().unwrap_or_else(|| Path::new("."));
        let files = Directory(beside.to_owned());
        Scenario::parse_first(&self.name, &self.text, &files, nodes_max)
            .map_err(|mistakes| wrong(&mistakes))
    }
}

/// A scenario that cannot be run.
fn wrong(mistakes: &Mistakes) -> anyhow::Error {
    let count = mistakes.list().len();
    let noun = if count == 1 { "mistake" } else { "mistakes" };
    let what = format!("{} has {count} {noun}\n{mistakes}", mistakes.file());
    Coded::config(what)
        .hint("docs/simulator.md describes the language")
        .into()
}
