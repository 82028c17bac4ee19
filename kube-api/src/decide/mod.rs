//! What a write request does to an object: pure decisions of the Kubernetes REST semantics.
//!
//! Each `prepare_…` takes what there is and what was asked, and returns what is to be stored or the
//! `Status` that refuses it. Time and identity come in the [`Context`]; nothing here looks at
//! anything else, so the same arguments always decide the same.

mod default;
mod delete;
mod immutable;
mod meta;

#[cfg(test)]
mod tests;

use causeway_log::WallTime;
use serde_json::Value;
use uuid::Uuid;

use crate::catalog::ServedKind;
use crate::patch::Patch;
use crate::schema::{self, FieldValidation, cause};
use crate::status::{Cause, Status};

/// What a decision depends on besides the objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Context {
    /// Wall time, for timestamps in objects.
    pub now: WallTime,
    /// Identity of a created object; the suffix of a generated name comes from it too, so when such
    /// a name is taken, decide again with another.
    pub uid: Uuid,
    /// Namespace in the path; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name in the path; empty for creates.
    pub name: String,
    /// What to do with fields that the schema does not have.
    pub field_validation: FieldValidation,
}

/// Which part of an object a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subresource {
    /// The main resource: all but `status` where the kind has a status subresource.
    Main,
    /// Only `status`.
    Status,
}

/// A decided create or update.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// The object to store: no resourceVersion, no managedFields.
    pub object: Value,
    /// Nothing would change (updates and patches).
    pub unchanged: bool,
    /// The write took the last finalizer of an object marked for deletion: remove it.
    pub remove: bool,
    /// For `Warning` headers.
    pub warnings: Vec<String>,
}

/// The options of a delete request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds a pod gets to end; `None` for its own period.
    pub grace_period_seconds: Option<i64>,
    /// Only this life of the name.
    pub uid: Option<String>,
    /// Only this version.
    pub resource_version: Option<String>,
    /// `Orphan`, `Background` or `Foreground`.
    pub propagation_policy: Option<String>,
    /// Decide, but do nothing.
    pub dry_run: bool,
}

/// A decided delete.
#[derive(Clone, Debug, PartialEq)]
pub enum Deletion {
    /// Remove it now.
    Remove,
    /// Store it with these marks of deletion; who must finish with it removes it later.
    Mark(Box<Prepared>),
    /// It is being deleted already, and this request changes nothing.
    Terminating,
}

/// Decides a create: the object as it is to be stored.
///
/// # Errors
/// 400 when the body does not fit the path or the shape of the kind, 422 when its content is wrong.
pub fn prepare_create(
    kind: &ServedKind,
    mut object: Value,
    context: &Context,
) -> Result<Prepared, Status> {
    meta::check_type(kind, &mut object)?;
    meta::check_place(kind, &mut object, context)?;
    if !meta::text(&object, "resourceVersion").is_empty() {
        return Err(Status::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let mut warnings = decode(kind, &mut object, context)?;
    warnings.extend(schema::unevaluated(kind, &object));
    meta::strip(&mut object);
    meta::begin(kind, &mut object, context);
    default::apply(kind, &mut object);
    default::begin_status(kind, &mut object, context.now);
    refuse(kind, &object, schema::validate(kind, &object))?;
    Ok(Prepared {
        object,
        unchanged: false,
        remove: false,
        warnings,
    })
}

/// Decides an update: `object` replaces `current` (as served, with its resourceVersion).
///
/// # Errors
/// As [`prepare_create`], and 409 when the object is not what the writer saw.
pub fn prepare_update(
    kind: &ServedKind,
    current: &Value,
    mut object: Value,
    subresource: Subresource,
    context: &Context,
) -> Result<Prepared, Status> {
    meta::check_type(kind, &mut object)?;
    meta::check_place(kind, &mut object, context)?;
    let mut warnings = decode(kind, &mut object, context)?;
    warnings.extend(schema::unevaluated(kind, &object));
    meta::check_version(kind, current, &object)?;
    let mut old = current.clone();
    meta::strip(&mut old);
    meta::strip(&mut object);
    let mut causes = Vec::new();
    match subresource {
        Subresource::Main => replace_main(kind, &old, &mut object, context, &mut causes),
        Subresource::Status => object = with_status(&old, object),
    }
    causes.extend(new_causes(kind, &old, &object));
    refuse(kind, &object, causes)?;
    let unchanged = object == old;
    let remove = !unchanged && is_finished(&object);
    Ok(Prepared {
        object,
        unchanged,
        remove,
        warnings,
    })
}

/// Decides a patch of `current` (as served, with its resourceVersion).
///
/// # Errors
/// As [`prepare_update`], and 400 or 422 when the patch cannot be applied.
pub fn prepare_patch(
    kind: &ServedKind,
    current: &Value,
    patch: &Patch,
    subresource: Subresource,
    context: &Context,
) -> Result<Prepared, Status> {
    let patched = patch.apply(kind, current)?;
    if context.field_validation == FieldValidation::Strict {
        let unknown = schema::decode(kind, &mut patched.clone()).unwrap_or_default();
        if !unknown.is_empty() {
            let shown = cause::invalid_text(
                "patch".to_owned(),
                &patched.to_string(),
                &strict_error(&unknown),
            );
            return Err(Status::invalid("", "", "", vec![shown]));
        }
    }
    prepare_update(kind, current, patched, subresource, context)
}

/// Decides a delete of `current` (as served, with its resourceVersion).
///
/// # Errors
/// 409 when a precondition does not hold, 422 when an option is wrong.
pub fn prepare_delete(
    kind: &ServedKind,
    current: &Value,
    options: &DeleteOptions,
    context: &Context,
) -> Result<Deletion, Status> {
    delete::prepare(kind, current, options, context)
}

impl DeleteOptions {
    /// Reads the body of a delete request; an empty one means no options.
    ///
    /// # Errors
    /// 400 when it is not a `DeleteOptions`.
    pub fn parse(body: &[u8]) -> Result<Self, Status> {
        delete::parse(body)
    }
}

/// Drops unknown fields; returns what to warn of.
fn decode(kind: &ServedKind, object: &mut Value, context: &Context) -> Result<Vec<String>, Status> {
    let refused = |why: &str| {
        let (name, version) = (&kind.kind, &kind.version);
        Status::bad_request(format!(
            "{name} in version {version:?} cannot be handled as a {name}: {why}"
        ))
    };
    let unknown = schema::decode(kind, object).map_err(|why| refused(&why))?;
    match context.field_validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(unknown
            .iter()
            .map(|path| format!("unknown field {path:?}"))
            .collect()),
        FieldValidation::Strict if unknown.is_empty() => Ok(Vec::new()),
        FieldValidation::Strict => Err(refused(&strict_error(&unknown))),
    }
}

/// What is wrong with `object` and was not wrong before: an object from elsewhere that breaks a rule
/// of ours can still get labels, finalizers and a status.
fn new_causes(kind: &ServedKind, old: &Value, object: &Value) -> Vec<Cause> {
    let mut causes = schema::validate(kind, object);
    if !causes.is_empty() {
        let before = schema::validate(kind, old);
        causes.retain(|cause| !before.contains(cause));
    }
    causes
}

fn strict_error(unknown: &[String]) -> String {
    let fields: Vec<String> = unknown
        .iter()
        .map(|path| format!("unknown field {path:?}"))
        .collect();
    format!("strict decoding error: {}", fields.join(", "))
}

fn refuse(kind: &ServedKind, object: &Value, causes: Vec<Cause>) -> Result<(), Status> {
    if causes.is_empty() {
        return Ok(());
    }
    let name = meta::text(object, "name");
    Err(Status::invalid(
        &kind.resource.group,
        &kind.kind,
        name,
        causes,
    ))
}

/// Makes `object` the successor of `old`: all but what the server keeps and what status owns.
fn replace_main(
    kind: &ServedKind,
    old: &Value,
    object: &mut Value,
    context: &Context,
    causes: &mut Vec<Cause>,
) {
    meta::carry_over(old, object, causes);
    let status = if kind.status_subresource {
        &old["status"]
    } else {
        &object["status"]
    };
    let status = status.clone();
    if let Some(fields) = object.as_object_mut() {
        meta::set(fields, "status", status);
    }
    default::apply(kind, object);
    default::derive_status(kind, old, object, context.now);
    immutable::check(kind, old, object, causes);
    if meta::has_generation(kind) && desired_changed(kind, old, object) {
        meta::bump_generation(object);
    }
}

/// Whether anything differs that the generation counts.
fn desired_changed(kind: &ServedKind, old: &Value, new: &Value) -> bool {
    let counted = |object: &Value| {
        let mut object = object.clone();
        if let Some(fields) = object.as_object_mut() {
            fields.remove("metadata");
            if kind.status_subresource || kind.custom.is_none() {
                fields.remove("status");
            }
        }
        object
    };
    counted(old) != counted(new)
}

/// `old` with the status of `object`.
fn with_status(old: &Value, mut object: Value) -> Value {
    let status = object["status"].take();
    let mut object = old.clone();
    if let Some(fields) = object.as_object_mut() {
        meta::set(fields, "status", status);
    }
    object
}

/// Whether an object marked for deletion waits for nothing more.
fn is_finished(object: &Value) -> bool {
    let metadata = &object["metadata"];
    metadata["deletionTimestamp"].is_string()
        && metadata["finalizers"].as_array().is_none_or(Vec::is_empty)
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
}
