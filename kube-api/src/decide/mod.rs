//! What a write request does to an object: pure decisions of the Kubernetes REST semantics.

use causeway_log::WallTime;
use serde_json::Value;
use uuid::Uuid;

use crate::catalog::ServedKind;
use crate::patch::Patch;
use crate::schema::FieldValidation;
use crate::source::Authority;
use crate::status::Status;

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
    /// Whose word counts.
    pub authority: Authority,
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
    object: Value,
    context: &Context,
) -> Result<Prepared, Status> {
    let _ = (kind, object, context);
    Err(Status::internal("not built"))
}

/// Decides an update: `object` replaces `current` (as served, with its resourceVersion).
///
/// # Errors
/// As [`prepare_create`], and 409 when the object is not what the writer saw.
pub fn prepare_update(
    kind: &ServedKind,
    current: &Value,
    object: Value,
    subresource: Subresource,
    context: &Context,
) -> Result<Prepared, Status> {
    let _ = (kind, current, object, subresource, context);
    Err(Status::internal("not built"))
}

/// Decides a patch of `current` (as served, with its resourceVersion).
///
/// # Errors
/// As [`prepare_update`], and 415 or 422 when the patch cannot be applied.
pub fn prepare_patch(
    kind: &ServedKind,
    current: &Value,
    patch: &Patch,
    subresource: Subresource,
    context: &Context,
) -> Result<Prepared, Status> {
    let _ = (kind, current, patch, subresource, context);
    Err(Status::internal("not built"))
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
    let _ = (kind, current, options, context);
    Err(Status::internal("not built"))
}

impl DeleteOptions {
    /// Reads the body of a delete request; an empty one means no options.
    ///
    /// # Errors
    /// 400 when it is not a `DeleteOptions`.
    pub fn parse(body: &[u8]) -> Result<Self, Status> {
        let _ = body;
        Ok(Self::default())
    }
}
