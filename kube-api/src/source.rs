//! What stands behind an API: where its objects come from and where writes go.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use causeway_log::{Key, NodeName, Resource, Revision, WallTime};
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::status::Status;
use crate::view::View;

/// Where an API reads and writes.
pub trait Source: Send + Sync + 'static {
    /// What is durable, as it is served.
    fn view(&self) -> &View;

    /// Whose word counts here.
    fn authority(&self) -> Authority;

    /// Why what is served of a kind is not all there is of it, in words for people. Lists and
    /// watches of it are then refused, because clients take absence for deletion; so are reads of
    /// objects that are not there. `None`: it is all there is.
    fn incomplete(&self, resource: &Resource) -> Option<String> {
        let _ = resource;
        None
    }

    /// The node agent at an edge says that it lives; it means to say so again within `lease`.
    fn heard(&self, lease: Duration) {
        let _ = lease;
    }

    /// What this source has against an object that its kind's schema allows; `before` is what it
    /// would replace. Asked before a write, a dry run included, and decided on what is served: a
    /// write that must not be wrong is checked in [`Source::commit`] too.
    ///
    /// # Errors
    /// The answer to the caller.
    fn admit(
        &self,
        resource: &Resource,
        before: Option<&Value>,
        object: &Value,
    ) -> Result<(), Box<Status>> {
        let _ = (resource, before, object);
        Ok(())
    }

    /// Makes a write durable and resolves when it is, and when [`Source::view`] shows it.
    ///
    /// A write whose object would not change makes no record and resolves with the revision that
    /// the object has.
    fn commit(&self, write: Write) -> BoxFuture<'_, Result<Written, WriteError>>;
}

/// Whose word counts at an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// This store owns the objects.
    Cloud,
    /// This store holds a copy for one node. It owns status; other writes become requests.
    Edge {
        /// Whose copy.
        node: NodeName,
    },
}

impl Authority {
    /// Whether this store owns the objects.
    #[must_use]
    pub const fn is_cloud(&self) -> bool {
        matches!(self, Self::Cloud)
    }
}

/// One decided write.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Which object, in which life.
    pub key: Key,
    /// What the decision was based on.
    pub expected: Expected,
    /// What is to happen.
    pub change: Change,
}

/// What must still be so for a write to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No object has the name.
    Absent,
    /// The live entry has this revision ([`causeway_projections::Entry::modified`]).
    At(Revision),
}

/// What a write does.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The whole object.
    Put(Value),
    /// The whole object, of which only `.status` counts.
    Status(Value),
    /// The object is to go now.
    Delete {
        /// What the caller asked for, in seconds.
        grace_period_seconds: Option<i64>,
        /// At the edge: the node has finished with the object, its processes are gone.
        confirm: bool,
    },
    /// An Event that happened at the edge.
    Fact(Value),
}

/// A write that is durable.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The revision of the object after it; for a delete, of the deletion.
    pub revision: Revision,
    /// Whether the owner of the object has yet to answer (edge).
    pub pending: bool,
    /// The object as it is served now; `None` when it is gone.
    pub object: Option<Value>,
    /// Things the caller should read.
    pub warnings: Vec<String>,
}

/// A write that was not done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WriteError {
    /// The object is not what the write expected; decide anew.
    #[error("the object changed in between")]
    Conflict {
        /// The revision it has; `None` when it is gone.
        found: Option<Revision>,
    },
    /// Not allowed here.
    #[error("forbidden: {reason}")]
    Forbidden {
        /// Why.
        reason: String,
    },
    /// The owner's answer, passed on.
    #[error("rejected: {}", .0.message)]
    Rejected(Box<Status>),
    /// The store only reads, for instance because its disk is full.
    #[error("the store is read-only: {reason}")]
    ReadOnly {
        /// Why.
        reason: String,
    },
    /// The object does not fit into a record.
    #[error("the object has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// How large it is.
        size: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The store cannot answer now.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
}

/// Wall time and randomness for what an API writes into objects.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Now, for people.
    fn now(&self) -> WallTime;
    /// Sixteen random bytes.
    fn entropy(&self) -> [u8; 16];

    /// Time since any fixed moment, for intervals. A clock that never jumps does with this one.
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now().unix_millis())
    }

    /// A fresh uid: a random UUID of version 4.
    fn uid(&self) -> uuid::Uuid {
        uuid::Builder::from_random_bytes(self.entropy()).into_uuid()
    }

    /// Now, as Kubernetes writes times: RFC 3339 in UTC, whole seconds.
    fn timestamp(&self) -> String {
        format_time(self.now())
    }
}

/// A time as Kubernetes writes it: RFC 3339 in UTC, whole seconds.
#[must_use]
pub fn format_time(time: WallTime) -> String {
    let seconds = i64::try_from(time.unix_millis() / 1000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

/// The machine's clock and random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> WallTime {
        let millis = jiff::Timestamp::now().as_millisecond();
        WallTime::from_unix_millis(u64::try_from(millis).unwrap_or(0))
    }

    fn entropy(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        fastrand::Rng::new().fill(&mut bytes);
        bytes
    }

    fn monotonic(&self) -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    }
}

/// A clock that is the machine's own, shared.
#[must_use]
pub fn system_clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}
