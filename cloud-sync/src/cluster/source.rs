//! The cluster as the API sees it.

use causeway_kube_api::{Authority, Source, Status, View, Write, WriteError, Written};
use causeway_log::Resource;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::oneshot;

use super::{Request, Requests};
use crate::devices::admit;
use crate::interest::{is_device, model_of};

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

    fn admit(
        &self,
        resource: &Resource,
        before: Option<&Value>,
        object: &Value,
    ) -> Result<(), Box<Status>> {
        if !is_device(resource) {
            return Ok(());
        }
        let metadata = object.get("metadata");
        let namespace = metadata.and_then(|it| it.get("namespace")?.as_str());
        let model = self.view.read(|objects| {
            let name = model_of(namespace.unwrap_or_default(), object)?;
            let entry = objects.get(&name.resource, &name.namespace, &name.name)?;
            serde_json::from_slice(entry.desired()?.bytes()).ok()
        });
        admit(before, object, Option::<Value>::as_ref(&model))
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
