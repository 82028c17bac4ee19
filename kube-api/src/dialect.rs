//! Events have two dialects, `v1` and `events.k8s.io/v1`, and are one kind: whoever lists them sees
//! all of them, in the dialect of the path. Stored is the older one, under `v1`. The two have the
//! same fields by other names, so that either says all that the other does.

use std::sync::LazyLock;

use causeway_log::Resource;
use causeway_projections::FieldSelector;
use serde_json::Value;

use crate::catalog::ServedKind;

/// Fields in the older dialect and in the newer one; all others have the same name in both.
const FIELDS: [(&str, &str); 7] = [
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("involvedObject", "regarding"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
];

/// The version that is stored.
const STORED: &str = "v1";

static EVENTS: LazyLock<Resource> = LazyLock::new(|| Resource::core("events"));

impl ServedKind {
    /// The resource under which its objects are stored.
    #[must_use]
    pub fn stored(&self) -> &Resource {
        if self.is_renamed() {
            &EVENTS
        } else {
            &self.resource
        }
    }

    /// Whether its objects are stored in another dialect than the one they are served in.
    fn is_renamed(&self) -> bool {
        self.is("events.k8s.io", "events")
    }

    /// An object that is stored, in the dialect of this kind. One that has it already stays as it is.
    pub(crate) fn show(&self, object: Value) -> Value {
        if self.is_renamed() {
            rename(object, &self.api_version(), |(older, newer)| (older, newer))
        } else {
            object
        }
    }

    /// An object in the dialect of this kind, as it is stored.
    pub(crate) fn store(&self, object: Value) -> Value {
        if self.is_renamed() {
            rename(object, STORED, |(older, newer)| (newer, older))
        } else {
            object
        }
    }

    /// A selector in the dialect of this kind, for objects that are stored.
    pub(crate) fn store_fields(&self, fields: FieldSelector) -> FieldSelector {
        if !self.is_renamed() {
            return fields;
        }
        fields.rename(|field| {
            let (first, rest) = field.split_once('.').unwrap_or((field, ""));
            let (older, _) = FIELDS.iter().find(|(_, newer)| *newer == first)?;
            Some(match rest {
                "" => (*older).to_owned(),
                rest => format!("{older}.{rest}"),
            })
        })
    }
}

fn rename(
    mut object: Value,
    version: &str,
    direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) -> Value {
    let Some(fields) = object.as_object_mut() else {
        return object;
    };
    if fields.get("apiVersion").and_then(Value::as_str) == Some(version) {
        return object;
    }
    for (from, to) in FIELDS.map(direction) {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
    fields.insert("apiVersion".to_owned(), version.into());
    object
}
