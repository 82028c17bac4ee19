//! Explores every model completely and prints how many states each has: `model NAME: N states, …`,
//! and at last `model_states N`, the sum, and `model_seconds S`.

#![expect(clippy::print_stdout, reason = "a program whose answer is its output")]

use std::process::ExitCode;
use std::time::Instant;

use causeway_proptests::explore::Explored;
use causeway_proptests::{pair, rounds};

fn main() -> ExitCode {
    let began = Instant::now();
    let mut states = 0;
    let pairs = pair::ALL.map(|named| (named.name, Explored::all_of(named.setting, 2)));
    let rounds = rounds::ALL.map(|(name, rounds)| (name, Explored::all_of(rounds, 2)));
    for (name, explored) in pairs.into_iter().chain(rounds) {
        println!("model {name}: {explored}");
        if let Some(wrong) = explored.wrong {
            println!("{wrong}");
            return ExitCode::FAILURE;
        }
        states += explored.states;
    }
    println!("model_states {states}");
    println!("model_seconds {:.1}", began.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}
