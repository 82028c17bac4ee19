//! Answers: objects, lists and errors in the form the client asked for.

use axum::body::Body;
use axum::response::Response;
use causeway_log::{Revision, WallTime};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::{Value, json};

use super::accept::Output;
use crate::catalog::ServedKind;
use crate::status::Status;
use crate::table::{self, IncludeObject};

/// Everything about the form of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) output: Output,
    pub(crate) include: IncludeObject,
    /// Now: tables show ages.
    pub(crate) now: WallTime,
}

/// List metadata.
#[derive(Clone, Debug, Default)]
pub(super) struct ListMetadata {
    pub(super) revision: Revision,
    pub(super) continue_token: Option<String>,
    pub(super) remaining: Option<usize>,
}

impl ListMetadata {
    fn value(&self) -> Value {
        let mut metadata = json!({ "resourceVersion": self.revision.to_string() });
        if let Some(token) = &self.continue_token {
            metadata["continue"] = json!(token);
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = json!(remaining);
        }
        metadata
    }
}

impl Form {
    /// One object.
    pub(crate) fn object(&self, kind: &ServedKind, object: Value) -> Value {
        match self.output {
            Output::Objects => object,
            Output::Metadata(version) => metadata_only(object, version),
            Output::Table(version) => {
                let revision = object["metadata"]["resourceVersion"].clone();
                let metadata = json!({ "resourceVersion": revision });
                self.table(kind, version, metadata, vec![object])
            }
        }
    }

    /// A bookmark of a watch.
    pub(crate) fn bookmark(&self, kind: &ServedKind, revision: Revision, initial: bool) -> Value {
        let mut metadata =
            json!({ "resourceVersion": revision.to_string(), "creationTimestamp": null });
        if initial {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        match self.output {
            Output::Objects => {
                json!({ "kind": &*kind.kind, "apiVersion": kind.api_version(), "metadata": metadata })
            }
            Output::Metadata(version) => {
                json!({ "kind": "PartialObjectMetadata", "apiVersion": version, "metadata": metadata })
            }
            Output::Table(version) => {
                let metadata = json!({ "resourceVersion": revision.to_string() });
                self.table(kind, version, metadata, Vec::new())
            }
        }
    }

    /// A list of objects.
    pub(super) fn list(
        &self,
        kind: &ServedKind,
        objects: Vec<Value>,
        metadata: &ListMetadata,
    ) -> Value {
        let metadata = metadata.value();
        match self.output {
            Output::Objects => json!({
                "kind": &*kind.list_kind,
                "apiVersion": kind.api_version(),
                "metadata": metadata,
                "items": objects,
            }),
            Output::Metadata(version) => {
                let items: Vec<Value> = objects
                    .into_iter()
                    .map(|object| metadata_only(object, version))
                    .collect();
                json!({
                    "kind": "PartialObjectMetadataList",
                    "apiVersion": version,
                    "metadata": metadata,
                    "items": items,
                })
            }
            Output::Table(version) => self.table(kind, version, metadata, objects),
        }
    }

    fn table(
        &self,
        kind: &ServedKind,
        version: &str,
        metadata: Value,
        objects: Vec<Value>,
    ) -> Value {
        let row = |object| table::row(kind, object, self.include, self.now);
        let rows: Vec<Value> = objects.into_iter().map(row).collect();
        json!({
            "kind": "Table",
            "apiVersion": version,
            "metadata": metadata,
            "columnDefinitions": table::columns(kind),
            "rows": rows,
        })
    }
}

fn metadata_only(mut object: Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": version,
        "metadata": object["metadata"].take(),
    })
}

/// A JSON answer.
pub(super) fn json(code: StatusCode, value: &Value) -> Response {
    bytes(code, "application/json", value.to_string().into_bytes())
}

/// An answer of any media type.
pub(super) fn bytes(code: StatusCode, media: &'static str, bytes: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A `Status`, with the HTTP code it carries.
pub(super) fn status(status: &Status) -> Response {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let value = serde_json::to_value(status).expect("a status has only string keys");
    let mut response = json(code, &value);
    let retry = status
        .details
        .as_ref()
        .map_or(0, |details| details.retry_after_seconds);
    if retry > 0 {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(retry));
    }
    response
}

const WARNING: HeaderName = HeaderName::from_static("warning");
/// Longest text of one warning, in bytes.
const WARNING_BYTES_MAX: usize = 1024;

/// Adds `Warning` headers, which kubectl prints.
pub(super) fn warn(mut response: Response, warnings: &[String]) -> Response {
    for warning in warnings.iter().take(32) {
        let mut text = String::with_capacity(warning.len() + 10);
        for letter in warning.chars().take(WARNING_BYTES_MAX) {
            match letter {
                '"' | '\\' => text.extend(['\\', letter]),
                ' '..='~' => text.push(letter),
                _ if letter.is_control() => text.push(' '),
                _ => text.push('?'),
            }
        }
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
            response.headers_mut().append(WARNING, value);
        }
    }
    response
}
