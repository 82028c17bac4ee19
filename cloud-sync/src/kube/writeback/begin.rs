//! From a record of a node to what is to be done about it. Decides on what is durable here: the
//! copy of the cluster, and what the node was sent.
//!
//! A node is never trusted with what is not its own. The API server has the last word, because
//! every write impersonates the node; what is refused here would be refused there, or would show
//! somebody else's object as the node's.

use std::cell::OnceCell;

use causeway_kube_api::{Status, View};
use causeway_log::digest::is_gone;
use causeway_log::error::ReadError;
use causeway_log::{Key, NodeName, Op, Record, Slot, Store, StreamId};
use causeway_projections::{Request, Verb};
use serde_json::{Value, json};

use super::call::{Identity, Place};
use super::edit::Asked;
use super::event::Telling;
use super::work::{Finished, Work};
use super::{node, status};
use crate::cluster::is_terminating;
use crate::devices::admit;
use crate::interest::{Name, is_device, model_of};
use crate::writeback::device::{device_of, judge_report};
use crate::writeback::ground::{Earlier, Ground};
use crate::writeback::happening::{Happening, NoEvent, Subject, is_object};
use crate::writeback::{self, Outcome, authorize, clean, is_bound_to};

/// What to do about a record.
#[derive(Debug)]
pub enum Begun {
    /// This.
    Work(Box<Work>),
    /// Nothing, or nothing but an answer.
    Over(Finished),
}

/// What a decision looks at.
#[derive(Debug)]
pub struct Sight<'a> {
    /// The cluster.
    view: &'a View,
    /// What nodes sent and were sent.
    store: &'a dyn Store,
    /// The first reading of the store that failed.
    failed: OnceCell<ReadError>,
}

/// What becomes of a record about a device's state or history, which is no work for an API server;
/// `None` for another one.
#[must_use]
pub fn report_of_device(sight: &Sight<'_>, node: &NodeName, record: &Record) -> Option<Outcome> {
    let key = device_of(record)?;
    if is_gone(record) {
        return Some(Outcome::Stale);
    }
    let device = sight.current(&key);
    let device = device.as_ref();
    Some(judge_report(sight.store, node, &key, device, record))
}

/// Decides what follows from a record of `node`.
///
/// # Errors
/// What it depends on cannot be read; nothing is decided then.
pub fn begin(mut sight: Sight<'_>, node: &NodeName, record: &Record) -> Result<Begun, ReadError> {
    let begun = decide(&sight, node, record);
    match sight.failed.take() {
        // It was decided as if nothing were there.
        Some(error) => Err(error),
        None => Ok(begun),
    }
}

fn decide(sight: &Sight<'_>, node: &NodeName, record: &Record) -> Begun {
    match record.header.op {
        // A reconcile says that the node no longer has what it once sent.
        Op::Status | Op::Apply if is_gone(record) => over(Outcome::Stale),
        Op::Status => report(sight, node, record),
        Op::Delete => confirm(sight, node, &record.header.key),
        Op::Fact => tell(sight, node, record),
        Op::Apply => ask(sight, node, record),
        // A node owns no objects and answers no requests; documents of devices are no work.
        Op::Put | Op::Reject | Op::Twin => over(Outcome::Refused),
    }
}

const fn over(outcome: Outcome) -> Begun {
    Begun::Over(Finished::plain(outcome))
}

fn work(work: Work) -> Begun {
    Begun::Work(Box::new(work))
}

fn report(sight: &Sight<'_>, node: &NodeName, record: &Record) -> Begun {
    let key = &record.header.key;
    let Ok(reported @ Value::Object(_)) = serde_json::from_slice(record.body.bytes()) else {
        return over(Outcome::Malformed);
    };
    if key.resource.is("", "nodes") && *key.name == *node.as_str() {
        return work(Work::report(status::patch_node(node, &reported)));
    }
    if !key.resource.is("", "pods") {
        return over(Outcome::Refused);
    }
    let Some(pod) = sight.current(key) else {
        return over(Outcome::Stale);
    };
    if !is_bound_to(&pod, node) {
        return over(Outcome::Refused);
    }
    work(Work::report(status::patch_pod(node, key, &reported)))
}

fn confirm(sight: &Sight<'_>, node: &NodeName, key: &Key) -> Begun {
    let Some(pod) = sight.current(key) else {
        // A node ends what it reported of a life that is over here.
        return over(Outcome::Stale);
    };
    if is_device(&key.resource) {
        // The device left the node, which ends its report.
        return over(Outcome::Stale);
    }
    if !key.resource.is("", "pods") {
        return over(Outcome::Refused);
    }
    if !is_bound_to(&pod, node) {
        return over(Outcome::Refused);
    }
    // It was wanted here again since, or its cluster was restored: that end is of a past which is no
    // more.
    if !is_terminating(&pod) {
        return over(Outcome::Stale);
    }
    let options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": key.uid.to_string()},
    });
    let place = Place::core("pods", &key.namespace, &key.name);
    work(Work::report(
        place.delete(Identity::Node(node.clone()), options),
    ))
}

fn tell(sight: &Sight<'_>, node: &NodeName, record: &Record) -> Begun {
    let told = match Happening::read(node, record) {
        Ok(told) => told,
        Err(NoEvent::Kind) => return over(Outcome::Refused),
        Err(NoEvent::Malformed) => return over(Outcome::Malformed),
    };
    if !sight.concerns(node, &told) {
        return over(Outcome::Refused);
    }
    work(Work::tell(Telling::new(node, told)))
}

fn ask(sight: &Sight<'_>, node: &NodeName, record: &Record) -> Begun {
    let (key, id) = (&record.header.key, record.header.id);
    if sight.answered(node, key) == Some(id) {
        return over(Outcome::Unchanged);
    }
    let rejected = |status: Status| Begun::Over(Finished::rejected(Box::new(status)));
    let request = match Request::decode(record.body.bytes()) {
        Ok(request) => request,
        Err(error) => {
            let reason = causeway_daemon::telemetry::error_chain(&error).to_string();
            return rejected(Status::bad_request(reason));
        }
    };
    match prepare(sight, node, record, request) {
        Ok(prepared) => work(prepared),
        Err(status) => rejected(*status),
    }
}

fn prepare(
    sight: &Sight<'_>,
    node: &NodeName,
    record: &Record,
    request: Request,
) -> Result<Work, Box<Status>> {
    let (key, id) = (&record.header.key, record.header.id);
    let (verb, ground) = (request.verb, Ground::of(&request, record));
    let mut object = request.object;
    let current = sight.named(&Name::of(key));
    if let Some(object) = &mut object {
        clean(object);
        if verb == Verb::Create {
            writeback::bind_pod(key, object, node);
        }
        if key.resource.is("", "nodes") {
            writeback::keep_cloud_fields(object, current.as_ref());
        }
    }
    let own_node = key.resource.is("", "nodes") && *key.name == *node.as_str();
    if own_node && verb == Verb::Create {
        let wanted = object.unwrap_or_default();
        let registered = node::registered(node, &wanted, &id.uuid().to_string());
        return Ok(Work::register(node.clone(), registered, key.clone()));
    }
    let forbidden = |why: &str| Box::new(Status::forbidden(&key.resource, &key.name, why));
    if key.resource == crate::interest::tokens() {
        return Err(forbidden("tokens are the cloud's to give"));
    }
    let asked = writeback::Asked {
        node,
        key,
        verb,
        object: object.as_ref(),
        current: current.as_ref(),
    };
    authorize(&asked, |name| sight.holds_name(node, name)).map_err(|why| forbidden(&why))?;
    if is_device(&key.resource)
        && let Some(device) = &object
    {
        let model = model_of(&key.namespace, device).and_then(|name| sight.named(&name));
        admit(current.as_ref(), device, model.as_ref())?;
    }
    let place = place(key, object.as_ref().or(current.as_ref()))?;
    let sent = sight.sent(node, key);
    let seen = sent.filter(|(version, _)| request.base == Some(*version));
    let asked = Asked {
        node: node.clone(),
        id,
        key: key.clone(),
        place,
        verb,
        object,
        seen: seen.map(|(_, object)| object),
        follows: request.follows,
        earlier: sight.earlier(node, key, verb, ground),
        grace_period_seconds: request.grace_period_seconds,
    };
    Ok(match verb {
        Verb::Create => Work::create(asked),
        Verb::Update | Verb::Status | Verb::Delete => Work::change(asked),
    })
}

/// Where the object of a request stands. Its version is in the object.
fn place(key: &Key, object: Option<&Value>) -> Result<Place, Box<Status>> {
    let Some(object) = object else {
        return Err(Box::new(Status::not_found(&key.resource, &key.name)));
    };
    let api_version = object.get("apiVersion").and_then(Value::as_str);
    let api_version = api_version.unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if group != &*key.resource.group || version.is_empty() {
        let why = format!("{api_version} is no version of {}", key.resource);
        return Err(Box::new(Status::bad_request(why)));
    }
    Ok(Place {
        resource: key.resource.clone(),
        version: version.to_owned(),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
    })
}

impl<'a> Sight<'a> {
    /// Looks at both.
    #[must_use]
    pub const fn new(view: &'a View, store: &'a dyn Store) -> Self {
        Self {
            view,
            store,
            failed: OnceCell::new(),
        }
    }

    /// What the node was sent last of an object, or of the answers about it. A failure is kept.
    fn newest_sent(&self, node: &NodeName, key: &Key, slot: Slot) -> Option<Record> {
        let stream = StreamId::down(node.clone());
        match self.store.newest(&stream, key, slot) {
            Ok(newest) => newest.map(|stored| stored.record),
            Err(error) => {
                // The first one tells.
                let _ = self.failed.set(error);
                None
            }
        }
    }

    /// The object of this life.
    fn current(&self, key: &Key) -> Option<Value> {
        self.view.read(|objects| {
            let entry = objects.get(&key.resource, &key.namespace, &key.name)?;
            let body = entry.desired().filter(|_| entry.key() == key)?;
            serde_json::from_slice(body.bytes()).ok()
        })
    }

    /// The object of this name.
    fn named(&self, name: &Name) -> Option<Value> {
        self.view.read(|objects| {
            let entry = objects.get(&name.resource, &name.namespace, &name.name)?;
            serde_json::from_slice(entry.desired()?.bytes()).ok()
        })
    }

    /// What the node was sent last of an object.
    fn sent(&self, node: &NodeName, key: &Key) -> Option<(causeway_log::Version, Value)> {
        let record = self.newest_sent(node, key, Slot::Object)?;
        let value = serde_json::from_slice(record.body.bytes()).ok()?;
        (record.header.op == Op::Put).then_some((record.header.version, value))
    }

    /// Whether the node holds the object of a name.
    fn holds_name(&self, node: &NodeName, name: &Name) -> bool {
        self.key_of(name)
            .is_some_and(|key| self.sent(node, &key).is_some())
    }

    /// The life that a name has.
    fn key_of(&self, name: &Name) -> Option<Key> {
        self.view.read(|objects| {
            let entry = objects.get(&name.resource, &name.namespace, &name.name)?;
            Some(entry.key().clone())
        })
    }

    /// The request about this object that was answered last.
    fn answered(&self, node: &NodeName, key: &Key) -> Option<causeway_log::EventId> {
        let newest = self.newest_sent(node, key, Slot::Request)?;
        newest.header.cause
    }

    /// The request about this object that was accepted last, when it was made before one on `ground`.
    fn earlier(&self, node: &NodeName, key: &Key, verb: Verb, ground: Ground) -> Option<Earlier> {
        // What was asked to be created has another life since it was.
        let made = match verb {
            Verb::Create => self.key_of(&Name::of(key)),
            Verb::Update | Verb::Status | Verb::Delete => None,
        };
        let newest = self.newest_sent(node, made.as_ref().unwrap_or(key), Slot::Request)?;
        Earlier::of(&newest, ground)
    }

    /// Whether an Event is about the node itself, or about a pod that is, or was, on it.
    fn concerns(&self, node: &NodeName, told: &Happening) -> bool {
        match told.subject(node) {
            Some(Subject::Node) => true,
            Some(Subject::Pod(key)) => {
                let pod = self.named(&Name::of(&key));
                pod.is_some_and(|pod| is_bound_to(&pod, node))
                    || self
                        .newest_sent(node, &key, Slot::Object)
                        .is_some_and(|sent| is_object(&sent))
            }
            None => false,
        }
    }
}
