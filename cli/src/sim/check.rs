//! `causeway sim check`: whether a scenario goes as expected.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use causeway_simulator::scenario::simulate;

use super::File;
use super::progress::Bar;
use super::reports::Reports;
use crate::exit::Code;
use crate::output::talk;

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
    /// Draw chances from this seed instead of the scenario's
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    #[command(flatten)]
    reports: Reports,
}

impl Args {
    /// A scenario with everything else as it is by default.
    pub(super) fn of(file: PathBuf) -> Self {
        Self {
            file,
            seed: None,
            reports: Reports::default(),
        }
    }
}

/// Runs it.
pub(super) fn run(args: &Args) -> Result<Code> {
    let scenario = File::read(&args.file)?.parse(usize::MAX)?;
    let seed = args.seed.unwrap_or(scenario.seed);
    let bar = Bar::to(scenario.end, &scenario.name);
    let begun = Instant::now();
    let (outcome, system) = simulate(&scenario, seed, &mut |now| bar.at(now));
    bar.clear();
    let seconds = begun.elapsed().as_secs_f64();
    let code = args.reports.give(&outcome, &args.file, |value| {
        value["digest"] = format!("{:016x}", system.digest()).into();
    })?;
    if !args.reports.json {
        let stats = system.stats();
        talk(format_args!(
            "{} events, {} bytes to the edges, {} to the cloud, in {seconds:.1} s",
            stats.events, stats.bytes_down, stats.bytes_up,
        ));
    }
    Ok(code)
}
