//! What an edge application asks of the owner of an object: the body of an `Apply` record going up.

#[cfg(test)]
mod tests;

use causeway_log::{EventId, Uid, Version};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// Longest encoded request; the same bound as any body.
const REQUEST_BYTES_MAX: usize = causeway_log::limits::BODY_BYTES_MAX;

/// Kinds of the core group that a node may make, and write when it holds them. The cloud decides; an
/// edge refuses at once what is certain to be refused there.
pub const CORE_KINDS: [&str; 5] = [
    "configmaps",
    "secrets",
    "services",
    "persistentvolumeclaims",
    "pods",
];

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// A new object.
    Create,
    /// The whole object, replaced.
    Update,
    /// The object's `status`, of a kind whose status the cloud owns.
    Status,
    /// The object gone.
    Delete,
}

/// A write of an edge application to an object that the cloud owns. The cloud accepts it when the
/// object still is what the application saw, else answers with a visible conflict.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What is asked.
    pub verb: Verb,
    /// The whole object as wanted; `None` for a delete.
    pub object: Option<Value>,
    /// The version at its owner that the writer saw; `None` when it saw no object.
    pub base: Option<Version>,
    /// The life of the object that is meant. For a create: the uid it is to have.
    pub uid: Uid,
    /// The unanswered request this one builds on: it is accepted too when the object's newest
    /// change came of that request, even if `base` is older.
    pub follows: Option<EventId>,
    /// For a delete: how long the object may take to end, in seconds.
    pub grace_period_seconds: Option<i64>,
}

/// The encoded shape, apart from the type so that neither can change the other by accident.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Encoded {
    verb: Verb,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<u64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    uid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    follows: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grace_period_seconds: Option<i64>,
}

/// Bytes that are not a request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Longer than a body may be.
    #[error("a request of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// How long it is.
        size: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Not the JSON of a request.
    #[error("the request is malformed")]
    Malformed(#[source] serde_json::Error),
    /// The verb needs something which is not there.
    #[error("a request to {verb} needs {what}")]
    Incomplete {
        /// The verb.
        verb: &'static str,
        /// What is missing.
        what: &'static str,
    },
}

impl Request {
    /// The canonical JSON of the request.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let encoded = Encoded {
            verb: self.verb,
            object: self.object.clone(),
            base: self.base.map(Version::get),
            uid: self.uid.to_string(),
            follows: self.follows.map(EventId::uuid),
            grace_period_seconds: self.grace_period_seconds,
        };
        // Through `Value` so that keys are sorted: canonical bytes.
        let value = serde_json::to_value(encoded).expect("a request has only string keys");
        value.to_string().into_bytes()
    }

    /// Reads a request from the body of a record.
    ///
    /// # Errors
    /// [`RequestError`] when it is too long, malformed, or lacks what its verb needs. Never panics.
    pub fn decode(bytes: &[u8]) -> Result<Self, RequestError> {
        if bytes.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::TooLarge {
                size: bytes.len(),
                limit: REQUEST_BYTES_MAX,
            });
        }
        let encoded: Encoded = serde_json::from_slice(bytes).map_err(RequestError::Malformed)?;
        let request = Self {
            verb: encoded.verb,
            object: encoded.object,
            base: encoded.base.map(Version::new),
            uid: Uid::parse(&encoded.uid),
            follows: encoded.follows.map(EventId::new),
            grace_period_seconds: encoded.grace_period_seconds,
        };
        let verb = match request.verb {
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Status => "change a status",
            Verb::Delete => return Ok(request),
        };
        if !request.object.as_ref().is_some_and(Value::is_object) {
            return Err(RequestError::Incomplete {
                verb,
                what: "an object",
            });
        }
        Ok(request)
    }
}
