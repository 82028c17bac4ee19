//! Content: whether the values of a decoded object are valid.

use serde_json::Value;

use super::cause;
use super::model::{Shape, Struct, model};
use super::path::Path;
use crate::status::Cause;

/// Adds what the schema finds wrong with a decoded object of a built-in kind.
pub(super) fn check(kind: &Struct, object: &Value, causes: &mut Vec<Cause>) {
    fields(kind, object, &mut Path::default(), causes);
}

/// The same for `metadata` alone: a custom object.
pub(super) fn metadata(object: &Value, causes: &mut Vec<Cause>) {
    let field = model()
        .kind("v1", "Pod")
        .and_then(|pod| pod.field("metadata"));
    if let Some(Shape::Struct(index)) = field.map(|field| &field.shape) {
        fields(
            model().get(*index),
            &object["metadata"],
            &mut Path::of("metadata"),
            causes,
        );
    }
}

fn fields(owner: &Struct, object: &Value, path: &mut Path, causes: &mut Vec<Cause>) {
    for field in &owner.fields {
        let present = object.get(field.name);
        path.push_field(field.name);
        match (present, &field.shape) {
            // What an empty struct lacks is told field by field.
            (None, Shape::Struct(index)) if field.required => {
                fields(model().get(*index), &Value::Null, path, causes);
            }
            (present, shape)
                if field.required && present.is_none_or(|value| is_empty(shape, value)) =>
            {
                causes.push(cause::required(path.cause(), ""));
            }
            (Some(found), shape) => value(shape, found, path, causes),
            (None, _) => {}
        }
        path.pop();
    }
}

fn value(shape: &Shape, found: &Value, path: &mut Path, causes: &mut Vec<Cause>) {
    match (shape, found) {
        (Shape::Struct(index), _) => fields(model().get(*index), found, path, causes),
        (Shape::Scalar(scalar), _) => scalar.check(found, path, causes),
        (Shape::Enum(values), Value::String(text)) => {
            if !text.is_empty() && !values.contains(&text.as_str()) {
                causes.push(cause::unsupported(path.cause(), found, values));
            }
        }
        (Shape::List(element), Value::Array(list)) => {
            for (index, found) in list.iter().enumerate() {
                path.push_index(index);
                value(element, found, path, causes);
                path.pop();
            }
        }
        (Shape::Map(element), Value::Object(map)) => {
            for (key, found) in map {
                path.push_key(key);
                value(element, found, path, causes);
                path.pop();
            }
        }
        (Shape::Enum(_) | Shape::List(_) | Shape::Map(_), _) => {}
    }
}

fn is_empty(shape: &Shape, value: &Value) -> bool {
    match (shape, value) {
        (_, Value::String(text)) => text.is_empty(),
        (Shape::List(_), Value::Array(list)) => list.is_empty(),
        (Shape::Map(_) | Shape::Scalar(_), Value::Object(map)) => map.is_empty(),
        _ => false,
    }
}
