//! The local API: Kubernetes REST over what the edge has, and what the edge says about itself.

pub mod access;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use causeway_daemon::inspect::Inspected;
use causeway_daemon::metrics::Metrics;
use causeway_daemon::store_dir::takes_writes;
use causeway_daemon::{admin, inspect};
use causeway_kube_api::{
    Authority, ServerConfig, Source, View, Write, WriteError, Written, router as kube_router,
};
use causeway_log::writer::WriterHandle;
use causeway_log::{NodeName, Resource};
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::agent::Pulse;
use crate::first_sync::FirstSync;
use crate::machine::Request;

/// What stands behind the local API.
#[derive(Clone, Debug)]
pub(crate) struct EdgeSource {
    pub(crate) node: NodeName,
    pub(crate) view: View,
    pub(crate) writer: WriterHandle<Request>,
    /// `None` for an edge without a cloud: what it has is all there is.
    pub(crate) first_sync: Option<FirstSync>,
    /// The heartbeats of the node agent.
    pub(crate) pulse: Pulse,
}

impl Source for EdgeSource {
    fn view(&self) -> &View {
        &self.view
    }

    fn authority(&self) -> Authority {
        Authority::Edge {
            node: self.node.clone(),
        }
    }

    fn incomplete(&self, resource: &Resource) -> Option<String> {
        let waiting = self
            .first_sync
            .as_ref()
            .is_some_and(|first| !first.is_done());
        // What this node says itself, it knows.
        let own = resource.is("", "nodes")
            || resource.is("", "events")
            || resource.is("events.k8s.io", "events")
            || resource.is("coordination.k8s.io", "leases");
        (waiting && !own).then(|| {
            format!(
                "node {} has not received its objects from the cloud yet: they are served after \
                 the first synchronisation",
                self.node
            )
        })
    }

    fn heard(&self, lease: Duration) {
        self.pulse.beat(lease);
    }

    fn commit(&self, write: Write) -> BoxFuture<'_, Result<Written, WriteError>> {
        Box::pin(commit(&self.writer, write))
    }
}

/// Makes a local write durable.
pub(crate) async fn commit(
    writer: &WriterHandle<Request>,
    write: Write,
) -> Result<Written, WriteError> {
    let stopping = || WriteError::Unavailable {
        reason: "the edge is stopping".to_owned(),
    };
    let (done, told) = oneshot::channel();
    let request = Request::Local {
        write: Box::new(write),
        done,
    };
    writer.send(request).await.map_err(|_| stopping())?;
    told.await.unwrap_or_else(|_| Err(stopping()))
}

/// All routes of the edge. What is not the edge's own belongs to Kubernetes.
pub(crate) fn router(
    source: EdgeSource,
    config: ServerConfig,
    inspected: Inspected,
    metrics: Metrics,
) -> Router {
    let (writer, store) = (source.writer.clone(), Arc::clone(&inspected.store));
    let readiness = admin::Readiness::new(move || {
        if writer.is_closed() {
            Err("the writer has ended".to_owned())
        } else {
            takes_writes(&*store)
        }
    });
    admin::router(metrics, readiness)
        .merge(inspect::router(inspected))
        .fallback_service(kube_router(Arc::new(source), config))
}
