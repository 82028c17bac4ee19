//! Where records live: the [`Store`] contract.
//!
//! ```text
//!            append          sync            peer's ack        history window
//!   draft ──────────▶ written ─────▶ durable ───────────▶ acked ─────────────▶ trimmed
//!                        │              │
//!                        └ seen by      └ seen by everybody else:
//!                          the writer     acks, sessions, local API, answers
//! ```

use bytes::Bytes;

use crate::batch::{Batch, CursorName, Entry, Place, Table};
use crate::body::{Body, BodyHash};
use crate::error::{AppendError, ReadError, SyncError, TrimError};
use crate::id::{Epoch, Offset, Revision, StreamId};
use crate::key::Key;
use crate::record::{Header, Slot, Stored};

mod codec;
#[cfg(feature = "testing")]
pub mod conformance;
pub mod engine;
#[cfg(feature = "fjall")]
pub mod fjall;
#[cfg(feature = "testing")]
pub mod fuzz;
mod keys;
pub mod kv;
pub mod memory;

pub use engine::VerifyReport;

/// An append-only, many-stream, newest-per-key-compacted record store.
///
/// All methods block. A [`crate::writer::Writer`] thread is the only caller of `append` and `sync`;
/// anybody may read, `trim` and `try_recover`, at any time, also between an `append` and its `sync`:
/// the four exclude each other and each is atomic. Reads for others (`read`, `read_coalesced`, `held_at`,
/// `scan_newest`) see the durable state only; the rest see what is written, for the writer.
///
/// # Guarantees
/// - **Atomic**: a batch is applied whole or not at all, also across a crash.
/// - **Two watermarks**: `append` makes a batch *written*: visible to reads of this process, lost
///   by a crash. `sync` makes everything written *durable*: no crash loses it (LOG-2). Callers that
///   acknowledge, expose or answer must wait for durable.
/// - **Order**: revisions grow over the whole store; within a stream, offsets grow with revisions
///   (LOG-1, LOG-4). Both may skip. No number is given twice, not even after a crash that lost
///   unsynced records which had been read by nobody outside.
/// - **Fidelity**: a record read equals the record written, byte for byte (LOG-3); damage is an
///   error, never a different record.
/// - **Newest survives**: `trim` never removes the newest record of a key and slot, except, when it
///   is older than the history window and the peer has acked it (in a stream that is replicated
///   nowhere or a copy, the window alone decides):
///   - a fact;
///   - a `Delete`, but one going up only when the node's `down` stream does not hold the object;
///   - with a `Delete`, and before it, the older status and twin of its key in the same stream;
///   - a request that is answered and its answer, when the object is gone: the request first.
///
///   So what is left never says that an object is there which is gone, or that a request waits which
///   is answered. The last record of a copy stays in any case: it tells the sender, at the next
///   handshake, whose past this is.
/// - **Ended for good**: a `Put` that follows a `Delete` begins another life of its key. What the
///   stream still keeps of the status and twin from before that `Delete` is superseded by an empty
///   record, which the append adds just before the `Put`: at its own offset in a stream that this
///   store writes, at that of the `Put` in a copy. So both ends agree, whichever of them has trimmed.
/// - **Consumed first**: of a copy of `up/<node>`, `trim` removes nothing after the cursor
///   [`CursorName::write_back`] of the node, not even what is superseded; without a cursor, nothing.
/// - **After a failed write** the store is read-only: reads go on, `append` and `sync` answer
///   [`AppendError::ReadOnly`] with the reason until [`Store::try_recover`] succeeds.
///
/// # Assumptions
/// - One process opens a store at a time (a lock file enforces it).
/// - The disk keeps what `fsync` returned for.
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// Applies `batch`: written, not durable.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was applied.
    fn append(&self, batch: &Batch) -> Result<Appended, AppendError>;

    /// Makes everything written so far durable and says up to where that is. It is the answer to
    /// all appends since the last call, whoever else synced or recovered the store in between.
    ///
    /// # Errors
    /// [`SyncError`]: an append since the last call is not durable. When the write failed now, the
    /// store is read-only from then on; nothing above the last durable watermark may be
    /// acknowledged.
    fn sync(&self) -> Result<Revision, SyncError>;

    /// The two watermarks.
    fn watermarks(&self) -> Watermarks;

    /// What is known of a stream, or `None` when it is not open. Includes written changes.
    ///
    /// # Errors
    /// [`ReadError`]
    fn stream(&self, stream: &StreamId) -> Result<Option<StreamInfo>, ReadError>;

    /// All open streams, in order.
    ///
    /// # Errors
    /// [`ReadError`]
    fn streams(&self) -> Result<Vec<StreamId>, ReadError>;

    /// Surviving records of `stream` with `after < revision`, oldest first, up to the *durable*
    /// watermark, history included.
    ///
    /// # Errors
    /// [`ReadError`]
    fn read(
        &self,
        stream: &StreamId,
        after: Revision,
        limit: ReadLimit,
    ) -> Result<Vec<Stored>, ReadError>;

    /// What a peer at `after` still needs of a stream that *this store writes* (so offsets are
    /// revisions), up to the durable head: the records after `after` that are the newest of their
    /// key and slot at that head, and all facts, oldest first. `upto` of the result is the offset
    /// up to which it is complete: the durable head, or less when the limit was reached.
    ///
    /// # Caveats
    /// A version that a later one supersedes is left out even when the page ends before the later
    /// one; see [`Coalesced::is_complete`] for what that means to a peer in between.
    ///
    /// # Errors
    /// [`ReadError`]
    fn read_coalesced(
        &self,
        stream: &StreamId,
        after: Offset,
        limit: ReadLimit,
    ) -> Result<Coalesced, ReadError>;

    /// The newest written record of a key and slot, a `Delete` included.
    ///
    /// # Errors
    /// [`ReadError`]
    fn newest(&self, stream: &StreamId, key: &Key, slot: Slot)
    -> Result<Option<Stored>, ReadError>;

    /// The newest durable record of a key and slot with `offset <= upto`, a `Delete` included: what
    /// a peer that is exactly at `upto` holds. For streams this store writes.
    ///
    /// `None` when there was none, when the history window has let it go, or when it lies more
    /// than [`crate::limits::HISTORY_STEPS_MAX`] versions back. History goes oldest first, so what
    /// is given is never an older version than the true one.
    ///
    /// # Errors
    /// [`ReadError`]
    fn held_at(
        &self,
        stream: &StreamId,
        key: &Key,
        slot: Slot,
        upto: Offset,
    ) -> Result<Option<Stored>, ReadError>;

    /// The newest durable record of every key and slot of a stream (tombstones included, of facts
    /// the last of each key), in key order, page by page: `after` is the last key and slot of the page before.
    ///
    /// # Errors
    /// [`ReadError`]
    fn scan_newest(
        &self,
        stream: &StreamId,
        after: Option<(&Key, Slot)>,
        limit: ReadLimit,
    ) -> Result<Vec<Stored>, ReadError>;

    /// A hashed body.
    ///
    /// # Errors
    /// [`ReadError`]
    fn body(&self, hash: &BodyHash) -> Result<Option<Body>, ReadError>;

    /// A consumer's place; `None` when never set. Includes written changes.
    ///
    /// # Errors
    /// [`ReadError`]
    fn cursor(&self, name: &CursorName) -> Result<Option<Offset>, ReadError>;

    /// Rows of a table with `from <= key`, in key order, at most `limit`. Includes written changes.
    ///
    /// # Errors
    /// [`ReadError`]
    fn rows(
        &self,
        table: Table,
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError>;

    /// Applies the history window: removes superseded records, acked tombstones and facts, what is
    /// kept of objects that are gone, what dropped streams left, and bodies nobody refers to. Removes
    /// a bounded number of records per call; `more` says whether to call again. What it removed is gone durably when it returns; when there was
    /// nothing to remove, nothing is written.
    ///
    /// # Errors
    /// [`TrimError`]
    fn trim(&self, policy: &TrimPolicy) -> Result<Trimmed, TrimError>;

    /// Tries to leave the read-only state after a failed write (space is back).
    ///
    /// # Errors
    /// [`SyncError`] when it still cannot write.
    fn try_recover(&self) -> Result<(), SyncError>;

    /// Why the store takes no writes; `None` when it does.
    fn read_only(&self) -> Option<String>;

    /// Counters since open, for metrics.
    fn stats(&self) -> StoreStats;
}

/// What `append` did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// The revision of each entry, in the order of the batch.
    pub revisions: Vec<Revision>,
    /// [`Stored::since`] of each entry, in the order of the batch.
    pub since: Vec<Revision>,
}

/// What opening a store found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// There was no store; an empty one was made.
    pub created: bool,
    /// Everything up to here was found, and is durable.
    pub durable: Revision,
    /// How many streams are open.
    pub streams: usize,
    /// How many records were checked against their checksums and indexes.
    pub records_checked: u64,
    /// Bytes of an unsynced tail, torn by a crash, that were cut off. Nothing durable was in them.
    pub torn_bytes: u64,
}

/// How far a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermarks {
    /// The highest revision appended.
    pub written: Revision,
    /// The highest revision that no crash can lose.
    pub durable: Revision,
}

/// What a store knows of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its identity.
    pub epoch: Epoch,
    /// As writer: the highest offset written. As receiver: the highest offset of a record held.
    pub head: Offset,
    /// As writer: the highest offset that is durable here.
    pub durable: Offset,
    /// As receiver: everything up to here has been received.
    pub received: Offset,
    /// As writer: everything up to here is durable at the peer.
    pub acked: Offset,
    /// As writer: the highest offset of an acked newest record that was trimmed. A peer below
    /// it cannot be resumed, only reconciled. Facts dropped over the quota do not count: a peer
    /// that misses them misses nothing else.
    pub floor: Offset,
    /// The lowest revision at which the past state of the stream can be shown exactly, facts
    /// apart.
    pub history: Revision,
}

/// A page bound: whichever is reached first; at least one record is always given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// At most so many records.
    pub records: usize,
    /// Stop after so many bytes of bodies.
    pub bytes: usize,
}

impl ReadLimit {
    /// A page fit for one frame.
    pub const FRAME: Self = Self {
        records: crate::limits::FRAME_RECORDS_MAX,
        bytes: crate::limits::FRAME_TARGET_BYTES,
    };
    /// A page fit for a local scan.
    pub const SCAN: Self = Self {
        records: 4096,
        bytes: 4 * 1024 * 1024,
    };
}

/// What a peer still needs, as far as the page went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coalesced {
    /// Newest-per-key records and facts, oldest first.
    pub records: Vec<Stored>,
    /// These are all there is up to this offset.
    pub upto: Offset,
    /// The durable head was reached. A peer that has everything up to `upto` of a complete page
    /// then holds exactly what [`Store::held_at`] says of `upto`; within an incomplete run of
    /// pages it may lack, for a key that changed again later, the version in between.
    pub is_complete: bool,
}

/// The history window: a superseded record may go when the record that superseded it is older than
/// *all* given bounds, a newest record that may go at all when it is itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrimPolicy {
    /// Keep at least so many of the newest revisions of the store.
    pub keep_revisions: u64,
    /// Keep whatever the writer's clock said is at least as new as this. Records go in the order
    /// of revisions, so one with a clock from the future holds back those after it; only
    /// `bytes_max` overrides it.
    pub keep_since: crate::id::WallTime,
    /// When the store's superseded records hold more bytes than this, the oldest go even inside
    /// the window. Zero: no bound.
    pub bytes_max: u64,
    /// Facts of a stream beyond this many are dropped even inside the window, oldest first; those
    /// that still waited for the peer are counted in [`Trimmed::facts_dropped`].
    pub facts_max: u64,
    /// Facts that a stream brought from a peer: when they hold more bytes than this, those that
    /// their consumer has taken go even inside the window, oldest first. Zero: no bound.
    pub facts_bytes_max: u64,
    /// Bound of the work of one call.
    pub records_per_call_max: usize,
}

/// What a call of `trim` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Records removed.
    pub records: u64,
    /// Bodies removed because nobody refers to them any more.
    pub bodies: u64,
    /// Facts dropped unacked because of the quota.
    pub facts_dropped: u64,
    /// The bound of the call was reached.
    pub more: bool,
}

/// Counters since open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Records appended.
    pub records: u64,
    /// Bytes of bodies appended.
    pub body_bytes: u64,
    /// Calls of `sync` that reached the disk.
    pub syncs: u64,
    /// Whether the store is read-only after a failed write.
    pub read_only: bool,
}

/// The header that `entry` gets at `revision`.
pub(crate) fn header_at(entry: &Entry, revision: Revision) -> Header {
    let draft = &entry.draft;
    Header {
        offset: match entry.place {
            Place::Next => revision.as_own_offset(),
            Place::At(offset) => offset,
        },
        id: draft.id,
        cause: draft.cause,
        time: draft.time,
        key: draft.key.clone(),
        version: draft.version.unwrap_or_else(|| revision.as_own_version()),
        op: draft.op,
    }
}
