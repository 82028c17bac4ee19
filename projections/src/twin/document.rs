//! Both sides of a twin seen together, and the bytes of a document.

use std::fmt;
use std::sync::Arc;

use causeway_log::Body;
use serde::{Deserialize, Serialize};

use super::{DOCUMENT_BYTES_MAX, Desired, Properties, Reported, Rules, State, TwinVersion, Value};

/// The twin of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Twin {
    /// What the cloud wants.
    pub desired: Arc<Desired>,
    /// What the device reports.
    pub reported: Arc<Reported>,
}

/// Names the state of a twin: equal at both ends when both have the same documents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl fmt::Display for Digest {
    /// The first eight bytes, in hex.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl Twin {
    /// What the device still has to be told or to do: the writable properties whose reported value
    /// is not the desired one, which the model allows, in order, with the version of the wish.
    pub fn delta<'a>(
        &'a self,
        rules: &'a Rules,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Value, TwinVersion)> {
        self.desired
            .properties
            .iter()
            .filter_map(move |(name, property)| {
                let wish = property.value.as_ref()?;
                let rule = rules.get(name)?;
                let is_reached = self
                    .reported
                    .properties
                    .value(name)
                    .is_some_and(|it| rule.same(&it.value, &wish.value));
                // A cluster that does not check Devices may want what the model does not allow.
                let is_allowed = rule.is_writable && rule.check(&wish.value).is_ok();
                (is_allowed && !is_reached).then_some((name, wish, property.version))
            })
    }

    /// Takes over what is newer in `other`, on each side: TWIN-1, TWIN-2.
    pub fn merge(&mut self, other: &Self) {
        let desired = &mut Arc::make_mut(&mut self.desired).properties;
        desired.merge(&other.desired.properties);
        Arc::make_mut(&mut self.reported).merge(&other.reported);
    }

    /// See [`Digest`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        let (desired, reported) = (self.desired.encode(), self.reported.encode());
        let mut bytes = Vec::with_capacity(8 + desired.len() + reported.len());
        bytes.extend_from_slice(
            &u64::try_from(desired.len())
                .unwrap_or(u64::MAX)
                .to_be_bytes(),
        );
        bytes.extend_from_slice(&desired);
        bytes.extend_from_slice(&reported);
        Digest(*Body::new(bytes.into()).hash().as_bytes())
    }
}

/// Bytes that are no document of a twin.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Longer than a document may be.
    #[error("a document of {bytes} bytes exceeds the limit of {DOCUMENT_BYTES_MAX}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// Not the JSON of a document.
    #[error("the document is malformed")]
    Malformed(#[source] serde_json::Error),
    /// A name or value, or the number of properties, is beyond the bounds of a twin.
    #[error("the document is beyond the bounds of a twin")]
    Unbounded,
}

/// The encoded shape. Maps are ordered and fields stand in alphabetical order: canonical bytes.
#[derive(Serialize)]
struct Written<'a> {
    properties: &'a Properties,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a State>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    properties: Properties,
    #[serde(default)]
    state: Option<State>,
}

pub(super) fn encode(properties: &Properties, state: Option<&State>) -> Vec<u8> {
    let written = Written { properties, state };
    // Through `Value`: its maps are sorted.
    let value = serde_json::to_value(written).expect("a document has only string keys");
    value.to_string().into_bytes()
}

pub(super) fn decode(bytes: &[u8]) -> Result<(Properties, Option<State>), DocumentError> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(DocumentError::TooLong { bytes: bytes.len() });
    }
    let read: Read = serde_json::from_slice(bytes).map_err(DocumentError::Malformed)?;
    let is_valid = read.state.as_ref().is_none_or(State::is_valid);
    if !read.properties.is_within_bounds() || !is_valid {
        return Err(DocumentError::Unbounded);
    }
    Ok((read.properties, read.state))
}
