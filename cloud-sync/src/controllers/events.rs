//! Bounds the Events: by age, and by number in a namespace, oldest first.

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_kube_api::Write;
use causeway_log::WallTime;
use causeway_projections::{Entry, Objects};

use super::index::{list, parse};
use super::{WRITES_PER_TURN_MAX, remove, text_at};

/// The writes that remove Events over the bounds.
#[must_use]
pub fn decide(objects: &Objects, now: WallTime, age_max: Duration, count_max: usize) -> Vec<Write> {
    let mut namespaces: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in list(objects, "events") {
        namespaces
            .entry(&entry.key().namespace)
            .or_default()
            .push(entry);
    }
    let mut writes = Vec::new();
    for mut events in namespaces.into_values() {
        // An Event that repeats is written again, and is as young as its last time.
        events.sort_by_key(|event| event.modified());
        let over = events.len().saturating_sub(count_max);
        for (place, event) in events.into_iter().enumerate() {
            if writes.len() >= WRITES_PER_TURN_MAX {
                return writes;
            }
            if place < over || is_older(event, now, age_max) {
                writes.push(remove(event));
            }
        }
    }
    writes
}

fn is_older(event: &Entry, now: WallTime, age_max: Duration) -> bool {
    let event = parse(event);
    let paths: [&[&str]; 3] = [
        &["lastTimestamp"],
        &["eventTime"],
        &["metadata", "creationTimestamp"],
    ];
    let newest = paths
        .iter()
        .filter_map(|path| text_at(&event, path).parse::<jiff::Timestamp>().ok())
        .max();
    // One without a time goes by number alone.
    newest.is_some_and(|time| {
        let millis = u64::try_from(time.as_millisecond()).unwrap_or_default();
        u128::from(now.unix_millis().saturating_sub(millis)) > age_max.as_millis()
    })
}
