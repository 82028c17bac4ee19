//! What is appended in one atomic step.

use std::sync::Arc;

use bytes::Bytes;

use crate::id::{Epoch, Offset, Revision, StreamId};
use crate::key::{Key, NodeName};
use crate::record::{Draft, Slot};

/// Everything that becomes durable together or not at all: records, the places reached in streams,
/// cursors, and rows of projections.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Conditions on the state before the batch; the first that fails refuses the whole batch.
    pub expect: Vec<Expect>,
    /// Changes to streams as such, applied before the entries.
    pub streams: Vec<StreamChange>,
    /// Records, appended in this order.
    pub entries: Vec<Entry>,
    /// Consumers' places.
    pub cursors: Vec<(CursorName, Offset)>,
    /// Rows of projections.
    pub rows: Vec<Row>,
}

impl Batch {
    /// Whether it would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.streams.is_empty()
            && self.cursors.is_empty()
            && self.rows.is_empty()
    }
}

/// One record to append.
#[derive(Clone, Debug)]
pub struct Entry {
    /// To which stream; it must be open.
    pub stream: StreamId,
    /// At which offset.
    pub place: Place,
    /// The record.
    pub draft: Draft,
}

/// Where in its stream a record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The next one: this store writes the stream, the offset is the record's revision.
    Next,
    /// As the peer that writes the stream says.
    At(Offset),
}

/// A condition on the state before a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The newest record of a key and slot has this revision; `None`: there is no record, or the
    /// newest is a `Delete`.
    Newest {
        /// In which stream.
        stream: StreamId,
        /// Of which key.
        key: Key,
        /// In which slot.
        slot: Slot,
        /// Which revision.
        revision: Option<Revision>,
    },
    /// The stream is in this epoch.
    Epoch {
        /// Which stream.
        stream: StreamId,
        /// Which epoch.
        epoch: Epoch,
    },
    /// The received stream has been received up to here.
    Received {
        /// Which stream.
        stream: StreamId,
        /// Which offset.
        upto: Offset,
    },
}

/// A change to a stream as such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamChange {
    /// The stream exists from here on in this epoch. For a stream that exists in another epoch:
    /// the same records count as the start of the new epoch. Resets `acked` to zero, and
    /// `received` too.
    Open {
        /// Which stream.
        stream: StreamId,
        /// The epoch it is in from here on.
        epoch: Epoch,
    },
    /// As receiver: everything the peer's stream holds up to this offset is here.
    Received {
        /// Which stream.
        stream: StreamId,
        /// Up to and with this offset. Never goes back within an epoch.
        upto: Offset,
    },
    /// As sender: the peer has everything up to this offset on disk.
    Acked {
        /// Which stream.
        stream: StreamId,
        /// Up to and with this offset. Never goes back within an epoch.
        upto: Offset,
    },
    /// The stream and all its records are gone (its node left the cluster).
    Drop {
        /// Which stream.
        stream: StreamId,
    },
}

/// Names a consumer's place in a stream, such as the cloud's write-back worker of one node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CursorName(pub Arc<str>);

impl CursorName {
    /// The place of the consumer of what a node sent. It holds a revision of this store, and what
    /// is after it in a copy of `up/<node>` is never trimmed.
    #[must_use]
    pub fn write_back(node: &NodeName) -> Self {
        Self(format!("writeback/{node}").into())
    }
}

/// Names a table of projection rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub &'static str);

/// One row of a projection: written with the records it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which projection.
    pub table: Table,
    /// Row key; rows are scanned in byte order.
    pub key: Bytes,
    /// Row value; `None` removes the row.
    pub value: Option<Bytes>,
}
