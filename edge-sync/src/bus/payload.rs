//! What devices send: JSON by KubeEdge's names (`event_id`, `twin`, `actual`, `expected`, …).
//!
//! Reading is lenient where it costs nothing: fields that mean nothing here are passed over,
//! a value may be a number or a truth value, and a question needs no body at all.

use std::collections::BTreeMap;
use std::fmt;

use causeway_log::WallTime;
use causeway_projections::twin::PROPERTIES_MAX;
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

/// Longest event id that is read, and said again in the answer.
const EVENT_ID_BYTES_MAX: usize = 256;
/// Most attributes in one message.
const ATTRIBUTES_MAX: usize = 64;

/// The payload of a message is not what its topic asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PayloadError {
    #[error("the payload is no JSON of the expected form: {what}")]
    Malformed { what: String },
    #[error("the event_id is longer than {EVENT_ID_BYTES_MAX} bytes")]
    EventId,
    #[error("the timestamp is negative")]
    Timestamp,
    #[error("the payload has no twin with an actual or an expected value")]
    Empty,
    #[error("more than {PROPERTIES_MAX} properties in one message")]
    Properties,
    #[error("the payload has no state")]
    NoState,
    #[error("the attributes are too many, or have no text as value")]
    Attributes,
}

/// What every message says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) event_id: String,
    pub(super) timestamp: Option<WallTime>,
}

/// A device tells of its twin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Update {
    pub(super) base: Base,
    pub(super) properties: BTreeMap<String, Change>,
}

/// What a message says of one property.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// The property is to be removed.
    pub(super) is_deleted: bool,
    pub(super) actual: Option<Said>,
    pub(super) expected: Option<Said>,
    /// The type that the device gives it.
    pub(super) kind: Option<String>,
    /// The version that the device gives it.
    pub(super) version: Option<u64>,
}

/// A value with its time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) value: String,
    pub(super) time: Option<WallTime>,
}

/// A device tells how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StateUpdate {
    pub(super) base: Base,
    pub(super) state: String,
    pub(super) attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RawBase {
    #[serde(default)]
    event_id: Option<String>,
    #[serde(default)]
    timestamp: Option<i64>,
}

#[derive(Deserialize)]
struct RawEvent {
    #[serde(default)]
    event_id: Option<String>,
}

#[derive(Deserialize)]
struct RawUpdate {
    #[serde(default)]
    event_id: Option<String>,
    #[serde(default)]
    timestamp: Option<i64>,
    #[serde(default)]
    twin: Option<BTreeMap<String, Option<RawChange>>>,
}

#[derive(Deserialize)]
struct RawChange {
    #[serde(default)]
    actual: Option<RawSaid>,
    #[serde(default)]
    expected: Option<RawSaid>,
    #[serde(default)]
    metadata: Option<RawType>,
    #[serde(default)]
    actual_version: Option<RawVersion>,
}

#[derive(Deserialize)]
struct RawSaid {
    #[serde(default)]
    value: Option<Text>,
    #[serde(default)]
    metadata: Option<RawTime>,
}

#[derive(Deserialize)]
struct RawTime {
    #[serde(default)]
    timestamp: Option<i64>,
}

#[derive(Deserialize)]
struct RawType {
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct RawVersion {
    #[serde(default)]
    edge: Option<u64>,
}

#[derive(Deserialize)]
struct RawState {
    #[serde(default)]
    event_id: Option<String>,
    #[serde(default)]
    timestamp: Option<i64>,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    attributes: Option<BTreeMap<String, Option<RawAttribute>>>,
}

#[derive(Deserialize)]
struct RawAttribute {
    #[serde(default)]
    value: Option<Text>,
}

/// Text, or a number or truth value as text.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number or a truth value")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Text, E> {
        Ok(Text(text))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }
}

fn json<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, PayloadError> {
    serde_json::from_slice(payload).map_err(|error| PayloadError::Malformed {
        what: error.to_string(),
    })
}

/// Milliseconds of the Unix epoch. 0 says that there is no clock.
fn time(millis: Option<i64>) -> Result<Option<WallTime>, PayloadError> {
    match u64::try_from(millis.unwrap_or(0)) {
        Ok(0) => Ok(None),
        Ok(millis) => Ok(Some(WallTime::from_unix_millis(millis))),
        Err(_) => Err(PayloadError::Timestamp),
    }
}

impl Base {
    /// Reads a question, which may be empty.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, PayloadError> {
        if payload.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let raw: RawBase = json(payload)?;
        Self::checked(raw.event_id, raw.timestamp)
    }

    fn checked(event_id: Option<String>, timestamp: Option<i64>) -> Result<Self, PayloadError> {
        let event_id = event_id.unwrap_or_default();
        if event_id.len() > EVENT_ID_BYTES_MAX {
            return Err(PayloadError::EventId);
        }
        let timestamp = time(timestamp)?;
        Ok(Self {
            event_id,
            timestamp,
        })
    }

    /// What can be said of a message whose payload is wrong: so that its error has its event id.
    pub(super) fn guess(payload: &[u8]) -> Self {
        let raw: Option<RawEvent> = serde_json::from_slice(payload).ok();
        let event_id = raw.and_then(|raw| raw.event_id);
        Self::checked(event_id, None).unwrap_or_default()
    }
}

impl Update {
    /// Reads the payload of `twin/update`.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, PayloadError> {
        let raw: RawUpdate = json(payload)?;
        let base = Base::checked(raw.event_id, raw.timestamp)?;
        let twin = raw.twin.unwrap_or_default();
        if twin.len() > PROPERTIES_MAX {
            return Err(PayloadError::Properties);
        }
        let mut properties = BTreeMap::new();
        for (name, change) in twin {
            let change = match change {
                None => Change::deleted(),
                Some(change) => change.check()?,
            };
            if change.says_something() {
                properties.insert(name, change);
            }
        }
        if properties.is_empty() {
            return Err(PayloadError::Empty);
        }
        Ok(Self { base, properties })
    }
}

impl RawChange {
    fn check(self) -> Result<Change, PayloadError> {
        let kind = self.metadata.and_then(|metadata| metadata.kind);
        if kind.as_deref() == Some("deleted") {
            return Ok(Change::deleted());
        }
        let said = |raw: Option<RawSaid>| {
            let Some(RawSaid { value, metadata }) = raw else {
                return Ok(None);
            };
            let time = time(metadata.and_then(|metadata| metadata.timestamp))?;
            Ok(value.map(|Text(value)| Said { value, time }))
        };
        Ok(Change {
            is_deleted: false,
            actual: said(self.actual)?,
            expected: said(self.expected)?,
            kind: kind.filter(|kind| !kind.is_empty()),
            version: self
                .actual_version
                .and_then(|version| version.edge)
                .filter(|version| *version > 0),
        })
    }
}

impl Change {
    fn deleted() -> Self {
        Self {
            is_deleted: true,
            ..Self::default()
        }
    }

    const fn says_something(&self) -> bool {
        self.is_deleted || self.actual.is_some() || self.expected.is_some()
    }
}

impl StateUpdate {
    /// Reads the payload of `state/update`.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, PayloadError> {
        let raw: RawState = json(payload)?;
        let base = Base::checked(raw.event_id, raw.timestamp)?;
        let given = raw.attributes.unwrap_or_default();
        if given.len() > ATTRIBUTES_MAX {
            return Err(PayloadError::Attributes);
        }
        let mut attributes = BTreeMap::new();
        for (name, attribute) in given {
            let value = attribute.and_then(|attribute| attribute.value);
            let Text(value) = value.ok_or(PayloadError::Attributes)?;
            attributes.insert(name, value);
        }
        Ok(Self {
            base,
            state: raw.state.ok_or(PayloadError::NoState)?,
            attributes,
        })
    }
}
