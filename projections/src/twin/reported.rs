//! What a device reports: a document of which its node is the only writer.

use std::sync::Arc;

use causeway_log::WallTime;
use serde::{Deserialize, Serialize};

use super::device::Rules;
use super::document::{DocumentError, decode, encode};
use super::{PROPERTIES_MAX, Properties, Property, TwinVersion, Value, ValueError, is_name};

/// A version that a device may claim. No counter comes near it, and counting on is possible.
const CLAIMED_VERSION_MAX: TwinVersion = TwinVersion::new(1 << 53);

/// The state of a device of which nobody can say how it is.
const UNKNOWN: &str = "unknown";

/// At least the bytes of a document beside its properties.
const DOCUMENT_BYTES: usize = 192;
/// At least the bytes of a property beside its texts.
const PROPERTY_BYTES: usize = 160;
/// At least the bytes of an entry of metadata beside its texts.
const METADATA_BYTES: usize = 6;

/// The bytes of a text in JSON, without quotes.
fn text_bytes(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

fn value_bytes(value: &Value) -> usize {
    let metadata = value.metadata.iter();
    let metadata =
        metadata.map(|(key, value)| METADATA_BYTES + text_bytes(key) + text_bytes(value));
    text_bytes(&value.value) + metadata.sum::<usize>()
}

/// What one device reports. See the module documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// The properties that were reported.
    pub properties: Properties,
    /// How the device is: what it or its mapper said last, or what its node makes of their silence.
    pub state: Option<State>,
}

/// How a device says it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct State {
    /// Counts its changes.
    pub version: TwinVersion,
    /// `online`, `offline`, `ok`, `unknown` or `unhealthy`; empty: nobody ever said.
    pub state: Arc<str>,
    /// While `state` is its node's doubt, as nobody can say: what was said before, or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Arc<str>>,
    /// When it was last online by its source's clock, in milliseconds of the Unix epoch; 0: never.
    #[serde(default)]
    pub last_online: u64,
}

impl State {
    /// The states that a device may be in, as KubeEdge has them.
    pub const ALL: [&'static str; 5] = ["online", "offline", "ok", UNKNOWN, "unhealthy"];

    /// Whether it is one that a node can have written.
    pub(super) fn is_valid(&self) -> bool {
        let is_one = |state: &str| state.is_empty() || Self::ALL.contains(&state);
        is_one(&self.state)
            && self
                .said
                .as_ref()
                .is_none_or(|said| is_one(said) && &*self.state == UNKNOWN)
    }
}

/// A device, or its mapper, says what a property is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What it is; `None` removes the property.
    pub value: Option<Value>,
    /// The desired value that the device has seen, when it says so.
    pub observed: Option<Value>,
    /// The version that the device gives it. `None`: the next one.
    pub version: Option<TwinVersion>,
    /// When the source says the value came to be.
    pub time: WallTime,
}

impl Report {
    /// At least what the report of the property `name` adds to the length of a document.
    #[must_use]
    pub fn bytes_max(&self, name: &str) -> usize {
        // What is longer than a value may be is refused for that.
        let value = |value: &Option<Value>| {
            let value = value.as_ref().filter(|value| value.check_size().is_ok());
            value.map_or(0, value_bytes)
        };
        let name = if is_name(name) { text_bytes(name) } else { 0 };
        PROPERTY_BYTES + name + value(&self.value) + value(&self.observed)
    }
}

/// What a report did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// The document changed.
    Changed,
    /// It says what is known. Nothing changed, and nothing is to be written.
    Echo,
}

/// A report is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// What it names cannot be the name of a property.
    #[error("the name of the property is empty, too long, or has a character not allowed")]
    Name,
    /// The device has no such property.
    #[error("the device has no such property")]
    Unknown,
    /// The value is not acceptable.
    #[error("the value is not acceptable")]
    Value(#[from] ValueError),
    /// The version is not after the one that is known.
    #[error("version {claimed} is not after {known}")]
    Stale {
        /// The version that is known.
        known: TwinVersion,
        /// The version of the report.
        claimed: TwinVersion,
    },
    /// The version is beyond all that can be counted.
    #[error("version {claimed} exceeds the limit of {CLAIMED_VERSION_MAX}")]
    Version {
        /// The version of the report.
        claimed: TwinVersion,
    },
    /// The device has as many properties as a device may have.
    #[error("the device has {PROPERTIES_MAX} properties already")]
    Full,
    /// No state that a device may be in.
    #[error("the state is none of online, offline, ok, unknown, unhealthy")]
    State,
}

impl Refused {
    /// The code in the error payloads of KubeEdge's topics.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Name | Self::Value(_) | Self::Version { .. } | Self::State => 400,
            Self::Unknown => 404,
            Self::Stale { .. } => 409,
            Self::Full => 500,
        }
    }
}

impl Reported {
    /// Takes a report of one property. On error nothing changed.
    ///
    /// # Errors
    /// [`Refused`]; never because of a wall clock.
    pub fn report(&mut self, name: &str, report: Report, rules: &Rules) -> Result<Took, Refused> {
        let property = self.decide(name, report, rules)?;
        Ok(match property {
            None => Took::Echo,
            Some(property) => {
                self.set(name.into(), property);
                Took::Changed
            }
        })
    }

    /// What a report of one property makes of it; `None`: it says what is known.
    ///
    /// The same value again is an echo, even with a newer time: the time is of the value, not of
    /// the look at it.
    ///
    /// # Errors
    /// [`Refused`]; never because of a wall clock.
    pub fn decide(
        &self,
        name: &str,
        report: Report,
        rules: &Rules,
    ) -> Result<Option<Property>, Refused> {
        if !is_name(name) {
            return Err(Refused::Name);
        }
        let rule = rules.get(name).ok_or(Refused::Unknown)?;
        for value in report.value.iter().chain(&report.observed) {
            value.check_size()?;
        }
        if let Some(value) = &report.value {
            rule.check(&value.value)?;
        }
        let known = self.properties.get(name);
        let before = known.map(|it| it.version).unwrap_or_default();
        let is_echo = match known {
            None => report.value.is_none(),
            Some(known) => {
                let is_seen = report.observed.is_none() || known.observed == report.observed;
                known.value == report.value && is_seen
            }
        };
        let version = match report.version {
            Some(claimed) if claimed > CLAIMED_VERSION_MAX => {
                return Err(Refused::Version { claimed });
            }
            Some(claimed) if claimed < before || (claimed == before && !is_echo) => {
                let known = before;
                return Err(Refused::Stale { known, claimed });
            }
            Some(claimed) => claimed,
            None => before.next(),
        };
        if is_echo {
            return Ok(None);
        }
        if known.is_none() && self.properties.0.len() >= PROPERTIES_MAX {
            return Err(Refused::Full);
        }
        let observed = report
            .observed
            .or_else(|| known.and_then(|known| known.observed.clone()))
            .filter(|_| report.value.is_some());
        Ok(Some(Property {
            version,
            value: report.value,
            observed,
            time: report.time.unix_millis(),
        }))
    }

    /// Takes over what [`Reported::decide`] made of a property.
    pub fn set(&mut self, name: Arc<str>, property: Property) {
        let is_tombstone = property.value.is_none();
        self.properties.0.insert(name, property);
        if is_tombstone {
            self.properties.bound_tombstones();
        }
    }

    /// At least the length of [`Reported::encode`].
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        let properties = self.properties.iter();
        let properties = properties.map(|(name, property)| {
            PROPERTY_BYTES
                + text_bytes(name)
                + property.value.as_ref().map_or(0, value_bytes)
                + property.observed.as_ref().map_or(0, value_bytes)
        });
        properties.sum::<usize>() + DOCUMENT_BYTES
    }

    /// How the device is, when that is known to anybody.
    #[must_use]
    pub fn shown_state(&self) -> Option<&State> {
        self.state.as_ref().filter(|state| !state.state.is_empty())
    }

    /// Whether the node doubts what was last said of how the device is.
    #[must_use]
    pub fn is_doubted(&self) -> bool {
        self.state
            .as_ref()
            .is_some_and(|state| state.said.is_some())
    }

    /// Takes a report of how the device is. What is said ends a doubt.
    ///
    /// # Errors
    /// [`Refused::State`] when it is no state.
    pub fn report_state(&mut self, state: &str, now: WallTime) -> Result<Took, Refused> {
        Ok(self.take_state(self.decide_state(state, now)?))
    }

    /// What a report of how the device is makes of that; `None`: it says what is known.
    ///
    /// # Errors
    /// [`Refused::State`] when it is no state.
    pub fn decide_state(&self, state: &str, now: WallTime) -> Result<Option<State>, Refused> {
        if !State::ALL.contains(&state) {
            return Err(Refused::State);
        }
        let known = self.state.as_ref();
        if known.is_some_and(|known| &*known.state == state && known.said.is_none()) {
            return Ok(None);
        }
        let last_online = match state {
            "online" | "ok" => now.unix_millis(),
            _ => known.map_or(0, |known| known.last_online),
        };
        Ok(Some(self.next_state(state.into(), None, last_online)))
    }

    /// What becomes of the state when nobody can say how the device is any more, or somebody can
    /// again; `None`: nothing. A doubt that is over leaves what was said before.
    #[must_use]
    pub fn decide_doubt(&self, is_doubted: bool) -> Option<State> {
        let known = self.state.as_ref();
        let last_online = known.map_or(0, |known| known.last_online);
        let said = known.and_then(|known| known.said.as_ref());
        match (is_doubted, said) {
            (true, Some(_)) | (false, None) => None,
            (true, None) => {
                let said = known.map_or_else(|| "".into(), |known| Arc::clone(&known.state));
                (&*said != UNKNOWN)
                    .then(|| self.next_state(UNKNOWN.into(), Some(said), last_online))
            }
            (false, Some(said)) => Some(self.next_state(Arc::clone(said), None, last_online)),
        }
    }

    /// Takes over what was decided of the state.
    pub fn take_state(&mut self, state: Option<State>) -> Took {
        match state {
            None => Took::Echo,
            Some(state) => {
                self.state = Some(state);
                Took::Changed
            }
        }
    }

    fn next_state(&self, state: Arc<str>, said: Option<Arc<str>>, last_online: u64) -> State {
        let version = self.state.as_ref().map(|it| it.version);
        State {
            version: version.unwrap_or_default().next(),
            state,
            said,
            last_online,
        }
    }

    /// Takes over what is newer in `other`: TWIN-1.
    pub fn merge(&mut self, other: &Self) {
        self.properties.merge(&other.properties);
        if other.state > self.state {
            self.state.clone_from(&other.state);
        }
    }

    /// The canonical JSON of the document.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(&self.properties, self.state.as_ref())
    }

    /// Reads the body of a record.
    ///
    /// # Errors
    /// [`DocumentError`] when it is too long, malformed or beyond the bounds of a twin.
    pub fn decode(bytes: &[u8]) -> Result<Self, DocumentError> {
        let (properties, state) = decode(bytes)?;
        Ok(Self { properties, state })
    }
}
