//! What a scenario asks for that real daemons cannot do, told before anything is started.

use crate::scenario::{Action, Mistake, Scenario};

/// Nodes of one live run: each is two processes, and three more for each of its pods.
pub(super) const NODES_MAX: usize = 32;

/// Everything in it that cannot be done, with its place.
pub(super) fn impossible(scenario: &Scenario) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    if scenario.nodes.len() > NODES_MAX {
        let count = scenario.nodes.len();
        mistakes.push(Mistake {
            place: scenario.nodes_place,
            what: format!(
                "expected at most {NODES_MAX} nodes in a live run, found {count}; `--nodes 8` \
                 takes the first eight of them"
            ),
        });
    }
    for step in &scenario.steps {
        let what = match &step.action {
            Action::Clock { .. } => {
                "a step that real daemons can do: the wall clock of this machine stays as it is"
            }
            Action::Disk { .. } => {
                "a step that real daemons can do: the disk of this machine stays whole"
            }
            Action::Cut { .. }
            | Action::Heal(_)
            | Action::Flap { .. }
            | Action::Slow { .. }
            | Action::Storm(_)
            | Action::Apply(_)
            | Action::Delete(_)
            | Action::EdgeWrite { .. }
            | Action::Report(_)
            | Action::Kill(_)
            | Action::Start(_)
            | Action::Reboot(_)
            | Action::Wipe(_)
            | Action::Snapshot(_)
            | Action::Restore(_) => continue,
        };
        mistakes.push(Mistake {
            place: step.place,
            what: format!("expected {what}; `causeway sim check` does it in virtual time"),
        });
    }
    mistakes
}
