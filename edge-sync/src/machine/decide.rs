//! What a write at the local API means for the up stream. Pure.
//!
//! The edge owns what it reports: the status of its node and of the pods bound to it, that it has
//! finished with a pod, and what happened here. Everything else belongs to the cloud; a write to it
//! becomes a request, served at once as pending and answered by the cloud.

use causeway_kube_api::{Change as Wanted, Expected, Write, WriteError};
use causeway_log::limits::BODY_BYTES_MAX;
use causeway_log::{Body, Key, NodeName, Op};
use causeway_projections::objects::{PENDING_ANNOTATION, REJECTED_ANNOTATION};
use causeway_projections::{Entry, Request, Verb};
use serde_json::{Map, Value};

use super::allowed;

/// Where node agents keep their heartbeats.
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// What the caller should know of a write that the cloud has yet to answer.
const PENDING_WARNING: &str =
    "accepted at the edge; the object belongs to the cloud, which has yet to answer";

/// What a write comes to.
#[derive(Debug, PartialEq)]
pub(super) struct Decision {
    /// The records to append; none when nothing would change.
    pub(super) changes: Vec<Change>,
    /// Things the caller should read.
    pub(super) warnings: Vec<String>,
    /// Nothing is stored though something would change: it is too small a thing. The caller is
    /// answered as if it was.
    pub(super) passed_over: bool,
}

/// A record of the write's key, without what every record has.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    pub(super) op: Op,
    pub(super) body: Body,
}

/// Decides `write` for `node` on top of the object that is served now, if there is one.
pub(super) fn decide(
    node: &NodeName,
    write: &Write,
    live: Option<&Entry>,
) -> Result<Decision, WriteError> {
    check(&write.key, write.expected, live)?;
    let Write { key, change, .. } = write;
    if let Some((verb, object)) = asked(node, write, live) {
        let live = live.map(Entry::object);
        allowed::check(node, key, verb, object, live.as_ref())
            .map_err(|reason| WriteError::Forbidden { reason })?;
    }
    let decision = match change {
        Wanted::Put(_) if is_own_lease(node, key) => Decision::passed_over(),
        Wanted::Put(object) => put(node, key, object, live),
        Wanted::Status(object) if is_ours(node, key, &served(live)) => status(object, live),
        Wanted::Status(object) => request(
            unless_created(Verb::Status, live),
            key,
            Some(stripped(object.clone())),
            live,
            None,
        ),
        Wanted::Fact(object) if is_minor(object, live) => Decision::passed_over(),
        Wanted::Fact(object) => Decision::one(Op::Fact, &stripped(object.clone())),
        Wanted::Delete { confirm: true, .. } if is_finished_pod(node, key, live) => Decision {
            changes: vec![Change {
                op: Op::Delete,
                body: Body::default(),
            }],
            ..Decision::nothing()
        },
        Wanted::Delete {
            grace_period_seconds,
            ..
        } => delete(key, *grace_period_seconds, live),
    };
    let size = decision
        .changes
        .iter()
        .map(|change| change.body.len())
        .max()
        .unwrap_or(0);
    if size > BODY_BYTES_MAX {
        return Err(WriteError::TooLarge {
            size,
            limit: BODY_BYTES_MAX,
        });
    }
    Ok(decision)
}

impl Decision {
    const fn nothing() -> Self {
        Self {
            changes: Vec::new(),
            warnings: Vec::new(),
            passed_over: false,
        }
    }

    fn passed_over() -> Self {
        Self {
            passed_over: true,
            ..Self::nothing()
        }
    }

    fn one(op: Op, body: &Value) -> Self {
        Self {
            changes: vec![Change {
                op,
                body: canonical(body),
            }],
            ..Self::nothing()
        }
    }
}

/// What a write asks of the cloud; `None` when it is the node's own to say.
fn asked<'a>(
    node: &NodeName,
    write: &'a Write,
    live: Option<&Entry>,
) -> Option<(Verb, Option<&'a Value>)> {
    let Write { key, change, .. } = write;
    match change {
        Wanted::Put(_) if is_own_lease(node, key) => None,
        Wanted::Put(object) if live.is_none() => Some((Verb::Create, Some(object))),
        Wanted::Put(object) => Some((Verb::Update, Some(object))),
        Wanted::Status(_) if is_ours(node, key, &served(live)) => None,
        Wanted::Status(object) => Some((Verb::Status, Some(object))),
        Wanted::Fact(_) => None,
        Wanted::Delete { confirm: true, .. } if is_finished_pod(node, key, live) => None,
        Wanted::Delete { .. } => Some((Verb::Delete, None)),
    }
}

fn check(key: &Key, expected: Expected, live: Option<&Entry>) -> Result<(), WriteError> {
    let holds = match (expected, live) {
        (Expected::Absent, None) => true,
        (Expected::At(revision), Some(entry)) => {
            entry.modified() == revision && entry.key().uid == key.uid
        }
        (Expected::Absent, Some(_)) | (Expected::At(_), None) => false,
    };
    if holds {
        Ok(())
    } else {
        Err(WriteError::Conflict {
            found: live.map(Entry::modified),
        })
    }
}

fn put(node: &NodeName, key: &Key, object: &Value, live: Option<&Entry>) -> Decision {
    let mut wanted = stripped(object.clone());
    let reported = if edge_owns_status(key) {
        take_status(&mut wanted)
    } else {
        None
    };
    let Some(entry) = live else {
        let mut decision = request(Verb::Create, key, Some(wanted), live, None);
        // A kubelet creates its node with the status already in it.
        if let Some(status) = reported.filter(|_| is_ours(node, key, object)) {
            decision.changes.push(Change {
                op: Op::Status,
                body: canonical(&status),
            });
        }
        return decision;
    };
    let mut before = stripped(entry.object());
    if edge_owns_status(key) {
        take_status(&mut before);
    }
    if before == wanted {
        return Decision::nothing();
    }
    request(
        unless_created(Verb::Update, live),
        key,
        Some(wanted),
        live,
        None,
    )
}

/// Only the newest request for an object travels. While the cloud has not answered the one that
/// creates it, a change of it must still create it.
fn unless_created(verb: Verb, live: Option<&Entry>) -> Verb {
    if live.is_some_and(|entry| entry.desired().is_some()) {
        verb
    } else {
        Verb::Create
    }
}

fn status(object: &Value, live: Option<&Entry>) -> Decision {
    let status = object
        .get("status")
        .cloned()
        .unwrap_or_else(|| Value::Object(Map::new()));
    let body = canonical(&status);
    let held = live.and_then(Entry::status_body);
    if held == Some(&body) {
        return Decision::nothing();
    }
    let held = held.and_then(|held| serde_json::from_slice(held.bytes().as_ref()).ok());
    if held.is_some_and(|held| without_heartbeats(held) == without_heartbeats(status)) {
        return Decision::passed_over();
    }
    Decision {
        changes: vec![Change {
            op: Op::Status,
            body,
        }],
        ..Decision::nothing()
    }
}

/// A status without the times at which it was last confirmed.
fn without_heartbeats(mut status: Value) -> Value {
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        if let Some(condition) = condition.as_object_mut() {
            condition.remove("lastHeartbeatTime");
        }
    }
    status
}

/// Whether an Event says no more than that it happened again. Clients count repetitions in the
/// Event they made first; the cloud is told when the count has doubled.
fn is_minor(event: &Value, live: Option<&Entry>) -> bool {
    let times = |event: &Value| {
        let count = event
            .get("count")
            .or_else(|| event.pointer("/series/count"));
        count.and_then(Value::as_u64).unwrap_or(1)
    };
    let about = |event: &Value| {
        [
            "involvedObject",
            "regarding",
            "reason",
            "type",
            "message",
            "note",
        ]
        .map(|field| event.get(field).cloned())
    };
    live.map(Entry::object)
        .is_some_and(|told| about(&told) == about(event) && times(event) / 2 < times(&told))
}

fn delete(key: &Key, grace_period_seconds: Option<i64>, live: Option<&Entry>) -> Decision {
    let asked_already = live.is_some_and(|entry| {
        entry.pending().is_some()
            && entry
                .object()
                .pointer("/metadata/deletionTimestamp")
                .is_some()
    });
    if asked_already && grace_period_seconds != Some(0) {
        return Decision::nothing();
    }
    request(Verb::Delete, key, None, live, grace_period_seconds)
}

fn request(
    verb: Verb,
    key: &Key,
    object: Option<Value>,
    live: Option<&Entry>,
    grace_period_seconds: Option<i64>,
) -> Decision {
    let request = Request {
        verb,
        object,
        base: live.and_then(Entry::seen),
        uid: key.uid.clone(),
        follows: live.and_then(Entry::pending),
        grace_period_seconds,
    };
    Decision {
        changes: vec![Change {
            op: Op::Apply,
            body: Body::from(request.encode()),
        }],
        warnings: vec![PENDING_WARNING.to_owned()],
        passed_over: false,
    }
}

/// Whether the status of this object is this node's to report.
fn is_ours(node: &NodeName, key: &Key, object: &Value) -> bool {
    if key.resource.is("", "nodes") {
        return *key.name == *node.as_str();
    }
    key.resource.is("", "pods")
        && object.pointer("/spec/nodeName").and_then(Value::as_str) == Some(node.as_str())
}

/// A pod of this node that the cloud knows and that is to end: its end is a fact, not a wish.
fn is_finished_pod(node: &NodeName, key: &Key, live: Option<&Entry>) -> bool {
    if !key.resource.is("", "pods") || live.is_none_or(|entry| entry.desired().is_none()) {
        return false;
    }
    let pod = served(live);
    is_ours(node, key, &pod) && pod.pointer("/metadata/deletionTimestamp").is_some()
}

/// Kinds whose status only nodes write.
fn edge_owns_status(key: &Key) -> bool {
    key.resource.is("", "pods") || key.resource.is("", "nodes")
}

/// The heartbeat of a node agent: the session with the cloud tells that better, so it is never
/// stored.
fn is_own_lease(node: &NodeName, key: &Key) -> bool {
    key.resource.is("coordination.k8s.io", "leases")
        && &*key.namespace == LEASE_NAMESPACE
        && *key.name == *node.as_str()
}

fn served(live: Option<&Entry>) -> Value {
    live.map_or(Value::Null, Entry::object)
}

/// The object without what an API adds to it.
fn stripped(mut object: Value) -> Value {
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else {
        return object;
    };
    metadata.remove("resourceVersion");
    metadata.remove("managedFields");
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        annotations.remove(PENDING_ANNOTATION);
        annotations.remove(REJECTED_ANNOTATION);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    object
}

fn take_status(object: &mut Value) -> Option<Value> {
    object.as_object_mut()?.remove("status")
}

fn canonical(value: &Value) -> Body {
    Body::from(value.to_string().into_bytes())
}
