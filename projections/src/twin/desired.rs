//! What the cloud wants of a device: a document of which the cloud is the only writer.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_log::WallTime;

use super::document::{DocumentError, decode, encode};
use super::{Properties, Property, TwinVersion, Value};

/// What the cloud wants of one device. See the module documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The properties that are or were desired.
    pub properties: Properties,
}

impl Desired {
    /// The document after a change of the Device: `None` when nothing that is desired changed.
    ///
    /// What changed gets `version`, or the one after the largest here when that is not larger (a
    /// cloud that was restored from a backup counts again from an earlier place). What is no
    /// longer desired becomes a tombstone.
    #[must_use]
    pub fn advance(
        &self,
        wishes: &BTreeMap<Arc<str>, Value>,
        version: TwinVersion,
        now: WallTime,
    ) -> Option<Self> {
        let version = version.max(self.properties.version().next());
        let mut properties = self.properties.clone();
        let mut changed = false;
        for (name, wish) in wishes {
            if properties.value(name) != Some(wish) {
                let property = Property::new(version, wish.clone(), now);
                properties.0.insert(Arc::clone(name), property);
                changed = true;
            }
        }
        for (name, property) in &mut properties.0 {
            if property.value.is_some() && !wishes.contains_key(name) {
                *property = Property::tombstone(version, now);
                changed = true;
            }
        }
        properties.bound_tombstones();
        changed.then_some(Self { properties })
    }

    /// The canonical JSON of the document.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(&self.properties, None)
    }

    /// Reads the body of a record.
    ///
    /// # Errors
    /// [`DocumentError`] when it is too long, malformed or beyond the bounds of a twin.
    pub fn decode(bytes: &[u8]) -> Result<Self, DocumentError> {
        let (properties, _) = decode(bytes)?;
        Ok(Self { properties })
    }
}
