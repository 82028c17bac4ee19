//! Worlds of fixed seeds, and that a seed is one history.

use std::process::Command;

use causeway_simulator::run::{run, run_schedule, sweep};
use causeway_simulator::workload::Schedule;
use causeway_simulator::world::{Act, Options, World};

/// Set in a process that only says how a seed went.
const ASKED: &str = "CAUSEWAY_SIM_SEED";

#[test]
fn fixed_seeds_keep_every_invariant() {
    let summary = sweep(0..FIXED_SEEDS, 2, |_| {}).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(summary.seeds, FIXED_SEEDS);
}

/// What the fast tier has time for: with the regressions less than a minute of one core.
const FIXED_SEEDS: u64 = 32;

#[test]
fn a_seed_is_one_history_in_two_processes() {
    if let Ok(seed) = std::env::var(ASKED) {
        let outcome = run(seed.parse().unwrap()).unwrap();
        println!("history {:016x} {}", outcome.digest, outcome.stats.events);
        return;
    }
    let history = || {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "seeds::a_seed_is_one_history_in_two_processes"])
            .arg("--nocapture")
            .env(ASKED, "2")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find_map(|line| line.split_once("history "));
        line.expect("the process says how it went").1.to_owned()
    };
    assert_eq!(history(), history());
}

#[test]
fn the_same_seed_writes_the_same_trace() {
    let trace = || {
        let options = Options {
            trace: true,
            ..Options::draw(1)
        };
        let mut world = World::new(1, options.clone());
        for (at, act) in Schedule::draw(1, &options).0 {
            world.act_at(causeway_log::replication::Moment(at), act);
        }
        world
            .run_until(causeway_log::replication::Moment(options.safety))
            .unwrap();
        world.trace().lines().join("\n")
    };
    let first = trace();
    assert!(first.lines().count() > 100);
    assert_eq!(first, trace());
}

#[test]
fn a_schedule_is_data() {
    let options = Options::draw(3);
    let schedule = Schedule::draw(3, &options);
    let text = serde_json::to_string(&schedule).unwrap();
    let read: Schedule = serde_json::from_str(&text).unwrap();
    assert_eq!(read, schedule);
    assert!(
        schedule
            .0
            .iter()
            .any(|(_, act)| matches!(act, Act::Apply(_)))
    );
    assert_eq!(run_schedule(3, &options, &read), run(3));
}
