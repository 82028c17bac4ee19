//! Kubernetes' `Status` object: how every error is told, in the words clients know.

use causeway_log::Resource;
use serde::{Deserialize, Serialize};

/// An answer that is not an object: an error, or the success of a delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub struct Status {
    /// Always `v1`.
    #[serde(default)]
    api_version: V1,
    /// Empty; clients expect it to be there.
    #[serde(default)]
    metadata: NoMetadata,
    /// Whether what was asked for was done.
    #[serde(default)]
    pub status: Outcome,
    /// What happened, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What happened, for programs; such as `NotFound`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Details>>,
    /// The HTTP status code.
    #[serde(default)]
    pub code: u16,
}

/// Whether what was asked for was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was.
    Success,
    /// It was not.
    #[default]
    Failure,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum V1 {
    #[default]
    #[serde(rename = "v1")]
    V1,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct NoMetadata {}

/// What a [`Status`] is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Name of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// API group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The resource, or the kind when the error is about the object's content.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Life of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// What is wrong, field by field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Try again after so many seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(seconds: &u32) -> bool {
    *seconds == 0
}

/// One thing wrong with an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// For programs, such as `FieldValueRequired`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Path of the field, such as `spec.containers[0].image`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

fn qualified(resource: &Resource) -> String {
    resource.to_string()
}

fn about(resource: &Resource, name: &str) -> Details {
    Details {
        name: name.to_owned(),
        group: resource.group.to_string(),
        kind: resource.plural.to_string(),
        ..Details::default()
    }
}

impl Status {
    /// A failure that says nothing of an object.
    #[must_use]
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            api_version: V1::V1,
            metadata: NoMetadata {},
            status: Outcome::Failure,
            message: message.into(),
            reason: reason.to_owned(),
            details: None,
            code,
        }
    }

    /// The same, about something.
    #[must_use]
    pub fn about(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// A success, as a delete answers it.
    #[must_use]
    pub fn success(details: Option<Details>) -> Self {
        Self {
            status: Outcome::Success,
            details: details.map(Box::new),
            ..Self::failure(200, "", "")
        }
    }

    /// 404: the object is not there.
    #[must_use]
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", qualified(resource));
        Self::failure(404, "NotFound", message).about(about(resource, name))
    }

    /// 404: nothing is served at the path.
    #[must_use]
    pub fn no_such_path() -> Self {
        let message = "the server could not find the requested resource".to_owned();
        Self::failure(404, "NotFound", message).about(Details::default())
    }

    /// 409: the name is taken.
    #[must_use]
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", qualified(resource));
        Self::failure(409, "AlreadyExists", message).about(about(resource, name))
    }

    /// 409: no free name could be generated.
    #[must_use]
    pub fn generate_name_conflict(resource: &Resource, name: &str) -> Self {
        let message = format!(
            "{} {name:?} already exists, the server was not able to generate a unique name for the \
             object",
            qualified(resource)
        );
        Self::failure(409, "AlreadyExists", message).about(about(resource, name))
    }

    /// 409: the object is not what the writer saw.
    #[must_use]
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            qualified(resource)
        );
        Self::failure(409, "Conflict", message).about(about(resource, name))
    }

    /// 409 in the words for a stale `resourceVersion`.
    #[must_use]
    pub fn stale(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version \
                   and try again";
        Self::conflict(resource, name, why)
    }

    /// 422: the object's content is wrong. `kind` with its group, as in `Pod` or
    /// `Deployment.apps`.
    #[must_use]
    pub fn invalid(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Self {
        let subject = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let told: Vec<String> = causes
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect();
        let told = match told.as_slice() {
            [] => String::new(),
            [one] => format!(": {one}"),
            many => format!(": [{}]", many.join(", ")),
        };
        let details = Details {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            causes,
            ..Details::default()
        };
        let message = format!("{subject} {name:?} is invalid{told}");
        Self::failure(422, "Invalid", message).about(details)
    }

    /// 400: the request cannot be understood.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, "BadRequest", message)
    }

    /// 410: the revision asked for is too old to go on from.
    #[must_use]
    pub fn gone(message: impl Into<String>) -> Self {
        Self::failure(410, "Gone", message)
    }

    /// 410: a list or watch cannot go on from where it was; list anew.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(410, "Expired", message)
    }

    /// 403: not allowed.
    #[must_use]
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let subject = if name.is_empty() {
            qualified(resource)
        } else {
            format!("{} {name:?}", qualified(resource))
        };
        let message = format!("{subject} is forbidden: {why}");
        Self::failure(403, "Forbidden", message).about(about(resource, name))
    }

    /// 405: the verb does not go with the path.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource".to_owned();
        Self::failure(405, "MethodNotAllowed", message).about(Details::default())
    }

    /// 406: no format the client accepts.
    #[must_use]
    pub fn not_acceptable(accepted: &str) -> Self {
        let message = format!("only the following media types are accepted: {accepted}");
        Self::failure(406, "NotAcceptable", message)
    }

    /// 415: the body is in a format that is not read here.
    #[must_use]
    pub fn unsupported_media_type(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: \
             {accepted}"
        );
        Self::failure(415, "UnsupportedMediaType", message)
    }

    /// 413: the body is over the limit.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::failure(413, "RequestEntityTooLarge", message)
    }

    /// 504: not within the time.
    #[must_use]
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::failure(504, "Timeout", message)
    }

    /// 429: too many at a time.
    #[must_use]
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        let details = Details {
            retry_after_seconds,
            ..Details::default()
        };
        Self::failure(429, "TooManyRequests", message).about(details)
    }

    /// 503: not now.
    #[must_use]
    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::failure(503, "ServiceUnavailable", message)
    }

    /// 500: our own fault.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        let message = format!("Internal error occurred: {}", message.into());
        Self::failure(500, "InternalError", message)
    }
}
