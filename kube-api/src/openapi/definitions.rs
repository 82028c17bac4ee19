//! Schemas of kinds as OpenAPI has them, and the types that these are made of.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::group_version_kind;
use crate::catalog::ServedKind;
use crate::schema::model::{Field, Merge, Shape, Struct, model};
use crate::schema::scalar::Scalar;

/// Prefix of the names of all types but kinds.
const TYPE_PREFIX: &str = "io.k8s.api.core.v1.";
/// Words of CustomResourceDefinition schemas that OpenAPI v2 does not have.
const V3_ONLY: [&str; 5] = ["nullable", "oneOf", "anyOf", "not", "default"];

/// A growing set of schemas that refer to each other.
pub(super) struct Definitions {
    /// What stands before a name in a `$ref`.
    prefix: &'static str,
    done: Map<String, Value>,
    /// Types referred to and not made yet.
    wanted: BTreeSet<usize>,
    seen: BTreeSet<usize>,
}

impl Definitions {
    pub(super) fn new(prefix: &'static str) -> Self {
        Self {
            prefix,
            done: Map::new(),
            wanted: BTreeSet::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Adds a kind.
    pub(super) fn add(&mut self, kind: &ServedKind) {
        let mut schema = match &kind.custom {
            Some(custom) => self.custom(custom.schema.as_ref()),
            None => match model().kind(&kind.api_version(), &kind.kind) {
                Some(schema) => self.object(schema),
                None => json!({"type": "object"}),
            },
        };
        schema["x-kubernetes-group-version-kind"] = json!([group_version_kind(kind)]);
        self.done.insert(name_of(kind), schema);
    }

    /// All schemas, with those that they refer to.
    pub(super) fn finish(mut self) -> Value {
        while let Some(index) = self.wanted.pop_first() {
            let schema = self.object(model().get(index));
            // A type may share its name with a kind, which says more.
            let name = format!("{TYPE_PREFIX}{}", model().get(index).name);
            self.done.entry(name).or_insert(schema);
        }
        Value::Object(self.done)
    }

    fn object(&mut self, owner: &Struct) -> Value {
        let mut properties = Map::new();
        for field in &owner.fields {
            let mut schema = self.shape(&field.shape);
            extend(&mut schema, field);
            properties.insert(field.name.to_owned(), schema);
        }
        let required: Vec<&str> = owner
            .fields
            .iter()
            .filter(|field| field.required)
            .map(|field| field.name)
            .collect();
        let mut schema = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schema
    }

    fn shape(&mut self, shape: &Shape) -> Value {
        match shape {
            Shape::Scalar(Scalar::Any) => json!({}),
            Shape::Scalar(scalar) => {
                let (kind, format) = scalar.openapi();
                let mut schema = json!({ "type": kind });
                if !format.is_empty() {
                    schema["format"] = format.into();
                }
                if let Some(element) = scalar.element() {
                    schema["additionalProperties"] = self.shape(&Shape::Scalar(element));
                }
                schema
            }
            Shape::Enum(values) => {
                let values: Vec<&str> = values
                    .iter()
                    .copied()
                    .filter(|value| !value.is_empty())
                    .collect();
                json!({"type": "string", "enum": values})
            }
            Shape::List(element) => json!({"type": "array", "items": self.shape(element)}),
            Shape::Map(value) => {
                json!({"type": "object", "additionalProperties": self.shape(value)})
            }
            Shape::Struct(index) => {
                if self.seen.insert(*index) {
                    self.wanted.insert(*index);
                }
                json!({"$ref": format!("{}{TYPE_PREFIX}{}", self.prefix, model().get(*index).name)})
            }
        }
    }

    /// The schema of a custom kind, with what every object has.
    fn custom(&mut self, schema: Option<&Value>) -> Value {
        let mut schema = schema.cloned().unwrap_or_else(|| json!({}));
        if self.prefix == "#/definitions/" {
            without_v3(&mut schema);
        }
        if !schema.is_object() {
            schema = json!({});
        }
        schema["type"] = "object".into();
        let pod = model().kind("v1", "Pod");
        for name in ["apiVersion", "kind", "metadata"] {
            if let Some(field) = pod.and_then(|pod| pod.field(name)) {
                if !schema["properties"].is_object() {
                    schema["properties"] = json!({});
                }
                schema["properties"][name] = self.shape(&field.shape);
            }
        }
        schema
    }
}

/// How a strategic merge patch treats a field.
fn extend(schema: &mut Value, field: &Field) {
    let strategy = match (field.merge, field.retain_keys) {
        (Merge::Atomic, false) => return,
        (Merge::Atomic, true) => "retainKeys",
        (Merge::Key(_) | Merge::Set, false) => "merge",
        (Merge::Key(_) | Merge::Set, true) => "merge,retainKeys",
    };
    schema["x-kubernetes-patch-strategy"] = strategy.into();
    if let Merge::Key(key) = field.merge {
        schema["x-kubernetes-patch-merge-key"] = key.into();
    }
}

/// `io.k8s.api.apps.v1.Deployment`, or `io.example.v1.Widget` of a custom kind.
fn name_of(kind: &ServedKind) -> String {
    let group = &*kind.resource.group;
    let reversed = || group.rsplit('.').collect::<Vec<_>>().join(".");
    let prefix = match group.split('.').next() {
        _ if kind.custom.is_some() => reversed(),
        None | Some("") => "io.k8s.api.core".to_owned(),
        Some(first) => format!("io.k8s.api.{first}"),
    };
    format!("{prefix}.{}.{}", kind.version, kind.kind)
}

fn without_v3(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            // A property may have the name of one of these words; only schemas have types.
            let is_schema = fields.get("type").is_some_and(Value::is_string);
            fields.retain(|name, _| !is_schema || !V3_ONLY.contains(&name.as_str()));
            fields.values_mut().for_each(without_v3);
        }
        Value::Array(list) => list.iter_mut().for_each(without_v3),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
