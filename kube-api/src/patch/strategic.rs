//! Strategic merge patch: merge patch that knows which lists are keyed.
//!
//! Directives: `$patch: replace|delete|merge` in maps and elements, `$retainKeys`,
//! `$setElementOrder/FIELD`, `$deleteFromPrimitiveList/FIELD`. Order of merged lists follows
//! Kubernetes: elements of the patch in its order, others keep their place relative to those.

use serde_json::{Map, Value};

use crate::schema::model::{Field, Merge, Shape, Struct, model};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// A strategic merge patch is malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("Unknown patch type found: {0}")]
    Directive(String),
    #[error("map does not contain declared merge key: {0}")]
    NoMergeKey(&'static str),
    #[error("invalid patch format of retainKeys: {0} must be a list of all fields of the patch")]
    RetainKeys(&'static str),
    #[error("The order in patch list doesn't match {SET_ORDER} list for {0}")]
    Order(String),
    #[error("{0} must be a list")]
    NotAList(String),
}

type Fields = Map<String, Value>;

/// Applies `patch` to an object of a built-in kind.
pub(crate) fn apply(
    api_version: &str,
    kind: &str,
    object: &mut Value,
    patch: Value,
) -> Result<(), Malformed> {
    let schema = model().kind(api_version, kind);
    match (object, patch) {
        (Value::Object(object), Value::Object(patch)) => merge_map(object, patch, schema),
        _ => Ok(()),
    }
}

fn merge_map(
    original: &mut Fields,
    mut patch: Fields,
    schema: Option<&Struct>,
) -> Result<(), Malformed> {
    match patch.remove(PATCH) {
        None => {}
        Some(directive) => match directive.as_str() {
            Some("merge") => {}
            Some("replace") => {
                *original = without_directives(patch);
                return Ok(());
            }
            Some("delete") => {
                original.clear();
                return Ok(());
            }
            _ => return Err(Malformed::Directive(directive.to_string())),
        },
    }
    if let Some(retained) = patch.remove(RETAIN_KEYS) {
        retain_keys(original, &patch, &retained)?;
    }
    merge_ordered(original, &mut patch, schema)?;
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix(DELETE_FROM) {
            let Value::Array(doomed) = value else {
                return Err(Malformed::NotAList(name));
            };
            if let Some(Value::Array(kept)) = original.get_mut(list) {
                kept.retain(|value| !doomed.contains(value));
            }
        } else if value.is_null() {
            original.remove(&name);
        } else {
            let field = schema.and_then(|schema| schema.field(&name));
            merge_field(original, name, value, field)?;
        }
    }
    Ok(())
}

fn merge_field(
    original: &mut Fields,
    name: String,
    value: Value,
    field: Option<&Field>,
) -> Result<(), Malformed> {
    match (original.get_mut(&name), value) {
        (Some(Value::Object(original)), Value::Object(patch)) => {
            merge_map(original, patch, struct_of(field.map(|field| &field.shape)))
        }
        (Some(Value::Array(original)), Value::Array(patch)) if merges(field) => {
            let merged = merge_list(std::mem::take(original), patch, field)?;
            *original = merged;
            Ok(())
        }
        (_, value) => {
            original.insert(name, drop_directives(value));
            Ok(())
        }
    }
}

fn struct_of(shape: Option<&Shape>) -> Option<&'static Struct> {
    match shape {
        Some(Shape::Struct(index)) => Some(model().get(*index)),
        Some(Shape::List(element)) => struct_of(Some(element)),
        _ => None,
    }
}

fn merges(field: Option<&Field>) -> bool {
    field.is_some_and(|field| field.merge != Merge::Atomic)
}

/// What tells two elements of a list apart.
fn identity(element: &Value, merge: Merge) -> Result<&Value, Malformed> {
    match merge {
        Merge::Key(key) => element.get(key).ok_or(Malformed::NoMergeKey(key)),
        Merge::Set | Merge::Atomic => Ok(element),
    }
}

fn place(list: &[Value], element: &Value, merge: Merge) -> Option<usize> {
    let wanted = identity(element, merge).ok()?;
    list.iter()
        .position(|other| identity(other, merge).is_ok_and(|other| other == wanted))
}

fn merge_list(
    original: Vec<Value>,
    patch: Vec<Value>,
    field: Option<&Field>,
) -> Result<Vec<Value>, Malformed> {
    let merge = field.map_or(Merge::Atomic, |field| field.merge);
    let schema = struct_of(field.map(|field| &field.shape));
    let mut merged = original.clone();
    let mut order = Vec::with_capacity(patch.len());
    let mut replace = false;
    for mut element in patch {
        let directive = element
            .as_object_mut()
            .and_then(|fields| fields.remove(PATCH));
        match directive.as_ref().map(|directive| directive.as_str()) {
            None => order.push(element),
            Some(Some("replace")) => {
                replace = true;
                // `{$patch: replace}` alone only says that the other elements are the whole list.
                if element.as_object().is_some_and(|fields| !fields.is_empty()) {
                    order.push(element);
                }
            }
            Some(Some("delete")) => {
                let doomed = identity(&element, merge)?.clone();
                merged.retain(|kept| identity(kept, merge).ok() != Some(&doomed));
            }
            Some(Some("merge")) => order.push(element),
            Some(_) => {
                return Err(Malformed::Directive(
                    directive.unwrap_or_default().to_string(),
                ));
            }
        }
    }
    if replace {
        return Ok(order.into_iter().map(drop_directives).collect());
    }
    for element in &order {
        identity(element, merge)?;
        match place(&merged, element, merge).and_then(|at| merged.get_mut(at)) {
            None => merged.push(drop_directives(element.clone())),
            Some(Value::Object(kept)) => {
                if let Value::Object(fields) = element.clone() {
                    merge_map(kept, fields, schema)?;
                }
            }
            Some(kept) => *kept = element.clone(),
        }
    }
    Ok(in_order(merged, &order, &original, merge))
}

/// Puts the elements named by `order` into that order; the others keep their place relative to
/// these as it was in `original`.
fn in_order(merged: Vec<Value>, order: &[Value], original: &[Value], merge: Merge) -> Vec<Value> {
    let (mut named, rest): (Vec<_>, Vec<_>) = merged
        .into_iter()
        .partition(|element| place(order, element, merge).is_some());
    named.sort_by_key(|element| place(order, element, merge));
    let mut rest = rest.into_iter().peekable();
    let mut result = Vec::with_capacity(named.len() + rest.len());
    for element in named {
        let here = place(original, &element, merge);
        while let Some(other) = rest.peek()
            && place(original, other, merge)
                .zip(here)
                .is_some_and(|(other, here)| other < here)
        {
            result.extend(rest.next());
        }
        result.push(element);
    }
    result.extend(rest);
    result
}

/// Lists whose order the patch prescribes, together with what the patch has for them.
fn merge_ordered(
    original: &mut Fields,
    patch: &mut Fields,
    schema: Option<&Struct>,
) -> Result<(), Malformed> {
    let directives: Vec<String> = patch
        .keys()
        .filter(|name| name.starts_with(SET_ORDER))
        .cloned()
        .collect();
    for directive in directives {
        let name = directive.trim_start_matches(SET_ORDER).to_owned();
        let Some(Value::Array(order)) = patch.remove(&directive) else {
            return Err(Malformed::NotAList(directive));
        };
        let field = schema.and_then(|schema| schema.field(&name));
        let merge = field.map_or(Merge::Atomic, |field| field.merge);
        if merge == Merge::Atomic || patch.get(&name).is_some_and(|value| !value.is_array()) {
            continue;
        }
        for element in &order {
            identity(element, merge)?;
        }
        let before = match original.get(&name) {
            Some(Value::Array(list)) => list.clone(),
            _ => Vec::new(),
        };
        let merged = match patch.remove(&name) {
            Some(Value::Array(list)) => {
                check_order(&list, &order, merge, &name)?;
                merge_list(before.clone(), list, field)?
            }
            _ if before.is_empty() => continue,
            _ => before.clone(),
        };
        original.insert(name, Value::Array(in_order(merged, &order, &before, merge)));
    }
    Ok(())
}

/// The elements of a patch must stand in the prescribed order.
fn check_order(list: &[Value], order: &[Value], merge: Merge, name: &str) -> Result<(), Malformed> {
    let mut last = None;
    for element in list.iter().filter(|element| element.get(PATCH).is_none()) {
        let at = place(order, element, merge);
        if at.is_none() || at < last {
            return Err(Malformed::Order(name.to_owned()));
        }
        last = at;
    }
    Ok(())
}

fn retain_keys(original: &mut Fields, patch: &Fields, retained: &Value) -> Result<(), Malformed> {
    let Value::Array(names) = retained else {
        return Err(Malformed::RetainKeys(RETAIN_KEYS));
    };
    let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
    let listed = |name: &str| names.contains(&name);
    let all_listed = patch
        .iter()
        .all(|(name, value)| value.is_null() || name.starts_with('$') || listed(name));
    if !all_listed {
        return Err(Malformed::RetainKeys(RETAIN_KEYS));
    }
    original.retain(|name, _| listed(name));
    Ok(())
}

/// A value that is new to the object: what is not data goes.
fn drop_directives(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(without_directives(fields)),
        Value::Array(list) => list
            .into_iter()
            .filter(|element| {
                element
                    .get(PATCH)
                    .is_none_or(|directive| directive == "merge")
            })
            .map(drop_directives)
            .collect(),
        scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => scalar,
    }
}

fn without_directives(fields: Fields) -> Fields {
    let is_directive = |name: &str| {
        name == PATCH
            || name == RETAIN_KEYS
            || name.starts_with(SET_ORDER)
            || name.starts_with(DELETE_FROM)
    };
    fields
        .into_iter()
        .filter(|(name, value)| !value.is_null() && !is_directive(name))
        .map(|(name, value)| (name, drop_directives(value)))
        .collect()
}
