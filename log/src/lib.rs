//! The event log of Causeway: what an event is, how it is stored, how it is replicated, and how it
//! looks on the wire.
//!
//! Every change between cloud and edge is a [`Record`] in a [stream](StreamId) of a [`Store`].
//! A stream has exactly one writer; the other side holds a copy and acknowledges only what is
//! durable there. The [`replication`] session is a pure machine which both ends run.
//!
//! Order comes from [`Offset`]s (a place in a stream) and [`Revision`]s (a place in one store).
//! Wall clock times are recorded for people and decide nothing.

pub mod batch;
pub mod body;
pub mod digest;
pub mod error;
pub mod id;
pub mod key;
pub mod limits;
pub mod mutant;
pub mod record;
pub mod replication;
pub mod store;
pub mod wire;
#[cfg(feature = "writer")]
pub mod writer;

pub use batch::{Batch, CursorName, Entry, Expect, Place, Row, StreamChange, Table};
pub use body::{Body, BodyHash};
pub use id::{Direction, Epoch, EventId, Offset, Revision, StreamId, Version, WallTime};
pub use key::{InvalidName, Key, NodeName, Resource, Uid};
pub use record::{Draft, Header, Op, Record, Slot, Stored};
pub use store::Store;
