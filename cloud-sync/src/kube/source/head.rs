//! What the beginning of an event says of the object it is about.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use super::follower::Event;
use crate::kube::client::{ApiError, Class};

/// The fields of metadata that say which object it is, in which life and version.
const IDENTITY: [&str; 4] = ["name", "namespace", "uid", "resourceVersion"];

/// The beginning of an event, as far as it goes.
#[derive(Debug, Default)]
pub(super) struct Head {
    kind: String,
    metadata: Map<String, Value>,
}

impl Head {
    /// Reads the beginning of a line. API servers write what kind of event it is first, and of an
    /// object its metadata before that which makes it large.
    pub(super) fn read(beginning: &[u8]) -> Self {
        let mut head = Self::default();
        let mut reader = serde_json::Deserializer::from_slice(beginning);
        // It ends in the middle; what came before is what there is to know.
        let _ = Fields {
            head: &mut head,
            of: Of::Event,
        }
        .deserialize(&mut reader);
        head
    }

    /// The event, of which the object is not known. The line had so many bytes.
    ///
    /// # Errors
    /// When it does not say which object it is about.
    pub(super) fn into_event(self, bytes: usize) -> Result<Event, ApiError> {
        let Self { kind, metadata } = self;
        let is_known = ["name", "uid", "resourceVersion"]
            .iter()
            .all(|field| metadata.contains_key(*field));
        let head = json!({ "metadata": metadata });
        match &*kind {
            "ADDED" | "MODIFIED" if is_known => Ok(Event::TooLarge { head, bytes }),
            "DELETED" if is_known => Ok(Event::Gone(head)),
            _ => {
                let why = format!("an event has {bytes} bytes and does not begin with its object");
                Err(ApiError::new(Class::Malformed, why))
            }
        }
    }
}

/// Reads a map, and remembers of it what counts before anything goes wrong.
struct Fields<'h> {
    head: &'h mut Head,
    of: Of,
}

#[derive(Clone, Copy)]
enum Of {
    Event,
    Object,
    Metadata,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let Self { head, of } = self;
        while let Some(field) = map.next_key::<String>()? {
            match (of, &*field) {
                (Of::Event, "type") => head.kind = map.next_value()?,
                (Of::Event, "object") => {
                    let of = Of::Object;
                    map.next_value_seed(Fields { head, of })?;
                }
                (Of::Object, "metadata") => {
                    let of = Of::Metadata;
                    map.next_value_seed(Fields { head, of })?;
                }
                (Of::Metadata, name) if IDENTITY.contains(&name) => {
                    let text: String = map.next_value()?;
                    head.metadata.insert(field, Value::String(text));
                }
                (Of::Event | Of::Object | Of::Metadata, _) => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}
