//! Writes of the API and of the controllers.

use causeway_kube_api::{Change, Expected, Status, Write, WriteError, Written};
use causeway_log::limits::BODY_BYTES_MAX;
use causeway_log::writer::Planned;
use causeway_log::{Batch, Key, Resource};
use serde_json::Value;
use tokio::sync::oneshot;

use super::answer::{Answer, WriteOutcome};
use super::objects::{Current, Stored, TooLarge};
use super::{ClusterMachine, Request};
use crate::interest::Name;

/// Namespaces that a cluster cannot be without.
const PERMANENT_NAMESPACES: [&str; 3] = ["default", "kube-system", "kube-public"];

impl ClusterMachine {
    pub(super) fn plan_write(
        &mut self,
        write: Box<Write>,
        answer: oneshot::Sender<Result<Written, WriteError>>,
        batch: &mut Batch,
    ) -> Planned<Request> {
        let name = Name::of(&write.key);
        if self.must_wait(&write, &name) {
            return Planned::Later(Request::Write { write, answer });
        }
        match self.decide(*write, &name, batch) {
            Ok(outcome) => self.round.answers.push(Answer::Write { answer, outcome }),
            // Depends on durable state only, so it need not wait for the round.
            Err(error) => {
                let _ = answer.send(Err(error));
            }
        }
        Planned::InBatch
    }

    /// Whether the answer depends on what this round has written so far.
    fn must_wait(&self, write: &Write, name: &Name) -> bool {
        let namespace = namespace_name(&name.namespace);
        self.is_touched(name)
            || (write.expected == Expected::Absent && self.is_touched(&namespace))
            || (is_namespace(name)
                && matches!(write.change, Change::Delete { .. })
                && self.is_namespace_touched(&name.name))
    }

    fn decide(
        &mut self,
        write: Write,
        name: &Name,
        batch: &mut Batch,
    ) -> Result<WriteOutcome, WriteError> {
        let Write {
            key,
            expected,
            change,
        } = write;
        let current = self.expected(&key, expected, name)?;
        let object = match change {
            Change::Put(object) | Change::Fact(object) => object,
            Change::Status(object) => with_status(current.as_ref(), object),
            Change::Delete { .. } => return self.decide_delete(&key, current, batch),
        };
        match self.put(batch, &key, object, None) {
            Ok(Stored::Entry(entry)) => Ok(WriteOutcome::Put {
                name: name.clone(),
                entry,
            }),
            Ok(Stored::Unchanged) => Ok(WriteOutcome::Unchanged {
                name: name.clone(),
                revision: current
                    .and_then(|current| current.modified)
                    .unwrap_or_default(),
            }),
            Err(TooLarge { size }) => Err(WriteError::TooLarge {
                size,
                limit: BODY_BYTES_MAX,
            }),
        }
    }

    fn expected(
        &self,
        key: &Key,
        expected: Expected,
        name: &Name,
    ) -> Result<Option<Current>, WriteError> {
        let current = self.current(name);
        let found = current.as_ref().and_then(|current| current.modified);
        match (expected, &current) {
            (Expected::Absent, None) => self.check_namespace(name).map(|()| None),
            (Expected::At(revision), Some(now)) if found == Some(revision) && now.key == *key => {
                Ok(current)
            }
            (Expected::Absent | Expected::At(_), _) => Err(WriteError::Conflict { found }),
        }
    }

    /// Nothing is made in a namespace that is not there or is being deleted.
    pub(crate) fn check_namespace(&self, name: &Name) -> Result<(), WriteError> {
        if name.namespace.is_empty() {
            return Ok(());
        }
        let rejected = |status| Err(WriteError::Rejected(Box::new(status)));
        let namespaces = Resource::core("namespaces");
        let Some(namespace) = self.current(&namespace_name(&name.namespace)) else {
            return rejected(Status::not_found(&namespaces, &name.namespace));
        };
        if is_terminating(&namespace.value()) {
            let why = format!(
                "unable to create new content in namespace {} because it is being terminated",
                name.namespace
            );
            return rejected(Status::forbidden(&name.resource, &name.name, &why));
        }
        Ok(())
    }

    fn decide_delete(
        &mut self,
        key: &Key,
        current: Option<Current>,
        batch: &mut Batch,
    ) -> Result<WriteOutcome, WriteError> {
        let Some(current) = current else {
            return Err(WriteError::Conflict { found: None });
        };
        let name = Name::of(key);
        if is_namespace(&name) {
            if PERMANENT_NAMESPACES.contains(&&*name.name) {
                let why = "this namespace may not be deleted";
                let status = Status::forbidden(&name.resource, &name.name, why);
                return Err(WriteError::Rejected(Box::new(status)));
            }
            if !self.is_namespace_empty(&name.name) {
                return Ok(self.mark_namespace(key, &current, batch));
            }
        }
        Ok(WriteOutcome::Gone {
            entry: self.delete(batch, key, None),
        })
    }

    /// A namespace with content goes when the controllers have emptied it.
    fn mark_namespace(&mut self, key: &Key, current: &Current, batch: &mut Batch) -> WriteOutcome {
        let mut namespace = current.value();
        if !is_terminating(&namespace) {
            let now = causeway_kube_api::source::format_time(self.clock.now());
            namespace["metadata"]["deletionTimestamp"] = now.into();
            namespace["status"]["phase"] = "Terminating".into();
        }
        let name = Name::of(key);
        match self.put(batch, key, namespace, None) {
            Ok(Stored::Entry(entry)) => WriteOutcome::Put { name, entry },
            // A few bytes more cannot be too large unless it was so already.
            Ok(Stored::Unchanged) | Err(TooLarge { .. }) => {
                let revision = current.modified.unwrap_or_default();
                WriteOutcome::Unchanged { name, revision }
            }
        }
    }

    fn is_namespace_empty(&self, namespace: &str) -> bool {
        self.view.read(|objects| {
            let mut resources = objects.resources();
            !resources.any(|r| objects.list(r, Some(namespace), None).next().is_some())
        })
    }
}

fn is_namespace(name: &Name) -> bool {
    name.resource.is("", "namespaces")
}

fn namespace_name(namespace: &str) -> Name {
    Name {
        resource: Resource::core("namespaces"),
        namespace: "".into(),
        name: namespace.into(),
    }
}

/// Whether an object is marked for deletion.
pub(crate) fn is_terminating(object: &Value) -> bool {
    object.get("metadata").is_some_and(|metadata| {
        metadata
            .get("deletionTimestamp")
            .is_some_and(|time| !time.is_null())
    })
}

/// The current object with the `status` of another.
fn with_status(current: Option<&Current>, mut object: Value) -> Value {
    let Some(current) = current else {
        return object;
    };
    let mut whole = current.value();
    let status = object.get_mut("status").map(Value::take);
    if let (Some(whole), Some(status)) = (whole.as_object_mut(), status) {
        whole.insert("status".to_owned(), status);
    }
    whole
}
