//! Which cluster answers: the one that was followed so far, or another one at its address.

use std::sync::Arc;

use causeway_log::{Key, Resource};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use super::kinds::{Kind, built_in};
use super::monotonic;
use crate::cluster::Seen;
use crate::interest::Name;
use crate::kube::client::{ApiError, ApiServer, Call, Class};

/// A cluster, known by the uid of its namespace `kube-system`.
#[derive(Clone, Debug)]
pub(super) struct ClusterId {
    pub(super) key: Key,
    pub(super) namespace: Value,
}

/// What was answered last; of an error what is needed to tell it again.
type Answer = Result<Arc<ClusterId>, (Class, String)>;

/// Asks which cluster answers, for all who need to know.
#[derive(Debug)]
pub(super) struct Identity {
    api: ApiServer,
    pinned: Option<Uuid>,
    kind: Kind,
    made: Instant,
    last: Mutex<Option<(Instant, Answer)>>,
}

impl Identity {
    pub(super) fn new(api: ApiServer, pinned: Option<Uuid>) -> Self {
        let mut kinds = built_in().into_iter();
        let kind = kinds
            .find(|kind| kind.resource.is("", "namespaces"))
            .expect("namespaces are followed");
        Self {
            api,
            pinned,
            kind,
            made: monotonic(),
            last: Mutex::default(),
        }
    }

    /// Before anyone asked.
    pub(super) const fn epoch(&self) -> Instant {
        self.made
    }

    /// The cluster that answers at a moment after `after`.
    pub(super) async fn check(&self, after: Instant) -> Result<Arc<ClusterId>, ApiError> {
        let mut last = self.last.lock().await;
        if let Some((at, found)) = &*last
            && *at > after
        {
            return found
                .clone()
                .map_err(|(class, why)| ApiError::new(class, why));
        }
        let began = monotonic();
        let found = self.ask().await.map(Arc::new);
        let kept = found.as_ref().map(Arc::clone).map_err(|error| {
            let why = causeway_daemon::telemetry::error_chain(error).to_string();
            (error.class(), why)
        });
        *last = Some((began, kept));
        found
    }

    async fn ask(&self) -> Result<ClusterId, ApiError> {
        let name = Name {
            resource: Resource::core("namespaces"),
            namespace: "".into(),
            name: "kube-system".into(),
        };
        let namespace = self.api.call(Call::get(self.kind.object(&name))).await?;
        let Some(Seen::Present { key, object, .. }) = self.kind.present(namespace) else {
            let why = "the namespace kube-system has no uid";
            return Err(ApiError::new(Class::Malformed, why));
        };
        if let Some(pinned) = self.pinned
            && key.uid != causeway_log::Uid::Uuid(pinned)
        {
            let why = format!(
                "this is cluster {}, and only {pinned} may be followed (kubernetes.cluster)",
                key.uid
            );
            return Err(ApiError::new(Class::Credentials, why));
        }
        Ok(ClusterId {
            key,
            namespace: object,
        })
    }
}
