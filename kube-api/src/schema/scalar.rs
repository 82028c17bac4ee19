//! Scalars of the schema language: what they accept when decoded, and which values are valid.

use base64::Engine as _;
use serde_json::Value;

use super::cause;
use super::names;
use super::path::Path;
use super::quantity::{MALFORMED, Quantity};
use crate::status::Cause;

/// A type without structure of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Str(Format),
    Int(Range, Width),
    Bool,
    Num,
    /// Any JSON.
    Any,
    Quantity,
    IntOrString,
    Time,
    Bytes,
    /// Map of strings with keys and values of labels.
    Labels,
    /// Map of strings with qualified keys.
    Annotations,
    /// Map of quantities.
    Quantities,
}

/// Format of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Free,
    Label,
    Label1035,
    Subdomain,
    Qualified,
    Ip,
    EnvName,
    ConfigKey,
    PortName,
    KindName,
}

/// Which numbers are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    Any,
    Natural,
    Positive,
    Port,
    /// A port, or 0 for none.
    PortOrZero,
    FileMode,
    Weight,
}

/// Size of an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Int32,
    Int64,
}

/// Most bytes of all annotations of an object.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

impl Scalar {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        use Width::{Int32, Int64};
        Some(match text {
            "str" => Self::Str(Format::Free),
            "label" => Self::Str(Format::Label),
            "label1035" => Self::Str(Format::Label1035),
            "subdomain" => Self::Str(Format::Subdomain),
            "qualified" => Self::Str(Format::Qualified),
            "ip" => Self::Str(Format::Ip),
            "envname" => Self::Str(Format::EnvName),
            "configkey" => Self::Str(Format::ConfigKey),
            "portname" => Self::Str(Format::PortName),
            "kindname" => Self::Str(Format::KindName),
            "int32" => Self::Int(Range::Any, Int32),
            "int64" => Self::Int(Range::Any, Int64),
            "nat32" => Self::Int(Range::Natural, Int32),
            "nat64" => Self::Int(Range::Natural, Int64),
            "pos32" => Self::Int(Range::Positive, Int32),
            "pos64" => Self::Int(Range::Positive, Int64),
            "port" => Self::Int(Range::Port, Int32),
            "port0" => Self::Int(Range::PortOrZero, Int32),
            "mode" => Self::Int(Range::FileMode, Int32),
            "weight" => Self::Int(Range::Weight, Int32),
            "bool" => Self::Bool,
            "num" => Self::Num,
            "any" => Self::Any,
            "quantity" => Self::Quantity,
            "intstr" => Self::IntOrString,
            "time" => Self::Time,
            "bytes" => Self::Bytes,
            "labels" | "selector" => Self::Labels,
            "annotations" => Self::Annotations,
            "quantities" => Self::Quantities,
            _ => return None,
        })
    }

    /// The Go type, as decode errors of Kubernetes tell it.
    pub(crate) const fn go_type(self) -> &'static str {
        match self {
            Self::Str(_) => "string",
            Self::Int(_, Width::Int32) => "int32",
            Self::Int(_, Width::Int64) => "int64",
            Self::Bool => "bool",
            Self::Num => "float64",
            Self::Any => "interface {}",
            Self::Quantity => "resource.Quantity",
            Self::IntOrString => "intstr.IntOrString",
            Self::Time => "v1.Time",
            Self::Bytes => "[]uint8",
            Self::Labels | Self::Annotations => "map[string]string",
            Self::Quantities => "v1.ResourceList",
        }
    }

    /// The type as OpenAPI names it: type, format.
    pub(crate) const fn openapi(self) -> (&'static str, &'static str) {
        match self {
            Self::Str(_) | Self::Quantity => ("string", ""),
            Self::Int(_, Width::Int32) => ("integer", "int32"),
            Self::Int(_, Width::Int64) => ("integer", "int64"),
            Self::Bool => ("boolean", ""),
            Self::Num => ("number", "double"),
            Self::IntOrString => ("string", "int-or-string"),
            Self::Time => ("string", "date-time"),
            Self::Bytes => ("string", "byte"),
            Self::Any | Self::Labels | Self::Annotations | Self::Quantities => ("object", ""),
        }
    }

    /// Whether a JSON value has the type. Values in maps (labels, quantities) are checked by
    /// [`Self::element`].
    pub(crate) fn accepts(self, value: &Value) -> Result<(), Mismatch> {
        let fits = match self {
            Self::Any => true,
            Self::Str(_) => value.is_string(),
            Self::Bool => value.is_boolean(),
            Self::Num => value.is_number(),
            Self::Labels | Self::Annotations | Self::Quantities => value.is_object(),
            Self::Int(_, Width::Int64) => value.is_i64(),
            Self::Int(_, Width::Int32) => value
                .as_i64()
                .is_some_and(|number| i32::try_from(number).is_ok()),
            Self::IntOrString => value.is_string() || value.is_i64(),
            Self::Quantity => return quantity(value),
            Self::Time => return time(value),
            Self::Bytes => return bytes(value),
        };
        if fits { Ok(()) } else { Err(Mismatch::Type) }
    }

    /// What the values of a map scalar are.
    pub(crate) const fn element(self) -> Option<Self> {
        match self {
            Self::Labels | Self::Annotations => Some(Self::Str(Format::Free)),
            Self::Quantities => Some(Self::Quantity),
            Self::Str(_)
            | Self::Int(..)
            | Self::Bool
            | Self::Num
            | Self::Any
            | Self::Quantity
            | Self::IntOrString
            | Self::Time
            | Self::Bytes => None,
        }
    }

    /// Adds what is wrong with a value of the right type.
    pub(crate) fn check(self, value: &Value, path: &mut Path, causes: &mut Vec<Cause>) {
        match (self, value) {
            (Self::Str(format), Value::String(text)) if !text.is_empty() => {
                if let Some(Err(why)) = format.rule().map(|rule| rule(text)) {
                    causes.push(cause::invalid(path.cause(), value, &why));
                }
            }
            (Self::Int(range, _), Value::Number(number)) => {
                if let Some(why) = number.as_i64().and_then(|number| range.complaint(number)) {
                    causes.push(cause::invalid(path.cause(), value, why));
                }
            }
            (Self::Labels, Value::Object(map)) => {
                for (key, value) in map {
                    check_key(key, path, causes);
                    let text = value.as_str().unwrap_or_default();
                    if let Err(why) = names::label_value(text) {
                        causes.push(cause::invalid(path.cause(), value, &why));
                    }
                }
            }
            (Self::Annotations, Value::Object(map)) => {
                let mut size = 0;
                for (key, value) in map {
                    check_key(&key.to_ascii_lowercase(), path, causes);
                    size += key.len() + value.as_str().map_or(0, str::len);
                }
                if size > ANNOTATIONS_BYTES_MAX {
                    causes.push(cause::too_long(path.cause(), ANNOTATIONS_BYTES_MAX));
                }
            }
            (Self::Quantities, Value::Object(map)) => {
                for (key, value) in map {
                    path.push_key(key);
                    if let Err(why) = names::qualified(key) {
                        causes.push(cause::invalid_text(path.cause(), key, &why));
                    }
                    Self::Quantity.check(value, path, causes);
                    path.pop();
                }
            }
            (Self::Quantity, _) => {
                let text = quantity_text(value).and_then(|text| Quantity::parse(&text));
                if text.is_some_and(Quantity::is_negative) {
                    let why = "must be greater than or equal to 0";
                    causes.push(cause::invalid(path.cause(), value, why));
                }
            }
            _ => {}
        }
    }
}

/// Why a value is not of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// It is of another JSON type.
    Type,
    /// It has a form that cannot be read; in Kubernetes' words.
    Form(String),
}

fn check_key(key: &str, path: &Path, causes: &mut Vec<Cause>) {
    if let Err(why) = names::qualified(key) {
        causes.push(cause::invalid_text(path.cause(), key, &why));
    }
}

/// A quantity may be written as a number.
pub(crate) fn quantity_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn quantity(value: &Value) -> Result<(), Mismatch> {
    match quantity_text(value).and_then(|text| Quantity::parse(&text)) {
        Some(_) => Ok(()),
        None => Err(Mismatch::Form(MALFORMED.to_owned())),
    }
}

fn time(value: &Value) -> Result<(), Mismatch> {
    let text = value.as_str().ok_or(Mismatch::Type)?;
    text.parse::<jiff::Timestamp>().map(|_| ()).map_err(|_| {
        Mismatch::Form(format!(
            "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?}"
        ))
    })
}

fn bytes(value: &Value) -> Result<(), Mismatch> {
    let text = value.as_str().ok_or(Mismatch::Type)?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    decoded.map(|_| ()).map_err(|error| {
        let at = match error {
            base64::DecodeError::InvalidByte(at, _)
            | base64::DecodeError::InvalidLastSymbol(at, _) => at,
            base64::DecodeError::InvalidLength(at) => at,
            base64::DecodeError::InvalidPadding => text.len(),
        };
        Mismatch::Form(format!("illegal base64 data at input byte {at}"))
    })
}

impl Format {
    fn rule(self) -> Option<names::Rule> {
        Some(match self {
            Self::Free => return None,
            Self::Label => names::label,
            Self::Label1035 => names::label_1035,
            Self::Subdomain => names::subdomain,
            Self::Qualified => names::qualified,
            Self::Ip => names::ip,
            Self::EnvName => names::env_name,
            Self::ConfigKey => names::config_key,
            Self::PortName => names::port_name,
            Self::KindName => names::kind_name,
        })
    }
}

impl Range {
    fn complaint(self, number: i64) -> Option<&'static str> {
        let (valid, complaint) = match self {
            Self::Any => (true, ""),
            Self::Natural => (number >= 0, "must be greater than or equal to 0"),
            Self::Positive => (number > 0, "must be greater than 0"),
            Self::Port => (
                (1..=65535).contains(&number),
                "must be between 1 and 65535, inclusive",
            ),
            Self::PortOrZero => (
                (0..=65535).contains(&number),
                "must be between 1 and 65535, inclusive",
            ),
            Self::FileMode => (
                (0..=0o777).contains(&number),
                "must be a number between 0 and 0777 (octal), both inclusive",
            ),
            Self::Weight => ((1..=100).contains(&number), "must be in the range 1-100"),
        };
        (!valid).then_some(complaint)
    }
}
