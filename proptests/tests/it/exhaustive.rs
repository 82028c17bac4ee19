//! Small worlds, explored completely.

use causeway_proptests::pair::{Budget, Setting, Write};
use stateright::{Checker as _, HasDiscoveries, Model as _};

use Write::{Delete, Put};

/// Explores every state, prints how many there are, and fails with the steps to what is wrong.
#[expect(clippy::print_stdout, reason = "the count is a result")]
fn explore(name: &str, setting: Setting) {
    let checker = setting
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    println!(
        "model {name}: {} states, {} steps, depth {}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
    );
    let is_rest = |found: &&str| *found == "the pair comes to rest";
    if checker.discoveries().keys().any(|found| !is_rest(found)) {
        println!("states until then: {}", checker.unique_state_count());
    }
    assert!(checker.unique_state_count() > 0);
    checker.assert_properties();
    assert!(checker.is_done(), "every state was visited");
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
