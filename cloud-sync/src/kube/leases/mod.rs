//! Leases of nodes, renewed on behalf of their sessions: a node sends nothing for it.
//!
//! Kubernetes takes a node for dead when its lease is not renewed. Here the session says that the
//! node is there, and the node's own report says that its agent lives: the edge reports `Ready` as
//! `Unknown` when its agent has fallen silent. A lease is renewed while both hold, and not a moment
//! longer: then Kubernetes' own rules take their course.

use std::collections::BTreeSet;
use std::time::Duration;

use causeway_daemon::tasks::Stop;
use causeway_log::{Key, NodeName, Resource, Slot, StreamId, WallTime};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};

use super::writeback::judge::{Meaning, judge};
use super::writeback::{
    Call, CallError, Content, Identity, Parts, Place, WriteStats, stats, status,
};

mod pacer;
#[cfg(test)]
mod tests;

pub use pacer::Pacer;

/// Kubernetes may count on a lease for so many renewals.
const RENEWALS: u32 = 4;
/// Renewals under way at once.
const UNDER_WAY_MAX: usize = 32;
/// How often comings and goings are looked at.
const TICK: Duration = Duration::from_millis(250);
/// Where the leases of nodes stand.
const NAMESPACE: &str = "kube-node-lease";

/// Renews leases until stopped.
pub async fn run(parts: Parts, mut stop: Stop) {
    tokio::select! {
        biased;
        () = stop.wait() => {}
        () = renew_all(&parts) => {}
    }
}

async fn renew_all(parts: &Parts) {
    let began = monotonic();
    let mut pacer = Pacer::new(parts.lease_renewal, UNDER_WAY_MAX);
    let mut under_way = FuturesUnordered::new();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut presence = None;
    let mut said: BTreeSet<NodeName> = BTreeSet::new();
    loop {
        tokio::select! {
            Some((node, renewed)) = under_way.next() => {
                tell(parts, &mut said, &node, &renewed);
                let renewed = renewed.is_ok();
                pacer.finish(&node, renewed, began.elapsed(), fastrand::f64());
            }
            _ = tick.tick() => {}
        }
        let now = *parts.hub.watch_presence().borrow();
        if presence.replace(now) != Some(now) {
            pacer.observe(&parts.hub.connected_nodes(), began.elapsed());
        }
        while let Some(node) = pacer.start(began.elapsed()) {
            let Some(life) = healthy(parts, &node) else {
                pacer.skip(&node, began.elapsed());
                continue;
            };
            let parts = parts.clone();
            under_way.push(async move {
                let renewed = renew(&parts, &node, &life).await;
                (node, renewed)
            });
        }
        stats::set(&parts.stats.leases_held, pacer.len());
    }
}

/// The life of the Node if its lease is to be renewed: there is one, and its agent lives.
fn healthy(parts: &Parts, node: &NodeName) -> Option<String> {
    let key = parts.view.read(|objects| {
        let entry = objects.get(&Resource::core("nodes"), "", node.as_str())?;
        Some(entry.key().clone())
    })?;
    reported_alive(parts, node, &key).then(|| key.uid.to_string())
}

fn reported_alive(parts: &Parts, node: &NodeName, key: &Key) -> bool {
    let stream = StreamId::up(node.clone());
    let Ok(Some(stored)) = parts.store.newest(&stream, key, Slot::Status) else {
        return false;
    };
    let reported: Option<Value> = serde_json::from_slice(stored.record.body.bytes()).ok();
    is_alive(reported.as_ref())
}

/// Whether a node's report says that its agent lives. A node that is not ready lives.
fn is_alive(reported: Option<&Value>) -> bool {
    matches!(status::condition(reported, "Ready"), Some("True" | "False"))
}

async fn renew(parts: &Parts, node: &NodeName, life: &str) -> Result<(), (Call, CallError)> {
    let call = renewal(node, parts.clock.now(), parts.lease_renewal);
    match send(parts, call).await {
        Err((_, error)) if judge(&error) == Meaning::Gone => {
            send(
                parts,
                creation(node, life, parts.clock.now(), parts.lease_renewal),
            )
            .await
        }
        renewed => renewed,
    }
}

async fn send(parts: &Parts, call: Call) -> Result<(), (Call, CallError)> {
    parts.stats.count_call(&call);
    let answer = parts.api.call(call.clone()).await;
    answer.map(drop).map_err(|error| (call, error))
}

fn tell(
    parts: &Parts,
    said: &mut BTreeSet<NodeName>,
    node: &NodeName,
    renewed: &Result<(), (Call, CallError)>,
) {
    let Err((call, error)) = renewed else {
        said.remove(node);
        parts.stats.leases.inc();
        return;
    };
    let part = ("part", "lease");
    WriteStats::count(&parts.stats.retries, part, ("why", judge(error).as_str()));
    if said.insert(node.clone()) {
        let error = causeway_daemon::telemetry::error_chain(error).to_string();
        let (verb, resource) = (call.method.verb(), &call.resource);
        tracing::warn!(%node, verb, resource, error, "the lease of a node is not renewed");
    }
}

fn place(node: &NodeName) -> Place {
    Place {
        resource: Resource::new("coordination.k8s.io", "leases"),
        version: "v1".to_owned(),
        namespace: NAMESPACE.to_owned(),
        name: node.to_string(),
    }
}

/// Renews the lease of a node, which is to be renewed so often.
#[must_use]
pub fn renewal(node: &NodeName, now: WallTime, interval: Duration) -> Call {
    let patch = json!({"spec": spec(node, now, interval)});
    let identity = Identity::Node(node.clone());
    place(node).patch(identity, "", Content::MergePatch, patch)
}

/// Creates the lease of a node. It goes with the Node, whose `life` is its uid.
#[must_use]
pub fn creation(node: &NodeName, life: &str, now: WallTime, interval: Duration) -> Call {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": node.as_str(),
            "namespace": NAMESPACE,
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Node", "name": node.as_str(), "uid": life,
            }],
        },
        "spec": spec(node, now, interval),
    });
    place(node).create(Identity::Node(node.clone()), lease)
}

fn spec(node: &NodeName, now: WallTime, interval: Duration) -> Value {
    let seconds = interval.saturating_mul(RENEWALS).as_secs().max(1);
    let millis = i64::try_from(now.unix_millis()).unwrap_or(i64::MAX);
    let now = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    json!({
        "holderIdentity": node.as_str(),
        "leaseDurationSeconds": seconds,
        "renewTime": format!("{now:.6}"),
    })
}

/// Leases are paced by time that never goes back.
#[expect(clippy::disallowed_methods, reason = "this is the shell of the leases")]
fn monotonic() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
