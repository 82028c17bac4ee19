//! Why a request failed.

use crate::status::Status;

/// A request to the API failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The server answered with a `Status` that is no success.
    #[error("the API refused the request: {}", message_of(.status))]
    Refused {
        /// What it said.
        status: Box<Status>,
    },
    /// The server cannot be reached.
    #[error("cannot connect to the API")]
    Connect {
        /// Why.
        source: std::io::Error,
    },
    /// The connection broke during a request: it may have been carried out.
    #[error("connection to the API broke")]
    Transport {
        /// Why.
        source: hyper::Error,
    },
    /// No answer in time: the request may have been carried out.
    #[error("no answer from the API within {seconds} s")]
    Timeout {
        /// How long was waited.
        seconds: u64,
    },
    /// The answer is larger than this client takes.
    #[error("answer of the API is larger than {limit} bytes")]
    TooLarge {
        /// The bound in bytes.
        limit: usize,
    },
    /// The answer is not what the API promises.
    #[error("answer of the API is not understood")]
    Decode {
        /// Why.
        source: serde_json::Error,
    },
    /// The request cannot be put into HTTP, for instance a name with a control character.
    #[error("request cannot be expressed in HTTP")]
    Request {
        /// Why.
        source: http::Error,
    },
}

fn message_of(status: &Status) -> &str {
    &status.message
}

impl ApiError {
    /// The HTTP code of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        self.status().map(|status| status.code)
    }

    /// The `Status` of a refusal.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        if let Self::Refused { status } = self {
            Some(status)
        } else {
            None
        }
    }

    /// Whether the object does not exist (404).
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Whether the object changed meanwhile or exists already (409).
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// Whether the resource version asked for is too old (410): list again.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.code() == Some(410)
    }

    /// Whether the same request may succeed later without any change to it.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::Refused { status } => matches!(status.code, 408 | 429 | 500..),
            Self::Connect { .. } | Self::Transport { .. } | Self::Timeout { .. } => true,
            Self::TooLarge { .. } | Self::Decode { .. } | Self::Request { .. } => false,
        }
    }
}
