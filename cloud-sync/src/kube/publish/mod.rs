//! One small object for each node, for people and dashboards: `edgenodes.causeway.dev`.
//!
//! It says whether the node is connected and how far it has got. Nobody here reads it: what a node
//! has is what it says when it connects.
//!
//! It is written when a node comes or goes, and otherwise at most once a minute and only when it
//! says something else than before. A cluster without the definition is asked now and then whether
//! it has got it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use causeway_daemon::tasks::Stop;
use causeway_kube_api::source::format_time;
use causeway_log::digest::Digest;
use causeway_log::{Direction, NodeName, Resource, StreamId};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};

use super::autonomy::{Autonomy, of_node};
use super::leases::Pacer;
use super::writeback::judge::{Meaning, judge};
use super::writeback::{Call, CallError, Content, Identity, Parts, Place, WriteStats};

#[cfg(test)]
mod tests;

/// How often a node is looked at while nothing happens to it.
const INTERVAL: Duration = Duration::from_secs(60);
/// Writes under way at once.
const UNDER_WAY_MAX: usize = 4;
/// How often comings and goings are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long nothing is tried when the cluster does not know the kind, or does not let us.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(300);
/// The field manager.
const MANAGER: &str = "causeway";

/// Publishes until stopped.
pub async fn run(parts: Parts, mut stop: Stop) {
    tokio::select! {
        biased;
        () = stop.wait() => {}
        () = publish_all(&parts) => {}
    }
}

async fn publish_all(parts: &Parts) {
    let began = monotonic();
    let mut pacer = Pacer::new(INTERVAL, UNDER_WAY_MAX);
    let mut published: BTreeMap<NodeName, Value> = BTreeMap::new();
    let mut under_way = FuturesUnordered::new();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut presence = None;
    let mut connected = BTreeSet::new();
    let mut rest_until = Duration::ZERO;
    let mut told = false;
    loop {
        tokio::select! {
            Some((node, said, done)) = under_way.next() => {
                let now = began.elapsed();
                match done {
                    Ok(()) => {
                        parts.stats.published.inc();
                        published.insert(NodeName::clone(&node), said);
                        pacer.finish(&node, true, now, fastrand::f64());
                    }
                    Err(failed) => {
                        if tell(parts, &failed, &mut told) {
                            rest_until = now + UNKNOWN_PAUSE;
                        }
                        pacer.finish(&node, false, now, fastrand::f64());
                    }
                }
            }
            _ = tick.tick() => {}
        }
        let now = began.elapsed();
        let count = *parts.hub.watch_presence().borrow();
        if presence.replace(count) != Some(count) {
            let here = parts.hub.connected_nodes();
            // Whoever came or went is looked at now.
            let turned: Vec<_> = connected.symmetric_difference(&here).cloned().collect();
            connected = here;
            for node in turned {
                pacer.hurry(&node, now);
            }
        }
        pacer.observe(&known(parts), now);
        published.retain(|node, _| pacer.serves(node));
        while now >= rest_until
            && let Some(node) = pacer.start(now)
        {
            let Some(said) = describe(parts, &node) else {
                pacer.finish(&node, true, now, fastrand::f64());
                continue;
            };
            if published
                .get(&node)
                .is_some_and(|before| same(before, &said))
            {
                pacer.finish(&node, true, now, fastrand::f64());
                continue;
            }
            let call = publication(&node, &said, life(parts, &node).as_deref());
            let parts = parts.clone();
            under_way.push(async move {
                parts.stats.count_call(&call);
                let done = parts.api.call(call.clone()).await;
                let done = done.map(drop).map_err(|error| (call, error));
                (node, said, done)
            });
        }
    }
}

/// Says what went wrong; whether it is no use to go on for now.
fn tell(parts: &Parts, (call, error): &(Call, CallError), told: &mut bool) -> bool {
    let meaning = judge(error);
    let error = causeway_daemon::telemetry::error_chain(error).to_string();
    let (verb, resource) = (call.method.verb(), &call.resource);
    let (part, why) = (("part", "publish"), ("why", meaning.as_str()));
    WriteStats::count(&parts.stats.retries, part, why);
    match meaning {
        Meaning::Gone => {
            if !std::mem::replace(told, true) {
                tracing::warn!(
                    resource,
                    "the status of edge nodes is not published: this cluster does not have the \
                     kind, which the chart brings (crds/edgenodes.yaml)"
                );
            }
            true
        }
        Meaning::Denied | Meaning::Misconfigured | Meaning::Never => {
            if !std::mem::replace(told, true) {
                tracing::warn!(
                    verb,
                    resource,
                    error,
                    "the status of edge nodes is not published"
                );
            }
            true
        }
        Meaning::Unavailable { .. } | Meaning::Conflict | Meaning::Exists => {
            tracing::debug!(
                verb,
                resource,
                error,
                "the status of a node is published later"
            );
            false
        }
    }
}

/// The nodes that have, or had, a session and a Node.
fn known(parts: &Parts) -> BTreeSet<NodeName> {
    let streams = parts.store.streams().unwrap_or_default();
    let nodes = streams.into_iter().filter_map(|stream| match stream {
        StreamId::Node(node, Direction::Up) => Some(node),
        StreamId::Node(_, Direction::Down) | StreamId::Cluster => None,
    });
    nodes.filter(|node| life(parts, node).is_some()).collect()
}

fn life(parts: &Parts, node: &NodeName) -> Option<String> {
    parts.view.read(|objects| {
        let entry = objects.get(&Resource::core("nodes"), "", node.as_str())?;
        Some(entry.key().uid.to_string())
    })
}

/// What is to be said of a node.
fn describe(parts: &Parts, node: &NodeName) -> Option<Value> {
    let stream = StreamId::down(node.clone());
    let info = parts.store.stream(&stream).ok()??;
    let shown = parts.hub.shown(node);
    let connected = shown.session.is_some();
    let since = match (&shown.session, &shown.last) {
        (Some((_, since, _)), _) | (None, Some((since, _))) => Some(format_time(*since)),
        (None, None) => None,
    };
    let now = parts.clock.now();
    let lag = parts.hub.lag(node, info.durable, info.acked, now);
    let digest = Digest::of_stream(&*parts.store, &stream).ok()?.summary();
    let autonomy = parts.view.read(|objects| {
        let entry = objects.get(&Resource::core("nodes"), "", node.as_str())?;
        of_node(&serde_json::from_slice(entry.desired()?.bytes()).ok()?)
    });
    Some(json!({
        "connected": connected,
        "since": since,
        "lastError": shown.last.filter(|_| !connected).map(|(_, reason)| reason),
        "epoch": info.epoch.to_string(),
        "head": info.durable.get(),
        "acked": info.durable.get().saturating_sub(lag.offsets),
        "lag": lag.offsets,
        "lagMillis": lag.millis,
        "objects": digest.keys,
        "digest": digest.digest,
        "autonomy": match autonomy {
            Some(Autonomy::Unlimited) => json!({"armed": true}),
            Some(Autonomy::Seconds(seconds)) => json!({"armed": true, "seconds": seconds}),
            None => json!({"armed": false}),
        },
        "observed": format_time(now),
    }))
}

/// Whether two descriptions say the same, apart from when they were made.
fn same(before: &Value, now: &Value) -> bool {
    let (Some(before), Some(now)) = (before.as_object(), now.as_object()) else {
        return false;
    };
    let counts = |field: &String| !matches!(field.as_str(), "observed" | "lagMillis");
    before.len() == now.len()
        && before
            .iter()
            .filter(|(field, _)| counts(field))
            .all(|(field, value)| now.get(field) == Some(value))
}

/// Writes the description of a node. The object goes with the Node, whose `life` is its uid.
#[must_use]
pub fn publication(node: &NodeName, said: &Value, life: Option<&str>) -> Call {
    let mut metadata = json!({"name": node.as_str()});
    if let Some(life) = life {
        metadata["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "Node", "name": node.as_str(), "uid": life,
        }]);
    }
    let object = json!({
        "apiVersion": "causeway.dev/v1",
        "kind": "EdgeNode",
        "metadata": metadata,
        "status": said,
    });
    let place = Place {
        resource: Resource::new("causeway.dev", "edgenodes"),
        version: "v1".to_owned(),
        namespace: String::new(),
        name: node.to_string(),
    };
    place
        .patch(Identity::Cloud, "", Content::Apply, object)
        .managed_by(MANAGER)
}

/// Publications are paced by time that never goes back.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the shell of the publications"
)]
fn monotonic() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
