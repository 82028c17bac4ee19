//! What an edge application changed of an object, as a patch. Pure.

use serde_json::{Map, Value, json};

/// The JSON merge patch that makes `wanted` of `base`; `None` when they are the same.
#[must_use]
pub fn merge_patch(base: &Value, wanted: &Value) -> Option<Value> {
    let (Value::Object(base), Value::Object(wanted)) = (base, wanted) else {
        return (base != wanted).then(|| wanted.clone());
    };
    let mut patch = Map::new();
    for (field, value) in wanted {
        match base.get(field) {
            // A null in a merge patch removes; as a value it means the same to the API server.
            _ if value.is_null() => {}
            Some(before) => {
                if let Some(part) = merge_patch(before, value) {
                    patch.insert(field.clone(), part);
                }
            }
            None => {
                patch.insert(field.clone(), without_nulls(value));
            }
        }
    }
    for (field, before) in base {
        if !before.is_null() && wanted.get(field).is_none_or(Value::is_null) {
            patch.insert(field.clone(), Value::Null);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(field, value)| (field.clone(), without_nulls(value)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            value.clone()
        }
    }
}

/// Whether a merge patch only sets fields of maps: then server-side apply says the same, and says
/// who owns the fields. Apply cannot take away what others own, nor parts of lists.
#[must_use]
pub fn is_additive(patch: &Value) -> bool {
    match patch {
        Value::Null | Value::Array(_) => false,
        Value::Object(map) => map.values().all(is_additive),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// The configuration that a field manager applies: what it changes now, and what it applied before
/// and still wants; apply would take away whatever it leaves out.
#[must_use]
pub fn apply_configuration(patch: &Value, owned: Option<&Value>, wanted: &Value) -> Value {
    let mut configuration = patch.clone();
    if let Some(owned) = owned {
        merge(&mut configuration, extract(owned, wanted));
    }
    configuration
}

/// The parts of `object` that a set of fields (`fieldsV1`) names. Lists are taken whole.
fn extract(fields: &Value, object: &Value) -> Value {
    let (Some(fields), Value::Object(map)) = (fields.as_object(), object) else {
        return object.clone();
    };
    let mut parts = Map::new();
    for (path, inner) in fields {
        let Some(field) = path.strip_prefix("f:") else {
            continue;
        };
        let Some(value) = map.get(field).filter(|value| !value.is_null()) else {
            continue;
        };
        let is_leaf = inner.as_object().is_none_or(Map::is_empty);
        let part = if is_leaf {
            value.clone()
        } else {
            extract(inner, value)
        };
        parts.insert(field.to_owned(), part);
    }
    Value::Object(parts)
}

/// Adds what is not there; what is changed now counts.
fn merge(into: &mut Value, from: Value) {
    let (Value::Object(into), Value::Object(from)) = (into, from) else {
        return;
    };
    for (field, value) in from {
        match into.get_mut(&field) {
            Some(known) => merge(known, value),
            None => {
                into.insert(field, value);
            }
        }
    }
}

/// What managers wrote of an object, its subresources apart.
fn entries(object: &Value) -> impl Iterator<Item = &Value> {
    let entries = object
        .get("metadata")
        .and_then(|metadata| metadata.get("managedFields"))
        .and_then(Value::as_array);
    let entries = entries.into_iter().flatten();
    entries.filter(|entry| text(entry, "subresource").is_empty())
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The set of fields that a manager has applied.
#[must_use]
pub fn applied<'a>(object: &'a Value, manager: &str) -> Option<&'a Value> {
    let mut ours = entries(object).filter(|entry| text(entry, "manager") == manager);
    ours.find(|entry| text(entry, "operation") == "Apply")?
        .get("fieldsV1")
}

/// Whether a manager was the last to write an object, as far as times in whole seconds tell.
#[must_use]
pub fn wrote_last(object: &Value, manager: &str) -> bool {
    let (mut ours, mut others) = ("", "");
    for entry in entries(object) {
        let latest = match text(entry, "manager") == manager {
            true => &mut ours,
            false => &mut others,
        };
        *latest = (*latest).max(text(entry, "time"));
    }
    !ours.is_empty() && ours >= others
}

/// The parts of an object that an edge application may change by an update.
#[must_use]
pub fn changeable(object: &Value) -> Value {
    let mut parts = object.clone();
    let Some(fields) = parts.as_object_mut() else {
        return json!({});
    };
    fields.remove("status");
    let metadata = fields.remove("metadata").unwrap_or_default();
    let mut kept = Map::new();
    for field in ["annotations", "finalizers", "labels", "ownerReferences"] {
        if let Some(value) = metadata.get(field).filter(|value| !value.is_null()) {
            kept.insert(field.to_owned(), value.clone());
        }
    }
    fields.insert("metadata".to_owned(), Value::Object(kept));
    parts
}
