//! DeviceStatuses in a Kubernetes cluster: server-side apply, as this service itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_daemon::telemetry::error_chain;
use causeway_kube_api::Clock;
use causeway_log::{Body, Key, Uid};
use causeway_projections::twin::{DeviceName, GROUP, VERSION, statuses};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::writeback::judge::{Meaning, judge};
use super::writeback::{Api, Call, CallError, Content, Identity, Place, WriteStats};
use crate::devices::{NotWritten, Target};

/// The field manager, and the component that Events name.
const MANAGER: &str = "causeway";
/// Longest part of an Event's name that is the Device's.
const NAME_CHARS_MAX: usize = 200;
/// Longest message of an Event.
const MESSAGE_CHARS_MAX: usize = 1000;

/// Writes them, and remembers what it wrote: they are not read.
pub(crate) struct Applied {
    api: Arc<dyn Api>,
    stats: Arc<WriteStats>,
    clock: Arc<dyn Clock>,
    written: Mutex<BTreeMap<DeviceName, (Uid, Value)>>,
}

impl Applied {
    pub(crate) fn new(api: Arc<dyn Api>, stats: Arc<WriteStats>, clock: Arc<dyn Clock>) -> Self {
        Self {
            api,
            stats,
            clock,
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

    fn complain<'a>(&'a self, device: &'a Key, what: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let call = complaint(device, what, &self.clock.timestamp());
            self.stats.count_call(&call);
            if let Err(error) = self.api.call(call).await {
                // The log has it; the Event of a mistake that was made before is there.
                let error = error_chain(&error).to_string();
                tracing::debug!(device = %DeviceName::of(device), error, "no Event of a Device");
            }
        })
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

/// The request that makes an Event of a Device: one for each mistake.
pub(crate) fn complaint(device: &Key, what: &str, time: &str) -> Call {
    let hash = Body::from(format!("{} {what}", device.uid).into_bytes()).hash();
    let (short, _) = hash.as_bytes().split_at(8);
    let suffix: String = short.iter().map(|byte| format!("{byte:02x}")).collect();
    let prefix: String = device.name.chars().take(NAME_CHARS_MAX).collect();
    let place = Place::core("events", &device.namespace, &format!("{prefix}.{suffix}"));
    let event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": place.name, "namespace": place.namespace},
        "involvedObject": {
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "Device",
            "namespace": &*device.namespace,
            "name": &*device.name,
            "uid": device.uid.to_string(),
        },
        "type": "Warning",
        "reason": "InvalidDevice",
        "message": what.chars().take(MESSAGE_CHARS_MAX).collect::<String>(),
        "source": {"component": MANAGER},
        "reportingComponent": MANAGER,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    });
    place.create(Identity::Cloud, event)
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
