//! The node registers itself again when it meets a cloud that does not have it: one that was wiped,
//! or restored from before the node joined, or whose admin deleted the node meanwhile.
//!
//! The first registration is edged's. A Node that goes while a session is up was deleted on
//! purpose and stays away until the next session; one that is missing when a session has caught up
//! was lost. What is asked for then is bare: edged adds its labels and its status, as it does for
//! every Node of its own that lacks them.

use std::time::Duration;

use causeway_daemon::tasks::Stop;
use causeway_daemon::telemetry::error_chain;
use causeway_kube_api::decide::{Context, prepare_create};
use causeway_kube_api::schema::FieldValidation;
use causeway_kube_api::{Catalog, Change, Clock as _, Expected, Source as _, SystemClock};
use causeway_kube_api::{Write, WriteError};
use causeway_log::{Key, Resource, Revision, Uid};
use causeway_projections::{Change as Changed, Objects};
use serde_json::json;
use tokio::sync::watch;

use crate::api::EdgeSource;

/// How long the cloud has to answer a registration that is in the log already.
const GRACE: Duration = Duration::from_secs(2);
/// Between two attempts while the store refuses.
const RETRY: Duration = Duration::from_secs(5);

/// Looks after the registration, session by session.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) source: EdgeSource,
    /// Whether the newest session has caught up.
    pub(crate) session: watch::Receiver<bool>,
}

impl Registration {
    /// Runs until stopped.
    pub(crate) async fn run(mut self, mut stop: Stop) {
        tokio::select! {
            () = stop.wait() => {}
            () = self.watch() => {}
        }
    }

    /// Ends with the link.
    async fn watch(&mut self) {
        let mut revision = self.source.view.subscribe();
        let mut joined = false;
        loop {
            joined |= self.source.view.read(|objects| self.has_joined(objects));
            tokio::select! {
                moved = revision.changed(), if !joined => {
                    if moved.is_err() {
                        return;
                    }
                }
                turned = self.session.changed() => {
                    if turned.is_err() {
                        return;
                    }
                    // The view may have moved as well.
                    joined |= self.source.view.read(|objects| self.has_joined(objects));
                    if joined && *self.session.borrow() {
                        self.restore(&mut revision).await;
                    }
                }
            }
        }
    }

    /// Whether the node is registered, or was: then it may be missed.
    fn has_joined(&self, objects: &Objects) -> bool {
        let mut changes = objects.changes_after(&nodes(), Revision::ZERO);
        changes.any(|change| match change {
            Changed::Present(entry) => *entry.key().name == *self.source.node.as_str(),
            Changed::Gone(tombstone) => *tombstone.key().name == *self.source.node.as_str(),
        })
    }

    /// Registers the node if it is missing, as long as the session lasts.
    async fn restore(&mut self, revision: &mut watch::Receiver<Revision>) {
        let view = self.source.view.clone();
        let name = self.source.node.as_str().to_owned();
        let is_there = || view.read(|objects| objects.get(&nodes(), "", &name).is_some());
        let comes = revision.wait_for(|_| is_there());
        if is_there() || tokio::time::timeout(GRACE, comes).await.is_ok() {
            return;
        }
        while *self.session.borrow() && !is_there() {
            match self.register().await {
                Ok(()) => {
                    tracing::info!(
                        node = name,
                        "the cloud does not have this node: joining again"
                    );
                    return;
                }
                Err(error) => {
                    tracing::warn!(error = %error_chain(&error), "cannot join again; trying later");
                }
            }
            // A session that ends cuts the pause short.
            let _ =
                tokio::time::timeout(RETRY, self.session.wait_for(|caught_up| !caught_up)).await;
        }
    }

    async fn register(&self) -> Result<(), WriteError> {
        let name = self.source.node.as_str();
        let catalog = Catalog::builtin();
        let kind = catalog
            .find_kind("", "v1", "Node")
            .expect("nodes are built in");
        let clock = SystemClock;
        let context = Context {
            now: clock.now(),
            uid: clock.uid(),
            namespace: String::new(),
            name: String::new(),
            field_validation: FieldValidation::Ignore,
        };
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": { "name": name }, "spec": {},
        });
        let prepared = prepare_create(kind, node, &context)
            .map_err(|status| WriteError::Rejected(Box::new(status)))?;
        let key = Key::new(nodes(), "", name, Uid::Uuid(context.uid))
            .expect("a node name is the name of an object");
        let write = Write {
            key,
            expected: Expected::Absent,
            change: Change::Put(prepared.object),
        };
        self.source.commit(write).await.map(drop)
    }
}

fn nodes() -> Resource {
    Resource::core("nodes")
}
