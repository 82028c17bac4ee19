//! How a peer can break the protocol.

use super::CloseCode;
use crate::error::ReadError;
use crate::id::Offset;
use crate::wire::{BodyError, WireError};

/// What the peer did. Ends the session, harms nothing else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Its bytes are no frame.
    #[error("malformed frame: {0}")]
    Frame(WireError),
    /// A frame that has no place at this point of the session.
    #[error("unexpected {frame} frame")]
    Unexpected {
        /// Which.
        frame: &'static str,
    },
    /// It speaks for another node than it was admitted as.
    #[error("it says it is another node")]
    Node,
    /// Its records do not follow those before.
    #[error("records after {after} do not follow {received}")]
    Gap {
        /// What has been received.
        received: Offset,
        /// Where the frame begins.
        after: Offset,
    },
    /// It starts its stream where this end is not.
    #[error("its stream starts where this end is not")]
    Start,
    /// It acknowledges, or asks for, what was never sent.
    #[error("{upto} was never sent")]
    NeverSent {
        /// What it named.
        upto: Offset,
    },
    /// Frames of a reconcile are missing or repeated.
    #[error("frame {found} of a reconcile where {expected} should be")]
    Sequence {
        /// The next one.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// A body cannot be had from what came.
    #[error("{0}")]
    Body(BodyError),
    /// More is under way than the window allows.
    #[error("more is under way than the window allows")]
    Window,
    /// It asks to go back again and again.
    #[error("too many requests to go back")]
    Rewinds,
    /// Digest entries are not sorted, not asked for, or too many.
    #[error("digest entries are out of order")]
    Digest,
}

impl Violation {
    /// The code that the peer is told.
    #[must_use]
    pub const fn code(&self) -> CloseCode {
        match self {
            Self::Frame(WireError::TooLarge { .. }) => CloseCode::TooLarge,
            Self::Node => CloseCode::Forbidden,
            Self::Frame(_)
            | Self::Unexpected { .. }
            | Self::Gap { .. }
            | Self::Start
            | Self::NeverSent { .. }
            | Self::Sequence { .. }
            | Self::Body(_)
            | Self::Window
            | Self::Rewinds
            | Self::Digest => CloseCode::Violation,
        }
    }
}

/// Why a session cannot go on.
#[derive(Debug)]
pub(super) enum Fault {
    /// The peer's doing.
    Violation(Violation),
    /// The own store's.
    Read(ReadError),
    /// An orderly end.
    End(CloseCode, &'static str),
}

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Self {
        Self::Violation(Violation::Frame(error))
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}
