//! Small worlds, explored completely.

use causeway_proptests::explore::Explored;
use causeway_proptests::pair::{BOTH_WAYS, Named, RECEIVER_CRASH, SENDER_CRASH, TRIMMED, WIPED};

/// Prints how many states there are, and fails with the steps to what is wrong.
#[expect(clippy::print_stdout, reason = "the count is a result")]
pub(crate) fn told(name: &str, explored: &Explored) {
    println!("model {name}: {explored}");
    if let Some(wrong) = &explored.wrong {
        panic!("states until then: {}\n{wrong}", explored.states);
    }
}

fn explore(named: Named) {
    told(named.name, &Explored::all_of(named.setting, 2));
}

#[test]
fn a_receiver_that_crashes() {
    explore(RECEIVER_CRASH);
}

#[test]
fn a_sender_that_crashes() {
    explore(SENDER_CRASH);
}

#[test]
fn both_directions_at_once() {
    explore(BOTH_WAYS);
}

#[test]
fn a_receiver_whose_disk_is_replaced() {
    explore(WIPED);
}

#[test]
fn history_that_is_trimmed_under_a_session() {
    explore(TRIMMED);
}
