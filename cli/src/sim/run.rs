//! `causeway sim run` and `causeway sim shrink`: one world.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use causeway_simulator::run::{Failure, run_schedule, shrink};

use super::check;
use super::subject::{Recorded, Subject};
use crate::exit::{Code, Coded};
use crate::output::{data, talk};

/// Run the world that a seed draws, a recorded schedule, or a scenario
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  causeway sim run 7                          the world of seed 7: users and faults at work, then all is
                                              healed, and everything must come to order
  causeway sim run failing.json               a schedule that `sim shrink` wrote
  causeway sim run scenario.yaml              the same as `causeway sim check scenario.yaml`")]
pub(super) struct Args {
    /// A seed, a schedule (*.json) or a scenario
    #[arg(value_name = "SEED|FILE")]
    subject: String,
}

/// Find a shorter schedule that breaks the same invariant
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  causeway sim shrink 4711 --out failing.json     leaves out what is not needed for the failure
  causeway sim run failing.json                   fails in the same way
  causeway sim trace failing.json                 and shows how")]
pub(super) struct ShrinkArgs {
    /// A seed, or a schedule (*.json)
    #[arg(value_name = "SEED|FILE")]
    subject: String,
    /// Where to write the schedule
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Try at most so many runs
    #[arg(long, value_name = "NUMBER", default_value_t = 500)]
    runs: usize,
}

/// Runs it.
pub(super) fn run(args: &Args) -> Result<Code> {
    let recorded = match Subject::of(&args.subject)? {
        Subject::World(recorded) => recorded,
        Subject::Scenario(file) => return check::run(&check::Args::of(file)),
    };
    let Recorded {
        seed,
        options,
        schedule,
    } = &*recorded;
    data(format_args!("seed {seed}: {options}"))?;
    let begun = Instant::now();
    match run_schedule(*seed, options, schedule) {
        Ok(outcome) => {
            let (stats, seconds) = (outcome.stats, begun.elapsed().as_secs_f64());
            data(format_args!(
                "in order {:.1} s after healing; {} acts, {} events, {} sessions, {} bytes down, {} up, \
                 digest {:016x}",
                outcome.settled.as_secs_f64(),
                stats.acts,
                stats.events,
                stats.sessions,
                stats.bytes_down,
                stats.bytes_up,
                outcome.digest,
            ))?;
            data(format_args!("{}", stats.seen))?;
            talk(format_args!(
                "{:.0} s of virtual time in {seconds:.2} s",
                stats.elapsed.as_secs_f64()
            ));
            Ok(Code::Done)
        }
        Err(failure) => {
            say(&failure)?;
            Ok(Code::Failed)
        }
    }
}

/// Shrinks it.
pub(super) fn run_shrink(args: &ShrinkArgs) -> Result<Code> {
    let Subject::World(mut recorded) = Subject::of(&args.subject)? else {
        let what = "only the world of a seed or a recorded schedule can be shrunk";
        return Err(Coded::usage(what).into());
    };
    let whole = recorded.schedule.0.len();
    let failed = run_schedule(recorded.seed, &recorded.options, &recorded.schedule);
    let Err(failure) = failed else {
        talk("nothing fails: there is nothing to shrink");
        return Ok(Code::Failed);
    };
    say(&failure)?;
    let shorter = shrink(
        recorded.seed,
        &recorded.options,
        &recorded.schedule,
        args.runs,
    );
    recorded.schedule = shorter;
    data(format_args!(
        "{} of {whole} acts are enough:",
        recorded.schedule.0.len()
    ))?;
    for (at, act) in &recorded.schedule.0 {
        data(format_args!("{:>12.3} s  {act:?}", at.as_secs_f64()))?;
    }
    if let Some(file) = &args.out {
        recorded.write(file)?;
    }
    Ok(Code::Done)
}

/// One line: seed and cause.
pub(super) fn say(failure: &Failure) -> Result<()> {
    let cause = failure.cause.replace('\n', " ");
    data(format_args!("FAILED seed {}: {cause}", failure.seed))?;
    Ok(())
}
