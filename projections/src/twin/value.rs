//! Values of device properties: text with a type, as the Device API carries them.

use std::fmt;
use std::sync::Arc;

use super::{METADATA_ENTRIES_MAX, NAME_CHARS_MAX, VALUE_BYTES_MAX};

/// The types a DeviceModel may give a property (`spec.properties[].type`), by their names there.
/// Case does not matter: MQTT payloads write them in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A decimal integer of 64 bits.
    Int,
    /// A finite decimal number.
    Float,
    /// As [`Kind::Float`], of double width.
    Double,
    /// Any text.
    String,
    /// `true` or `false`.
    Boolean,
    /// Any text, by convention base64.
    Bytes,
    /// Where a stream is found: any text.
    Stream,
}

impl Kind {
    /// The type of a name, in any case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let all = [
            Self::Int,
            Self::Float,
            Self::Double,
            Self::String,
            Self::Boolean,
            Self::Bytes,
            Self::Stream,
        ];
        all.into_iter()
            .find(|kind| kind.as_str().eq_ignore_ascii_case(name))
    }

    /// The name in a DeviceModel.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Int => "INT",
            Self::Float => "FLOAT",
            Self::Double => "DOUBLE",
            Self::String => "STRING",
            Self::Boolean => "BOOLEAN",
            Self::Bytes => "BYTES",
            Self::Stream => "STREAM",
        }
    }

    /// Whether `text` is a value of this type.
    #[must_use]
    pub fn admits(self, text: &str) -> bool {
        match self {
            Self::Int => text.parse::<i64>().is_ok(),
            Self::Float | Self::Double => number(text).is_some(),
            Self::Boolean => matches!(text, "true" | "false"),
            Self::String | Self::Bytes | Self::Stream => true,
        }
    }

    /// Whether two texts mean the same value: numbers are compared as numbers.
    #[must_use]
    pub fn same(self, one: &str, other: &str) -> bool {
        match self {
            Self::Int => match (one.parse::<i64>(), other.parse::<i64>()) {
                (Ok(one), Ok(other)) => one == other,
                _ => one == other,
            },
            Self::Float | Self::Double => match (number(one), number(other)) {
                (Some(one), Some(other)) => one == other,
                _ => one == other,
            },
            Self::String | Self::Boolean | Self::Bytes | Self::Stream => one == other,
        }
    }

    const fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Float | Self::Double)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A finite number.
pub(super) fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// What a DeviceModel says of one property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its type; `None` when no model says so: any text will do.
    pub kind: Option<Kind>,
    /// Whether the cloud may want a value of it. Unknown counts as yes.
    pub is_writable: bool,
    /// The least value of a number, as it stands in the model; empty for none.
    pub minimum: Arc<str>,
    /// The largest value of a number, as it stands in the model; empty for none.
    pub maximum: Arc<str>,
}

impl Default for Rule {
    /// Of a property that a device has and no model tells of.
    fn default() -> Self {
        Self {
            kind: None,
            is_writable: true,
            minimum: "".into(),
            maximum: "".into(),
        }
    }
}

impl Rule {
    /// Whether `text` may be a value of the property.
    ///
    /// A bound in the model that is no number bounds nothing.
    ///
    /// # Errors
    /// [`ValueError`] when it is too long, of another type, or out of range.
    pub fn check(&self, text: &str) -> Result<(), ValueError> {
        if text.len() > VALUE_BYTES_MAX {
            return Err(ValueError::TooLong { bytes: text.len() });
        }
        let Some(kind) = self.kind else {
            return Ok(());
        };
        if !kind.admits(text) {
            return Err(ValueError::WrongType { kind });
        }
        if kind.is_number() && !self.is_in_range(kind, text) {
            return Err(ValueError::OutOfRange {
                minimum: Arc::clone(&self.minimum),
                maximum: Arc::clone(&self.maximum),
            });
        }
        Ok(())
    }

    /// Integers are compared as such: a double cannot tell large ones apart.
    fn is_in_range(&self, kind: Kind, text: &str) -> bool {
        let (minimum, maximum) = (&*self.minimum, &*self.maximum);
        if kind == Kind::Int
            && let Ok(value) = text.parse::<i64>()
        {
            let above = minimum.parse::<i64>().map(|least| value >= least);
            let below = maximum.parse::<i64>().map(|most| value <= most);
            if let (Ok(above), Ok(below)) = (above, below) {
                return above && below;
            }
        }
        let Some(value) = number(text) else {
            return false;
        };
        number(minimum).is_none_or(|least| value >= least)
            && number(maximum).is_none_or(|most| value <= most)
    }

    /// Whether two texts mean the same value of the property.
    #[must_use]
    pub fn same(&self, one: &str, other: &str) -> bool {
        match self.kind {
            Some(kind) => kind.same(one, other),
            None => one == other,
        }
    }
}

/// A value is not acceptable. The value itself is not repeated: it may be long, or hostile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Longer than a value may be.
    #[error("a value of {bytes} bytes exceeds the limit of {VALUE_BYTES_MAX}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// Not of the type that the model gives the property.
    #[error("the value is not of type {kind}")]
    WrongType {
        /// The type.
        kind: Kind,
    },
    /// Below the model's minimum or above its maximum.
    #[error("the value is out of range: minimum {minimum:?}, maximum {maximum:?}")]
    OutOfRange {
        /// The least value allowed; empty for none.
        minimum: Arc<str>,
        /// The largest value allowed; empty for none.
        maximum: Arc<str>,
    },
    /// More metadata than a value may have, or a key or value of it is too long.
    #[error("the metadata has more than {METADATA_ENTRIES_MAX} entries, or a long one")]
    Metadata,
}

/// Whether `name` may be the name of a property: 1 to 128 of `a-zA-Z0-9-_.,:/@#`, as KubeEdge
/// has it.
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_CHARS_MAX
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.,:/@#".contains(&byte))
}
