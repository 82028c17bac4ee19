//! Why a report or a wish came to nothing.

use std::sync::Arc;

use causeway_kube_api::WriteError;
use causeway_projections::twin::{DeviceName, Refused};

/// A report or a wish was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The node has no such device.
    #[error("this node has no device {device}")]
    Unknown {
        /// The name.
        device: DeviceName,
    },
    /// A property of it is not acceptable, and so is the whole.
    #[error("property {property:?} is refused")]
    Refused {
        /// Which one; shortened, it may be hostile.
        property: Arc<str>,
        /// Why.
        #[source]
        refused: Refused,
    },
    /// The state is not acceptable, and so is the whole.
    #[error("the state is refused")]
    State(#[source] Refused),
    /// More properties at once, or more bytes of one device, than there may be.
    #[error("{what} exceeds the limit of {limit}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: usize,
    },
    /// The node may not ask for it.
    #[error("forbidden: {reason}")]
    Forbidden {
        /// Why.
        reason: String,
    },
    /// The store only reads, for instance because its disk is full.
    #[error("the store is read-only: {reason}")]
    ReadOnly {
        /// Why.
        reason: String,
    },
    /// It cannot be taken now.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
}

impl ReportError {
    /// The code in the error payloads of KubeEdge's topics.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Unknown { .. } => 404,
            Self::Refused { refused, .. } | Self::State(refused) => refused.code(),
            Self::TooLarge { .. } | Self::Forbidden { .. } => 400,
            Self::ReadOnly { .. } | Self::Unavailable { .. } => 500,
        }
    }

    pub(crate) fn stopping() -> Self {
        Self::Unavailable {
            reason: "the edge is stopping".to_owned(),
        }
    }
}

impl From<WriteError> for ReportError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Forbidden { reason } => Self::Forbidden { reason },
            WriteError::Rejected(status) => Self::Forbidden {
                reason: status.message,
            },
            WriteError::ReadOnly { reason } => Self::ReadOnly { reason },
            WriteError::TooLarge { limit, .. } => Self::TooLarge {
                what: "the Device",
                limit,
            },
            WriteError::Unavailable { reason } => Self::Unavailable { reason },
            WriteError::Conflict { .. } => Self::Unavailable {
                reason: "the Device changed in between".to_owned(),
            },
        }
    }
}
