//! Applications at the edge: they write through the local API, and remember which Events it took.

use causeway_edge_sync::machine::Request;
use causeway_kube_api::decide::{Context, Subresource, prepare_patch};
use causeway_kube_api::{Catalog, Change, Clock as _, Expected, Write, WriteError, Written};
use causeway_kube_api::{patch::Patch, schema::FieldValidation};
use causeway_log::{NodeName, Resource};
use serde_json::Value;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::World;

/// A write under way.
#[derive(Debug)]
pub(super) struct App {
    answer: oneshot::Receiver<Result<Written, WriteError>>,
    /// Which Event it makes, if it makes one.
    event: Option<Uuid>,
}

impl World {
    /// An application merges a patch into an object through the local API.
    pub(super) fn edge_write(
        &mut self,
        node: &NodeName,
        resource: &str,
        name: (&str, &str),
        patch: Value,
    ) {
        if let Err(why) = self.edge_patch(node, &super::edge::resource(resource), name, patch) {
            self.trace
                .event(self.now, "refused", node.as_str(), format_args!("{why}"));
        }
    }

    /// The same; why it cannot be done.
    fn edge_patch(
        &mut self,
        node: &NodeName,
        resource: &Resource,
        (namespace, name): (&str, &str),
        patch: Value,
    ) -> Result<(), String> {
        let n = self.find(node).ok_or("there is no such node")?;
        let edge = self.nodes[n].edge.as_ref();
        let edge = edge.ok_or("its API does not answer")?;
        let catalog = edge.view.read(Catalog::of);
        let kind = catalog.find_resource(resource);
        let kind = kind.ok_or_else(|| format!("its API has no {}", resource.plural))?;
        let entry = edge
            .view
            .read(|objects| objects.get(resource, namespace, name).cloned());
        let entry = entry.ok_or_else(|| format!("{} {name} is not there", resource.plural))?;
        let clock = &self.nodes[n].clock;
        let context = Context {
            now: clock.now(),
            uid: clock.uid(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            field_validation: FieldValidation::Ignore,
        };
        let patch = Patch::Merge(patch);
        let prepared = prepare_patch(kind, &entry.object(), &patch, Subresource::Main, &context)
            .map_err(|status| status.message)?;
        let write = Write {
            key: entry.key().clone(),
            expected: Expected::At(entry.modified()),
            change: Change::Put(prepared.object),
        };
        self.write_for_app(n, write, None);
        Ok(())
    }

    /// Hands the write of an application to the local API.
    pub(super) fn write_for_app(&mut self, n: usize, write: Write, event: Option<Uuid>) {
        let (done, answer) = oneshot::channel();
        let write = Box::new(write);
        self.ask_edge(n, Request::Local { write, done });
        if let Some(edge) = &mut self.nodes[n].edge {
            edge.apps.push(App { answer, event });
        }
    }

    /// Takes the answers of the local API.
    pub(super) fn hear_apps(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let Some(edge) = &mut node.edge else { return };
        let ledger = &mut node.ledger;
        edge.apps.retain_mut(|app| match app.answer.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => true,
            Ok(Ok(_)) => {
                ledger.events.extend(app.event);
                false
            }
            Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) => false,
        });
    }
}
