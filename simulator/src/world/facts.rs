//! Events that applications write at the edge: facts, which nobody answers.

use causeway_edge_sync::machine::Request;
use causeway_kube_api::decide::{Context, prepare_create};
use causeway_kube_api::schema::FieldValidation;
use causeway_kube_api::{Change, Clock as _, Expected, Write};
use causeway_log::{Key, Resource, Uid};
use serde_json::json;
use tokio::sync::oneshot;

use super::World;
use super::edge::EdgeRun;

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
        let (done, answer) = oneshot::channel();
        let write = Box::new(Write {
            key,
            expected: Expected::Absent,
            change: Change::Fact(prepared.object),
        });
        self.ask_edge(n, Request::Local { write, done });
        if let Some(edge) = &mut self.nodes[n].edge {
            edge.apps.push(answer);
        }
    }
}
