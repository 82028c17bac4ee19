//! Every bound of the engine, in one place, with the relations between them proved at compile time.

use std::time::Duration;

/// Longest node name: a DNS-1123 subdomain.
pub const NODE_NAME_BYTES_MAX: usize = 253;
/// Longest part of a key. Kubernetes names are at most 253 bytes, groups likewise.
pub const KEY_PART_BYTES_MAX: usize = 253;
/// Longest object: the API server's own request limit is 3 MiB, etcd's default is 1.5 MiB.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Bodies up to this size stand inside their record; larger ones are stored once by hash.
pub const BODY_INLINE_BYTES_MAX: usize = 1024;
/// Records in one batch; a batch is built in memory.
pub const BATCH_RECORDS_MAX: usize = 65_536;
/// Longest key of a projection's row; the storage engine takes keys up to 64 KiB.
pub const ROW_KEY_BYTES_MAX: usize = 1024;
/// Records that a walk back through the history of one key reads at most.
pub const HISTORY_STEPS_MAX: usize = 4096;
/// Records checked when a store is opened; the rest is checked as it is read, or by a full
/// verification.
pub const OPEN_CHECK_RECORDS_MAX: usize = 4096;
/// As [`OPEN_CHECK_RECORDS_MAX`], of each stream.
pub const OPEN_CHECK_RECORDS_PER_STREAM_MAX: usize = 256;
/// Bytes of bodies in one batch.
pub const BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A round of the writer takes no further request from here on: one fsync is spread over enough
/// records, and what the last request adds still fits into a batch.
pub const ROUND_RECORDS_TARGET: usize = 8192;
/// As [`ROUND_RECORDS_TARGET`], in bytes of bodies.
pub const ROUND_BYTES_TARGET: usize = 8 * 1024 * 1024;

/// Largest frame a peer may send: one record with the largest body, raw, and its header.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Room for everything in a `Records` frame that is not a body.
pub const FRAME_OVERHEAD_BYTES: usize = 512 * 1024;
/// Records in one frame.
pub const FRAME_RECORDS_MAX: usize = 1024;
/// A sender closes a frame when its encoded bodies reach this.
pub const FRAME_TARGET_BYTES: usize = 64 * 1024;
/// Unacknowledged bytes a sender may have under way: covers 1 s of a 2 Mbit/s link.
pub const WINDOW_BYTES: usize = 256 * 1024;
/// Decoded bytes of bodies in one frame: a full page and a largest body behind it. A few bytes of
/// delta may stand for megabytes, so encoded bytes alone would bound no memory.
pub const FRAME_DECODED_BYTES_MAX: usize = BODY_BYTES_MAX + FRAME_TARGET_BYTES;
/// Unacknowledged decoded bytes a sender may have under way; the receiver holds them in memory.
pub const WINDOW_DECODED_BYTES: usize = 8 * 1024 * 1024;
/// Frames longer than this are sent in slices of it, so that acknowledgements and pings need not
/// wait behind them: 3 s of a 40 kbit/s link.
pub const FRAME_PART_BYTES: usize = 16 * 1024;
/// Largest offset taken from a peer. No writer comes near it, and numbering on from there cannot
/// overflow.
pub const OFFSET_MAX: u64 = 1 << 62;
/// Facts among so many records that came last are kept, taken by their consumer or not.
pub const FACTS_KEPT: u64 = 256;
/// Longest explanation in a `Close`.
pub const CLOSE_REASON_BYTES_MAX: usize = 256;
/// How often a receiver may ask a sender to go back in one session.
pub const REWINDS_MAX: u32 = 16;
/// Queued requests at one store's writer; producers wait beyond it.
pub const WRITER_QUEUE_MAX: usize = 4096;

/// Buckets of a digest.
pub const DIGEST_BUCKETS: usize = 256;
/// Streams up to this many keys are reconciled by their whole list, without buckets.
pub const DIGEST_LIST_KEYS_MAX: usize = 256;
/// Entries of a receiver that its sender does not know; a peer that lists more is refused (16 MiB).
pub const DIGEST_ENTRIES_MAX: usize = 1 << 20;
/// Digest entries in one frame.
pub const DIGEST_ENTRIES_PER_FRAME_MAX: usize = 4096;

/// A side that heard nothing for this long sends a ping.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// A side that heard nothing for this long after a ping closes the session.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// The handshake must be over by then.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// What a peer acknowledged is written down at most this often: losing it costs re-sending only.
pub const ACKED_WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// The longest that a peer may ask the other to stay away.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);
/// First reconnect delay, before jitter.
pub const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// Largest reconnect delay, before jitter.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);

const _: () = assert!(BODY_BYTES_MAX + FRAME_OVERHEAD_BYTES <= FRAME_BYTES_MAX);
const _: () = assert!(FRAME_TARGET_BYTES <= WINDOW_BYTES);
const _: () = assert!(FRAME_DECODED_BYTES_MAX <= FRAME_BYTES_MAX);
const _: () = assert!(FRAME_DECODED_BYTES_MAX <= WINDOW_DECODED_BYTES);
const _: () = assert!(FRAME_PART_BYTES <= FRAME_TARGET_BYTES);
const _: () = assert!(DIGEST_BUCKETS == 1 << u8::BITS);
const _: () = assert!(DIGEST_LIST_KEYS_MAX <= DIGEST_ENTRIES_PER_FRAME_MAX);
const _: () = assert!(DIGEST_ENTRIES_PER_FRAME_MAX * 32 + 64 <= FRAME_BYTES_MAX);
const _: () = assert!(BODY_INLINE_BYTES_MAX < BODY_BYTES_MAX);
const _: () = assert!(BODY_BYTES_MAX <= BATCH_BYTES_MAX);
const _: () = assert!(FRAME_RECORDS_MAX <= BATCH_RECORDS_MAX);
const _: () = assert!(ROUND_RECORDS_TARGET + FRAME_RECORDS_MAX <= BATCH_RECORDS_MAX);
const _: () = assert!(ROUND_BYTES_TARGET + FRAME_BYTES_MAX <= BATCH_BYTES_MAX);
const _: () = assert!(BACKOFF_MIN.as_millis() < BACKOFF_MAX.as_millis());
const _: () = assert!(OPEN_CHECK_RECORDS_PER_STREAM_MAX <= OPEN_CHECK_RECORDS_MAX);
// The storage engine writes the length of a key in 16 bits.
const _: () = assert!(ROW_KEY_BYTES_MAX + 64 <= u16::MAX as usize);
const _: () = assert!(5 * 2 * KEY_PART_BYTES_MAX + 64 <= u16::MAX as usize);
