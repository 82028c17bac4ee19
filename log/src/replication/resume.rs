//! How a stream goes on: what a receiver says it holds, and what a sender makes of it.
//!
//! | the receiver | the sender |
//! |---|---|
//! | holds nothing | sends from zero in its epoch |
//! | is in the sender's epoch, not inside a reconcile, `floor ≤ have ≤ durable`, and its last record is the sender's | resumes after `have` |
//! | anything else | begins a new epoch and reconciles |
//!
//! A reconcile always leads to a new epoch. So within an epoch a receiver is only ever where
//! contiguous records, or the end mark of a reconcile, have led it.

use super::violation::Fault;
use crate::error::ReadError;
use crate::id::{EventId, Offset, Revision, StreamId};
use crate::mutant;
use crate::store::{ReadLimit, Store, StreamInfo};
use crate::wire::Held;

/// How the sender goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// In the same epoch, after this offset.
    Resume { after: Offset },
    /// The stream has no epoch yet: open it, then send from zero.
    OpenAndSend,
    /// Open a new epoch, then compare digests.
    Reconcile,
}

/// What a sender knows of an offset that a receiver names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// The record there.
    Record(EventId),
    /// There never was one.
    Never,
    /// There may have been one; it is trimmed.
    Forgotten,
}

pub(super) fn decide(
    own: Option<&StreamInfo>,
    held: Option<&Held>,
    known: impl FnOnce(Offset) -> Result<Known, ReadError>,
) -> Result<Decision, Fault> {
    let Some(own) = own else {
        return Ok(match held {
            Some(held) if !held.empty => Decision::Reconcile,
            Some(_) | None => Decision::OpenAndSend,
        });
    };
    let Some(held) = held else {
        return Ok(Decision::Resume {
            after: Offset::ZERO,
        });
    };
    if held.epoch != own.epoch || (held.empty && held.have == Offset::ZERO) {
        let from_zero = Decision::Resume {
            after: Offset::ZERO,
        };
        return Ok(if held.empty {
            from_zero
        } else {
            Decision::Reconcile
        });
    }
    if held.unfinished
        || (held.have < own.floor && !mutant::is_on("resume-below-floor"))
        || held.have > own.durable
    {
        return Ok(Decision::Reconcile);
    }
    let is_ours = match held.last {
        None => true,
        Some((offset, id)) => match known(offset)? {
            Known::Record(ours) => ours == id,
            Known::Never => false,
            // The peer acknowledged it in this epoch, so it is of this past.
            Known::Forgotten => offset <= own.acked,
        },
    };
    Ok(if is_ours || mutant::is_on("trust-foreign-past") {
        Decision::Resume { after: held.have }
    } else {
        Decision::Reconcile
    })
}

/// What the own stream has at an offset.
pub(super) fn known_at(
    store: &dyn Store,
    stream: &StreamId,
    own: &StreamInfo,
    offset: Offset,
) -> Result<Known, ReadError> {
    let Some(before) = offset.get().checked_sub(1) else {
        return Ok(Known::Never);
    };
    let one = ReadLimit {
        records: 1,
        bytes: 0,
    };
    let next = store.read(stream, Revision::new(before), one)?;
    if let Some(stored) = next.first()
        && stored.record.header.offset == offset
    {
        return Ok(Known::Record(stored.record.header.id));
    }
    // Up to here superseded records, tombstones and facts may have been removed.
    let is_forgotten = offset.get() <= own.history.get() || offset <= own.floor;
    Ok(if is_forgotten {
        Known::Forgotten
    } else {
        Known::Never
    })
}

/// What this end holds of the peer's stream, to be told in the handshake.
pub(super) fn held(store: &dyn Store, stream: &StreamId) -> Result<Option<Held>, ReadError> {
    let Some(info) = store.stream(stream)? else {
        return Ok(None);
    };
    let one = ReadLimit {
        records: 1,
        bytes: 0,
    };
    let empty = store.scan_newest(stream, None, one)?.is_empty();
    let unfinished = info.head > info.received && !mutant::is_on("forget-unfinished-reconcile");
    let last = if unfinished || info.head == Offset::ZERO {
        None
    } else {
        last_record(store, stream)?.filter(|(offset, _)| *offset == info.head)
    };
    Ok(Some(Held {
        epoch: info.epoch,
        have: info.received,
        last,
        empty,
        unfinished,
    }))
}

/// The newest record of a stream, found by looking back in growing steps.
fn last_record(
    store: &dyn Store,
    stream: &StreamId,
) -> Result<Option<(Offset, EventId)>, ReadError> {
    let durable = store.watermarks().durable.get();
    let mut span = 64_u64;
    loop {
        let mut after = durable.saturating_sub(span);
        let is_all = after == 0;
        let mut last = None;
        loop {
            let page = store.read(stream, Revision::new(after), ReadLimit::SCAN)?;
            let Some(end) = page.last() else { break };
            after = end.revision.get();
            last = Some((end.record.header.offset, end.record.header.id));
        }
        if last.is_some() || is_all {
            return Ok(last);
        }
        span = span.saturating_mul(16);
    }
}
