//! Runs: one seed, many seeds, and the shortest schedule that still fails.

use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use causeway_log::replication::Moment;
use parking_lot::Mutex;

use crate::workload::Schedule;
use crate::world::{Options, Seen, Stats, World};

/// A run that went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Counters.
    pub stats: Stats,
    /// Of everything that happened.
    pub digest: u64,
    /// How long it took, once all was healed, until everything was in order.
    pub settled: Duration,
}

/// A run that did not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("seed {seed}: {cause}")]
pub struct Failure {
    /// Which seed.
    pub seed: u64,
    /// Why, in one line.
    pub cause: String,
    /// The invariant's id, or `panic`.
    pub invariant: &'static str,
    /// What was done until then.
    pub schedule: Schedule,
}

/// Many runs that went well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many.
    pub seeds: u64,
    /// Events of all.
    pub events: u64,
    /// Virtual time of all, one node counted as one.
    pub node_seconds: u64,
    /// Sessions of all.
    pub sessions: u64,
    /// The longest that a world took to settle.
    pub settled_max: Duration,
    /// What happened in all, by kind.
    pub seen: Seen,
}

/// Runs the world of `seed`: options, schedule, safety phase, liveness phase.
///
/// # Errors
/// [`Failure`]
pub fn run(seed: u64) -> Result<Outcome, Box<Failure>> {
    let options = Options::draw(seed);
    let schedule = Schedule::draw(seed, &options);
    run_schedule(seed, &options, &schedule)
}

/// Runs a world with a schedule: the same three give the same run.
///
/// # Errors
/// [`Failure`]
pub fn run_schedule(
    seed: u64,
    options: &Options,
    schedule: &Schedule,
) -> Result<Outcome, Box<Failure>> {
    run_until(None, seed, options, schedule)
}

/// The same, broken off at `gives_up`.
fn run_until(
    gives_up: Option<Instant>,
    seed: u64,
    options: &Options,
    schedule: &Schedule,
) -> Result<Outcome, Box<Failure>> {
    let failure = |invariant, cause| {
        Box::new(Failure {
            seed,
            cause,
            invariant,
            schedule: schedule.clone(),
        })
    };
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, options.clone());
        if let Some(at) = gives_up {
            world.give_up_at(at);
        }
        for (at, act) in &schedule.0 {
            world.act_at(Moment(*at), act.clone());
        }
        world.run_until(Moment(options.safety))?;
        let settled = world.settle(options.liveness)?;
        Ok(Outcome {
            stats: world.stats(),
            digest: world.digest(),
            settled,
        })
    }));
    match ran {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(violation)) => {
            let violation: crate::world::Violation = violation;
            let (id, at) = (violation.invariant, violation.at.0.as_secs_f64());
            Err(failure(
                id,
                format!("{id} at {at:.3} s: {}", violation.what),
            ))
        }
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&'static str>().copied())
                .unwrap_or("no message");
            Err(failure("panic", format!("panic: {text}")))
        }
    }
}

/// Runs the seeds of `range` on `jobs` threads, each world on one of them; `on_progress` is told how
/// many are done. Stops at the first failure; of several at once, the lowest seed counts.
///
/// # Errors
/// [`Failure`]
pub fn sweep(
    range: Range<u64>,
    jobs: usize,
    on_progress: impl Fn(u64) + Sync,
) -> Result<Summary, Box<Failure>> {
    let next = AtomicU64::new(range.start);
    let done = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let found: Mutex<Option<Box<Failure>>> = Mutex::new(None);
    let summary = Mutex::new(Summary::default());
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= range.end {
                return;
            }
            match run(seed) {
                Ok(outcome) => summary.lock().add(seed, &outcome),
                Err(failure) => {
                    failed.store(true, Ordering::Relaxed);
                    let mut found = found.lock();
                    if found.as_ref().is_none_or(|other| seed < other.seed) {
                        *found = Some(failure);
                    }
                }
            }
            on_progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    match found.into_inner() {
        Some(failure) => Err(failure),
        None => Ok(summary.into_inner()),
    }
}

/// A seed of a survey.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// Which.
    pub seed: u64,
    /// How it went.
    pub result: Result<Outcome, Box<Failure>>,
    /// How long it took, by the clock of whoever waited.
    pub took: Duration,
}

/// Runs the seeds of `range` on `jobs` threads, failures or not, and hands out each as it ends. A
/// run that takes longer than `patience` counts as a failure.
pub fn survey(
    range: Range<u64>,
    jobs: usize,
    patience: Duration,
    mut on_end: impl FnMut(Surveyed),
) {
    let next = AtomicU64::new(range.start);
    let (ended, surveyed) = mpsc::sync_channel(jobs.max(1));
    let work = |ended: mpsc::SyncSender<Surveyed>| {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= range.end {
                return;
            }
            let began = Instant::now();
            let options = Options::draw(seed);
            let schedule = Schedule::draw(seed, &options);
            let result = run_until(Some(began + patience), seed, &options, &schedule);
            let took = began.elapsed();
            if ended.send(Surveyed { seed, result, took }).is_err() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (work, ended) = (&work, ended.clone());
            scope.spawn(move || work(ended));
        }
        drop(ended);
        for seed in surveyed {
            on_end(seed);
        }
    });
}

impl Summary {
    fn add(&mut self, seed: u64, outcome: &Outcome) {
        let Outcome {
            stats,
            digest: _,
            settled,
        } = outcome;
        self.seeds += 1;
        self.events += stats.events;
        self.node_seconds += stats.elapsed.as_secs() * Options::draw(seed).nodes as u64;
        self.sessions += stats.sessions;
        self.settled_max = self.settled_max.max(*settled);
        self.seen.merge(&stats.seen);
    }
}

/// A shorter schedule with which `seed` still breaks the same invariant: halves, quarters and so on
/// are left out as long as that helps, within `runs_max` runs.
#[must_use]
pub fn shrink(seed: u64, options: &Options, schedule: &Schedule, runs_max: usize) -> Schedule {
    let mut shortest = schedule.clone();
    let Err(first) = run_schedule(seed, options, schedule) else {
        return shortest;
    };
    let mut runs = 0;
    let mut chunk = shortest.0.len().div_ceil(2).max(1);
    loop {
        let mut from = 0;
        while from < shortest.0.len() && runs < runs_max {
            let mut fewer = shortest.clone();
            fewer.0.drain(from..(from + chunk).min(shortest.0.len()));
            runs += 1;
            let still = run_schedule(seed, options, &fewer)
                .is_err_and(|failure| failure.invariant == first.invariant);
            if still {
                shortest = fewer;
            } else {
                from += chunk;
            }
        }
        if chunk == 1 || runs >= runs_max {
            return shortest;
        }
        chunk = chunk.div_ceil(2);
    }
}
