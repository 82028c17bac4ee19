//! `seeds FROM TO [JOBS]`: runs seeds of the simulator and says which is the first to fail. With the
//! feature `mutants`, `CAUSEWAY_MUTANT` chooses a deliberate bug: `cargo xtask mutants` looks for it
//! with this program.

#![expect(clippy::print_stdout, reason = "a program whose answer is its output")]

use std::process::ExitCode;

use causeway_simulator::run::sweep;

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let &[from, to, ref jobs @ ..] = numbers.as_slice() else {
        println!("usage: seeds FROM TO [JOBS]");
        return ExitCode::FAILURE;
    };
    let jobs = jobs
        .first()
        .map_or(1, |jobs| usize::try_from(*jobs).unwrap_or(1));
    // What panics is told in the line of its seed.
    std::panic::set_hook(Box::new(|_| {}));
    match sweep(from..to, jobs, |_| {}) {
        Ok(summary) => {
            println!("{} seeds passed", summary.seeds);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("failed seed: {}\n{failure}", failure.seed);
            ExitCode::FAILURE
        }
    }
}
