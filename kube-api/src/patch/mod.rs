//! JSON Patch, JSON Merge Patch and strategic merge patch, pure and bounded.

mod strategic;

#[cfg(test)]
mod tests;

use json_patch::PatchOperation;
use serde_json::Value;

use crate::catalog::ServedKind;
use crate::status::{Cause, Details, Status};

/// Most operations in a JSON Patch, as Kubernetes has it.
pub const OPERATIONS_MAX: usize = 10_000;
/// Most bytes that the `copy` operations of one JSON Patch may add: they grow an object by doubling.
const COPIED_BYTES_MAX: usize = 3 << 20;

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// A patch, read and bounded.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// RFC 6902.
    Json(json_patch::Patch),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own, for built-in kinds.
    Strategic(Value),
}

impl Patch {
    /// Reads the body of a PATCH request. `media_type` is the Content-Type header, parameters and
    /// all. Server-side apply is not spoken: 415, on which clients fall back or say so.
    ///
    /// # Errors
    /// 415 when the media type is none that `kind` is patched with, 400 when the body is malformed,
    /// 413 when it has more than [`OPERATIONS_MAX`] operations.
    pub fn parse(media_type: &str, body: &[u8], kind: &ServedKind) -> Result<Self, Status> {
        let media_type = media_type.split(';').next().unwrap_or("").trim();
        let malformed = |error: serde_json::Error| {
            Status::bad_request(format!("error decoding patch: {error}"))
        };
        match media_type {
            JSON => {
                let patch: json_patch::Patch = serde_json::from_slice(body).map_err(malformed)?;
                let count = patch.0.len();
                if count > OPERATIONS_MAX {
                    let message = format!(
                        "Request entity too large: The allowed maximum operations in a JSON patch \
                         is {OPERATIONS_MAX}, got {count}"
                    );
                    return Err(Status::failure(413, "RequestEntityTooLarge", message));
                }
                Ok(Self::Json(patch))
            }
            MERGE => Ok(Self::Merge(object(body)?)),
            STRATEGIC if kind.custom.is_none() => Ok(Self::Strategic(object(body)?)),
            _ => Err(Status::unsupported_media_type(&accepted(kind))),
        }
    }

    /// The patched object. What is not about the patch itself is checked by the caller.
    ///
    /// # Errors
    /// 422 when an operation cannot be applied or a test fails, 400 when a strategic patch is
    /// malformed.
    pub fn apply(&self, kind: &ServedKind, current: &Value) -> Result<Value, Status> {
        let mut object = current.clone();
        match self {
            Self::Json(patch) => apply_operations(&mut object, &patch.0)?,
            Self::Merge(patch) => json_patch::merge(&mut object, patch),
            Self::Strategic(patch) => {
                strategic::apply(&kind.api_version(), &kind.kind, &mut object, patch.clone())
                    .map_err(|error| Status::bad_request(error.to_string()))?;
            }
        }
        if !object.is_object() {
            return Err(unprocessable("the patched document is not an object"));
        }
        Ok(object)
    }
}

fn object(body: &[u8]) -> Result<Value, Status> {
    match serde_json::from_slice(body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Status::bad_request(
            "error decoding patch: the patch must be a JSON object",
        )),
        Err(error) => Err(Status::bad_request(format!(
            "error decoding patch: {error}"
        ))),
    }
}

fn accepted(kind: &ServedKind) -> String {
    let mut accepted = vec![JSON, MERGE];
    if kind.custom.is_none() {
        accepted.push(STRATEGIC);
    }
    accepted.join(", ")
}

fn apply_operations(object: &mut Value, operations: &[PatchOperation]) -> Result<(), Status> {
    let mut copied = 0;
    for operation in operations {
        if let PatchOperation::Copy(copy) = operation {
            copied += object
                .pointer(copy.from.as_str())
                .map_or(0, |value| value.to_string().len());
            if copied > COPIED_BYTES_MAX {
                let message = format!(
                    "Unable to complete the copy, the accumulated size increase of JSON patch copy operations is {copied}, exceeding the limit {COPIED_BYTES_MAX}"
                );
                return Err(unprocessable(&message));
            }
        }
        json_patch::patch_unsafe(object, std::slice::from_ref(operation))
            .map_err(|error| unprocessable(&error.to_string()))?;
    }
    Ok(())
}

/// 422 as Kubernetes answers it, with the reason in the message too.
fn unprocessable(why: &str) -> Status {
    let cause = Cause {
        reason: "UnexpectedServerResponse".to_owned(),
        message: why.to_owned(),
        field: String::new(),
    };
    let message = format!("the server rejected our request due to an error in our request: {why}");
    Status::failure(422, "Invalid", message).about(Details {
        causes: vec![cause],
        ..Details::default()
    })
}
