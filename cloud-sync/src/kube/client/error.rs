//! What can go wrong with a request to the API server, by what is to be done about it.

use std::time::Duration;

use causeway_kube_api::Status;
use causeway_kube_api::status::Details;
use http::StatusCode;

/// The cause that API servers name when they are asked for a version that they do not have yet.
const TOO_LARGE_VERSION: &str = "ResourceVersionTooLarge";

/// What is to be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The API server cannot be reached, or the connection broke. Retry.
    Unreachable,
    /// It answered 429 or 5xx, or not in time. Retry, later.
    Busy,
    /// It does not know who we are (401), or the credentials cannot be read. Retry with what is
    /// configured then.
    Credentials,
    /// We may not do this (403). No retry helps before someone changes the rules.
    Forbidden,
    /// There is no such object, kind or path (404).
    NotFound,
    /// The object is not as the request says (409, 412).
    Conflict,
    /// The object is there already (409).
    AlreadyExists,
    /// The version is too old to go on from (410).
    Gone,
    /// The request is wrong (400, 413, 415, 422 and other 4xx).
    Invalid,
    /// The answer is not what Kubernetes answers, or is larger than the bound.
    Malformed,
}

impl Class {
    /// Whether the same request can succeed by itself later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::Unreachable | Self::Busy | Self::Credentials | Self::Malformed => true,
            Self::Forbidden
            | Self::NotFound
            | Self::Conflict
            | Self::AlreadyExists
            | Self::Gone
            | Self::Invalid => false,
        }
    }

    /// The name in metrics and in the status document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
            Self::Credentials => "credentials",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::AlreadyExists => "already-exists",
            Self::Gone => "gone",
            Self::Invalid => "invalid",
            Self::Malformed => "malformed",
        }
    }

    fn of(code: StatusCode, reason: &str) -> Self {
        match code {
            StatusCode::UNAUTHORIZED => Self::Credentials,
            StatusCode::FORBIDDEN => Self::Forbidden,
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::CONFLICT if reason == "AlreadyExists" => Self::AlreadyExists,
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Self::Conflict,
            StatusCode::GONE => Self::Gone,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Self::Busy,
            code if code.is_server_error() => Self::Busy,
            code if code.is_client_error() => Self::Invalid,
            _ => Self::Malformed,
        }
    }
}

/// A request failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    class: Class,
    message: String,
    status: Option<Box<Status>>,
    retry_after: Option<Duration>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ApiError {
    /// What is to be done about it.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// The API server's own words, where it answered.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        self.status.as_deref()
    }

    /// The pause the API server asks for.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn new(class: Class, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            status: None,
            retry_after: None,
            source: None,
        }
    }

    pub(crate) fn caused(
        class: Class,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::new(class, message)
        }
    }

    /// An answer that is no success. `body` may be anything.
    pub(crate) fn answered(code: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let status: Option<Status> = serde_json::from_slice(body).ok();
        let reason = status.as_ref().map_or("", |status| &status.reason);
        // A version that the server never had: it was restored from a copy, or is another one.
        let is_ahead = status
            .as_ref()
            .and_then(|status| status.details.as_deref())
            .is_some_and(|details| details.causes.iter().any(|c| c.reason == TOO_LARGE_VERSION));
        let asked = status
            .as_ref()
            .and_then(|status| status.details.as_deref())
            .map(
                |Details {
                     retry_after_seconds,
                     ..
                 }| *retry_after_seconds,
            )
            .filter(|seconds| *seconds > 0)
            .map(|seconds| Duration::from_secs(seconds.into()));
        let message = match &status {
            Some(status) if !status.message.is_empty() => {
                format!(
                    "the API server answered {}: {}",
                    code.as_u16(),
                    status.message
                )
            }
            Some(_) | None => format!("the API server answered {code}"),
        };
        Self {
            class: if is_ahead {
                Class::Gone
            } else {
                Class::of(code, reason)
            },
            message,
            retry_after: retry_after.or(asked),
            status: status.map(Box::new),
            source: None,
        }
    }

    /// A `Status` inside a watch that was answered 200.
    pub(crate) fn in_watch(status: Status) -> Self {
        let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self {
            class: Class::of(code, &status.reason),
            message: format!("the watch ended with {}: {}", status.code, status.message),
            status: Some(Box::new(status)),
            retry_after: None,
            source: None,
        }
    }
}
