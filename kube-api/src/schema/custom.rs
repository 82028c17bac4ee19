//! The subset of OpenAPI v3 that CustomResourceDefinitions are structural in.
//!
//! Nothing here is parsed ahead: schemas are walked as the JSON they are, so that an unused custom
//! kind costs nothing but its definition.

use serde_json::{Map, Value};

use super::cause;
use super::decode::json_type;
use super::path::Path;
use crate::status::Cause;

/// Most unknown fields told.
const UNKNOWN_MAX: usize = 64;
/// Fields that every object has, whatever its schema says.
const IMPLIED: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Removes fields that the schema of a custom kind does not have, and returns their paths.
pub(crate) fn prune(schema: &Value, object: &mut Value) -> Vec<String> {
    let mut walk = Prune {
        unknown: Vec::new(),
        path: Path::default(),
    };
    walk.value(schema, object, true);
    walk.unknown
}

struct Prune {
    unknown: Vec<String>,
    path: Path,
}

impl Prune {
    fn value(&mut self, schema: &Value, value: &mut Value, whole_object: bool) {
        match value {
            Value::Object(map) => self.fields(schema, map, whole_object),
            Value::Array(list) => {
                let Some(items) = schema.get("items") else {
                    return;
                };
                for (index, value) in list.iter_mut().enumerate() {
                    self.path.push_index(index);
                    self.value(items, value, is_embedded(items));
                    self.path.pop();
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn fields(&mut self, schema: &Value, map: &mut Map<String, Value>, whole_object: bool) {
        let properties = schema.get("properties");
        let additional = schema
            .get("additionalProperties")
            .filter(|value| **value != false);
        let preserve = schema["x-kubernetes-preserve-unknown-fields"] == true;
        let mut unknown = Vec::new();
        for (name, value) in map.iter_mut() {
            if whole_object && IMPLIED.contains(&name.as_str()) {
                continue;
            }
            let field = properties.and_then(|properties| properties.get(name));
            match field.or(additional) {
                Some(schema) => {
                    self.path.push_field(name);
                    self.value(schema, value, is_embedded(schema));
                    self.path.pop();
                }
                None if preserve => {}
                None => unknown.push(name.clone()),
            }
        }
        for name in unknown {
            map.remove(&name);
            if self.unknown.len() < UNKNOWN_MAX {
                self.path.push_field(&name);
                self.unknown.push(self.path.strict());
                self.path.pop();
            }
        }
    }
}

fn is_embedded(schema: &Value) -> bool {
    schema["x-kubernetes-embedded-resource"] == true
}

/// Sets what is missing and has a default.
pub(crate) fn default(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                if let Some(default) = schema.get("default") {
                    let absent = match map.get(name) {
                        None => true,
                        Some(value) => value.is_null() && schema["nullable"] != true,
                    };
                    if absent {
                        map.insert(name.clone(), default.clone());
                    }
                }
                if let Some(value) = map.get_mut(name) {
                    default(schema, value);
                }
            }
            if let Some(additional) = schema
                .get("additionalProperties")
                .filter(|it| it.is_object())
            {
                let known = &schema["properties"];
                for (_, value) in map.iter_mut().filter(|(name, _)| known.get(name).is_none()) {
                    default(additional, value);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                list.iter_mut().for_each(|value| default(items, value));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Tells of the rules in a schema that [`check`] passes over.
pub(crate) fn unevaluated(schema: &Value, tell: &mut impl FnMut(String)) {
    match schema {
        Value::Object(fields) => {
            if fields
                .get("x-kubernetes-validations")
                .is_some_and(Value::is_array)
            {
                tell("x-kubernetes-validations are stored but not evaluated".to_owned());
            }
            if let Some(pattern) = fields.get("pattern").and_then(Value::as_str)
                && regex_lite::Regex::new(pattern).is_err()
            {
                tell(format!(
                    "pattern {pattern:?} cannot be read and is not checked"
                ));
            }
            fields.values().for_each(|value| unevaluated(value, tell));
        }
        Value::Array(list) => list.iter().for_each(|value| unevaluated(value, tell)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Adds what the schema finds wrong.
pub(crate) fn check(schema: &Value, object: &Value, causes: &mut Vec<Cause>) {
    value(schema, object, &mut Path::default(), causes);
}

fn value(schema: &Value, found: &Value, path: &mut Path, causes: &mut Vec<Cause>) {
    if found.is_null() && schema["nullable"] == true {
        return;
    }
    if !type_fits(schema, found, path, causes) {
        return;
    }
    if let Some(values) = schema["enum"]
        .as_array()
        .filter(|values| !values.contains(found))
    {
        let supported: Vec<String> = values
            .iter()
            .map(|value| {
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), ToOwned::to_owned)
            })
            .collect();
        let supported: Vec<&str> = supported.iter().map(String::as_str).collect();
        causes.push(cause::unsupported(path.cause(), found, &supported));
    }
    match found {
        Value::Object(map) => fields(schema, map, path, causes),
        Value::Array(list) => items(schema, list, path, causes),
        Value::String(text) => string(schema, found, text, path, causes),
        Value::Number(_) => number(schema, found, path, causes),
        Value::Null | Value::Bool(_) => {}
    }
    combined(schema, found, path, causes);
}

fn type_fits(schema: &Value, found: &Value, path: &Path, causes: &mut Vec<Cause>) -> bool {
    let Some(expected) = schema["type"].as_str() else {
        let int_or_string = schema["x-kubernetes-int-or-string"] == true;
        if int_or_string && !(found.is_string() || found.is_i64()) {
            let found = type_name(found);
            causes.push(cause::wrong_type(path.cause(), found, "integer,string"));
            return false;
        }
        return true;
    };
    let fits = match expected {
        "object" => found.is_object(),
        "array" => found.is_array(),
        "string" => found.is_string(),
        "boolean" => found.is_boolean(),
        "integer" => {
            found.is_i64()
                || found.is_u64()
                || found.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        "number" => found.is_number(),
        _ => true,
    };
    if !fits {
        causes.push(cause::wrong_type(path.cause(), type_name(found), expected));
    }
    fits
}

fn type_name(value: &Value) -> &'static str {
    match json_type(value) {
        "bool" => "boolean",
        "number" if value.is_i64() || value.is_u64() => "integer",
        other => other,
    }
}

fn fields(schema: &Value, map: &Map<String, Value>, path: &mut Path, causes: &mut Vec<Cause>) {
    for name in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !map.contains_key(name) {
            path.push_field(name);
            causes.push(cause::required(path.cause(), ""));
            path.pop();
        }
    }
    let additional = schema
        .get("additionalProperties")
        .filter(|schema| schema.is_object());
    for (name, found) in map {
        let property = schema
            .get("properties")
            .and_then(|properties| properties.get(name));
        match (property, additional) {
            (Some(schema), _) => {
                path.push_field(name);
                value(schema, found, path, causes);
            }
            (None, Some(schema)) => {
                path.push_key(name);
                value(schema, found, path, causes);
            }
            (None, None) => continue,
        }
        path.pop();
    }
    let count = || Value::from(map.len());
    if let Some(min) = limit(schema, "minProperties").filter(|min| map.len() < *min) {
        let why = format!(
            "{} in body should have at least {min} properties",
            path.cause()
        );
        causes.push(cause::invalid(path.cause(), &count(), &why));
    }
    if let Some(max) = limit(schema, "maxProperties").filter(|max| map.len() > *max) {
        let why = format!(
            "{} in body should have at most {max} properties",
            path.cause()
        );
        causes.push(cause::invalid(path.cause(), &count(), &why));
    }
}

fn items(schema: &Value, list: &[Value], path: &mut Path, causes: &mut Vec<Cause>) {
    let count = || Value::from(list.len());
    if let Some(min) = limit(schema, "minItems").filter(|min| list.len() < *min) {
        let why = format!("{} in body should have at least {min} items", path.cause());
        causes.push(cause::invalid(path.cause(), &count(), &why));
    }
    if let Some(max) = limit(schema, "maxItems").filter(|max| list.len() > *max) {
        let why = format!("{} in body should have at most {max} items", path.cause());
        causes.push(cause::invalid(path.cause(), &count(), &why));
    }
    let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let as_set = schema["uniqueItems"] == true || schema["x-kubernetes-list-type"] == "set";
    if as_set || !keys.is_empty() {
        let identity = |item: &Value| -> String {
            if keys.is_empty() {
                return item.to_string();
            }
            keys.iter()
                .map(|key| item[*key].to_string() + "\n")
                .collect()
        };
        let mut seen = std::collections::BTreeSet::new();
        for (index, item) in list.iter().enumerate() {
            if !seen.insert(identity(item)) {
                path.push_index(index);
                causes.push(cause::duplicate(path.cause(), item));
                path.pop();
            }
        }
    }
    let Some(schema) = schema.get("items") else {
        return;
    };
    for (index, found) in list.iter().enumerate() {
        path.push_index(index);
        value(schema, found, path, causes);
        path.pop();
    }
}

fn string(schema: &Value, found: &Value, text: &str, path: &Path, causes: &mut Vec<Cause>) {
    let length = text.chars().count();
    if let Some(min) = limit(schema, "minLength").filter(|min| length < *min) {
        let why = format!(
            "{} in body should be at least {min} chars long",
            path.cause()
        );
        causes.push(cause::invalid(path.cause(), found, &why));
    }
    if let Some(max) = limit(schema, "maxLength").filter(|max| length > *max) {
        causes.push(cause::too_long(path.cause(), max));
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        // A pattern this engine cannot read restricts nothing: better than refusing every object.
        let matches = regex_lite::Regex::new(pattern).map_or(true, |regex| regex.is_match(text));
        if !matches {
            let why = format!("{} in body should match '{pattern}'", path.cause());
            causes.push(cause::invalid(path.cause(), found, &why));
        }
    }
}

fn number(schema: &Value, found: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let Some(number) = found.as_f64() else { return };
    let mut complain = |why: String| {
        let why = format!("{} in body should be {why}", path.cause());
        causes.push(cause::invalid(path.cause(), found, &why));
    };
    if let Some(min) = schema["minimum"].as_f64() {
        if schema["exclusiveMinimum"] == true && number <= min {
            complain(format!("greater than {min}"));
        } else if number < min {
            complain(format!("greater than or equal to {min}"));
        }
    }
    if let Some(max) = schema["maximum"].as_f64() {
        if schema["exclusiveMaximum"] == true && number >= max {
            complain(format!("less than {max}"));
        } else if number > max {
            complain(format!("less than or equal to {max}"));
        }
    }
    if let Some(factor) = schema["multipleOf"].as_f64()
        && factor != 0.0
        && (number / factor).fract() != 0.0
    {
        complain(format!("a multiple of {factor}"));
    }
}

/// `allOf`, `anyOf`, `oneOf` and `not`.
fn combined(schema: &Value, found: &Value, path: &mut Path, causes: &mut Vec<Cause>) {
    for schema in schema["allOf"].as_array().into_iter().flatten() {
        value(schema, found, path, causes);
    }
    let mut fits = |schema: &Value| {
        let mut found_wrong = Vec::new();
        value(schema, found, path, &mut found_wrong);
        found_wrong.is_empty()
    };
    let mut complaints = Vec::new();
    if let Some(choices) = schema["anyOf"].as_array()
        && !choices.iter().any(&mut fits)
    {
        complaints.push("must validate at least one schema (anyOf)");
    }
    if let Some(choices) = schema["oneOf"].as_array()
        && choices.iter().filter(|schema| fits(schema)).count() != 1
    {
        complaints.push("must validate one and only one schema (oneOf)");
    }
    if let Some(forbidden) = schema.get("not")
        && fits(forbidden)
    {
        complaints.push("must not validate the schema (not)");
    }
    for complaint in complaints {
        let why = format!("\"{}\" {complaint}", path.cause());
        causes.push(cause::invalid(path.cause(), found, &why));
    }
}

fn limit(schema: &Value, name: &str) -> Option<usize> {
    schema[name]
        .as_u64()
        .and_then(|limit| usize::try_from(limit).ok())
}
