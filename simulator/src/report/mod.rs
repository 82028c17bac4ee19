//! What a run of a scenario showed: for people, for CI, for programs.

mod axis;
mod html;
mod json;
mod junit;
mod pace;
mod story;
mod text;

use crate::scenario::{NodeHistory, Outcome};

pub use self::html::html;
pub use self::json::json;
pub use self::junit::junit;
pub use self::text::text;

/// The nodes to show when there are too many: those that something is said of first.
fn shown(outcome: &Outcome, max: usize) -> Vec<&NodeHistory> {
    let failed = |node: &&NodeHistory| {
        let about = format!("{}: ", node.node);
        let failures = outcome
            .verdicts
            .iter()
            .filter_map(|verdict| verdict.failure.as_ref());
        let mut failures = failures.chain(outcome.broken.iter().map(|broken| &broken.what));
        !failures.any(|failure| failure.contains(&about))
    };
    let mut nodes: Vec<&NodeHistory> = outcome.nodes.iter().collect();
    // Stable: the order of the scenario, after those that failed.
    nodes.sort_by_cached_key(failed);
    nodes.truncate(max);
    nodes
}

#[cfg(test)]
mod tests;
