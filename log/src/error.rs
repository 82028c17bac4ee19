//! What can go wrong with a store, per operation. `Display` says what failed here, `source()` why.

use std::path::PathBuf;

use crate::batch::Expect;
use crate::id::{Offset, Revision, StreamId};

/// The cause of a failed disk operation, with the engine's own error as source.
#[derive(Debug, thiserror::Error)]
#[error("storage engine failed to {action}")]
pub struct EngineError {
    /// What was being done, such as "commit a batch".
    pub action: &'static str,
    /// Why it failed.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A damaged or contradictory record.
#[derive(Debug, thiserror::Error)]
#[error("damaged record in {place}: {what}")]
pub struct Damage {
    /// Which keyspace and key, in words.
    pub place: String,
    /// What is wrong with it.
    pub what: &'static str,
}

/// A store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("the store at {} is in use by another process", path.display())]
    Locked {
        /// Where.
        path: PathBuf,
    },
    /// It was written by a version of this program that this one does not know.
    #[error("the store at {} has format {found}, this program reads {known}", path.display())]
    Format {
        /// Where.
        path: PathBuf,
        /// The format on disk.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// Something on disk is not what was written.
    #[error("the store at {} is damaged; {recovery}", path.display())]
    Damaged {
        /// Where.
        path: PathBuf,
        /// How to go on from here.
        recovery: &'static str,
        /// Which record.
        #[source]
        damage: Damage,
    },
    /// The engine refuses.
    #[error("cannot open the store at {}", path.display())]
    Engine {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: EngineError,
    },
}

/// A batch was refused; nothing of it was applied.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// A condition of the batch does not hold.
    #[error("a precondition of the batch does not hold")]
    Conflict {
        /// The first one that failed.
        failed: Box<Expect>,
        /// For [`Expect::Newest`], what the newest revision is.
        found: Option<Revision>,
    },
    /// A stream named by an entry is not open.
    #[error("stream {stream} is not open")]
    NotOpen {
        /// Which.
        stream: StreamId,
    },
    /// An offset would not grow.
    #[error("offset {offset} of stream {stream} is not above its head {head}")]
    Order {
        /// Which stream.
        stream: StreamId,
        /// The offset given.
        offset: Offset,
        /// The head it has.
        head: Offset,
    },
    /// A body or the batch is over its limit.
    #[error("{what} of {size} exceeds the limit of {limit}")]
    TooLarge {
        /// Which thing.
        what: &'static str,
        /// How large it is.
        size: usize,
        /// What is allowed.
        limit: usize,
    },
    /// An earlier write failed; the store only reads.
    #[error("the store is read-only: {reason}")]
    ReadOnly {
        /// The failure, such as "no space left on device".
        reason: String,
    },
    /// Stored state needed for the append could not be read.
    #[error("cannot read what the append depends on")]
    Read(#[from] ReadError),
    /// The engine failed; the store is read-only from here on.
    #[error("cannot append")]
    Engine(#[source] EngineError),
}

/// Nothing more became durable; the store is read-only.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// An earlier write failed; the store only reads.
    #[error("the store is read-only: {reason}")]
    ReadOnly {
        /// The failure.
        reason: String,
    },
    /// The engine failed; the store is read-only from here on.
    #[error("cannot sync")]
    Engine(#[source] EngineError),
}

/// A read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What stands on disk is not what was written.
    #[error("cannot read a damaged record; {}", crate::store::engine::RECOVERY)]
    Damaged(#[source] Damage),
    /// The engine failed.
    #[error("cannot read")]
    Engine(#[source] EngineError),
}

/// Trimming failed; what was not removed stays.
#[derive(Debug, thiserror::Error)]
pub enum TrimError {
    /// An earlier write failed; the store only reads.
    #[error("the store is read-only: {reason}")]
    ReadOnly {
        /// The failure.
        reason: String,
    },
    /// A read that trimming depends on failed.
    #[error("cannot read what is to be trimmed")]
    Read(#[from] ReadError),
    /// The engine failed; the store is read-only from here on.
    #[error("cannot trim")]
    Engine(#[source] EngineError),
}
