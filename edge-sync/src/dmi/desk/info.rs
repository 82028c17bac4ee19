//! Who a mapper is, and what a device is to a mapper.

use std::sync::Arc;

use causeway_dmi::convert::{self, ConvertError};
use causeway_dmi::messages;
use causeway_projections::twin::{self, DeviceName};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Names the mapper that a device is for, by the mapper's name.
pub(in crate::dmi) const MAPPER_ANNOTATION: &str = "causeway.dev/mapper";
/// Longest text that a mapper says of itself.
pub(super) const TEXT_BYTES_MAX: usize = 253;
/// Longest path of a Unix socket: what the system takes.
const ADDRESS_BYTES_MAX: usize = 107;

/// Who a mapper is. Its name and address together are its identity; at one address there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::dmi) struct Info {
    /// Its name.
    pub(in crate::dmi) name: String,
    /// The protocol that it serves.
    pub(in crate::dmi) protocol: String,
    /// The path of its socket.
    pub(in crate::dmi) address: String,
    /// Its version; for people.
    #[serde(default)]
    pub(in crate::dmi) version: String,
}

/// A mapper does not say who it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::dmi) enum InvalidInfo {
    /// There is no mapper in the request.
    #[error("the request names no mapper")]
    Missing,
    /// A field is empty.
    #[error("mapper.{field} is empty")]
    Empty { field: &'static str },
    /// A field is beyond its bound.
    #[error("mapper.{field} is longer than {most} bytes")]
    TooLong { field: &'static str, most: usize },
    /// A field has characters that nobody can read.
    #[error("mapper.{field} has control characters, or is no UTF-8")]
    Unprintable { field: &'static str },
    /// The address is no path.
    #[error("mapper.address is not the absolute path of a Unix socket")]
    Address,
}

impl Info {
    /// Reads what a mapper says.
    ///
    /// # Errors
    /// [`InvalidInfo`]
    pub(in crate::dmi) fn of(message: Option<&messages::MapperInfo>) -> Result<Self, InvalidInfo> {
        let message = message.ok_or(InvalidInfo::Missing)?;
        let address = std::str::from_utf8(&message.address)
            .map_err(|_| InvalidInfo::Unprintable { field: "address" })?;
        let address = ["unix://", "unix:"]
            .into_iter()
            .find_map(|scheme| address.strip_prefix(scheme))
            .unwrap_or(address);
        let info = Self {
            name: message.name.clone(),
            protocol: message.protocol.clone(),
            address: address.to_owned(),
            version: message.version.clone(),
        };
        info.check()?;
        Ok(info)
    }

    /// Whether it is within its bounds.
    ///
    /// # Errors
    /// [`InvalidInfo`]
    pub(super) fn check(&self) -> Result<(), InvalidInfo> {
        let Self {
            name,
            protocol,
            address,
            version,
        } = self;
        text("name", name, TEXT_BYTES_MAX)?;
        text("protocol", protocol, TEXT_BYTES_MAX)?;
        text("address", address, ADDRESS_BYTES_MAX)?;
        if !version.is_empty() {
            text("version", version, TEXT_BYTES_MAX)?;
        }
        if address.starts_with('/') {
            Ok(())
        } else {
            Err(InvalidInfo::Address)
        }
    }
}

fn text(field: &'static str, text: &str, most: usize) -> Result<(), InvalidInfo> {
    if text.is_empty() {
        return Err(InvalidInfo::Empty { field });
    }
    if text.len() > most {
        return Err(InvalidInfo::TooLong { field, most });
    }
    if text.contains(char::is_control) {
        return Err(InvalidInfo::Unprintable { field });
    }
    Ok(())
}

/// A device as mappers are told of it. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::dmi) struct Described {
    object: Arc<Json>,
    model: Option<Arc<Json>>,
}

impl Described {
    pub(in crate::dmi) const fn new(object: Arc<Json>, model: Option<Arc<Json>>) -> Self {
        Self { object, model }
    }

    pub(in crate::dmi) fn of(device: &twin::Device) -> Self {
        Self::new(Arc::clone(&device.object), device.model.clone())
    }

    /// How the device is called.
    pub(in crate::dmi) fn name(&self) -> DeviceName {
        let text = |field: &str| self.object["metadata"][field].as_str().unwrap_or_default();
        DeviceName::new(text("namespace"), text("name"))
    }

    /// The protocol that selects the mapper.
    pub(super) fn protocol(&self) -> &str {
        let protocol = &self.object["spec"]["protocol"]["protocolName"];
        protocol.as_str().unwrap_or_default()
    }

    /// Whether a mapper may have it.
    pub(super) fn is_for(&self, mapper: &Info) -> bool {
        let wanted = self.object["metadata"]["annotations"][MAPPER_ANNOTATION].as_str();
        mapper.protocol == self.protocol() && wanted.is_none_or(|name| name == mapper.name)
    }

    /// The model that it names; `None` when it names none.
    pub(super) fn model_name(&self, device: &DeviceName) -> Option<DeviceName> {
        let name = self.object["spec"]["deviceModelRef"]["name"].as_str()?;
        (!name.is_empty()).then(|| DeviceName::new(&device.namespace, name))
    }

    /// The model that it names, when it is there.
    pub(super) const fn model(&self) -> Option<&Arc<Json>> {
        self.model.as_ref()
    }

    /// Whether a mapper can be told: not before its model is there.
    pub(super) fn is_whole(&self) -> bool {
        let named = self.object["spec"]["deviceModelRef"]["name"].as_str();
        self.model.is_some() || named.is_none_or(str::is_empty)
    }

    /// Whether it is the very same thing, which costs nothing to see.
    pub(super) fn is(&self, other: &Self) -> bool {
        let same = |one: &Option<Arc<Json>>, other: &Option<Arc<Json>>| match (one, other) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        Arc::ptr_eq(&self.object, &other.object) && same(&self.model, &other.model)
    }

    /// Whether a mapper that was told one knows the other.
    pub(super) fn says_the_same_as(&self, other: &Self) -> bool {
        let spec = |model: &Option<Arc<Json>>| model.as_ref().map(|model| model["spec"].clone());
        self.is(other)
            || (self.object["spec"] == other.object["spec"]
                && self.object["status"] == other.object["status"]
                && spec(&self.model) == spec(&other.model))
    }

    /// What is said on the wire.
    ///
    /// # Errors
    /// [`ConvertError`] when it cannot be said.
    pub(in crate::dmi) fn message(&self) -> Result<messages::Device, ConvertError> {
        convert::device(&self.object, self.model.as_deref())
    }
}
