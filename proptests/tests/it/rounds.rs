//! The cloud's writer under two sessions of a node, a user and a disk that fails, explored
//! completely.

use causeway_proptests::explore::Explored;
use causeway_proptests::rounds::{FENCED, Rounds, SYNCS_FAIL, WRITES_FAIL};

use super::exhaustive::told;

fn explore((name, rounds): (&str, Rounds)) {
    told(name, &Explored::all_of(rounds, 2));
}

#[test]
fn two_sessions_of_a_node_and_a_crash() {
    explore(FENCED);
}

#[test]
fn writes_that_are_refused() {
    explore(WRITES_FAIL);
}

#[test]
fn writes_that_do_not_become_durable() {
    explore(SYNCS_FAIL);
}
