//! DeviceStatuses in a Kubernetes cluster: server-side apply, as this service itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_daemon::telemetry::error_chain;
use causeway_log::{Key, Uid};
use causeway_projections::twin::{DeviceName, VERSION, statuses};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value;

use super::writeback::judge::{Meaning, judge};
use super::writeback::{Api, Call, CallError, Content, Identity, Place, WriteStats};
use crate::devices::{NotWritten, Target};

/// The field manager.
const MANAGER: &str = "causeway";

/// Writes them, and remembers what it wrote: they are not read.
pub(crate) struct Applied {
    api: Arc<dyn Api>,
    stats: Arc<WriteStats>,
    written: Mutex<BTreeMap<DeviceName, (Uid, Value)>>,
}

impl Applied {
    pub(crate) fn new(api: Arc<dyn Api>, stats: Arc<WriteStats>) -> Self {
        Self {
            api,
            stats,
            written: Mutex::default(),
        }
    }
}

impl Target for Applied {
    fn shown(&self, device: &Key) -> Option<Value> {
        let written = self.written.lock();
        let (life, status) = written.get(&DeviceName::of(device))?;
        (*life == device.uid).then(|| status.clone())
    }

    fn write(&self, device: Key, status: Value) -> BoxFuture<'_, Result<(), NotWritten>> {
        Box::pin(async move {
            let call = application(&device, status.clone());
            self.stats.count_call(&call);
            match self.api.call(call).await {
                Ok(_) => {
                    let name = DeviceName::of(&device);
                    self.written.lock().insert(name, (device.uid, status));
                    Ok(())
                }
                Err(error) => {
                    let meaning = judge(&error);
                    let (part, why) = (("part", "devices"), ("why", meaning.as_str()));
                    WriteStats::count(&self.stats.retries, part, why);
                    Err(not_written(meaning, &error))
                }
            }
        })
    }

    fn forget(&self, name: &DeviceName) {
        self.written.lock().remove(name);
    }
}

/// The request that makes the DeviceStatus say this.
pub(crate) fn application(device: &Key, status: Value) -> Call {
    let place = Place {
        resource: statuses(),
        version: VERSION.to_owned(),
        namespace: device.namespace.to_string(),
        name: device.name.to_string(),
    };
    place
        .patch(Identity::Cloud, "", Content::Apply, status)
        .managed_by(MANAGER)
}

fn not_written(meaning: Meaning, error: &CallError) -> NotWritten {
    // Clusters of KubeEdge before 1.23 do not have the kind; a namespace may be missing too.
    let is_of_kind = matches!(error, CallError::Refused { status, .. } if status.code == 404
        && status.details.as_ref().is_none_or(|details| details.kind != "namespaces"));
    let reason = error_chain(error).to_string();
    match meaning {
        Meaning::Gone if is_of_kind => NotWritten::NoKind { reason },
        Meaning::Denied | Meaning::Misconfigured => NotWritten::NoKind { reason },
        Meaning::Unavailable { .. } => NotWritten::Away { reason },
        Meaning::Gone | Meaning::Conflict | Meaning::Exists | Meaning::Never => {
            NotWritten::Later { reason }
        }
    }
}

#[cfg(test)]
mod tests;
