//! One page of a node's records on top of what the round holds already.

use std::collections::BTreeMap;

use causeway_kube_api::WriteError;
use causeway_log::digest::is_gone;
use causeway_log::error::ReadError;
use causeway_log::store::ReadLimit;
use causeway_log::writer::Planned;
use causeway_log::{Batch, Key, NodeName, Offset, Op, Record, Revision, Slot, Stored, StreamId};
use serde_json::Value;
use tokio::sync::oneshot;

use super::device::device_of;
use super::{Outcome, PAGE_BYTES, PAGE_RECORDS, WroteBack, cursor};
use crate::cluster::{ClusterMachine, PutOutcome, Request, is_terminating};
use crate::interest::{Name, is_device};

/// Whether a record could be decided now.
pub(super) enum Step {
    Done(Outcome),
    /// It depends on what this round writes: it comes first in a later one.
    Wait,
    /// What it depends on cannot be read now.
    Unread(ReadError),
}

/// Conditions of a pod that the cloud writes; the node's status must not take them away.
const CLOUD_POD_CONDITIONS: [&str; 2] = ["PodScheduled", "DisruptionTarget"];

impl ClusterMachine {
    pub(crate) fn plan_write_back(
        &mut self,
        node: NodeName,
        answer: oneshot::Sender<Result<WroteBack, WriteError>>,
        batch: &mut Batch,
    ) -> Planned<Request> {
        if self.is_written_back(&node) {
            return Planned::Later(Request::WriteBack { node, answer });
        }
        let page = match self.read_page(&node) {
            Ok(page) => page,
            Err(error) => return unread(answer, &error),
        };
        let full = page.len() >= PAGE_RECORDS
            || page
                .iter()
                .map(|stored| stored.record.body.len())
                .sum::<usize>()
                >= PAGE_BYTES;
        let newest = newest(&page);
        let mut reached = None;
        let mut told = false;
        let mut wrote = WroteBack {
            records: 0,
            more: full,
        };
        for stored in &page {
            let is_last = page.last().is_some_and(|last| last == stored);
            let is_left_out = is_last && causeway_log::mutant::is_on("write-back-skips");
            if !is_superseded(stored, &newest) && !is_left_out {
                match self.write_back(&node, stored, batch) {
                    Step::Done(outcome) => {
                        self.count(&node, &stored.record, outcome, &mut told);
                    }
                    Step::Wait if wrote.records == 0 => {
                        return Planned::Later(Request::WriteBack { node, answer });
                    }
                    Step::Unread(error) if wrote.records == 0 => return unread(answer, &error),
                    Step::Wait | Step::Unread(_) => {
                        wrote.more = true;
                        break;
                    }
                }
            }
            reached = Some(stored.revision);
            wrote.records += 1;
        }
        if let Some(revision) = reached
            && !causeway_log::mutant::is_on("write-back-twice")
        {
            batch
                .cursors
                .push((cursor(&node), revision.as_own_offset()));
        }
        self.answer_write_back(node, answer, wrote);
        Planned::InBatch
    }

    fn read_page(&self, node: &NodeName) -> Result<Vec<Stored>, ReadError> {
        let store = self.store();
        let stream = StreamId::up(node.clone());
        if store.stream(&stream)?.is_none() {
            return Ok(Vec::new());
        }
        let after = store.cursor(&cursor(node))?.unwrap_or(Offset::ZERO);
        let limit = ReadLimit {
            records: PAGE_RECORDS,
            bytes: PAGE_BYTES,
        };
        store.read(&stream, Revision::new(after.get()), limit)
    }

    fn write_back(&mut self, node: &NodeName, stored: &Stored, batch: &mut Batch) -> Step {
        let record = &stored.record;
        let header = &record.header;
        if let Some(device) = device_of(record).filter(|_| !is_gone(record)) {
            return Step::Done(self.take_report(node, &device, record));
        }
        match header.op {
            // A reconcile says that the node no longer has what it once sent.
            Op::Status | Op::Apply | Op::Twin if is_gone(record) => Step::Done(Outcome::Stale),
            Op::Status => Step::Done(self.write_status(node, record, batch)),
            Op::Delete => Step::Done(self.confirm_delete(node, stored, batch)),
            Op::Fact => match self.write_event(node, record, batch) {
                Ok(outcome) => Step::Done(outcome),
                Err(error) => Step::Unread(error),
            },
            Op::Apply => self.write_request(node, record, batch),
            // A node owns no objects, answers no requests, and only devices have twins.
            Op::Put | Op::Reject | Op::Twin => Step::Done(Outcome::Refused),
        }
    }

    fn write_status(&mut self, node: &NodeName, record: &Record, batch: &mut Batch) -> Outcome {
        let key = &record.header.key;
        let Ok(status @ Value::Object(_)) = serde_json::from_slice(record.body.bytes()) else {
            return Outcome::Malformed;
        };
        let own_node = key.resource.is("", "nodes") && &*key.name == node.as_str();
        if !own_node && !key.resource.is("", "pods") {
            return Outcome::Refused;
        }
        let Some(current) = self
            .current(&Name::of(key))
            .filter(|current| current.key == *key)
        else {
            return Outcome::Stale;
        };
        let mut object = current.value();
        if !own_node && !is_bound_to(&object, node) {
            return Outcome::Refused;
        }
        let status = if own_node {
            status
        } else {
            merge_pod_status(object.get("status"), status)
        };
        if let Some(object) = object.as_object_mut() {
            object.insert("status".to_owned(), status);
        }
        stored(self.put(batch, key, object, Some(record.header.id)))
    }

    fn confirm_delete(&mut self, node: &NodeName, end: &Stored, batch: &mut Batch) -> Outcome {
        let key = &end.record.header.key;
        if is_device(&key.resource) {
            // The device left the node, which ends its report.
            return Outcome::Stale;
        }
        if !key.resource.is("", "pods") {
            return Outcome::Refused;
        }
        let Some(current) = self
            .current(&Name::of(key))
            .filter(|current| current.key == *key)
        else {
            return Outcome::Stale;
        };
        let mut object = current.value();
        if !is_bound_to(&object, node) {
            return Outcome::Refused;
        }
        // A cluster restored from a backup may not know that the pod was deleted, or may have had
        // it run again since: then that end is of a past which is no more.
        if !is_terminating(&object) || self.goes_on(node, end) {
            return Outcome::Stale;
        }
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        if let Some(metadata) = metadata
            && metadata
                .get("finalizers")
                .and_then(Value::as_array)
                .is_some_and(|f| !f.is_empty())
        {
            // Whoever set the finalizers removes the pod when they are done; the node is.
            metadata.insert("deletionGracePeriodSeconds".to_owned(), 0.into());
            return stored(self.put(batch, key, object, None));
        }
        self.delete(batch, key, None);
        Outcome::Applied
    }

    /// Whether the node reports of an object after its end. Revisions tell: until a reconcile is over,
    /// reports of before have offsets of another epoch.
    fn goes_on(&self, node: &NodeName, end: &Stored) -> bool {
        let up = StreamId::up(node.clone());
        let key = &end.record.header.key;
        let status = self.store().newest(&up, key, Slot::Status);
        // A report that cannot be read is none: the end of a pod must not wait for it.
        let status = status.ok().flatten();
        status.is_some_and(|status| status.revision > end.revision && !is_gone(&status.record))
    }

    /// Counts what became of a record. One line of a page says what a node may not do: a hostile
    /// one must not fill the log.
    fn count(&self, node: &NodeName, record: &Record, outcome: Outcome, told: &mut bool) {
        self.outcomes().count(outcome);
        let (op, key) = (record.header.op, &record.header.key);
        match outcome {
            Outcome::Refused | Outcome::Malformed if *told => {}
            Outcome::Refused | Outcome::Malformed => {
                *told = true;
                tracing::warn!(%node, ?op, %key, outcome = outcome.as_str(), "record not applied");
            }
            Outcome::Rejected => tracing::info!(%node, %key, "request rejected"),
            Outcome::Applied | Outcome::Unchanged | Outcome::Stale | Outcome::Kept => {
                tracing::debug!(%node, ?op, %key, outcome = outcome.as_str(), "written back");
            }
        }
    }
}

/// Nothing of the page was written: the disk failed. It is tried again after a while.
fn unread(
    answer: oneshot::Sender<Result<WroteBack, WriteError>>,
    error: &ReadError,
) -> Planned<Request> {
    let reason = causeway_daemon::telemetry::error_chain(error).to_string();
    let _ = answer.send(Err(WriteError::Unavailable { reason }));
    Planned::InBatch
}

pub(super) fn stored<E>(put: Result<PutOutcome, E>) -> Outcome {
    match put {
        Ok(PutOutcome::Entry(_)) => Outcome::Applied,
        Ok(PutOutcome::Unchanged) => Outcome::Unchanged,
        // Object and status fit into a record each, but not together.
        Err(_) => Outcome::Refused,
    }
}

pub(crate) fn is_bound_to(pod: &Value, node: &NodeName) -> bool {
    let name = pod
        .get("spec")
        .and_then(|spec| spec.get("nodeName"))
        .and_then(Value::as_str);
    name == Some(node.as_str())
}

/// The node's status with the conditions that only the cloud knows.
fn merge_pod_status(current: Option<&Value>, mut status: Value) -> Value {
    let conditions = |status: &Value| -> Vec<Value> {
        status
            .get("conditions")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let Some(current) = current else {
        return status;
    };
    let mut merged = conditions(&status);
    for condition in conditions(current) {
        let kind = condition.get("type").cloned().unwrap_or_default();
        let ours = kind
            .as_str()
            .is_some_and(|kind| CLOUD_POD_CONDITIONS.contains(&kind));
        if ours && !merged.iter().any(|other| other.get("type") == Some(&kind)) {
            merged.push(condition);
        }
    }
    if let Some(fields) = status.as_object_mut() {
        if !merged.is_empty() {
            fields.insert("conditions".to_owned(), Value::Array(merged));
        }
        if let Some(class) = current.get("qosClass") {
            fields.entry("qosClass").or_insert_with(|| class.clone());
        }
    }
    status
}

type Newest<'a> = BTreeMap<(&'a Key, Slot), Revision>;

/// The newest record of each key and slot of the page.
fn newest(page: &[Stored]) -> Newest<'_> {
    let slots = page.iter().map(|stored| {
        let header = &stored.record.header;
        ((&header.key, header.op.slot()), stored.revision)
    });
    slots.collect()
}

/// Requests build on each other, so none is skipped.
fn is_superseded(stored: &Stored, newest: &Newest<'_>) -> bool {
    let header = &stored.record.header;
    let slot = header.op.slot();
    slot.is_state()
        && slot != Slot::Request
        && newest
            .get(&(&header.key, slot))
            .is_some_and(|newest| *newest > stored.revision)
}
