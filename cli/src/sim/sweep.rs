//! `causeway sim sweep`: the worlds of many seeds.

use std::io::IsTerminal as _;
use std::ops::Range;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::Result;
use causeway_simulator::run::{Surveyed, survey, sweep};
use indicatif::{ProgressBar, ProgressStyle};

use super::run::say;
use crate::exit::Code;
use crate::output::{data, talk};

/// Run the worlds of many seeds; stop at the first that fails
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  causeway sim sweep --seeds 0..1000            every core at work
  causeway sim sweep --seeds 0..9 --keep-going  all that fail, one a line
  causeway sim run 4711                         the one that failed, again")]
pub(super) struct Args {
    /// From the first seed, to before the second
    #[arg(long, value_name = "A..B")]
    seeds: Seeds,
    /// Worlds at a time; one a core when it is not given
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<usize>,
    /// Go on after failures and tell each: seed, seconds, cause
    #[arg(long)]
    keep_going: bool,
}

/// A world that takes longer than this counts as failed when the others go on.
const PATIENCE: Duration = Duration::from_secs(120);

/// `A..B`.
#[derive(Clone, Debug)]
struct Seeds(Range<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range = text.split_once("..").and_then(|(from, to)| {
            let (from, to) = (from.parse().ok()?, to.parse().ok()?);
            (from < to).then_some(from..to)
        });
        range
            .map(Self)
            .ok_or_else(|| "expected two numbers such as 0..1000".to_owned())
    }
}

/// Runs them.
pub(super) fn run(args: &Args) -> Result<Code> {
    let seeds = args.seeds.0.clone();
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.unwrap_or_else(cores);
    let bar = bar(seeds.end - seeds.start);
    if args.keep_going {
        return keep_going(seeds, jobs, &bar);
    }
    let begun = Instant::now();
    let result = sweep(seeds, jobs, |done| bar.set_position(done));
    bar.finish_and_clear();
    let seconds = begun.elapsed().as_secs_f64();
    match result {
        Ok(summary) => {
            data(format_args!(
                "{} seeds passed; {} events, {} sessions, slowest to come to order {:.0} s",
                summary.seeds,
                summary.events,
                summary.sessions,
                summary.settled_max.as_secs_f64(),
            ))?;
            data(format_args!("{}", summary.seen))?;
            talk(format_args!(
                "{} node-seconds in {seconds:.1} s",
                summary.node_seconds
            ));
            Ok(Code::Done)
        }
        Err(failure) => {
            say(&failure)?;
            let seed = failure.seed;
            talk(format_args!(
                "again: causeway sim run {seed}; shorter: causeway sim shrink {seed}"
            ));
            Ok(Code::Failed)
        }
    }
}

fn keep_going(seeds: Range<u64>, jobs: usize, bar: &ProgressBar) -> Result<Code> {
    let all = seeds.end - seeds.start;
    let (mut failed, mut told) = (0_u64, std::io::Result::Ok(()));
    survey(seeds, jobs, PATIENCE, |Surveyed { seed, result, took }| {
        if let Err(failure) = result {
            failed += 1;
            let cause = failure.cause.replace('\n', " ");
            let line = || data(format_args!("{seed}\t{:.1}\t{cause}", took.as_secs_f64()));
            let said = bar.suspend(line);
            told = std::mem::replace(&mut told, Ok(())).and(said);
        }
        bar.inc(1);
    });
    bar.finish_and_clear();
    told?;
    talk(format_args!("{failed} of {all} seeds failed"));
    Ok(if failed == 0 {
        Code::Done
    } else {
        Code::Failed
    })
}

fn bar(length: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "  {wide_bar} {pos}/{len} seeds  {per_sec}  {eta}";
    // A template that does not parse would be a slip of ours; the default one does as well.
    let bar = ProgressBar::new(length);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
