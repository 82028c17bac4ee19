//! The state of streams from their newest records alone.

use causeway_log::error::ReadError;
use causeway_log::store::ReadLimit;
use causeway_log::{Revision, Store, Stored, StreamId};

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
    let mut objects = Objects::with_limits(limits);
    let durable = store.watermarks().durable;
    for stream in streams {
        let Some(info) = store.stream(stream)? else {
            continue;
        };
        let mut own = true;
        let mut last: Option<Stored> = None;
        loop {
            let after = last
                .as_ref()
                .map(|last| (&last.record.header.key, last.record.header.op.slot()));
            let mut page = store.scan_newest(stream, after, ReadLimit::SCAN)?;
            for stored in &page {
                own &= stored.record.header.offset == stored.revision.as_own_offset();
                objects.apply(stream, stored);
            }
            last = page.pop();
            if last.is_none() {
                break;
            }
        }
        // In a stream written here, offsets are revisions and the trimmed tombstones are counted
        // by offset. Of a received one only the start of the exact history is known.
        objects.raise_floor(if own {
            Revision::new(info.floor.get())
        } else {
            info.history
        });
    }
    objects.cover(durable);
    objects.is_rebuilt_at(durable);
    Ok(objects)
}
