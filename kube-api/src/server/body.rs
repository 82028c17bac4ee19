//! Request bodies: bounded, JSON or YAML.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::BytesMut;
use futures_util::StreamExt;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::protobuf;
use crate::status::Status;

const READABLE: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// Bodies of the largest size that fit into memory at a time; many more smaller ones do.
const LARGEST_AT_A_TIME: usize = 8;

/// So much of a body that is too long is thrown away before it is refused: most clients first send
/// everything, and would find a broken connection instead of the answer.
const DISCARDED_BYTES_MAX: u64 = 16 << 20;
/// How long that may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

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

/// Reads bodies, of bounded size each and together.
#[derive(Debug)]
pub(super) struct Bodies {
    bytes_max: usize,
    /// One permit a byte.
    room: Arc<Semaphore>,
}

/// A body that was read; it takes up room until it is dropped.
#[derive(Debug)]
pub(super) struct Whole {
    bytes: BytesMut,
    room: OwnedSemaphorePermit,
}

impl Deref for Whole {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Bodies {
    /// Bodies of at most `bytes_max` bytes each.
    pub(super) fn new(bytes_max: usize) -> Self {
        let room = bytes_max.saturating_mul(LARGEST_AT_A_TIME);
        Self {
            bytes_max,
            room: Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Reads a whole body.
    ///
    /// # Errors
    /// 413 when it is too long (before it is kept, when its length is announced), 400 when it
    /// breaks off, 429 when there is no room because of others, 504 when it takes too long.
    pub(super) async fn read(&self, parts: &Parts, body: Body) -> Result<Whole, Status> {
        let announced = parts
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse::<u64>().ok());
        let too_long = |bytes: u64| usize::try_from(bytes).map_or(true, |it| it > self.bytes_max);
        if let Some(bytes) = announced.filter(|bytes| too_long(*bytes)) {
            if bytes <= DISCARDED_BYTES_MAX {
                discard(body).await;
            }
            return Err(Status::too_large(self.bytes_max));
        }
        let whole = tokio::time::timeout(READ_TIMEOUT, self.collect(body));
        whole
            .await
            .unwrap_or_else(|_| Err(Status::timeout("the request body did not arrive in time")))
    }

    async fn collect(&self, body: Body) -> Result<Whole, Status> {
        let mut stream = body.into_data_stream();
        let mut whole = Whole {
            bytes: BytesMut::new(),
            room: self.reserve(0)?,
        };
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| {
                Status::bad_request(format!("the request body could not be read: {error}"))
            })?;
            if whole.bytes.len() + chunk.len() > self.bytes_max {
                return Err(Status::too_large(self.bytes_max));
            }
            whole.room.merge(self.reserve(chunk.len())?);
            whole.bytes.extend_from_slice(&chunk);
        }
        Ok(whole)
    }

    /// Waiting for room would let those who hold it wait for each other.
    fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Status> {
        let full = || Status::too_many_requests("too many large requests at a time", 1);
        let bytes = u32::try_from(bytes).map_err(|_| full())?;
        let room = Arc::clone(&self.room);
        room.try_acquire_many_owned(bytes).map_err(|_| full())
    }
}

/// Reads a body to its end, or as far as it comes in a while, and keeps nothing of it.
async fn discard(body: Body) {
    let mut stream = body.into_data_stream();
    let rest = async { while let Some(Ok(_)) = stream.next().await {} };
    // It is refused either way.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, rest).await;
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

#[cfg(test)]
mod tests;
