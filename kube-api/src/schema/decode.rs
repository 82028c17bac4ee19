//! Shape: whether an object can be read as its kind, and which fields the kind does not have.

use serde_json::Value;

use super::model::{Field, Shape, Struct, model};
use super::path::Path;
use super::scalar::{Mismatch, Scalar};

/// Most unknown fields told; objects with more are wrong altogether.
const UNKNOWN_MAX: usize = 64;

/// Removes fields that `kind` does not have, and nulls, and returns the paths of the former. Fails
/// in the words of Kubernetes' decoder at the first value of a wrong type.
pub(super) fn decode(kind: &Struct, object: &mut Value) -> Result<Vec<String>, String> {
    let mut walk = Walk {
        unknown: Vec::new(),
        path: Path::default(),
    };
    walk.fields(kind, object)?;
    Ok(walk.unknown)
}

/// The same for `metadata` alone: a custom object.
pub(super) fn metadata(field: Option<&Field>, object: &mut Value) -> Result<Vec<String>, String> {
    let mut walk = Walk {
        unknown: Vec::new(),
        path: Path::of("metadata"),
    };
    if let (Some(Shape::Struct(index)), Some(value)) =
        (field.map(|field| &field.shape), object.get_mut("metadata"))
    {
        walk.fields(model().get(*index), value)?;
    }
    Ok(walk.unknown)
}

struct Walk {
    unknown: Vec<String>,
    path: Path,
}

impl Walk {
    fn fields(&mut self, owner: &Struct, value: &mut Value) -> Result<(), String> {
        let Value::Object(map) = value else {
            let what = json_type(value);
            return Err(format!(
                "json: cannot unmarshal {what} into Go value of type v1.{}",
                owner.name
            ));
        };
        let mut unknown = Vec::new();
        let mut nulls = Vec::new();
        for (name, value) in map.iter_mut() {
            let Some(field) = owner.field(name) else {
                unknown.push(name.clone());
                continue;
            };
            if value.is_null() {
                nulls.push(name.clone());
                continue;
            }
            self.path.push_field(name);
            self.value(owner, &field.shape, value)?;
            self.path.pop();
        }
        for name in nulls {
            map.remove(&name);
        }
        for name in unknown {
            map.remove(&name);
            if self.unknown.len() < UNKNOWN_MAX {
                self.path.push_field(&name);
                self.unknown.push(self.path.strict());
                self.path.pop();
            }
        }
        Ok(())
    }

    fn value(&mut self, owner: &Struct, shape: &Shape, value: &mut Value) -> Result<(), String> {
        match (shape, value) {
            (Shape::Struct(index), value @ Value::Object(_)) => {
                self.fields(model().get(*index), value)
            }
            (Shape::List(element), Value::Array(list)) => {
                for (index, value) in list.iter_mut().enumerate() {
                    self.path.push_index(index);
                    if value.is_null() {
                        // Go reads null as the empty value of the type.
                        *value = empty(element);
                    }
                    self.value(owner, element, value)?;
                    self.path.pop();
                }
                Ok(())
            }
            (Shape::Map(element), Value::Object(map)) => {
                map.retain(|_, value| !value.is_null());
                for (key, value) in map.iter_mut() {
                    self.path.push_key(key);
                    self.value(owner, element, value)?;
                    self.path.pop();
                }
                Ok(())
            }
            (Shape::Enum(_), Value::String(_)) => Ok(()),
            (Shape::Scalar(scalar), value) => self.scalar(owner, *scalar, value),
            (Shape::Struct(_) | Shape::List(_) | Shape::Map(_) | Shape::Enum(_), value) => {
                Err(self.mismatch(owner, &shape.go_type(), value))
            }
        }
    }

    fn scalar(&mut self, owner: &Struct, scalar: Scalar, value: &mut Value) -> Result<(), String> {
        match scalar.accepts(value) {
            Ok(()) => {}
            Err(Mismatch::Type) => return Err(self.mismatch(owner, scalar.go_type(), value)),
            Err(Mismatch::Form(why)) => return Err(why),
        }
        if let (Some(element), Value::Object(map)) = (scalar.element(), value) {
            map.retain(|_, value| !value.is_null());
            for (key, value) in map.iter_mut() {
                self.path.push_key(key);
                self.scalar(owner, element, value)?;
                self.path.pop();
            }
        }
        Ok(())
    }

    fn mismatch(&self, owner: &Struct, go_type: &str, value: &Value) -> String {
        // Of the right JSON type, but not of the right size.
        let misfit = value.is_number() && go_type.starts_with("int");
        let found = if misfit {
            format!("number {value}")
        } else {
            json_type(value).to_owned()
        };
        let path = self.path.go();
        format!(
            "json: cannot unmarshal {found} into Go struct field {}.{path} of type {go_type}",
            owner.name
        )
    }
}

fn empty(shape: &Shape) -> Value {
    match shape {
        Shape::Struct(_) | Shape::Map(_) => Value::Object(serde_json::Map::new()),
        Shape::List(_) => Value::Array(Vec::new()),
        Shape::Enum(_) | Shape::Scalar(Scalar::Str(_)) => Value::from(""),
        Shape::Scalar(_) => Value::Null,
    }
}

/// The type of a value in the words of Go's decoder.
pub(super) const fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
