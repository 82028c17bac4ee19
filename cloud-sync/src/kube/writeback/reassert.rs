//! Statuses that others changed in the cluster. A node reports what changes, once; when the node
//! controller has meanwhile called its Node unknown and its pods unready, because the link was down,
//! what the node reported last is said again when the node is back.

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_kube_api::source::format_time;
use causeway_log::{Body, Key, NodeName, Resource, Revision, Slot, Stored, StreamId};
use causeway_projections::{Change, Entry, Objects};
use serde_json::Value;

use super::{Parts, status};

/// The same status is said again at most this often at first …
const PAUSE: Duration = Duration::from_secs(5);
/// … and, when it does not stay, at most this often.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// What was looked at, and what was said again lately.
#[derive(Debug, Default)]
pub(super) struct Reassert {
    /// Changes of the cluster up to here were looked at.
    seen: Revision,
    /// Comings and goings of nodes, as counted when all was looked at last.
    presence: Option<u64>,
    /// Objects whose difference waits for its time, and how often it was said.
    again: BTreeMap<Key, (Duration, u32)>,
}

impl Reassert {
    /// The newest statuses of connected nodes from which the cluster differs.
    pub(super) fn look(&mut self, parts: &Parts, now: Duration) -> Vec<(NodeName, Stored)> {
        let presence = *parts.hub.watch_presence().borrow();
        let all = self.presence.replace(presence) != Some(presence);
        let after = if all { Revision::ZERO } else { self.seen };
        let (candidates, seen) = parts.view.read(|objects| {
            let mut found: Vec<(NodeName, Key, Option<Body>)> = Vec::new();
            for plural in ["nodes", "pods"] {
                let changes = objects.changes_after(&Resource::core(plural), after);
                found.extend(changes.filter_map(|change| match change {
                    Change::Present(entry) => candidate(entry),
                    Change::Gone(_) => None,
                }));
            }
            let waiting = self.again.iter().filter(|(_, (due, _))| *due <= now);
            found.extend(waiting.filter_map(|(key, _)| candidate(entry_of(objects, key)?)));
            (found, objects.revision())
        });
        self.seen = seen;
        let mut differing = Vec::new();
        for (node, key, body) in candidates {
            if !parts.hub.is_connected(&node) {
                self.again.remove(&key);
                continue;
            }
            match differs(parts, &node, &key, body) {
                Some(stored) => {
                    if self.may_say(&key, now) {
                        differing.push((node, stored));
                    }
                }
                None => {
                    self.again.remove(&key);
                }
            }
        }
        // What was said and stayed is forgotten after a while.
        self.again
            .retain(|_, (due, _)| now.saturating_sub(*due) < PAUSE_MAX);
        differing
    }

    fn may_say(&mut self, key: &Key, now: Duration) -> bool {
        let (due, times) = self.again.entry(key.clone()).or_default();
        if *due > now {
            return false;
        }
        let pause = PAUSE.saturating_mul(1 << (*times).min(16)).min(PAUSE_MAX);
        (*due, *times) = (now + pause, *times + 1);
        true
    }
}

fn entry_of<'a>(objects: &'a Objects, key: &Key) -> Option<&'a Entry> {
    let entry = objects.get(&key.resource, &key.namespace, &key.name)?;
    (entry.key() == key).then_some(entry)
}

/// The node that reports the status of this object.
fn candidate(entry: &Entry) -> Option<(NodeName, Key, Option<Body>)> {
    let key = entry.key();
    let body = entry.desired()?;
    let name = if key.resource.is("", "nodes") {
        key.name.to_string()
    } else {
        let pod: Value = serde_json::from_slice(body.bytes()).ok()?;
        pod.get("spec")?.get("nodeName")?.as_str()?.to_owned()
    };
    let node = NodeName::new(&name).ok()?;
    Some((node, key.clone(), Some(body.clone())))
}

/// The newest status that the node reported of an object, if the cluster shows another one.
fn differs(parts: &Parts, node: &NodeName, key: &Key, body: Option<Body>) -> Option<Stored> {
    let stream = StreamId::up(node.clone());
    let mut stored = parts.store.newest(&stream, key, Slot::Status).ok()??;
    if causeway_log::digest::is_gone(&stored.record) {
        return None;
    }
    let mut reported: Value = serde_json::from_slice(stored.record.body.bytes()).ok()?;
    let object: Value = serde_json::from_slice(body?.bytes()).ok()?;
    let current = object.get("status");
    if key.resource.is("", "nodes") {
        if !status::has_node_drifted(current, &reported) {
            return None;
        }
        // The node was heard of now: a condition that is as old as it was would count as silence.
        let now = format_time(parts.clock.now());
        let conditions = reported.get_mut("conditions").and_then(Value::as_array_mut);
        for condition in conditions.into_iter().flatten() {
            condition["lastHeartbeatTime"] = now.as_str().into();
        }
        stored.record.body = Body::from(reported.to_string().into_bytes());
        return Some(stored);
    }
    let over = status::is_terminal(current) && !status::is_terminal(Some(&reported));
    (!over && status::has_drifted(current, &reported)).then_some(stored)
}
