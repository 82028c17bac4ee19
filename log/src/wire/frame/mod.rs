//! Frames: what one message of a session is.

use std::time::Duration;

use uuid::Uuid;

use super::record::WireRecord;
use crate::digest::{Buckets, DigestEntry, KeyHash};
use crate::id::{Epoch, EventId, Offset};
use crate::key::NodeName;
use crate::limits::DIGEST_BUCKETS;
use crate::replication::CloseCode;

mod decode;
mod encode;

pub(crate) use encode::RecordsFrame;

/// The first protocol version, and the only one so far.
pub const PROTOCOL_VERSION: u8 = 1;

/// What opens a `Hello`, so that a stranger on the port is told apart at once.
const MAGIC: [u8; 4] = *b"CWAY";

/// Frame type numbers. `HELLO` and `CLOSE` keep number and layout in every protocol version.
mod number {
    pub(super) const HELLO: u8 = 1;
    pub(super) const WELCOME: u8 = 2;
    pub(super) const START: u8 = 3;
    pub(super) const RECORDS: u8 = 4;
    pub(super) const ACK: u8 = 5;
    pub(super) const REWIND: u8 = 6;
    pub(super) const PING: u8 = 7;
    pub(super) const PONG: u8 = 8;
    pub(super) const CLOSE: u8 = 9;
    pub(super) const PART: u8 = 10;
    pub(super) const DIGEST_LIST: u8 = 16;
    pub(super) const DIGEST_BUCKETS: u8 = 17;
    pub(super) const DIGEST_REQUEST: u8 = 18;
    pub(super) const DIGEST_ENTRIES: u8 = 19;
    pub(super) const STAGE: u8 = 20;
    pub(super) const DROP: u8 = 21;
    pub(super) const STAGED: u8 = 22;
    pub(super) const END: u8 = 23;
}

/// What a receiver has of the peer's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// In which epoch.
    pub epoch: Epoch,
    /// Everything up to here.
    pub have: Offset,
    /// The last record it received in this epoch, so that a sender with another past is noticed.
    pub last: Option<(Offset, EventId)>,
    /// Whether it holds no record at all.
    pub empty: bool,
    /// Whether it stopped inside a reconcile, so that it is at no place of the epoch.
    pub unfinished: bool,
}

/// How a sender's stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Records follow from this offset, which is where the receiver is.
    Resume {
        /// The receiver's offset; zero for a receiver that holds nothing.
        after: Offset,
        /// The sender's durable head as the session begins. A receiver that is there has caught up.
        upto: Offset,
    },
    /// Digests are compared, differences follow, and then the receiver is at this offset.
    Reconcile {
        /// The offset reached at the end.
        upto: Offset,
    },
}

/// The set of buckets whose entries a sender asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketSet([u8; DIGEST_BUCKETS / 8]);

impl BucketSet {
    /// Adds a bucket.
    pub fn insert(&mut self, bucket: u8) {
        if let Some(byte) = self.0.get_mut(usize::from(bucket / 8)) {
            *byte |= 1 << (bucket % 8);
        }
    }

    /// Whether a bucket is in the set.
    #[must_use]
    pub fn contains(&self, bucket: u8) -> bool {
        self.0
            .get(usize::from(bucket / 8))
            .is_some_and(|byte| byte & (1 << (bucket % 8)) != 0)
    }

    /// Whether no bucket is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// All buckets.
    #[must_use]
    pub const fn all() -> Self {
        Self([0xff; DIGEST_BUCKETS / 8])
    }
}

/// One message between the two ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The edge speaks first.
    Hello {
        /// Lowest protocol version it speaks.
        version_min: u8,
        /// Highest protocol version it speaks.
        version_max: u8,
        /// Whose log.
        node: NodeName,
        /// Its process start.
        incarnation: Uuid,
        /// What it has of `down`.
        held: Option<Held>,
    },
    /// The cloud's answer.
    Welcome {
        /// The protocol version spoken from here on.
        version: u8,
        /// Its process start.
        incarnation: Uuid,
        /// What it has of `up`.
        held: Option<Held>,
    },
    /// How the speaker's own stream goes on.
    Start {
        /// The epoch of everything that follows.
        epoch: Epoch,
        /// From where.
        begin: Begin,
    },
    /// All surviving records in `(after, upto]`.
    Records {
        /// Where the frame begins.
        after: Offset,
        /// Where it leads.
        upto: Offset,
        /// The records, offsets growing.
        records: Vec<WireRecord<'a>>,
    },
    /// Everything up to here is durable at the receiver.
    Ack {
        /// Up to and with this offset.
        upto: Offset,
    },
    /// The receiver does not hold a base that a record named: send again from here, whole.
    Rewind {
        /// What the receiver has received.
        after: Offset,
    },
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
    /// The session ends.
    Close {
        /// Why.
        code: CloseCode,
        /// In words, for people.
        reason: &'a str,
        /// Not before this long.
        retry_after: Option<Duration>,
    },
    /// A slice of a frame that is too long to let control frames wait behind it.
    Part {
        /// Whether it is the last slice.
        last: bool,
        /// The slice.
        bytes: &'a [u8],
    },
    /// A receiver's entries, all of them.
    DigestList(Vec<DigestEntry>),
    /// A receiver's bucket hashes.
    DigestBuckets(Box<Buckets>),
    /// The sender wants the entries of these buckets.
    DigestRequest(BucketSet),
    /// A receiver's entries of the buckets asked for, key hashes growing over all frames.
    DigestEntries {
        /// Whether no more follow.
        last: bool,
        /// The entries.
        entries: Vec<DigestEntry>,
    },
    /// Records that differ.
    Stage {
        /// Counts `Stage` and `Drop` frames from one.
        seq: u64,
        /// The records, without places.
        records: Vec<WireRecord<'a>>,
    },
    /// Keys that only the receiver has.
    Drop {
        /// Counts `Stage` and `Drop` frames from one.
        seq: u64,
        /// Which.
        keys: Vec<KeyHash>,
    },
    /// `Stage` and `Drop` frames are durable at the receiver up to here.
    Staged {
        /// Up to and with this one.
        seq: u64,
    },
    /// The reconcile is complete: the receiver adopts the epoch and this place.
    End {
        /// As announced in `Start`.
        upto: Offset,
    },
}

impl Frame<'_> {
    /// Its name, for logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "Hello",
            Self::Welcome { .. } => "Welcome",
            Self::Start { .. } => "Start",
            Self::Records { .. } => "Records",
            Self::Ack { .. } => "Ack",
            Self::Rewind { .. } => "Rewind",
            Self::Ping => "Ping",
            Self::Pong => "Pong",
            Self::Close { .. } => "Close",
            Self::Part { .. } => "Part",
            Self::DigestList(_) => "DigestList",
            Self::DigestBuckets(_) => "DigestBuckets",
            Self::DigestRequest(_) => "DigestRequest",
            Self::DigestEntries { .. } => "DigestEntries",
            Self::Stage { .. } => "Stage",
            Self::Drop { .. } => "Drop",
            Self::Staged { .. } => "Staged",
            Self::End { .. } => "End",
        }
    }
}
