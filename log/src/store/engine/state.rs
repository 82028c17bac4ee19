//! What the engine keeps in memory; all of it can be loaded again from the map.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{Offset, Revision, StreamId};
use crate::store::codec::StreamValue;
use crate::store::keys::StreamNo;
use crate::store::{StoreStats, StreamInfo, Watermarks};

/// What only the writing side uses.
#[derive(Debug, Default)]
pub(super) struct WriterSide {
    /// Everything superseded by a revision up to here has been removed: where the next trim starts
    /// to look, instead of walking over what the engine has not compacted away yet.
    pub(super) trimmed_upto: Revision,
    pub(super) since_sync: SinceSync,
}

/// What became of what was appended since `sync` last answered: trimming and recovering may come
/// between an append and its sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SinceSync {
    /// Nothing was appended.
    #[default]
    Nothing,
    /// A crash would lose it.
    Unsynced,
    /// The sync of a trim made it durable.
    Durable,
    /// A recovery took it back.
    Lost,
}

impl SinceSync {
    /// Something was appended.
    pub(super) const fn append(&mut self) {
        *self = match self {
            Self::Lost => Self::Lost,
            Self::Nothing | Self::Unsynced | Self::Durable => Self::Unsynced,
        };
    }

    /// A trim made everything durable.
    pub(super) const fn trim(&mut self) {
        if matches!(self, Self::Unsynced) {
            *self = Self::Durable;
        }
    }

    /// A recovery went back to what is durable.
    pub(super) const fn recover(&mut self) {
        if matches!(self, Self::Unsynced) {
            *self = Self::Lost;
        }
    }
}

/// What readers see. Changed only by the writing side, after the map has changed.
#[derive(Debug, Default)]
pub(super) struct Published {
    pub(super) marks: Watermarks,
    /// Something was committed since the last sync.
    pub(super) unsynced: bool,
    pub(super) streams: BTreeMap<StreamId, StreamState>,
    pub(super) names: BTreeMap<StreamNo, StreamId>,
    /// Streams with records above the durable watermark.
    pub(super) ahead: BTreeSet<StreamId>,
    pub(super) next_stream: u32,
    /// Dropped streams whose records are still there.
    pub(super) dropped: BTreeSet<StreamNo>,
    /// Bytes of superseded records.
    pub(super) superseded_bytes: u64,
    pub(super) read_only: Option<String>,
    pub(super) stats: StoreStats,
}

impl Published {
    /// Everything up to `written` has become durable.
    pub(super) fn synced(&mut self, written: Revision) {
        self.marks.durable = written;
        self.unsynced = false;
        self.stats.syncs += 1;
        for stream in std::mem::take(&mut self.ahead) {
            if let Some(state) = self.streams.get_mut(&stream) {
                state.durable_head = state.head();
            }
        }
    }
}

/// One open stream.
#[derive(Clone, Debug)]
pub(super) struct StreamState {
    pub(super) value: StreamValue,
    pub(super) durable_head: Offset,
    /// Facts that wait for the peer.
    pub(super) facts: u64,
    /// What they take.
    pub(super) facts_bytes: u64,
}

impl StreamState {
    pub(super) const fn new(value: StreamValue) -> Self {
        Self {
            value,
            durable_head: Offset::ZERO,
            facts: 0,
            facts_bytes: 0,
        }
    }

    pub(super) fn head(&self) -> Offset {
        self.value.own_head.max(self.value.received_head)
    }

    pub(super) fn info(&self) -> StreamInfo {
        let StreamValue {
            epoch,
            received,
            acked,
            floor,
            history,
            ..
        } = self.value;
        StreamInfo {
            epoch,
            head: self.head(),
            durable: self.durable_head,
            received,
            acked,
            floor,
            history,
        }
    }

    /// Whether a peer acknowledges records of this stream.
    pub(super) fn is_replicated(&self, name: &StreamId) -> bool {
        match name {
            StreamId::Cluster => false,
            StreamId::Node(..) => !self.value.is_copy,
        }
    }
}
