//! What the control plane does by itself. Each controller is a pure function of the objects and of
//! an [`Index`] over them; it gives writes, which the shell in [`run`] commits. A write that
//! conflicts is dropped: whatever changed the object wakes the controllers again.
//!
//! - [`scheduler`] binds pods to nodes.
//! - [`namespaces`] empties namespaces that are being deleted, and removes them.
//! - [`lifecycle`] shows in a Node whether its link is down.
//! - [`garbage`] removes objects whose owners are gone, and pods of nodes that were deleted.
//! - [`events`] bounds the Events.

use causeway_kube_api::{Change, Expected, Write};
use causeway_projections::Entry;
use serde_json::Value;

pub mod events;
pub mod garbage;
mod index;
pub mod lifecycle;
pub mod namespaces;
mod run;
pub mod scheduler;
#[cfg(test)]
mod tests;

pub use index::{Index, NodeFacts, PodFacts, Readiness, Taint};
pub use run::{Controllers, Decided, Sight, Turns, run};

/// Writes of one controller in one turn; the rest follows in the next.
const WRITES_PER_TURN_MAX: usize = 1024;

/// The whole object, replaced, if it still is what was read.
fn replace(entry: &Entry, object: Value) -> Write {
    let expected = Expected::At(entry.modified());
    Write {
        key: entry.key().clone(),
        expected,
        change: Change::Put(object),
    }
}

/// The object removed, if it still is what was read.
fn remove(entry: &Entry) -> Write {
    Write {
        key: entry.key().clone(),
        expected: Expected::At(entry.modified()),
        change: Change::Delete {
            grace_period_seconds: Some(0),
            confirm: false,
        },
    }
}

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, field| value.get(field))
}

fn text_at<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or_default()
}

fn items_at<'a>(value: &'a Value, path: &[&str]) -> impl Iterator<Item = &'a Value> {
    at(value, path)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}
