//! A device, made of what the fold holds of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use causeway_log::{Key, Revision};
use serde_json::Value as Json;

use super::lives::{Life, Model};
use crate::twin::history::{HISTORY_ANNOTATION, Policies, PolicyError};
use crate::twin::{Rules, Twin};

/// Names a device on its node.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceName {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name there.
    pub name: Arc<str>,
}

impl DeviceName {
    /// The device `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The name that a key has, of whatever kind.
    #[must_use]
    pub fn of(key: &Key) -> Self {
        Self {
            namespace: Arc::clone(&key.namespace),
            name: Arc::clone(&key.name),
        }
    }
}

impl fmt::Display for DeviceName {
    /// `namespace/name`, which is how KubeEdge's topics name a device.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A device as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Key of the Device object, in this life.
    pub key: Key,
    /// The Device as the cloud wants it; null when its body is no JSON.
    pub object: Arc<Json>,
    /// The DeviceModel that it names, once there is one.
    pub model: Option<Arc<Json>>,
    /// What both say of its properties.
    pub rules: Arc<Rules>,
    /// Which of its readings are kept. None when the annotation says nothing, or nonsense.
    pub policies: Arc<Policies>,
    /// What is wrong with the annotation.
    pub policy_error: Option<PolicyError>,
    /// Both sides of its twin.
    pub twin: Twin,
    /// When anything of this last changed.
    pub changed: Revision,
}

impl Device {
    /// How the device is called on its node.
    #[must_use]
    pub fn name(&self) -> DeviceName {
        DeviceName::of(&self.key)
    }
}

/// The model that a device names.
pub(super) fn model_of(device: &Json) -> Option<&str> {
    device["spec"]["deviceModelRef"]["name"].as_str()
}

fn twin_of(life: &Life) -> Twin {
    let desired = life
        .desired
        .as_ref()
        .map(|(_, desired)| Arc::clone(desired));
    let reported = life.reported().map(|(_, reported)| Arc::clone(reported));
    Twin {
        desired: desired.unwrap_or_default(),
        reported: reported.unwrap_or_default(),
    }
}

/// When the layers of a life last changed.
fn changed(life: &Life, object: Revision, model: Option<&Model>) -> Revision {
    let layers = [
        Some(object),
        life.desired.as_ref().map(|(revision, _)| *revision),
        life.reported.as_ref().map(|(revision, _)| *revision),
        life.ended,
        model.map(|model| model.changed),
    ];
    layers.into_iter().flatten().max().unwrap_or_default()
}

fn model_at<'a>(
    models: &'a BTreeMap<DeviceName, Model>,
    key: &Key,
    device: &Json,
) -> Option<&'a Model> {
    let name = DeviceName {
        namespace: Arc::clone(&key.namespace),
        name: model_of(device)?.into(),
    };
    models.get(&name)
}

/// The same device with its twin as it is now.
pub(super) fn with_twin(
    before: &Device,
    life: &Life,
    object: Revision,
    models: &BTreeMap<DeviceName, Model>,
) -> Device {
    let model = model_at(models, &before.key, &before.object);
    Device {
        twin: twin_of(life),
        changed: changed(life, object, model),
        ..before.clone()
    }
}

pub(super) fn compose(
    life: &Life,
    object: Revision,
    body: &Arc<Json>,
    key: &Key,
    models: &BTreeMap<DeviceName, Model>,
) -> Device {
    let model = model_at(models, key, body);
    let annotation = &body["metadata"]["annotations"][HISTORY_ANNOTATION];
    let policies = Policies::parse(annotation.as_str().unwrap_or_default());
    let (policies, policy_error) = match policies {
        Ok(policies) => (policies, None),
        Err(error) => (Policies::default(), Some(error)),
    };
    let served = model.and_then(|model| model.served.as_ref());
    Device {
        key: Key {
            uid: life.uid.clone(),
            ..key.clone()
        },
        object: Arc::clone(body),
        model: served.cloned(),
        rules: Arc::new(Rules::of(body, served.map(|model| &**model))),
        policies: Arc::new(policies),
        policy_error,
        twin: twin_of(life),
        changed: changed(life, object, model),
    }
}
