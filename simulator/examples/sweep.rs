//! `sweep SEED`: the trace of one run. `sweep short SEED`: of its shortest schedule that fails.
//! `sweep FROM TO [JOBS]`: runs seeds; on failure prints the shortest schedule that still fails.
//! `sweep survey FROM TO [JOBS]`: runs them all and prints a line for each.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use causeway_log::replication::Moment;
use causeway_simulator::run::{Surveyed, run, run_schedule, shrink, survey, sweep};
use causeway_simulator::workload::Schedule;
use causeway_simulator::world::{Options, Seen, World};

#[expect(clippy::print_stdout, reason = "a program for people")]
fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let word = std::env::args().nth(1).unwrap_or_default();
    if let &[seed] = numbers.as_slice() {
        return trace(seed, word == "short");
    }
    let &[from, to, ref jobs @ ..] = numbers.as_slice() else {
        println!("usage: sweep [survey] FROM TO [JOBS], or sweep [short] SEED");
        return ExitCode::FAILURE;
    };
    let began = Instant::now();
    let jobs = jobs
        .first()
        .map_or(1, |jobs| usize::try_from(*jobs).unwrap_or(1));
    if word == "survey" {
        let mut seen = Seen::default();
        survey(from..to, jobs, PATIENCE, |seed| {
            tell(&seed);
            if let Ok(outcome) = &seed.result {
                seen.merge(&outcome.stats.seen);
            }
        });
        println!("{seen}");
        return ExitCode::SUCCESS;
    }
    match sweep(from..to, jobs, |_| {}) {
        Ok(summary) => {
            let seen = summary.seen;
            println!("{summary:?} in {:?}\n{seen}", began.elapsed());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let options = Options::draw(failure.seed);
            println!("{failure}\n{options}");
            let shorter = shrink(failure.seed, &options, &failure.schedule, 300);
            for (at, act) in &shorter.0 {
                println!("{:.3} {act:?}", at.as_secs_f64());
            }
            println!(
                "{:?}",
                run_schedule(failure.seed, &options, &shorter).map_err(|f| f.cause)
            );
            println!("again: {:?}", run(failure.seed).map_err(|f| f.cause));
            ExitCode::FAILURE
        }
    }
}

/// A seed that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(120);

#[expect(clippy::print_stdout, reason = "a program for people")]
fn tell(surveyed: &Surveyed) {
    let Surveyed { seed, result, took } = surveyed;
    let took = took.as_secs_f64();
    match result {
        Ok(outcome) => println!(
            "{seed} ok {took:.1} settled={:.0} events={} fair={:.1} cost={}",
            outcome.settled.as_secs_f64(),
            outcome.stats.events,
            outcome.stats.fair_max.as_secs_f64(),
            outcome.stats.cost_max,
        ),
        Err(failure) => {
            let cause: String = failure.cause.chars().take(400).collect();
            println!("{seed} FAIL {took:.1} {cause}");
        }
    }
}

#[expect(clippy::print_stdout, reason = "a program for people")]
fn trace(seed: u64, short: bool) -> ExitCode {
    let options = Options::draw(seed);
    let mut schedule = Schedule::draw(seed, &options);
    if short {
        schedule = shrink(seed, &options, &schedule, 300);
    }
    let options = Options {
        trace: true,
        ..options
    };
    let mut world = World::new(seed, options.clone());
    for (at, act) in schedule.0 {
        world.act_at(Moment(at), act);
    }
    let ran = world.run_until(Moment(options.safety));
    let ran = ran.and_then(|()| world.settle(options.liveness));
    for line in world.trace().lines() {
        println!("{line}");
    }
    println!("{ran:?}");
    ExitCode::SUCCESS
}
