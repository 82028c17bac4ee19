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

    /// The beginning of a list.
    pub(super) fn begin_list(self, kind: &ServedKind) -> ListWriter<'_> {
        let head = match self.output {
            Output::Objects => {
                json!({ "kind": &*kind.list_kind, "apiVersion": kind.api_version() })
            }
            Output::Metadata(version) => {
                json!({ "kind": "PartialObjectMetadataList", "apiVersion": version })
            }
            Output::Table(version) => json!({
                "kind": "Table",
                "apiVersion": version,
                "columnDefinitions": table::columns(kind),
            }),
        };
        let mut bytes = head.to_string().into_bytes();
        bytes.pop();
        let rows = matches!(self.output, Output::Table(_));
        bytes.extend_from_slice(if rows {
            b",\"rows\":["
        } else {
            b",\"items\":["
        });
        ListWriter {
            form: self,
            kind,
            bytes,
            len: 0,
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

/// A list being written, object by object, so that at most one of them is in memory twice.
pub(super) struct ListWriter<'a> {
    form: Form,
    kind: &'a ServedKind,
    bytes: Vec<u8>,
    len: usize,
}

impl ListWriter<'_> {
    pub(super) fn push(&mut self, object: Value) {
        let item = match self.form.output {
            Output::Objects => object,
            Output::Metadata(version) => metadata_only(object, version),
            Output::Table(_) => table::row(self.kind, object, self.form.include, self.form.now),
        };
        if self.len > 0 {
            self.bytes.push(b',');
        }
        self.bytes.extend_from_slice(item.to_string().as_bytes());
        self.len += 1;
    }

    /// How many objects it has.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn end(mut self, metadata: &ListMetadata) -> Response {
        let tail = format!("],\"metadata\":{}}}", metadata.value());
        self.bytes.extend_from_slice(tail.as_bytes());
        bytes(StatusCode::OK, "application/json", self.bytes)
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
