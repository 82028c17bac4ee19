//! The cloud's writer with two sessions of one node, a user, and a disk that fails, as a model that
//! can be explored completely.
//!
//! The machine, the store and the rounds are real; the sessions are the writes they ask for, so that
//! the old one, whose link is half-open, can go on asking at any moment after the new one took over.
//!
//! A machine cannot be copied, so a state is the way to it and is walked again from the start. Two
//! states are one when all that decides their future is equal: what is stored, apart from the
//! numbers that name events, what is written and not synced, what waits, who has been answered what,
//! and the interest graph.

mod model;
mod site;

pub use model::{Rounds, Step, Walked};
pub use site::Asker;

use causeway_log::store::memory::Fault;

/// Two sessions of a node, and power that goes.
pub const FENCED: (&str, Rounds) = (
    "fenced",
    Rounds {
        fault: None,
        crashes: 1,
        old: 2,
        new: 1,
        user: 1,
    },
);

/// Writes that are refused.
pub const WRITES_FAIL: (&str, Rounds) = (
    "writes-fail",
    Rounds {
        fault: Some(Fault::WriteFails),
        crashes: 0,
        old: 1,
        new: 1,
        user: 3,
    },
);

/// Writes that are taken and do not become durable.
pub const SYNCS_FAIL: (&str, Rounds) = (
    "syncs-fail",
    Rounds {
        fault: Some(Fault::SyncFails),
        crashes: 0,
        old: 1,
        new: 1,
        user: 3,
    },
);

/// All of them, by name.
pub const ALL: [(&str, Rounds); 3] = [FENCED, WRITES_FAIL, SYNCS_FAIL];
