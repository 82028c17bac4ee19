//! What is wrong with Devices that are there all the same: the model came or changed after them, or
//! the cluster checks nothing. It is said in the log and, on a Kubernetes cluster, in an Event of the
//! Device; what is wrong is passed over, and the rest of the device goes on.

use std::collections::BTreeMap;

use causeway_daemon::tasks::Stop;
use causeway_kube_api::View;
use causeway_log::{Key, Resource, Revision};
use causeway_projections::objects::Objects;
use causeway_projections::twin::{DeviceError, DeviceName, devices, models};
use serde_json::Value;

use super::Target;
use super::mistakes::mistakes;
use crate::interest::model_of;

/// Most mistakes told of one device at once.
const TOLD_MAX: usize = 8;

/// A Device with something wrong that was not said yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Which Device.
    pub(crate) device: Key,
    /// What is wrong, for people.
    pub(crate) what: String,
}

/// Remembers what was said. Pure: shown the cluster, it names what is new.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    seen: Revision,
    told: BTreeMap<DeviceName, Vec<DeviceError>>,
}

impl Faults {
    /// What is wrong and was not said.
    pub(crate) fn observe(&mut self, objects: &Objects) -> Vec<Fault> {
        let before = std::mem::replace(&mut self.seen, objects.revision());
        let is_changed = |resource: &Resource| objects.latest_change(resource) > before;
        let has_models = is_changed(&models());
        if !has_models && !is_changed(&devices()) {
            return Vec::new();
        }
        let mut faults = Vec::new();
        let mut told = BTreeMap::new();
        for entry in objects.list(&devices(), None, None) {
            let name = DeviceName::of(entry.key());
            let known = self.told.remove(&name);
            let errors = if has_models || entry.modified() > before {
                errors(objects, entry.key(), entry.object())
            } else {
                known.clone().unwrap_or_default()
            };
            if errors.is_empty() {
                continue;
            }
            if known.as_ref() != Some(&errors) {
                let shown = errors.iter().take(TOLD_MAX).map(DeviceError::to_string);
                let mut what = shown.collect::<Vec<_>>().join("; ");
                if errors.len() > TOLD_MAX {
                    what.push_str("; …");
                }
                let device = entry.key().clone();
                faults.push(Fault { device, what });
            }
            told.insert(name, errors);
        }
        self.told = told;
        faults
    }
}

fn errors(objects: &Objects, key: &Key, device: Value) -> Vec<DeviceError> {
    let model = model_of(&key.namespace, &device).and_then(|name| {
        let entry = objects.get(&name.resource, &name.namespace, &name.name)?;
        Some(entry.object())
    });
    mistakes(&device, model.as_ref())
}

/// Says what is wrong with Devices until stopped.
pub(crate) async fn watch(view: View, target: std::sync::Arc<dyn Target>, mut stop: Stop) {
    let mut faults = Faults::default();
    let mut changes = view.subscribe();
    loop {
        for Fault { device, what } in view.read(|objects| faults.observe(objects)) {
            tracing::warn!(
                device = %DeviceName::of(&device),
                what,
                "something in a Device is wrong, and passed over"
            );
            tokio::select! {
                biased;
                () = stop.wait() => return,
                () = target.complain(&device, &what) => {}
            }
        }
        tokio::select! {
            biased;
            () = stop.wait() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests;
