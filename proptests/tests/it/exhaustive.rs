//! Small worlds, explored completely.

use causeway_proptests::pair::{Budget, Setting, Write};
use stateright::{Checker as _, Model as _};

use Write::{Delete, Put};

/// Explores every state, prints how many there are, and fails with the steps to what is wrong.
fn explore(name: &str, setting: Setting) {
    let checker = setting.checker().threads(2).spawn_bfs().join();
    println!(
        "model {name}: {} states, {} steps, depth {}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
    );
    assert!(checker.is_done() && checker.unique_state_count() > 0);
    checker.assert_properties();
}

#[test]
fn a_receiver_that_crashes() {
    let budget = Budget {
        cuts: 1,
        edge_crashes: 1,
        ..Budget::default()
    };
    explore(
        "receiver-crash",
        Setting {
            edge: &[],
            cloud: &[Put("a", "1"), Put("bb", "1")],
            budget,
        },
    );
}

#[test]
fn a_sender_that_crashes() {
    let budget = Budget {
        cuts: 1,
        cloud_crashes: 1,
        ..Budget::default()
    };
    explore(
        "sender-crash",
        Setting {
            edge: &[],
            cloud: &[Put("a", "1"), Delete("a")],
            budget,
        },
    );
}

#[test]
fn both_directions_at_once() {
    let budget = Budget {
        edge_crashes: 1,
        ..Budget::default()
    };
    explore(
        "both-ways",
        Setting {
            edge: &[Put("a", "1")],
            cloud: &[Put("bb", "1")],
            budget,
        },
    );
}

#[test]
fn a_receiver_whose_disk_is_replaced() {
    let budget = Budget {
        wipes: 1,
        ..Budget::default()
    };
    explore(
        "wiped",
        Setting {
            edge: &[Put("a", "1")],
            cloud: &[Put("bb", "1")],
            budget,
        },
    );
}

#[test]
fn history_that_is_trimmed_under_a_session() {
    let budget = Budget {
        cuts: 1,
        trims: 1,
        passes: 1,
        ..Budget::default()
    };
    explore(
        "trimmed",
        Setting {
            edge: &[],
            cloud: &[Put("a", "1"), Delete("a")],
            budget,
        },
    );
}
