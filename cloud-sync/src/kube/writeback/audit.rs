//! Statuses that others changed in the cluster. A node reports what changes, once; when the node
//! controller has meanwhile called its Node unknown and its pods unready, because the link was down,
//! what the node reported last is said again.
//!
//! The copy of the cluster here has no statuses of nodes and pods, so they are read: when a node
//! comes, twice soon after, as the controllers may not have heard of it yet, and then now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use causeway_kube_api::source::format_time;
use causeway_log::digest::is_gone;
use causeway_log::{Body, Key, NodeName, Resource, Slot, Stored, StreamId, Uid};
use serde_json::Value;

use super::call::{CallError, Identity, Place, escape};
use super::{Parts, status};

/// When a node is looked at after it came.
const AFTER_COMING: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(15),
    Duration::from_secs(60),
];
/// How often it is looked at from then on: as often as a kubelet repeats itself.
const INTERVAL: Duration = Duration::from_secs(300);
/// A node whose link flaps is not looked at more often.
const INTERVAL_MIN: Duration = Duration::from_secs(5);
/// Nodes looked at at once.
const UNDER_WAY_MAX: usize = 4;
/// Pods read at once.
const PAGE: usize = 100;
/// Most pages of pods of one node.
const PAGES_MAX: usize = 64;

/// When which node is looked at. Pure.
#[derive(Debug, Default)]
pub(super) struct Audits {
    nodes: BTreeMap<NodeName, Audit>,
    under_way: usize,
}

#[derive(Debug)]
struct Audit {
    due: Duration,
    /// How often it was looked at since it came.
    times: usize,
    under_way: bool,
    is_here: bool,
    last: Option<Duration>,
}

impl Audits {
    /// These nodes are connected.
    pub(super) fn observe(&mut self, connected: &BTreeSet<NodeName>, now: Duration) {
        for (node, audit) in &mut self.nodes {
            audit.is_here = connected.contains(node);
        }
        // One that is gone is remembered for as long as it says something of its next coming.
        self.nodes.retain(|_, audit| {
            let lately = |last: Duration| now.saturating_sub(last) < INTERVAL_MIN;
            audit.is_here || audit.under_way || audit.last.is_some_and(lately)
        });
        for node in connected {
            let audit = self.nodes.entry(node.clone()).or_insert(Audit {
                due: now,
                times: 0,
                under_way: false,
                is_here: true,
                last: None,
            });
            audit.is_here = true;
        }
    }

    /// These nodes have come, or come back.
    pub(super) fn came<'a>(
        &mut self,
        nodes: impl IntoIterator<Item = &'a NodeName>,
        now: Duration,
    ) {
        for node in nodes {
            if let Some(audit) = self.nodes.get_mut(node) {
                audit.times = 0;
                audit.due = audit.last.map_or(now, |last| now.max(last + INTERVAL_MIN));
            }
        }
    }

    /// A node to look at now.
    pub(super) fn start(&mut self, now: Duration) -> Option<NodeName> {
        if self.under_way >= UNDER_WAY_MAX {
            return None;
        }
        let is_due = |audit: &Audit| audit.is_here && !audit.under_way && audit.due <= now;
        let (node, audit) = self.nodes.iter_mut().find(|(_, audit)| is_due(audit))?;
        audit.under_way = true;
        self.under_way += 1;
        Some(node.clone())
    }

    /// A node was looked at. `luck`, from 0 to 1, spreads the next look.
    pub(super) fn finish(&mut self, node: &NodeName, now: Duration, luck: f64) {
        self.under_way = self.under_way.saturating_sub(1);
        let Some(audit) = self.nodes.get_mut(node) else {
            return;
        };
        audit.under_way = false;
        audit.last = Some(now);
        audit.times += 1;
        let pause = AFTER_COMING.get(audit.times).copied();
        let pause = pause.unwrap_or_else(|| INTERVAL.mul_f64(0.9 + luck.clamp(0.0, 1.0) / 5.0));
        audit.due = now + pause;
    }
}

/// The newest statuses that a node reported and from which the cluster differs.
pub(super) async fn look(parts: &Parts, node: &NodeName) -> Result<Vec<Stored>, CallError> {
    let call = Place::core("nodes", "", node.as_str()).get(Identity::Cloud);
    parts.stats.count_call(&call);
    let object = parts.api.call(call).await?;
    let mut found: Vec<Stored> = differs(parts, node, "nodes", &object).into_iter().collect();
    let mut page = String::new();
    for _ in 0..PAGES_MAX {
        let mut query = format!("limit={PAGE}&fieldSelector=spec.nodeName%3D");
        escape(&mut query, node.as_str());
        if !page.is_empty() {
            query.push_str("&continue=");
            escape(&mut query, &page);
        }
        let call = Place::core("pods", "", "").list(Identity::Cloud, query);
        parts.stats.count_call(&call);
        let list = parts.api.call(call).await?;
        let pods = list.get("items").and_then(Value::as_array);
        let differing = pods.into_iter().flatten();
        found.extend(differing.filter_map(|pod| differs(parts, node, "pods", pod)));
        let next = list
            .get("metadata")
            .and_then(|m| m.get("continue")?.as_str());
        match next.filter(|next| !next.is_empty()) {
            Some(next) => page = next.to_owned(),
            None => break,
        }
    }
    Ok(found)
}

fn differs(parts: &Parts, node: &NodeName, plural: &str, object: &Value) -> Option<Stored> {
    let metadata = object.get("metadata")?;
    let text = |field: &str| metadata.get(field).and_then(Value::as_str);
    let namespace = text("namespace").unwrap_or_default();
    let uid = Uid::parse(text("uid")?);
    let key = Key::new(Resource::core(plural), namespace, text("name")?, uid).ok()?;
    let stream = StreamId::up(node.clone());
    let mut stored = parts.store.newest(&stream, &key, Slot::Status).ok()??;
    if is_gone(&stored.record) {
        return None;
    }
    let mut reported: Value = serde_json::from_slice(stored.record.body.bytes()).ok()?;
    let current = object.get("status");
    if plural == "pods" {
        let over = status::is_terminal(current) && !status::is_terminal(Some(&reported));
        return (!over && status::has_drifted(current, &reported)).then_some(stored);
    }
    if !status::has_node_drifted(current, &reported) {
        return None;
    }
    // The node was heard of now: a condition that is as old as it was would count as silence.
    let now = format_time(parts.clock.now());
    let conditions = reported.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        if let Some(condition) = condition.as_object_mut() {
            condition.insert("lastHeartbeatTime".to_owned(), now.as_str().into());
        }
    }
    stored.record.body = Body::from(reported.to_string().into_bytes());
    Some(stored)
}
