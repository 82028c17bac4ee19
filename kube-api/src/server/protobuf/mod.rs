//! Objects in Kubernetes' protobuf encoding, read into JSON.
//!
//! Newer kubectl sends its imperative creates (`kubectl create namespace`, `create configmap`, …)
//! this way and does not fall back. Only reading, and only the kinds in `table.txt`; everything is
//! answered in JSON, which all clients accept.
//!
//! The table has one message a block: its name, then a line per field with number, JSON name (`<`:
//! fields stand in the parent) and type: `s` text, `i` integer, `b` boolean, `y` bytes, `T` and `U`
//! times, `Q` quantity, `I` integer or text, `D` duration, `R` raw JSON, `X` passed over, or another
//! message; `*` before it: a list, `%`: a map from text; `?` after it: a zero value counts.

mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use wire::{Fields, Malformed, Raw};

/// The media type.
pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// Messages stand in messages at most so deep.
const DEPTH_MAX: usize = 32;

/// Why an object is not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// The kind is not one of those that are read.
    UnknownKind,
    /// The bytes are not what they say they are.
    Malformed,
}

impl From<Malformed> for Unread {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Text,
    Integer,
    Boolean,
    Bytes,
    Time,
    MicroTime,
    Quantity,
    IntegerOrText,
    Duration,
    Json,
    Ignored,
    Message(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Single,
    List,
    Map,
}

#[derive(Clone, Copy, Debug)]
struct Field {
    /// Empty: the fields of the message stand in the parent.
    name: &'static str,
    shape: Shape,
    of: Type,
    keep_zero: bool,
}

type Message = BTreeMap<u64, Field>;

static MESSAGES: LazyLock<BTreeMap<&'static str, Message>> = LazyLock::new(|| {
    let mut messages = BTreeMap::new();
    let mut name = "";
    for line in include_str!("table.txt").lines() {
        let Some(field) = line.strip_prefix(' ') else {
            name = line;
            messages.insert(name, Message::new());
            continue;
        };
        let mut words = field.split(' ');
        let number = words.next().and_then(|number| number.parse().ok());
        if let (Some(number), Some(json), Some(code)) = (number, words.next(), words.next()) {
            messages
                .entry(name)
                .or_default()
                .insert(number, Field::read(json, code));
        }
    }
    messages
});

impl Field {
    fn read(json: &'static str, code: &'static str) -> Self {
        let keep_zero = code.ends_with('?');
        let code = code.trim_end_matches('?');
        let (shape, code) = match (code.strip_prefix('*'), code.strip_prefix('%')) {
            (Some(code), _) => (Shape::List, code),
            (None, Some(code)) => (Shape::Map, code),
            (None, None) => (Shape::Single, code),
        };
        let of = match code {
            "s" => Type::Text,
            "i" => Type::Integer,
            "b" => Type::Boolean,
            "y" => Type::Bytes,
            "T" => Type::Time,
            "U" => Type::MicroTime,
            "Q" => Type::Quantity,
            "I" => Type::IntegerOrText,
            "D" => Type::Duration,
            "R" => Type::Json,
            "X" => Type::Ignored,
            message => Type::Message(message),
        };
        let name = if json == "<" { "" } else { json };
        Self {
            name,
            shape,
            of,
            keep_zero,
        }
    }
}

/// Reads an object: four magic bytes, then an envelope with its type and its bytes.
pub(super) fn decode(bytes: &[u8]) -> Result<Value, Unread> {
    let bytes = bytes.strip_prefix(b"k8s\0").ok_or(Unread::Malformed)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Fields::new(bytes) {
        match field? {
            (1, Raw::Bytes(bytes)) => {
                for field in Fields::new(bytes) {
                    match field? {
                        (1, value) => api_version = text(value)?,
                        (2, value) => kind = text(value)?,
                        _ => {}
                    }
                }
            }
            (2, Raw::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let (group, _) = api_version.split_once('/').unwrap_or_default();
    let name = match (group.split('.').next().unwrap_or_default(), kind.as_str()) {
        ("", kind) | (_, kind @ "DeleteOptions") => kind.to_owned(),
        (group, kind) => format!("{group}.{kind}"),
    };
    let message = MESSAGES.get(name.as_str()).ok_or(Unread::UnknownKind)?;
    let mut object = Map::new();
    read_message(message, raw, &mut object, 0)?;
    object.insert("apiVersion".to_owned(), json!(api_version));
    object.insert("kind".to_owned(), json!(kind));
    Ok(Value::Object(object))
}

fn read_message(
    message: &Message,
    bytes: &[u8],
    into: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), Unread> {
    if depth > DEPTH_MAX {
        return Err(Unread::Malformed);
    }
    for field in Fields::new(bytes) {
        let (number, raw) = field?;
        let Some(field) = message.get(&number) else {
            continue;
        };
        match (field.shape, field.of, raw) {
            (_, Type::Ignored, _) => {}
            (Shape::Single, Type::Message(inner), Raw::Bytes(bytes)) if field.name.is_empty() => {
                read_message(inner_message(inner)?, bytes, into, depth + 1)?;
            }
            (Shape::Single, of, raw) => {
                let value = read_value(of, raw, depth)?;
                if field.keep_zero || !is_zero(&value) {
                    into.insert(field.name.to_owned(), value);
                }
            }
            // Integers may come packed into one field.
            (Shape::List, Type::Integer, Raw::Bytes(bytes)) => {
                let list = list_of(into, field.name);
                for number in wire::packed(bytes) {
                    list.push(json!(number?.cast_signed()));
                }
            }
            (Shape::List, of, raw) => {
                let value = read_value(of, raw, depth)?;
                list_of(into, field.name).push(value);
            }
            (Shape::Map, of, raw) => {
                let (key, value) = read_entry(of, raw, depth)?;
                let map = into.entry(field.name).or_insert_with(|| json!({}));
                map[key] = value;
            }
        }
    }
    Ok(())
}

fn inner_message(name: &str) -> Result<&'static Message, Unread> {
    MESSAGES.get(name).ok_or(Unread::Malformed)
}

fn list_of<'a>(into: &'a mut Map<String, Value>, name: &str) -> &'a mut Vec<Value> {
    let list = into.entry(name).or_insert_with(|| json!([]));
    list.as_array_mut()
        .expect("a field is always a list or never")
}

fn read_entry(of: Type, raw: Raw<'_>, depth: usize) -> Result<(String, Value), Unread> {
    let Raw::Bytes(bytes) = raw else {
        return Err(Unread::Malformed);
    };
    let (mut key, mut value) = (String::new(), None);
    for field in Fields::new(bytes) {
        match field? {
            (1, raw) => key = text(raw)?,
            (2, raw) => value = Some(read_value(of, raw, depth)?),
            _ => {}
        }
    }
    Ok((key, value.unwrap_or_else(|| json!(""))))
}

fn read_value(of: Type, raw: Raw<'_>, depth: usize) -> Result<Value, Unread> {
    Ok(match (of, raw) {
        (Type::Text, raw) => json!(text(raw)?),
        (Type::Integer, Raw::Number(number)) => json!(number.cast_signed()),
        (Type::Boolean, Raw::Number(number)) => json!(number != 0),
        (Type::Bytes, Raw::Bytes(bytes)) => json!(STANDARD.encode(bytes)),
        (Type::Time, Raw::Bytes(bytes)) => time(bytes, false)?,
        (Type::MicroTime, Raw::Bytes(bytes)) => time(bytes, true)?,
        (Type::Quantity, Raw::Bytes(bytes)) => json!(Small::read(bytes)?.text(1)?),
        (Type::IntegerOrText, Raw::Bytes(bytes)) => {
            let either = Small::read(bytes)?;
            if either.number(1) == 1 {
                json!(either.text(3)?)
            } else {
                json!(either.number(2))
            }
        }
        (Type::Duration, Raw::Bytes(bytes)) => {
            json!(format!("{}ns", Small::read(bytes)?.number(1)))
        }
        (Type::Json, Raw::Bytes(bytes)) => match Small::read(bytes)?.0.get(&1) {
            Some(Raw::Bytes(json)) => {
                serde_json::from_slice(json).map_err(|_| Unread::Malformed)?
            }
            Some(Raw::Number(_) | Raw::Other) | None => Value::Null,
        },
        (Type::Message(inner), Raw::Bytes(bytes)) => {
            let mut object = Map::new();
            read_message(inner_message(inner)?, bytes, &mut object, depth + 1)?;
            Value::Object(object)
        }
        _ => return Err(Unread::Malformed),
    })
}

/// A message of few fields, the last of each number.
struct Small<'a>(BTreeMap<u64, Raw<'a>>);

impl<'a> Small<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Unread> {
        Ok(Self(Fields::new(bytes).collect::<Result<_, _>>()?))
    }

    fn number(&self, field: u64) -> i64 {
        match self.0.get(&field) {
            Some(Raw::Number(number)) => number.cast_signed(),
            Some(Raw::Bytes(_) | Raw::Other) | None => 0,
        }
    }

    fn text(&self, field: u64) -> Result<String, Unread> {
        self.0
            .get(&field)
            .map_or_else(|| Ok(String::new()), |raw| text(*raw))
    }
}

fn text(raw: Raw<'_>) -> Result<String, Unread> {
    let Raw::Bytes(bytes) = raw else {
        return Err(Unread::Malformed);
    };
    String::from_utf8(bytes.to_vec()).map_err(|_| Unread::Malformed)
}

/// A time; an absent one is null.
fn time(bytes: &[u8], micros: bool) -> Result<Value, Unread> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let time = Small::read(bytes)?;
    let nanos = if micros {
        i32::try_from(time.number(2)).unwrap_or(0)
    } else {
        0
    };
    let time = jiff::Timestamp::new(time.number(1), nanos).map_err(|_| Unread::Malformed)?;
    Ok(json!(if micros {
        format!("{time:.6}")
    } else {
        time.to_string()
    }))
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}
