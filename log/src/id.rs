//! Numbers and identities. Each number with a meaning has its own type; none converts silently
//! into another.

use std::fmt;

use uuid::Uuid;

use crate::key::NodeName;

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Before the first one: "nothing yet".
            pub const ZERO: Self = Self(0);
            /// The largest value; open-ended ranges end here.
            pub const MAX: Self = Self(u64::MAX);

            /// Wraps a raw number, for codecs and tests.
            #[must_use]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The raw number, for codecs, metrics and people.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one after this; `None` at the end of the number space.
            #[must_use]
            pub const fn next(self) -> Option<Self> {
                match self.0.checked_add(1) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// How far `self` is ahead of `earlier`; zero when it is not ahead.
            #[must_use]
            pub const fn ahead_of(self, earlier: Self) -> u64 {
                self.0.saturating_sub(earlier.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// A record's place in its stream. Grows, may skip. What acknowledgements and resume speak of.
    Offset
}

counter! {
    /// A record's place in the local order of one store, all streams interleaved. Grows, may skip.
    /// It is the `resourceVersion` of the local list/watch API.
    Revision
}

counter! {
    /// The `resourceVersion` an object has at its owner (the cluster for desired state, the edge
    /// for reported state). Zero where the record has no object.
    Version
}

impl Revision {
    /// The offset of a record in a stream which this store itself writes: there, a record's offset
    /// *is* its revision, so offsets are sparse and one number serves both orders.
    #[must_use]
    pub const fn as_own_offset(self) -> Offset {
        Offset(self.0)
    }

    /// The object version that a store which owns the object hands out with this revision.
    #[must_use]
    pub const fn as_own_version(self) -> Version {
        Version(self.0)
    }
}

/// The identity of one incarnation of a stream; a new one is drawn when history was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(Uuid);

impl Epoch {
    /// Wraps an identity that the caller drew.
    #[must_use]
    pub const fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// The identity as a UUID.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of one event, a UUID of version 7 drawn by its writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Uuid);

impl EventId {
    /// Wraps an identity that the caller drew.
    #[must_use]
    pub const fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// Composes a version 7 UUID of a wall time and 74 random bits (the rest of `entropy` is
    /// ignored). Pure: clock and entropy come from the caller.
    #[must_use]
    pub fn compose(time: WallTime, entropy: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(time.unix_millis(), &entropy).into_uuid())
    }

    /// The identity as a UUID.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When somebody's clock said something happened: milliseconds since 1970-01-01 UTC. For people;
/// nothing is decided by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(u64);

impl WallTime {
    /// A time from milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_millis(self) -> u64 {
        self.0
    }
}

/// One of the two directions of a node's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Cloud to edge; only the cloud writes it.
    Down,
    /// Edge to cloud; only the edge writes it.
    Up,
}

impl Direction {
    /// The other direction.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Down => Self::Up,
            Self::Up => Self::Down,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Down => "down",
            Self::Up => "up",
        })
    }
}

/// Names one append-only stream in a store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// The objects of the embedded control plane itself; written by the cloud, replicated nowhere.
    Cluster,
    /// One direction of one node's log.
    Node(NodeName, Direction),
}

impl StreamId {
    /// The stream from the cloud to `node`.
    #[must_use]
    pub const fn down(node: NodeName) -> Self {
        Self::Node(node, Direction::Down)
    }

    /// The stream from `node` to the cloud.
    #[must_use]
    pub const fn up(node: NodeName) -> Self {
        Self::Node(node, Direction::Up)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("cluster"),
            Self::Node(node, direction) => write!(f, "{node}/{direction}"),
        }
    }
}
