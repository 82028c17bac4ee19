//! Records: one change each, immutable once appended.

use crate::body::Body;
use crate::id::{EventId, Offset, Revision, Version, WallTime};
use crate::key::Key;

/// What a record does to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// The whole object as its owner wants it.
    Put,
    /// The object is gone (down), or its node has finished with it (up).
    Delete,
    /// The edge-owned part of an object: its `status`.
    Status,
    /// Device properties: desired (down) or reported (up).
    Twin,
    /// Up: an edge application's write request to a cloud-owned object. Down: that request, named
    /// by the record's cause, was accepted.
    Apply,
    /// Happened once; never superseded.
    Fact,
    /// Down: the request named by the record's cause was refused; the body says why.
    Reject,
}

/// Records of one key supersede each other only within a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// `Put` and `Delete`.
    Object,
    /// `Status`.
    Status,
    /// `Twin`.
    Twin,
    /// `Apply` and `Reject`: up, the newest request for the key; down, the newest answer. A request
    /// is pending while the newest answer does not name it.
    Request,
    /// `Fact`: nothing supersedes it.
    Fact,
}

impl Op {
    /// Where the record stands among the newest of its key.
    #[must_use]
    pub const fn slot(self) -> Slot {
        match self {
            Self::Put | Self::Delete => Slot::Object,
            Self::Status => Slot::Status,
            Self::Twin => Slot::Twin,
            Self::Apply | Self::Reject => Slot::Request,
            Self::Fact => Slot::Fact,
        }
    }
}

impl Slot {
    /// Whether a newer record of the same key supersedes an older one.
    #[must_use]
    pub const fn is_state(self) -> bool {
        match self {
            Self::Object | Self::Status | Self::Twin | Self::Request => true,
            Self::Fact => false,
        }
    }
}

/// What a record is, apart from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Place in the stream; given by the writer of the stream.
    pub offset: Offset,
    /// Identity of this event.
    pub id: EventId,
    /// The event that caused this one, such as the request which a `Put` or `Reject` answers.
    pub cause: Option<EventId>,
    /// When the writer's clock said it happened.
    pub time: WallTime,
    /// What it is about.
    pub key: Key,
    /// The object's version at its owner; see [`Version`].
    pub version: Version,
    /// What it does.
    pub op: Op,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Everything but the bytes.
    pub header: Header,
    /// The bytes.
    pub body: Body,
}

/// A record that has no offset yet: what a writer of a stream hands to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Identity of this event.
    pub id: EventId,
    /// The event that caused this one.
    pub cause: Option<EventId>,
    /// When the writer's clock said it happened.
    pub time: WallTime,
    /// What it is about.
    pub key: Key,
    /// The object's version at its owner. `None` takes the record's own revision: the store's
    /// owner is the object's owner.
    pub version: Option<Version>,
    /// What it does.
    pub op: Op,
    /// The bytes.
    pub body: Body,
}

/// A record as a store gives it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Place in the local order of the store.
    pub revision: Revision,
    /// The revision of the first record of this key and slot since it was last absent: when the
    /// object came to be here. Survives compaction of that first record.
    pub since: Revision,
    /// The record.
    pub record: Record,
}
