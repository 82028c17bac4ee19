//! Tokens of service accounts for the pods of connected nodes.
//!
//! ```text
//!   pod on a connected node ──▶ TokenRequest, as the node, bound to the pod
//!                                  └─▶ a `ServiceAccountToken` in the store ──▶ down, to that node
//! ```
//!
//! A token is asked for when its pod is bound and its node is here, and again when four fifths of
//! its life are over. Nothing takes a token away but the end of its pod: a node that is cut off, or
//! a cluster that gives no tokens just now, leaves the last good one where it is.
//!
//! What was issued is in the store, so a restart asks for nothing anew.

use std::time::Duration;

use causeway_daemon::tasks::Stop;
use causeway_kube_api::source::format_time;
use causeway_kube_api::{Change as Wanted, Expected, Write, WriteError};
use causeway_log::{Key, NodeName, Resource, Revision, Slot, StreamId, Uid, WallTime};
use causeway_projections::{Change, Objects};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::writeback::backoff::Backoff;
use super::writeback::judge::{Meaning, judge};
use super::writeback::{Call, CallError, Identity, Parts, Place, WriteStats, stats, status};
use crate::cluster::Request;
use crate::interest::{TokenSource, token_sources, tokens};

mod keeper;
#[cfg(test)]
mod tests;

pub use keeper::{Due, Held, Keeper};

/// Requests under way at once.
const UNDER_WAY_MAX: usize = 16;
/// How often what is kept is looked at, whatever happens.
const TICK: Duration = Duration::from_secs(1);
/// So often the API server may know nothing of a pod that is here: about three seconds.
const BEHIND_MAX: u32 = 6;
/// Longest token that is taken.
const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// Writes that remove tokens of pods that are gone, at once.
const REMOVALS_MAX: usize = 64;

/// Keeps tokens until stopped.
pub async fn run(parts: Parts, mut stop: Stop) {
    tokio::select! {
        biased;
        () = stop.wait() => {}
        () = keep(&parts) => {}
    }
}

/// A token was not got.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The API server gave none.
    #[error("the API server gave no token")]
    Call(#[source] CallError),
    /// What it gave is no token.
    #[error("the answer to a request for a token has none")]
    Malformed,
    /// The namespace of the pod is still to come.
    #[error("the namespace of the pod is not here yet")]
    Early,
    /// It could not be stored.
    #[error("the token cannot be stored")]
    Store(#[source] WriteError),
    /// This service stops.
    #[error("the service is stopping")]
    Stopping,
}

impl Failure {
    /// Whether the API server does not know this life of the pod on this node. Either it is over, or
    /// the server's admission and authorizer, which follow pods as we do, have yet to hear of it.
    fn is_about_an_unknown_pod(&self) -> bool {
        let Self::Call(error @ CallError::Refused { status, .. }) = self else {
            return false;
        };
        let about = status.details.as_ref();
        let is_account = about.is_some_and(|about| about.kind == "serviceaccounts");
        // A service account that is missing may yet come.
        let is_missing = status.code == 404 && is_account;
        let is_unrelated = status.code == 403 && status.message.contains(UNRELATED);
        is_unrelated || judge(error) == Meaning::Gone && !is_missing
    }
}

/// The words of the Node authorizer for a node none of whose pods has this service account.
const UNRELATED: &str = "no relationship found between node";

async fn keep(parts: &Parts) {
    let began = monotonic();
    let mut keeper = Keeper::default();
    let mut seen = Revision::ZERO;
    let mut changes = parts.view.subscribe();
    let mut presence = parts.hub.watch_presence();
    let mut wake = began;
    let mut under_way = FuturesUnordered::new();
    let mut told = std::collections::BTreeSet::new();
    loop {
        tokio::select! {
            Some(answered) = under_way.next() => {
                let (due, got) = &answered;
                let failures = note(&mut keeper, due, got, began.elapsed());
                tell(parts, &mut told, due, got, failures);
            }
            changed = changes.changed() => if changed.is_err() { return },
            changed = presence.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(wake) => {}
        }
        seen = observe(parts, &mut keeper, seen);
        let (now, wall) = (began.elapsed(), parts.clock.now());
        let connected = parts.hub.connected_nodes();
        while under_way.len() < UNDER_WAY_MAX {
            let Some(due) = keeper.start(&connected, now, wall) else {
                break;
            };
            if has_ended(parts, &due.node, &due.pod) {
                keeper.no_pod(&due.pod);
                continue;
            }
            let parts = parts.clone();
            under_way.push(async move {
                let got = obtain(&parts, &due).await;
                (due, got)
            });
        }
        remove(parts, keeper.orphans(REMOVALS_MAX)).await;
        stats::set(&parts.stats.tokens_held, keeper.held());
        let now = began.elapsed();
        let next = keeper.next_due(now).unwrap_or(Duration::MAX);
        wake = began + next.min(now + TICK);
    }
}

/// Notes that a token was got or not. How often it was not, one time after the other.
fn note(keeper: &mut Keeper, due: &Due, got: &Result<(), Failure>, now: Duration) -> u32 {
    let pause = got.as_ref().err().map(pause_after);
    keeper.finish(&due.place, pause, now, fastrand::f64())
}

/// Notes what changed of pods and of the tokens in the store.
fn observe(parts: &Parts, keeper: &mut Keeper, seen: Revision) -> Revision {
    parts.view.read(|objects| {
        for change in objects.changes_after(&Resource::core("pods"), seen) {
            match change {
                Change::Present(entry) => {
                    let body = entry.desired().map(|body| body.bytes());
                    let pod = body.and_then(|body| serde_json::from_slice::<Value>(body).ok());
                    let pod = pod.unwrap_or_default();
                    match bound_to(&pod) {
                        Some(node) => {
                            let sources = token_sources(entry.key(), &pod);
                            keeper.pod(entry.key(), &node, sources);
                        }
                        None => keeper.no_pod(entry.key()),
                    }
                }
                Change::Gone(tombstone) => keeper.no_pod(tombstone.key()),
            }
        }
        for change in objects.changes_after(&tokens(), seen) {
            match change {
                Change::Present(entry) => {
                    let object = entry.object();
                    let held = Held {
                        key: entry.key().clone(),
                        revision: entry.modified(),
                        issued: time_of(&object, "issuedAt"),
                        expires: time_of(&object, "expiresAt"),
                    };
                    keeper.token(held);
                }
                Change::Gone(tombstone) => keeper.no_token(tombstone.key()),
            }
        }
        objects.revision()
    })
}

/// The node a pod runs on.
fn bound_to(pod: &Value) -> Option<NodeName> {
    NodeName::new(pod.get("spec")?.get("nodeName")?.as_str()?).ok()
}

/// Whether a node reports that a pod does not run again: it needs no tokens any more.
fn has_ended(parts: &Parts, node: &NodeName, pod: &Key) -> bool {
    let stream = StreamId::up(node.clone());
    let Ok(Some(stored)) = parts.store.newest(&stream, pod, Slot::Status) else {
        return false;
    };
    let reported: Option<Value> = serde_json::from_slice(stored.record.body.bytes()).ok();
    status::is_terminal(reported.as_ref())
}

fn time_of(object: &Value, field: &str) -> Option<WallTime> {
    let time: jiff::Timestamp = object.get(field)?.as_str()?.parse().ok()?;
    let millis = u64::try_from(time.as_millisecond()).ok()?;
    Some(WallTime::from_unix_millis(millis))
}

async fn obtain(parts: &Parts, due: &Due) -> Result<(), Failure> {
    let namespaces = Resource::core("namespaces");
    let is_here = |objects: &Objects| objects.get(&namespaces, "", &due.pod.namespace).is_some();
    if !parts.view.read(is_here) {
        return Err(Failure::Early);
    }
    let call = request(due);
    parts.stats.count_call(&call);
    let answer = parts.api.call(call).await.map_err(Failure::Call)?;
    let object = object(due, &answer, parts.clock.now()).ok_or(Failure::Malformed)?;
    store(parts, due, object).await
}

/// The request for a token: as the node, bound to the pod.
#[must_use]
pub fn request(due: &Due) -> Call {
    let Due {
        node, pod, source, ..
    } = due;
    let audiences: Vec<&str> = Some(&*source.audience)
        .filter(|audience| !audience.is_empty())
        .into_iter()
        .collect();
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {"name": source.service_account, "namespace": &*pod.namespace},
        "spec": {
            "audiences": audiences,
            "expirationSeconds": source.expiration_seconds,
            "boundObjectRef": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": &*pod.name,
                "uid": pod.uid.to_string(),
            },
        },
    });
    let place = Place::core("serviceaccounts", &pod.namespace, &source.service_account);
    place.create_in("token", Identity::Node(node.clone()), body)
}

/// The object in which a token reaches its node.
#[must_use]
pub fn object(due: &Due, answer: &Value, now: WallTime) -> Option<Value> {
    let status = answer.get("status")?;
    let token = status.get("token")?.as_str()?;
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let expires = status.get("expirationTimestamp")?.as_str()?;
    expires.parse::<jiff::Timestamp>().ok()?;
    let Due {
        pod, source, place, ..
    } = due;
    let TokenSource {
        name: _,
        volume,
        source,
        service_account,
        audience,
        expiration_seconds,
    } = source;
    let uid = pod.uid.to_string();
    let issued = format_time(now);
    Some(json!({
        "apiVersion": "causeway.dev/v1",
        "kind": "ServiceAccountToken",
        "metadata": {
            "name": &*place.name,
            "namespace": &*place.namespace,
            "uid": place.uid.to_string(),
            "creationTimestamp": due.held.as_ref().and_then(|held| held.issued).map_or_else(
                || issued.clone(), format_time,
            ),
            "labels": {"causeway.dev/pod-uid": uid},
        },
        "spec": {
            "pod": &*pod.name,
            "podUid": uid,
            "serviceAccount": service_account,
            "volume": volume,
            "source": source,
            "audience": audience,
            "expirationSeconds": expiration_seconds,
        },
        "token": token,
        "issuedAt": issued,
        "expiresAt": expires,
    }))
}

async fn store(parts: &Parts, due: &Due, object: Value) -> Result<(), Failure> {
    let expected = match &due.held {
        Some(held) => Expected::At(held.revision),
        None => Expected::Absent,
    };
    let write = Write {
        key: due.place.clone(),
        expected,
        change: Wanted::Put(object),
    };
    commit(parts, write).await
}

async fn commit(parts: &Parts, write: Write) -> Result<(), Failure> {
    let (answer, answered) = oneshot::channel();
    let write = Box::new(write);
    let request = Request::Write { write, answer };
    let sent = parts.requests.send(request).await;
    sent.map_err(|_| Failure::Stopping)?;
    let written = answered.await.map_err(|_| Failure::Stopping)?;
    written.map(drop).map_err(Failure::Store)
}

/// Removes tokens whose pods are gone.
async fn remove(parts: &Parts, orphans: Vec<Held>) {
    let writes = orphans.into_iter().map(|held| Write {
        key: held.key,
        expected: Expected::At(held.revision),
        change: Wanted::Delete {
            grace_period_seconds: None,
            confirm: false,
        },
    });
    let commits = writes.map(|write| commit(parts, write));
    for removed in futures_util::future::join_all(commits).await {
        if let Err(error) = removed {
            let error = causeway_daemon::telemetry::error_chain(&error).to_string();
            tracing::debug!(error, "a token of a pod that is gone is removed later");
        }
    }
}

fn pause_after(failure: &Failure) -> Backoff {
    match failure {
        _ if failure.is_about_an_unknown_pod() => Backoff {
            first: Duration::from_millis(50),
            longest: Duration::from_secs(30),
        },
        // The service account may come; the pod goes on waiting for it.
        Failure::Call(error) if matches!(judge(error), Meaning::Gone | Meaning::Never) => Backoff {
            first: Duration::from_secs(2),
            longest: Duration::from_secs(60),
        },
        Failure::Call(error) => Backoff::of(judge(error)),
        Failure::Malformed | Failure::Early | Failure::Store(_) | Failure::Stopping => Backoff {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(30),
        },
    }
}

fn tell(
    parts: &Parts,
    told: &mut std::collections::BTreeSet<(NodeName, String)>,
    due: &Due,
    got: &Result<(), Failure>,
    failures: u32,
) {
    let Err(failure) = got else {
        parts.stats.tokens.inc();
        return;
    };
    let why = match failure {
        Failure::Call(error) => judge(error).as_str(),
        Failure::Malformed => "malformed",
        // It came with the pod, and is on its way.
        Failure::Early => return,
        Failure::Store(_) => "store",
        Failure::Stopping => "stopping",
    };
    WriteStats::count(&parts.stats.retries, ("part", "token"), ("why", why));
    if failure.is_about_an_unknown_pod() && failures <= BEHIND_MAX {
        // The server is about to hear of it; or we are, and then nobody asks any more.
        tracing::debug!(node = %due.node, pod = %due.pod, "the API server does not know a pod yet");
        return;
    }
    if told.len() > 1024 {
        told.clear();
    }
    let Due {
        node, pod, source, ..
    } = due;
    let account = &source.service_account;
    let error = causeway_daemon::telemetry::error_chain(failure).to_string();
    if told.insert((node.clone(), format!("{}/{account} {why}", pod.namespace))) {
        tracing::warn!(
            %node, %pod, account, verb = "create", resource = "serviceaccounts/token", error,
            "no token for a pod; what it has stays, and this is tried again"
        );
    } else {
        tracing::debug!(%node, %pod, account, error, "no token for a pod");
    }
}

/// The key of a token object. Its uid is made of its name, which names the life of the pod.
#[must_use]
pub fn key_of(pod: &Key, source: &TokenSource) -> Option<Key> {
    let text = format!("{}/{}", pod.namespace, source.name);
    let hash = causeway_log::Body::from(text.into_bytes()).hash();
    let (bytes, _) = hash.as_bytes().split_first_chunk::<16>()?;
    let uid = uuid::Builder::from_custom_bytes(*bytes).into_uuid();
    Key::new(tokens(), &pod.namespace, &source.name, Uid::Uuid(uid)).ok()
}

/// Pauses are measured; lives of tokens go by the clocks of people.
#[expect(clippy::disallowed_methods, reason = "this is the shell of the tokens")]
fn monotonic() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
