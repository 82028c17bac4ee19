//! OpenAPI v2 as protobuf: gnostic's `openapi.v2.Document`, by hand.
//!
//! Field numbers are those of gnostic's `OpenAPIv2.proto`. Only what our own documents contain is
//! written.

use serde_json::Value;

/// Encodes a document made by [`super::v2_json`].
pub(super) fn document(document: &Value) -> Vec<u8> {
    let mut info = Message::default();
    info.text(1, &document["info"]["title"]);
    info.text(2, &document["info"]["version"]);
    let mut definitions = Message::default();
    for (name, schema) in fields(&document["definitions"]) {
        definitions.message(1, &named(name, &self::schema(schema)));
    }
    let mut whole = Message::default();
    whole.text(1, &document["swagger"]);
    whole.message(2, &info);
    whole.message(8, &Message::default());
    whole.message(9, &definitions);
    whole.0
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// `NamedSchema` or `NamedAny`.
fn named(name: &str, value: &Message) -> Message {
    let mut named = Message::default();
    named.bytes(1, name.as_bytes());
    named.message(2, value);
    named
}

fn schema(value: &Value) -> Message {
    let mut message = Message::default();
    message.text(1, &value["$ref"]);
    message.text(2, &value["format"]);
    message.text(4, &value["description"]);
    for name in value["required"].as_array().into_iter().flatten() {
        message.text(19, name);
    }
    for choice in value["enum"].as_array().into_iter().flatten() {
        message.message(20, &any(choice));
    }
    let additional = &value["additionalProperties"];
    if !additional.is_null() {
        let mut item = Message::default();
        match additional.as_bool() {
            Some(allowed) => item.varint(2, u64::from(allowed)),
            None => item.message(1, &schema(additional)),
        }
        message.message(21, &item);
    }
    if value["type"].is_string() {
        let mut item = Message::default();
        item.text(1, &value["type"]);
        message.message(22, &item);
    }
    if value["items"].is_object() {
        let mut item = Message::default();
        item.message(1, &schema(&value["items"]));
        message.message(23, &item);
    }
    if value["properties"].is_object() {
        let mut properties = Message::default();
        for (name, property) in fields(&value["properties"]) {
            properties.message(1, &named(name, &schema(property)));
        }
        message.message(25, &properties);
    }
    for (name, extension) in fields(value).filter(|(name, _)| name.starts_with("x-")) {
        message.message(31, &named(name, &any(extension)));
    }
    message
}

/// gnostic's `Any`: the value as YAML, of which JSON is a part.
fn any(value: &Value) -> Message {
    let mut any = Message::default();
    any.bytes(2, value.to_string().as_bytes());
    any
}

/// A protobuf message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn raw(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
            number >>= 7;
        }
        self.0.push(u8::try_from(number).unwrap_or(0));
    }

    fn varint(&mut self, field: u64, number: u64) {
        self.raw(field << 3);
        self.raw(number);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.raw(field << 3 | 2);
        self.raw(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Writes a string; nothing for what is none.
    fn text(&mut self, field: u64, value: &Value) {
        if let Some(text) = value.as_str() {
            self.bytes(field, text.as_bytes());
        }
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }
}
