//! Events that applications write at the edge: facts, which nobody answers.

use causeway_kube_api::decide::{Context, prepare_create};
use causeway_kube_api::schema::FieldValidation;
use causeway_kube_api::{Change, Clock as _, Expected, View, Write};
use causeway_log::{Batch, Key, Op, Resource, Uid};
use serde_json::json;
use uuid::Uuid;

use super::edge::EdgeRun;
use super::rest::Differs;
use super::{Invariant, World};

impl World {
    /// An application writes an Event.
    pub(super) fn edge_event(&mut self, n: usize, name: &str) {
        let node = &self.nodes[n];
        let serves = |edge: &&EdgeRun| edge.first_sync.is_done();
        if node.edge.as_ref().filter(serves).is_none() {
            return;
        }
        let uid = node.clock.uid();
        let context = Context {
            now: node.clock.now(),
            uid,
            namespace: "default".to_owned(),
            name: String::new(),
            field_validation: FieldValidation::Ignore,
        };
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": "default"},
            "involvedObject": {"kind": "Node", "name": node.name.as_str()},
            "reason": "Simulated",
            "message": format!("{name} at {:?}", self.now),
            "type": "Normal",
        });
        let Some(kind) = self.catalog.find_kind("", "v1", "Event") else {
            return;
        };
        let (Ok(prepared), Ok(key)) = (
            prepare_create(kind, event, &context),
            Key::new(Resource::core("events"), "default", name, Uid::Uuid(uid)),
        ) else {
            return;
        };
        let write = Write {
            key,
            expected: Expected::Absent,
            change: Change::Fact(prepared.object),
        };
        self.write_for_app(n, write, Some(uid));
    }

    /// What a batch that became durable in the cloud shows of Events. They do not stay: their number
    /// and their age are bounded.
    pub(super) fn note_shown(&mut self, batch: &Batch) {
        let entries = batch.entries.iter();
        let puts = entries.filter(|entry| entry.draft.op == Op::Put);
        let shown = puts.filter_map(|entry| event_of(&entry.draft.key));
        self.shown_events.extend(shown);
    }

    /// The same of a disk that is opened: a batch that was on its way there as the process died may
    /// have made it.
    pub(super) fn note_events(&mut self, view: &View) {
        let shown: Vec<String> = view.read(|objects| {
            let entries = objects.list(&Resource::core("events"), None, None);
            entries.filter_map(|entry| event_of(entry.key())).collect()
        });
        self.shown_events.extend(shown);
    }

    /// FACT-1: each Event that a node took was shown in the cloud, but for those that its store gave
    /// up.
    pub(super) fn same_events(&self, n: usize) -> Result<(), Differs> {
        let node = &self.nodes[n];
        let events = node.ledger.events.iter();
        let missing: Vec<&Uuid> = events
            .filter(|uid| !self.shown_events.contains(&uid.simple().to_string()))
            .collect();
        let (count, given_up) = (missing.len() as u64, node.ledger.given_up);
        if count <= given_up {
            return Ok(());
        }
        let what = format!(
            "{}: {count} Events that it took were never in the cloud, {given_up} facts were given up: \
             {:?}",
            node.name,
            missing.first()
        );
        Err((Invariant::FactsOnce, what))
    }
}

/// Which Event of a node an Event of the cloud shows: its name ends with it.
fn event_of(key: &Key) -> Option<String> {
    let (_, uid) = key.name.rsplit_once('.')?;
    (key.resource == Resource::core("events")).then(|| uid.to_owned())
}
