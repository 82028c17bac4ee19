//! Properties with versions, and how two states of them become one.

use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::sync::Arc;

use causeway_log::WallTime;
use serde::{Deserialize, Serialize};

use super::value::{ValueError, is_name};
use super::{
    METADATA_BYTES_MAX, METADATA_ENTRIES_MAX, PROPERTIES_MAX, TOMBSTONES_MAX, VALUE_BYTES_MAX,
};

/// The place of a property's value among all that it had at its writer. Grows, may skip.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct TwinVersion(u64);

impl TwinVersion {
    /// Before the first value.
    pub const ZERO: Self = Self(0);

    /// A version by its number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next one. At the end of all numbers it stays there.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for TwinVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value as it was written, with what its writer says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Value {
    /// The value: text whose meaning the property's type tells.
    pub value: Arc<str>,
    /// What the writer adds, such as `type` or `timestamp`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<Arc<str>, Arc<str>>,
}

impl Value {
    /// A value without metadata.
    #[must_use]
    pub fn new(value: &str) -> Self {
        Self {
            value: value.into(),
            metadata: BTreeMap::new(),
        }
    }

    /// Whether value and metadata are within their bounds.
    ///
    /// # Errors
    /// [`ValueError`] names the one that is not.
    pub fn check_size(&self) -> Result<(), ValueError> {
        if self.value.len() > VALUE_BYTES_MAX {
            return Err(ValueError::TooLong {
                bytes: self.value.len(),
            });
        }
        let is_long = |text: &Arc<str>| text.len() > METADATA_BYTES_MAX;
        let mut entries = self.metadata.iter();
        if self.metadata.len() > METADATA_ENTRIES_MAX
            || entries.any(|(key, value)| is_long(key) || is_long(value))
        {
            return Err(ValueError::Metadata);
        }
        Ok(())
    }
}

/// One property of one side of a twin.
///
/// The order of the fields is the order in which two states are compared: the version first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Property {
    /// Which state this is.
    pub version: TwinVersion,
    /// What it is; `None` once it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Reported only: the desired value that the device says it has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Value>,
    /// When its source says it came to be, in milliseconds of the Unix epoch. For people: it
    /// decides nothing.
    #[serde(default)]
    pub time: u64,
}

impl Property {
    /// A state with a value.
    #[must_use]
    pub const fn new(version: TwinVersion, value: Value, time: WallTime) -> Self {
        Self {
            version,
            value: Some(value),
            observed: None,
            time: time.unix_millis(),
        }
    }

    /// The state of a property that is gone.
    #[must_use]
    pub const fn tombstone(version: TwinVersion, time: WallTime) -> Self {
        Self {
            version,
            value: None,
            observed: None,
            time: time.unix_millis(),
        }
    }
}

/// The properties of one side of a twin, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Properties(pub(super) BTreeMap<Arc<str>, Property>);

impl Properties {
    /// The state of a name, tombstones included.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Property> {
        self.0.get(name)
    }

    /// The value of a name, when it has one.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.get(name)?.value.as_ref()
    }

    /// All names with their states, in order; tombstones included.
    pub fn iter(&self) -> btree_map::Iter<'_, Arc<str>, Property> {
        self.0.iter()
    }

    /// The names that have a value, in order.
    pub fn values(&self) -> impl Iterator<Item = (&Arc<str>, &Value)> {
        self.0
            .iter()
            .filter_map(|(name, property)| Some((name, property.value.as_ref()?)))
    }

    /// Whether nothing was ever there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The largest version.
    #[must_use]
    pub fn version(&self) -> TwinVersion {
        let versions = self.0.values().map(|property| property.version);
        versions.max().unwrap_or_default()
    }

    /// Takes over what is newer in `other`: TWIN-1.
    pub fn merge(&mut self, other: &Self) {
        for (name, theirs) in &other.0 {
            match self.0.entry(Arc::clone(name)) {
                btree_map::Entry::Vacant(place) => {
                    place.insert(theirs.clone());
                }
                btree_map::Entry::Occupied(mut ours) => {
                    if theirs > ours.get() {
                        ours.insert(theirs.clone());
                    }
                }
            }
        }
    }

    /// Forgets the oldest tombstones beyond the bound. Only the writer of a document may: it is
    /// the one place where no older state can come from.
    pub(super) fn bound_tombstones(&mut self) {
        let mut tombstones: Vec<(TwinVersion, Arc<str>)> = self
            .0
            .iter()
            .filter(|(_, property)| property.value.is_none())
            .map(|(name, property)| (property.version, Arc::clone(name)))
            .collect();
        let surplus = tombstones.len().saturating_sub(TOMBSTONES_MAX);
        tombstones.sort();
        for (_, name) in tombstones.iter().take(surplus) {
            self.0.remove(name);
        }
    }

    /// Whether names, values and their number are within bounds: what a peer sent is checked
    /// before it is used.
    pub(super) fn is_within_bounds(&self) -> bool {
        let fits = |value: &Option<Value>| value.as_ref().is_none_or(|it| it.check_size().is_ok());
        self.0.len() <= PROPERTIES_MAX
            && self.0.iter().all(|(name, property)| {
                is_name(name) && fits(&property.value) && fits(&property.observed)
            })
    }
}

impl<'a> IntoIterator for &'a Properties {
    type Item = (&'a Arc<str>, &'a Property);
    type IntoIter = btree_map::Iter<'a, Arc<str>, Property>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
