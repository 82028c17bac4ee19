//! Request bodies: bounded, JSON or YAML.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use serde_json::Value;

use super::protobuf;
use crate::status::Status;

const READABLE: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// How long a body may take to arrive: the largest one at 50 KB/s.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The media type of a body, without parameters, in lower case; JSON when none is given.
pub(super) fn media_type(parts: &Parts) -> String {
    let given = parts
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media = given
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if media.is_empty() {
        "application/json".to_owned()
    } else {
        media.to_ascii_lowercase()
    }
}

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// 413 when it is longer (before reading it, when its length is announced), 400 when it breaks off,
/// 504 when it takes too long.
pub(super) async fn read(parts: &Parts, body: Body, limit: usize) -> Result<Bytes, Status> {
    let announced = parts
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let announced = announced.and_then(|value| value.parse::<u64>().ok());
    if announced.is_some_and(|bytes| usize::try_from(bytes).map_or(true, |bytes| bytes > limit)) {
        return Err(Status::too_large(limit));
    }
    let whole = tokio::time::timeout(READ_TIMEOUT, collect(body, limit));
    whole
        .await
        .unwrap_or_else(|_| Err(Status::timeout("the request body did not arrive in time")))
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, Status> {
    let mut stream = body.into_data_stream();
    let mut whole = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| {
            Status::bad_request(format!("the request body could not be read: {error}"))
        })?;
        if whole.len() + chunk.len() > limit {
            return Err(Status::too_large(limit));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// Reads an object in the format its media type says.
///
/// # Errors
/// 415 for other formats, 400 when the text is malformed or is not an object.
pub(super) fn object(media: &str, bytes: &[u8]) -> Result<Value, Status> {
    let parsed = match media {
        "application/json" | "text/json" => {
            serde_json::from_slice(bytes).map_err(|error| error.to_string())
        }
        "application/yaml" | "text/yaml" | "application/x-yaml" => {
            serde_saphyr::from_slice::<Value>(bytes).map_err(|error| error.to_string())
        }
        // curl's default for --data: whatever it is labelled, people mean JSON.
        "application/x-www-form-urlencoded" => {
            serde_json::from_slice(bytes).map_err(|error| error.to_string())
        }
        protobuf::MEDIA_TYPE => match protobuf::decode(bytes) {
            Ok(object) => Ok(object),
            Err(protobuf::Unread::Malformed) => Err("malformed protobuf".to_owned()),
            Err(protobuf::Unread::UnknownKind) => return Err(unread_kind()),
        },
        _ => return Err(Status::unsupported_media_type(READABLE)),
    };
    let object: Value = parsed.map_err(|error| {
        Status::bad_request(format!("the object provided is unrecognized: {error}"))
    })?;
    if !object.is_object() {
        return Err(Status::bad_request(
            "the object provided is unrecognized (must be of an object)",
        ));
    }
    Ok(object)
}

fn unread_kind() -> Status {
    Status::failure(
        415,
        "UnsupportedMediaType",
        "this kind is not read as protobuf here; send JSON or YAML, for instance with kubectl \
         create -f or apply -f",
    )
}
