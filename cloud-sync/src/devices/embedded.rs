//! DeviceStatuses in the embedded cluster.

use std::sync::Arc;

use causeway_kube_api::decide::{Context, Subresource, prepare_create, prepare_update};
use causeway_kube_api::schema::FieldValidation;
use causeway_kube_api::{
    Catalog, Change, Clock, Expected, ServedKind, Source as _, Status, Write, WriteError,
};
use causeway_log::{Key, Resource, Revision, Uid};
use causeway_projections::twin::{DeviceName, GROUP, VERSION, statuses};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value;

use super::{NotWritten, Target};
use crate::cluster::Cluster;

/// Writes them as the API would.
pub(crate) struct Embedded {
    cluster: Arc<Cluster>,
    clock: Arc<dyn Clock>,
    /// The kind, as of a change of the definitions.
    kind: Mutex<(Revision, Option<ServedKind>)>,
}

impl Embedded {
    pub(crate) const fn new(cluster: Arc<Cluster>, clock: Arc<dyn Clock>) -> Self {
        Self {
            cluster,
            clock,
            kind: Mutex::new((Revision::ZERO, None)),
        }
    }

    /// The kind DeviceStatus; somebody may have taken its definition away.
    fn kind(&self) -> Option<ServedKind> {
        let definitions = Resource::new("apiextensions.k8s.io", "customresourcedefinitions");
        let mut known = self.kind.lock();
        self.cluster.view().read(|objects| {
            let latest = objects.latest_change(&definitions);
            if latest > known.0 {
                let catalog = Catalog::of(objects);
                let kind = catalog.find_kind(GROUP, VERSION, "DeviceStatus");
                *known = (latest, kind.map(|kind| ServedKind::clone(kind)));
            }
        });
        known.1.clone()
    }

    /// What is to be committed, as things are.
    fn decide(&self, kind: &ServedKind, device: &Key, status: Value) -> Result<Write, Status> {
        let current = self.cluster.view().read(|objects| {
            let entry = objects.get(&statuses(), &device.namespace, &device.name)?;
            Some((entry.key().clone(), entry.modified(), entry.object()))
        });
        let mut context = Context {
            now: self.clock.now(),
            uid: self.clock.uid(),
            namespace: device.namespace.to_string(),
            name: device.name.to_string(),
            field_validation: FieldValidation::Warn,
        };
        let (key, expected, prepared) = match current {
            None => {
                let uid = Uid::Uuid(context.uid);
                let key = Key::new(statuses(), &device.namespace, &device.name, uid)
                    .map_err(|error| Status::bad_request(error.to_string()))?;
                let prepared = prepare_create(kind, status, &context)?;
                (key, Expected::Absent, prepared)
            }
            Some((key, revision, mut current)) => {
                if let Uid::Uuid(uid) = key.uid {
                    context.uid = uid;
                }
                // An update names the version that it is of.
                current["metadata"]["resourceVersion"] = revision.to_string().into();
                let mut wanted = current.clone();
                wanted["status"] = status["status"].clone();
                wanted["metadata"]["ownerReferences"] =
                    status["metadata"]["ownerReferences"].clone();
                let main = Subresource::Main;
                let prepared = prepare_update(kind, &current, wanted, main, &context)?;
                (key, Expected::At(revision), prepared)
            }
        };
        Ok(Write {
            key,
            expected,
            change: Change::Put(prepared.object),
        })
    }
}

impl Target for Embedded {
    fn shown(&self, device: &Key) -> Option<Value> {
        self.cluster.view().read(|objects| {
            let entry = objects.get(&statuses(), &device.namespace, &device.name)?;
            Some(entry.object())
        })
    }

    fn write(&self, device: Key, status: Value) -> BoxFuture<'_, Result<(), NotWritten>> {
        Box::pin(async move {
            let Some(kind) = self.kind() else {
                let reason = "the definition of DeviceStatus is gone".to_owned();
                return Err(NotWritten::NoKind { reason });
            };
            let later = |reason: String| NotWritten::Later { reason };
            let write = self
                .decide(&kind, &device, status)
                .map_err(|status| later(status.message))?;
            match self.cluster.commit(write).await {
                Ok(_) => Ok(()),
                Err(WriteError::Rejected(status)) => Err(later(status.message)),
                Err(error) => Err(later(error.to_string())),
            }
        })
    }

    /// The garbage collector removes it with the Device.
    fn forget(&self, _: &DeviceName) {}
}
