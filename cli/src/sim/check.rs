//! `causeway sim check`: whether a scenario goes as expected.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use causeway_simulator::report;
use causeway_simulator::scenario::simulate;

use super::progress::Bar;
use crate::exit::Code;
use crate::output::{data, json, talk};

/// Nodes drawn in a terminal.
const NODES_SHOWN: usize = 8;

/// Run a scenario in virtual time and say whether everything expected is so
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  causeway sim check winter.yaml                  a timeline, then each expectation: passed or failed
  causeway sim check winter.yaml --html out.html  and a picture
  causeway sim check winter.yaml --seed 7         other chances: delays, losses, moments of crashes

The same scenario and seed give the same run, everywhere. The exit code is 1 when an expectation
fails or a promise of the engine is broken, 78 when the scenario cannot be read.")]
pub(super) struct Args {
    /// The scenario
    file: PathBuf,
    /// Write a picture of the run: one HTML file that needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write a JUnit report
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    /// Draw chances from this seed instead of the scenario's
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Draw at most so many nodes
    #[arg(long, value_name = "NUMBER", default_value_t = NODES_SHOWN)]
    show: usize,
}

impl Args {
    /// A scenario with everything else as it is by default.
    pub(super) const fn of(file: PathBuf) -> Self {
        Self {
            file,
            html: None,
            junit: None,
            json: false,
            seed: None,
            show: NODES_SHOWN,
        }
    }
}

/// Runs it.
pub(super) fn run(args: &Args) -> Result<Code> {
    let scenario = super::load(&args.file)?;
    let seed = args.seed.unwrap_or(scenario.seed);
    let bar = Bar::to(scenario.end, &scenario.name);
    let begun = Instant::now();
    let (outcome, system) = simulate(&scenario, seed, &mut |now| bar.at(now));
    bar.clear();
    let seconds = begun.elapsed().as_secs_f64();
    if let Some(file) = &args.html {
        write(file, &report::html(&outcome))?;
    }
    if let Some(file) = &args.junit {
        let source = args.file.display().to_string();
        write(file, &report::junit(&outcome, &source))?;
    }
    if args.json {
        let mut value = report::json(&outcome);
        value["digest"] = format!("{:016x}", system.digest()).into();
        json(&value)?;
    } else {
        data(report::text(&outcome, args.show).trim_end())?;
        let stats = system.stats();
        talk(format_args!(
            "{} events, {} bytes to the edges, {} to the cloud, in {seconds:.1} s",
            stats.events, stats.bytes_down, stats.bytes_up,
        ));
    }
    if outcome.passed() {
        Ok(Code::Done)
    } else {
        Ok(Code::Failed)
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
