//! Whether a DeviceStatus says enough else to be written, and how often that may be. Pure.

use std::time::Duration;

use causeway_daemon::config::parse_duration;
use causeway_projections::twin::history::{Policies, Policy};
use serde_json::Value;

/// On a Device: how long its DeviceStatus rests between two writes, such as `30s`.
pub const INTERVAL_ANNOTATION: &str = "causeway.dev/status-interval";
/// On a Device: how far a property must move to be worth a write, such as `temperature=change:0.5`.
pub const CHANGE_ANNOTATION: &str = "causeway.dev/status-change";

/// The interval of a device lies between these.
const INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
/// What is too little to be written at once is written after so many intervals.
const SMALL_INTERVALS: u32 = 6;

/// What a Device says of how it is published.
#[derive(Clone, Debug, PartialEq)]
pub struct Pacer {
    /// Between two writes.
    pub interval: Duration,
    changes: Policies,
}

impl Pacer {
    /// Reads the annotations of a Device. What cannot be read is as if it were not there.
    #[must_use]
    pub fn of(device: &Value, default: Duration) -> Self {
        let annotation = |name| device["metadata"]["annotations"][name].as_str();
        let interval = annotation(INTERVAL_ANNOTATION).and_then(|text| parse_duration(text).ok());
        let changes = annotation(CHANGE_ANNOTATION).and_then(|text| Policies::parse(text).ok());
        Self {
            interval: interval.unwrap_or(default).clamp(INTERVAL.0, INTERVAL.1),
            changes: changes.unwrap_or_default(),
        }
    }

    /// After how long a small change is written.
    #[must_use]
    pub fn small(&self) -> Duration {
        self.interval.saturating_mul(SMALL_INTERVALS)
    }
}

/// How far two DeviceStatuses are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// They say the same.
    None,
    /// Each property moved less than the Device calls a change.
    Small,
    /// They do not say the same.
    Large,
}

/// Compares what the cluster has, if anything, with what there is to be said.
#[must_use]
pub fn difference(shown: Option<&Value>, status: &Value, pacer: &Pacer) -> Difference {
    let Some(shown) = shown else {
        return Difference::Large;
    };
    if shown["metadata"]["ownerReferences"] != status["metadata"]["ownerReferences"] {
        return Difference::Large;
    }
    let (before, after) = (&shown["status"], &status["status"]);
    if before == after {
        return Difference::None;
    }
    let (old, new) = (twins(before), twins(after));
    let is_small = before["state"] == after["state"]
        && old.len() == new.len()
        && old
            .iter()
            .zip(new)
            .all(|(old, new)| old == new || is_small_change(old, new, pacer));
    if is_small {
        Difference::Small
    } else {
        Difference::Large
    }
}

fn twins(status: &Value) -> &[Value] {
    status["twins"].as_array().map_or(&[], Vec::as_slice)
}

/// Whether a property moved less than counts. What was desired of it counts always.
fn is_small_change(old: &Value, new: &Value, pacer: &Pacer) -> bool {
    let name = new["propertyName"].as_str().unwrap_or_default();
    let Policy::Change(least) = pacer.changes.of(name) else {
        return false;
    };
    let number = |twin: &Value| {
        let value = twin["reported"]["value"].as_str()?;
        value.parse::<f64>().ok().filter(|it| it.is_finite())
    };
    let (Some(before), Some(after)) = (number(old), number(new)) else {
        return false;
    };
    old["propertyName"] == new["propertyName"]
        && old["observedDesired"] == new["observedDesired"]
        && (after - before).abs() < least
}

#[cfg(test)]
mod tests;
