//! Structural schemas: built-in kinds and custom resources.
//!
//! Built-in kinds are described by `builtin.txt`, parsed on first use; custom ones by the
//! `openAPIV3Schema` of their CustomResourceDefinition. An object goes through `decode` (its
//! shape; unknown fields are dropped), defaulting, and `validate` (its content). CEL rules
//! (`x-kubernetes-validations`) are not evaluated.

pub(crate) mod cause;
mod check;
pub(crate) mod custom;
mod decode;
pub(crate) mod model;
pub(crate) mod names;
pub(crate) mod path;
pub(crate) mod quantity;
pub(crate) mod scalar;
mod semantic;

#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::catalog::ServedKind;
use crate::status::Cause;

/// What to do with fields that the schema does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them without a word.
    Ignore,
    /// Drop them with a warning.
    #[default]
    Warn,
    /// Refuse the object.
    Strict,
}

impl FieldValidation {
    /// Reads the `fieldValidation` query parameter; `None` when it is none of Kubernetes' values.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "Ignore" => Some(Self::Ignore),
            "" | "Warn" => Some(Self::Warn),
            "Strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

/// Most causes told of one object.
const CAUSES_MAX: usize = 64;

/// Drops what `kind` does not have and returns the paths of it.
///
/// # Errors
/// What cannot be read, in the words of Kubernetes' decoder.
pub(crate) fn decode(kind: &ServedKind, object: &mut Value) -> Result<Vec<String>, String> {
    let mut unknown = match &kind.custom {
        Some(custom) => {
            let metadata = model::model()
                .kind("v1", "Pod")
                .and_then(|pod| pod.field("metadata"));
            let mut unknown = decode::metadata(metadata, object)?;
            if let Some(schema) = &custom.schema {
                unknown.extend(custom::prune(schema, object));
            }
            unknown
        }
        None => match model::model().kind(&kind.api_version(), &kind.kind) {
            Some(schema) => decode::decode(schema, object)?,
            None => Vec::new(),
        },
    };
    unknown.sort_unstable();
    Ok(unknown)
}

/// What is wrong with a decoded and defaulted object, its name included.
pub(crate) fn validate(kind: &ServedKind, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    check_name(kind, object, &mut causes);
    match &kind.custom {
        Some(custom) => {
            check::metadata(object, &mut causes);
            if let Some(schema) = &custom.schema {
                custom::check(schema, object, &mut causes);
            }
        }
        None => {
            if let Some(schema) = model::model().kind(&kind.api_version(), &kind.kind) {
                check::check(schema, object, &mut causes);
            }
            semantic::check(kind, object, &mut causes);
        }
    }
    causes.truncate(CAUSES_MAX);
    causes
}

/// What a CustomResourceDefinition asks for that is not done here, as warnings.
pub(crate) fn unevaluated(kind: &ServedKind, object: &Value) -> Vec<String> {
    let mut found = std::collections::BTreeSet::new();
    if kind
        .resource
        .is("apiextensions.k8s.io", "customresourcedefinitions")
    {
        let versions = object["spec"]["versions"].as_array().into_iter().flatten();
        for (index, version) in versions.enumerate() {
            let field = format!("spec.versions[{index}].schema.openAPIV3Schema");
            let schema = &version["schema"]["openAPIV3Schema"];
            custom::unevaluated(schema, &mut |what| {
                found.insert(format!("{field}: {what}"));
            });
        }
    }
    found.into_iter().take(CAUSES_MAX).collect()
}

fn check_name(kind: &ServedKind, object: &Value, causes: &mut Vec<Cause>) {
    let name = object["metadata"]["name"].as_str().unwrap_or("");
    if name.is_empty() {
        causes.push(cause::required(
            "metadata.name".to_owned(),
            "name or generateName is required",
        ));
    } else if let Err(why) = semantic::name_rule(kind)(name) {
        causes.push(cause::invalid_text("metadata.name".to_owned(), name, &why));
    }
}
