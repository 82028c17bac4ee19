//! The cluster as the API sees it.

use causeway_kube_api::{Authority, Source, View, Write, WriteError, Written};
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::{Request, Requests};

/// Reads the published view; writes through the machine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cluster {
    view: View,
    requests: Requests,
}

impl Cluster {
    /// The cluster behind a machine's view and its writer.
    #[must_use]
    pub const fn new(view: View, requests: Requests) -> Self {
        Self { view, requests }
    }
}

impl Source for Cluster {
    fn view(&self) -> &View {
        &self.view
    }

    fn authority(&self) -> Authority {
        Authority::Cloud
    }

    fn commit(&self, write: Write) -> BoxFuture<'_, Result<Written, WriteError>> {
        Box::pin(async move {
            let stopping = || WriteError::Unavailable {
                reason: "the service is stopping".into(),
            };
            let (answer, answered) = oneshot::channel();
            let request = Request::Write {
                write: Box::new(write),
                answer,
            };
            self.requests.send(request).await.map_err(|_| stopping())?;
            answered.await.unwrap_or_else(|_| Err(stopping()))
        })
    }
}
