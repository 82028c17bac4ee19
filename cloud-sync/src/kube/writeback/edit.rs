//! Requests of edge applications: which change of the cluster's object is meant, and whether the
//! application has seen the object as it is. Pure.
//!
//! The object is read before it is written, so what is compared is what is there, and the write
//! holds only for that version and that life of it. An object that was written for a request names
//! the request in an annotation: a request that is carried out again is recognised by it.

use causeway_kube_api::Status;
use causeway_log::{EventId, Key, NodeName, Uid};
use causeway_projections::Verb;
use serde_json::{Value, json};

use super::call::{Call, Content, Identity, Place};
use super::diff;
use crate::interest::{down_body, is_device};
use crate::writeback::ground::{Earlier, Mark};

/// On an object that was last changed by a request of a node: the identity of the request.
pub const REQUEST_ANNOTATION: &str = "causeway.dev/request";
/// Longest name of a field manager.
const MANAGER_BYTES_MAX: usize = 128;

/// A request, and what the node had been sent when it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Who asks.
    pub node: NodeName,
    /// Which request it is.
    pub id: EventId,
    /// About which object.
    pub key: Key,
    /// Where that stands.
    pub place: Place,
    /// To do what.
    pub verb: Verb,
    /// The object as wanted, without what means something only at the edge.
    pub object: Option<Value>,
    /// The object as the node has it, when the request was made on top of that version.
    pub seen: Option<Value>,
    /// The unanswered request that this one builds on.
    pub follows: Option<EventId>,
    /// The request about the object that was accepted last, when it was made before this one.
    pub earlier: Option<Earlier>,
    /// For a delete: how long the object may take to end.
    pub grace_period_seconds: Option<i64>,
}

/// What to do about a request, the object being as it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Move {
    /// Send this.
    Send(Box<Call>),
    /// The object is as wanted already.
    Nothing,
    /// Refuse the request.
    Reject(Box<Status>),
}

impl Asked {
    /// The field manager of the node.
    #[must_use]
    pub fn manager(&self) -> String {
        let mut manager = format!("causeway/{}", self.node);
        manager.truncate(MANAGER_BYTES_MAX);
        manager
    }

    /// The request that creates the object.
    #[must_use]
    pub fn create(&self) -> Call {
        let mut object = self.object.clone().unwrap_or_default();
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            // The life of the object is the API server's to give.
            for field in ["uid", "creationTimestamp", "generation", "selfLink"] {
                metadata.remove(field);
            }
        }
        annotate(&mut object, self.id);
        self.place
            .create(self.identity(), object)
            .managed_by(&self.manager())
    }

    /// Reads the object, with the rights of this service: what is read decides, and is not told.
    #[must_use]
    pub fn look(&self) -> Call {
        self.place.get(Identity::Cloud)
    }

    /// Whether this object came of this request.
    #[must_use]
    pub fn is_done(&self, object: &Value) -> bool {
        annotated(object) == Some(self.id)
    }

    /// Whether the object came of the request that this one builds on, or of one before it: those in
    /// between may have been superseded on the way.
    #[must_use]
    pub fn is_followed(&self, object: &Value) -> bool {
        let (Some(follows), Some(wrote)) = (self.follows, annotated(object)) else {
            return false;
        };
        let earlier = self.earlier.filter(|earlier| earlier.id == wrote);
        match earlier.and_then(|earlier| earlier.made) {
            Some(made) => made == Mark::of(&self.key, object),
            // Where it is not known what came of it, managers tell as well as they can.
            None => follows == wrote && diff::wrote_last(object, &self.manager()),
        }
    }

    /// Decides a change or a delete of the object that is there.
    #[must_use]
    pub fn decide(&self, object: &Value) -> Move {
        let metadata = |field: &str| {
            object
                .get("metadata")
                .and_then(|metadata| metadata.get(field)?.as_str())
        };
        let followed = self.is_followed(object);
        if self.is_done(object) && self.verb != Verb::Delete {
            return Move::Nothing;
        }
        // A create that is changed before it is answered names the life it was to have.
        let created = self.verb == Verb::Create && followed;
        if !created && metadata("uid").map(Uid::parse).as_ref() != Some(&self.key.uid) {
            let status = Status::not_found(&self.key.resource, &self.key.name);
            return Move::Reject(Box::new(status));
        }
        let shown = self.shown(object);
        if !followed && self.seen.as_ref() != Some(&shown) {
            let status = Status::stale(&self.key.resource, &self.key.name);
            return Move::Reject(Box::new(status));
        }
        match (self.verb, &self.object) {
            (Verb::Delete, _) => Move::Send(Box::new(self.delete(object))),
            (Verb::Status, Some(wanted)) => self.change_status(object, wanted),
            (Verb::Create | Verb::Update, Some(wanted)) => self.change(object, wanted),
            (Verb::Create | Verb::Update | Verb::Status, None) => {
                let status = Status::bad_request("the request has no object");
                Move::Reject(Box::new(status))
            }
        }
    }

    fn change(&self, object: &Value, wanted: &Value) -> Move {
        let before = diff::changeable(object);
        let mut wanted = diff::changeable(wanted);
        if self.key.resource.is("", "nodes") {
            super::node::limit(&mut wanted, &before);
        }
        keep_annotation(&mut wanted, &before);
        let Some(mut patch) = diff::merge_patch(&before, &wanted) else {
            return Move::Nothing;
        };
        let additive = diff::is_additive(&patch);
        annotate(&mut patch, self.id);
        let call = if additive {
            annotate(&mut wanted, self.id);
            let manager = self.manager();
            let owned = diff::applied(object, &manager);
            let mut applied = diff::apply_configuration(&patch, owned, &wanted);
            for field in ["apiVersion", "kind"] {
                applied[field] = object.get(field).cloned().unwrap_or_default();
            }
            applied["metadata"]["name"] = json!(self.place.name);
            if !self.place.namespace.is_empty() {
                applied["metadata"]["namespace"] = json!(self.place.namespace);
            }
            self.patch("", Content::Apply, applied, object)
        } else {
            self.patch("", Content::MergePatch, patch, object)
        };
        Move::Send(Box::new(call))
    }

    fn change_status(&self, object: &Value, wanted: &Value) -> Move {
        let part = |object: &Value| object.get("status").cloned().unwrap_or_else(|| json!({}));
        match diff::merge_patch(&part(object), &part(wanted)) {
            Some(patch) => {
                let patch = json!({"status": patch});
                let call = self.patch("status", Content::MergePatch, patch, object);
                Move::Send(Box::new(call))
            }
            None => Move::Nothing,
        }
    }

    /// A patch that holds only for the version of the object that was looked at.
    fn patch(&self, subresource: &str, content: Content, mut patch: Value, of: &Value) -> Call {
        for field in ["uid", "resourceVersion"] {
            if let Some(value) = of.get("metadata").and_then(|metadata| metadata.get(field)) {
                patch["metadata"][field] = value.clone();
            }
        }
        self.place
            .patch(self.identity(), subresource, content, patch)
            .managed_by(&self.manager())
    }

    fn delete(&self, object: &Value) -> Call {
        let of = |field: &str| {
            object
                .get("metadata")
                .and_then(|metadata| metadata.get(field))
                .cloned()
                .unwrap_or_default()
        };
        let mut options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": of("uid"), "resourceVersion": of("resourceVersion")},
        });
        if let Some(seconds) = self.grace_period_seconds {
            options["gracePeriodSeconds"] = json!(seconds);
        }
        self.place.delete(self.identity(), options)
    }

    /// The object as nodes are shown it.
    fn shown(&self, object: &Value) -> Value {
        let body = down_body(&self.key, object);
        serde_json::from_slice(body.bytes()).unwrap_or_default()
    }

    /// As the node, which decides what is allowed. Nodes have no rights on devices, and of those
    /// nothing but desired values gets here.
    fn identity(&self) -> Identity {
        if is_device(&self.key.resource) {
            Identity::Cloud
        } else {
            Identity::Node(self.node.clone())
        }
    }
}

/// The request that an object names as the one that last changed it.
#[must_use]
pub fn annotated(object: &Value) -> Option<EventId> {
    let annotations = object.get("metadata")?.get("annotations")?;
    let id = annotations.get(REQUEST_ANNOTATION)?.as_str()?;
    Some(EventId::new(id.parse().ok()?))
}

fn annotate(object: &mut Value, id: EventId) {
    if !object["metadata"]["annotations"].is_object() {
        object["metadata"]["annotations"] = json!({});
    }
    object["metadata"]["annotations"][REQUEST_ANNOTATION] = json!(id.uuid().to_string());
}

/// Which request wrote the object is not the application's to say.
fn keep_annotation(wanted: &mut Value, before: &Value) {
    let known = before["metadata"]["annotations"].get(REQUEST_ANNOTATION);
    if let Some(annotations) = wanted["metadata"]
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(REQUEST_ANNOTATION);
    }
    if let Some(known) = known {
        if !wanted["metadata"]["annotations"].is_object() {
            wanted["metadata"]["annotations"] = json!({});
        }
        wanted["metadata"]["annotations"][REQUEST_ANNOTATION] = known.clone();
    }
}
