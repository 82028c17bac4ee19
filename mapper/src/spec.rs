//! A device as a mapper sees it: typed, without what only the wire needs.

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_dmi::convert;
use causeway_dmi::messages::{self, CustomizedValue};

use crate::{COLLECT_CYCLE_DEFAULT, COLLECT_CYCLE_MIN, DriverError};

/// Settings of a protocol or of a property: scalars by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings(BTreeMap<String, serde_json::Value>);

impl Settings {
    fn of(data: Option<&CustomizedValue>) -> Self {
        let setting = |(name, any): (&String, _)| Some((name.clone(), convert::setting(any)?));
        Self(
            data.map(|data| data.data.iter().filter_map(setting).collect())
                .unwrap_or_default(),
        )
    }

    /// A number; `None` when the setting is not there.
    ///
    /// # Errors
    /// [`DriverError::Setting`] when it is there and no number.
    pub fn number(&self, name: &str) -> Result<Option<f64>, DriverError> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        // People write numbers as text, too.
        let number = value
            .as_f64()
            .or_else(|| value.as_str()?.parse().ok())
            .filter(|number| number.is_finite());
        number.map(Some).ok_or_else(|| DriverError::Setting {
            name: name.to_owned(),
            what: "must be a number",
        })
    }

    /// A text; `None` when the setting is not there or no text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }
}

/// A value with what its writer says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// The value.
    pub value: String,
    /// Such as `timestamp`.
    pub metadata: BTreeMap<String, String>,
}

/// One property of a device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// Its type in the model, such as `FLOAT`; empty when the model is not known.
    pub kind: String,
    /// Whether it may be written. Unknown counts as yes.
    pub is_writable: bool,
    /// What it is to be; `None` when nothing is wanted of it.
    pub desired: Option<Value>,
    /// How it is read and written.
    pub settings: Settings,
    /// How often it is read.
    pub collect_cycle: Duration,
    /// Whether its values are reported to the node.
    pub is_reported: bool,
}

/// A device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceSpec {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How it is reached.
    pub settings: Settings,
    /// Its properties.
    pub properties: Vec<Property>,
    /// How often its state is reported; `None`: only when it changes.
    pub state_cycle: Option<Duration>,
}

impl DeviceSpec {
    /// Reads the message of a device and that of its model.
    #[must_use]
    pub fn of(device: &messages::Device, model: Option<&messages::DeviceModel>) -> Self {
        let spec = device.spec.clone().unwrap_or_default();
        let model = model.and_then(|model| model.spec.as_ref());
        let config = spec
            .protocol
            .as_ref()
            .and_then(|it| it.config_data.as_ref());
        let states = device.status.as_ref();
        let properties = spec.properties.iter().map(|it| property(it, model));
        Self {
            namespace: device.namespace.clone(),
            name: device.name.clone(),
            settings: Settings::of(config),
            properties: properties.collect(),
            state_cycle: states
                .filter(|it| it.report_to_cloud)
                .and_then(|it| cycle(it.report_cycle)),
        }
    }
}

fn property(
    property: &messages::DeviceProperty,
    model: Option<&messages::DeviceModelSpec>,
) -> Property {
    let of_model = model.and_then(|model| {
        let mut all = model.properties.iter();
        all.find(|it| it.name == property.name)
    });
    let desired = property.desired.as_ref();
    let config = property.visitors.as_ref();
    Property {
        name: property.name.clone(),
        kind: of_model.map(|it| it.r#type.clone()).unwrap_or_default(),
        is_writable: of_model.is_none_or(|it| it.access_mode != "ReadOnly"),
        desired: desired.filter(|it| !it.value.is_empty()).map(|it| Value {
            value: it.value.clone(),
            metadata: it.metadata.clone(),
        }),
        settings: Settings::of(config.and_then(|it| it.config_data.as_ref())),
        collect_cycle: cycle(property.collect_cycle).unwrap_or(COLLECT_CYCLE_DEFAULT),
        is_reported: property.report_to_cloud,
    }
}

/// A cycle of the wire, in milliseconds; none when it is not set.
fn cycle(millis: i64) -> Option<Duration> {
    let millis = u64::try_from(millis).ok().filter(|millis| *millis > 0)?;
    Some(Duration::from_millis(millis).max(COLLECT_CYCLE_MIN))
}
