//! Requests of edge applications: decided as the API decides them, and answered.

use causeway_kube_api::decide::{
    Context, DeleteOptions, Deletion, Subresource, prepare_create, prepare_delete, prepare_update,
};
use causeway_kube_api::schema::FieldValidation;
use causeway_kube_api::{ServedKind, Status, WriteError};
use causeway_log::limits::BODY_BYTES_MAX;
use causeway_log::{Batch, Body, EventId, Key, NodeName, Op, Record, Slot, StreamId, Uid};
use causeway_projections::objects::{PENDING_ANNOTATION, REJECTED_ANNOTATION};
use causeway_projections::{Request, Verb};
use serde_json::Value;

use super::Outcome;
use super::authorize::{Asked, authorize, keep_cloud_fields};
use super::ground::{Earlier, Ground};
use super::plan::Step;
use crate::cluster::{ClusterMachine, Current};
use crate::interest::Name;

/// What an accepted request does.
enum Accepted {
    Put(Value),
    Remove,
    Nothing,
}

impl ClusterMachine {
    /// Decides a request and answers it on the node's `down` stream.
    pub(super) fn write_request(
        &mut self,
        node: &NodeName,
        record: &Record,
        batch: &mut Batch,
    ) -> Step {
        let (key, id) = (&record.header.key, record.header.id);
        let mut ground = Ground::default();
        let name = Name::of(key);
        if self.is_touched(&name) || self.is_namespace_written(&name) {
            return Step::Wait;
        }
        let decided = match Request::decode(record.body.bytes()) {
            Ok(request) => {
                ground = Ground::of(&request, record);
                self.decide_request(node, key, request, ground)
            }
            Err(error) => {
                let reason = causeway_daemon::telemetry::error_chain(&error).to_string();
                Err(Status::bad_request(reason))
            }
        };
        let done = decided.and_then(|accepted| self.accept(node, key, id, accepted, batch));
        Step::Done(match done {
            Ok(outcome) => {
                self.send_record(batch, node, key, Op::Apply, ground.answer(None), id);
                outcome
            }
            Err(status) => {
                let status = serde_json::to_value(&status).unwrap_or_default();
                let body = Body::from(status.to_string().into_bytes());
                self.send_record(batch, node, key, Op::Reject, body, id);
                Outcome::Rejected
            }
        })
    }

    fn accept(
        &mut self,
        node: &NodeName,
        key: &Key,
        id: EventId,
        accepted: Accepted,
        batch: &mut Batch,
    ) -> Result<Outcome, Status> {
        match accepted {
            Accepted::Put(object) => {
                let put = self.put(batch, key, object, Some(id));
                let put = put.map_err(|_| Status::too_large(BODY_BYTES_MAX))?;
                self.stick(batch, node, key, id);
                Ok(super::plan::stored::<()>(Ok(put)))
            }
            Accepted::Remove => {
                self.delete(batch, key, Some(id));
                Ok(Outcome::Applied)
            }
            Accepted::Nothing => Ok(Outcome::Unchanged),
        }
    }

    fn decide_request(
        &mut self,
        node: &NodeName,
        key: &Key,
        request: Request,
        ground: Ground,
    ) -> Result<Accepted, Status> {
        let (verb, follows) = (request.verb, request.follows);
        let (mut object, grace_period_seconds) = (request.object, request.grace_period_seconds);
        let current = self.current(&Name::of(key));
        let shown = current.as_ref().map(Current::value);
        if verb != Verb::Create && current.as_ref().is_none_or(|now| now.key != *key) {
            return Err(Status::not_found(&key.resource, &key.name));
        }
        if let Some(object) = &mut object {
            localize(object, node, key, verb, shown.as_ref());
        }
        let (wanted, current_shown) = (object.as_ref(), shown.as_ref());
        let asked = Asked {
            node,
            key,
            verb,
            object: wanted,
            current: current_shown,
        };
        authorize(&asked, |name| self.holds_name(node, name))
            .map_err(|why| Status::forbidden(&key.resource, &key.name, &why))?;
        let kind = self.kind_of(key, object.as_ref().or(shown.as_ref()))?;
        let context = self.context(key)?;
        // An edge that changes an object before its creation was answered asks to create it again,
        // as only its newest request travels. If the first one came through, that is an update.
        let created = follows.is_some() && current.as_ref().is_some_and(|now| now.key == *key);
        let mut object = object.unwrap_or_default();
        if verb == Verb::Create && !created {
            if current.is_some() {
                return Err(Status::already_exists(&key.resource, &key.name));
            }
            self.check_namespace(&Name::of(key)).map_err(into_status)?;
            let prepared = prepare_create(&kind, object, &context)?;
            check_identity(key, &prepared.object)?;
            return Ok(Accepted::Put(prepared.object));
        }
        if !self.is_current_at(node, key, ground, follows)? {
            return Err(Status::stale(&key.resource, &key.name));
        }
        let shown = shown.unwrap_or_default();
        if verb == Verb::Create && object.is_object() {
            // The edge had begun it by its own clock.
            object["metadata"]["creationTimestamp"] =
                shown["metadata"]["creationTimestamp"].clone();
        }
        let subresource = match verb {
            Verb::Status => Subresource::Status,
            Verb::Create | Verb::Update => Subresource::Main,
            Verb::Delete => {
                return decide_delete(key, &kind, &shown, grace_period_seconds, &context);
            }
        };
        self.decide_change(key, &kind, &shown, object, subresource, &context)
    }

    fn decide_change(
        &self,
        key: &Key,
        kind: &ServedKind,
        shown: &Value,
        mut object: Value,
        subresource: Subresource,
        context: &Context,
    ) -> Result<Accepted, Status> {
        // What the request was made on was compared before. An update of a custom kind must name a
        // version all the same.
        let mut known = shown.clone();
        for object in [&mut known, &mut object] {
            let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
            if let Some(metadata) = metadata {
                metadata.insert("resourceVersion".to_owned(), "1".into());
            }
        }
        let prepared = prepare_update(kind, &known, object, subresource, context)?;
        check_identity(key, &prepared.object)?;
        let admitted = self.admit_device(key, shown, &prepared.object);
        admitted.map_err(|status| *status)?;
        Ok(if prepared.remove {
            Accepted::Remove
        } else {
            Accepted::Put(prepared.object)
        })
    }

    /// Whether the node has seen the object as it was last written for it.
    ///
    /// The `down` record tells, not the cluster record: a change of status makes no `down` record
    /// and is no conflict. A request that builds on an earlier one of the same node is current when
    /// the object's last change came of that one, or of a request that the node made before this
    /// one: those in between may have been superseded on the way.
    fn is_current_at(
        &self,
        node: &NodeName,
        key: &Key,
        ground: Ground,
        follows: Option<EventId>,
    ) -> Result<bool, Status> {
        let stream = StreamId::down(node.clone());
        let newest = |slot| {
            self.store()
                .newest(&stream, key, slot)
                .map_err(|_| Status::service_unavailable("what the node was sent cannot be read"))
        };
        let Some(sent) = newest(Slot::Object)?.filter(|sent| sent.record.header.op == Op::Put)
        else {
            return Ok(false);
        };
        let header = sent.record.header;
        if ground.base() == Some(header.version) {
            return Ok(true);
        }
        let Some(follows) = follows else {
            return Ok(false);
        };
        if header.cause == Some(follows) {
            return Ok(true);
        }
        let answer = newest(Slot::Request)?;
        let earlier = answer.and_then(|answer| Earlier::of(&answer.record, ground));
        Ok(earlier.is_some_and(|earlier| header.cause == Some(earlier.id)))
    }

    fn kind_of(&mut self, key: &Key, object: Option<&Value>) -> Result<ServedKind, Status> {
        let field = |field: &str| {
            object
                .and_then(|object| object.get(field))
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (api_version, kind) = (field("apiVersion"), field("kind"));
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.catalog()
            .find_kind(group, version, kind)
            .filter(|served| served.resource == key.resource)
            .map(|served| ServedKind::clone(served))
            .ok_or_else(|| {
                Status::bad_request(format!(
                    "{api_version} {kind} is no kind of {}",
                    key.resource
                ))
            })
    }

    fn context(&self, key: &Key) -> Result<Context, Status> {
        let Uid::Uuid(uid) = key.uid else {
            return Err(Status::bad_request("the uid of the object is no UUID"));
        };
        Ok(Context {
            now: self.clock().now(),
            uid,
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            field_validation: FieldValidation::Warn,
        })
    }

    fn holds_name(&self, node: &NodeName, name: &Name) -> bool {
        self.current(name)
            .is_some_and(|current| self.holds(node, &current.key))
    }

    fn is_namespace_written(&self, name: &Name) -> bool {
        let resource = causeway_log::Resource::core("namespaces");
        let namespace = Name {
            resource,
            namespace: "".into(),
            name: std::sync::Arc::clone(&name.namespace),
        };
        self.is_touched(&namespace)
    }
}

fn decide_delete(
    key: &Key,
    kind: &ServedKind,
    current: &Value,
    grace_period_seconds: Option<i64>,
    context: &Context,
) -> Result<Accepted, Status> {
    let uid = Some(key.uid.to_string());
    let options = DeleteOptions {
        grace_period_seconds,
        uid,
        ..DeleteOptions::default()
    };
    Ok(match prepare_delete(kind, current, &options, context)? {
        Deletion::Remove => Accepted::Remove,
        Deletion::Mark(prepared) => Accepted::Put(prepared.object),
        Deletion::Terminating => Accepted::Nothing,
    })
}

/// Makes of an object as the edge has it the object that the edge means.
fn localize(object: &mut Value, node: &NodeName, key: &Key, verb: Verb, current: Option<&Value>) {
    clean(object);
    if verb == Verb::Create {
        bind_pod(key, object, node);
    }
    if key.resource.is("", "nodes") {
        keep_cloud_fields(object, current);
    }
}

/// Takes out what only means something at the edge.
pub(crate) fn clean(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    metadata.remove("resourceVersion");
    metadata.remove("managedFields");
    if let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(PENDING_ANNOTATION);
        annotations.remove(REJECTED_ANNOTATION);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
}

/// A pod made at an edge runs there.
pub(crate) fn bind_pod(key: &Key, object: &mut Value, node: &NodeName) {
    if !key.resource.is("", "pods") {
        return;
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.entry("nodeName")
            .or_insert_with(|| node.as_str().into());
    }
}

/// The object must be what the key says.
fn check_identity(key: &Key, object: &Value) -> Result<(), Status> {
    let field = |field: &str| {
        object
            .get("metadata")
            .and_then(|metadata| metadata.get(field))
            .and_then(Value::as_str)
    };
    let same = field("name") == Some(&*key.name)
        && field("namespace").unwrap_or_default() == &*key.namespace
        && field("uid").map(Uid::parse).as_ref() == Some(&key.uid);
    if same {
        Ok(())
    } else {
        Err(Status::bad_request(
            "the object's name, namespace or uid is not the one of its record",
        ))
    }
}

fn into_status(error: WriteError) -> Status {
    match error {
        WriteError::Rejected(status) => *status,
        WriteError::Conflict { .. }
        | WriteError::Forbidden { .. }
        | WriteError::ReadOnly { .. }
        | WriteError::TooLarge { .. }
        | WriteError::Unavailable { .. } => Status::service_unavailable(error.to_string()),
    }
}
