//! `causeway sim trace`: everything that happened in a run.

use std::io::{self, Write as _};

use anyhow::Result;
use causeway_log::replication::Moment;
use causeway_simulator::scenario::simulate;
use causeway_simulator::world::{Violation, World};

use super::progress::Bar;
use super::subject::{Recorded, Subject};
use crate::exit::Code;
use crate::output::talk;

/// Run a scenario or the world of a seed and print everything that happens, one line each
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Columns, separated by tabs: virtual time in microseconds; event; whom it concerns (cloud, a node, or
-); details. The same subject and seed give the same lines.")]
pub(super) struct Args {
    /// A seed, a schedule (*.json) or a scenario
    #[arg(value_name = "SEED|FILE")]
    subject: String,
    /// Draw chances from this seed instead of the scenario's
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// Prints it.
pub(super) fn run(args: &Args) -> Result<Code> {
    match Subject::of(&args.subject)? {
        Subject::World(recorded) => {
            let (world, ran) = play(*recorded);
            print(world.trace().lines())?;
            if let Err(violation) = ran {
                talk(violation);
                return Ok(Code::Failed);
            }
        }
        Subject::Scenario(file) => {
            let scenario = super::File::read(&file)?.parse(usize::MAX)?;
            let seed = args.seed.unwrap_or(scenario.seed);
            let bar = Bar::to(scenario.end, &scenario.name);
            let (outcome, system) = simulate(&scenario, seed, &mut |now| bar.at(now));
            bar.clear();
            print(system.trace().lines())?;
            if let Some(broken) = &outcome.broken {
                talk(broken);
                return Ok(Code::Failed);
            }
        }
    }
    Ok(Code::Done)
}

/// What `run_schedule` does, keeping the lines.
fn play(recorded: Recorded) -> (World, Result<(), Violation>) {
    let Recorded {
        seed,
        mut options,
        schedule,
    } = recorded;
    options.trace = true;
    let (safety, liveness) = (options.safety, options.liveness);
    let mut world = World::new(seed, options);
    for (at, act) in schedule.0 {
        world.act_at(Moment(at), act);
    }
    let ran = world.run_until(Moment(safety));
    let ran = ran.and_then(|()| world.settle(liveness).map(drop));
    (world, ran)
}

fn print(lines: &[String]) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()
}
