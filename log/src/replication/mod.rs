//! The replication session: a pure machine, the same on both sides.
//!
//! A session is the sender of its own stream and the receiver of the peer's. It never awaits, reads
//! a clock or draws entropy. It may *read* the store it is given; whatever must become durable it
//! asks for as an [`Effect::Write`], and it acknowledges only after [`Session::handle_written`].
//!
//! ```text
//!                edge                                  cloud
//!   Handshake    Hello{versions, node, held(down)} ──▶ admits the node, decides `down`
//!                decides `up` ◀── Welcome{version, held(up)}
//!                Start{epoch, Resume | Reconcile} ◀──▶ Start{epoch, Resume | Reconcile}
//!   Open         Records ──▶ write, sync ──▶ Ack       (each direction by itself,
//!                digests, Stage, Staged, End            resumed or reconciled)
//!                Ping ◀──▶ Pong when nothing is heard
//!   Closed       Close{code, reason, retry_after}
//! ```
//!
//! | file | concern |
//! |---|---|
//! | `session` | the machine as a whole: inputs, outputs, dispatch |
//! | `handshake` | `Hello`, `Welcome`, `Start` |
//! | `resume` | what a receiver holds, and how its sender goes on from there |
//! | `outgoing`, `flow` | the sender and its window |
//! | `incoming`, `ack` | the receiver, writes under way, acknowledgements |
//! | `reconcile` | both sides of a reconcile |
//! | `keepalive`, `backoff` | dead links, and dialling again |
//! | `stage` | from what a session asks for to a batch |
//!
//! Law of use: after every `handle_*`, drain `poll_effect` and `poll_frame` until both are empty,
//! then look at `poll_timeout`. What a session tells the peer it holds must be all there is, so no
//! write of the session before may be under way then. An edge has one session at a time and waits
//! for its writes; the cloud may have several of a node for a while. Its newest one fences the
//! others by its first write, which is a [`SessionWrite::Barrier`], and answers `Hello` after it.

use std::sync::Arc;
use std::time::Duration;

use crate::id::{Direction, Epoch, Offset};
use crate::key::NodeName;
use crate::record::Draft;
use crate::wire::Encoder;

mod ack;
mod backoff;
mod flow;
mod handshake;
mod incoming;
pub mod invariant;
mod keepalive;
mod outgoing;
mod reconcile;
mod resume;
mod session;
mod stage;
mod stats;
mod violation;

pub use backoff::Backoff;
pub use invariant::Invariant;
pub use session::Session;
pub use stats::{EncodingStats, SessionStats, Traffic};
pub use violation::Violation;

use session::Outbox;

/// A point in the driver's monotonic time, counted from whenever the driver likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub Duration);

/// Which end of the link this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends `up`, receives `down`; dials.
    Edge,
    /// Sends `down`, receives `up`; listens.
    Cloud,
}

impl Role {
    /// The direction this end sends.
    #[must_use]
    pub const fn sends(self) -> Direction {
        match self {
            Self::Edge => Direction::Up,
            Self::Cloud => Direction::Down,
        }
    }
}

/// What a session needs to know at its start.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Which end.
    pub role: Role,
    /// Whose log. The cloud learns it from the transport (path or certificate) and refuses a
    /// `Hello` that says another one.
    pub node: NodeName,
    /// Identity of this process start; lets a peer tell two edges of one name apart.
    pub incarnation: uuid::Uuid,
    /// Drawn by the shell, in case this end must begin a new epoch of its own stream.
    pub spare_epoch: Epoch,
    /// Encodes bodies. Share one between all sessions of a process, so that a change for many
    /// nodes is encoded once.
    pub encoder: Arc<Encoder>,
}

impl SessionConfig {
    /// A configuration with an encoder of its own.
    #[must_use]
    pub fn new(role: Role, node: NodeName, incarnation: uuid::Uuid, spare_epoch: Epoch) -> Self {
        Self {
            role,
            node,
            incarnation,
            spare_epoch,
            encoder: Arc::new(Encoder::default()),
        }
    }

    /// The same with a shared encoder.
    #[must_use]
    pub fn with_encoder(self, encoder: Arc<Encoder>) -> Self {
        Self { encoder, ..self }
    }
}

/// What the shell must do for the session.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Make this durable, in the order of the effects, then call [`Session::handle_written`] once
    /// for each, in the same order.
    Write(SessionWrite),
    /// The handshake is over: the peer is who it says and records flow.
    Established(Established),
    /// Nothing more will come: send what `poll_frame` still gives, then close the transport.
    Close(Close),
}

/// A change to the local store that a session asks for.
#[derive(Clone, Debug)]
pub enum SessionWrite {
    /// Records of the peer's stream.
    Incoming(Incoming),
    /// Nothing: it is durable when all writes before it are. The cloud asks for it before it says
    /// what it holds, since records of a session that this one replaces may still be on their way.
    Barrier,
    /// Begin a new epoch of this end's own stream.
    OpenOwn {
        /// The epoch.
        epoch: Epoch,
    },
    /// The peer has everything of the own stream up to here on disk. May be written lazily, it
    /// needs no answer before the next round: losing it costs re-sending, nothing else.
    Acked {
        /// Up to and with this offset.
        upto: Offset,
    },
}

/// Records received, already decoded, to be applied in one batch with the place they lead to.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The epoch of the peer's stream after this write; opens the stream, or moves it to a new
    /// epoch, when the store has it otherwise. A write that moves it to a new epoch is asked for
    /// only when all writes in the old one are durable.
    pub epoch: Epoch,
    /// The records, in stream order. In a reconcile they replace what the store holds by key, and
    /// their offsets go on from the highest one held, in the old epoch.
    pub records: Vec<(Offset, Draft)>,
    /// Everything up to here is then received. `None` inside a reconcile: the place is not reached
    /// before its end.
    pub upto: Option<Offset>,
    /// Whether everything is received then that the peer's stream held as the session began.
    pub caught_up: bool,
}

/// A session that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Established {
    /// How the own stream goes on.
    pub sending: Start,
    /// How the peer's stream goes on.
    pub receiving: Start,
    /// The peer's process start.
    pub peer_incarnation: uuid::Uuid,
}

/// How one direction starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// After the offset that the receiver had.
    Resume {
        /// That offset.
        after: Offset,
    },
    /// By comparing digests.
    Reconcile,
}

/// The end of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// Why, from the closed set that crosses the wire.
    pub code: CloseCode,
    /// In words, for people.
    pub reason: String,
    /// Not before this long.
    pub retry_after: Option<Duration>,
    /// Whether the peer said it (else this end did).
    pub by_peer: bool,
}

/// Why a session ends. The numbers cross the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum CloseCode {
    /// Orderly: the process stops.
    GoingAway = 1,
    /// A newer session of the same node took over.
    Fenced = 2,
    /// No common protocol version.
    Version = 3,
    /// The peer broke the protocol.
    Violation = 4,
    /// A frame over the limit.
    TooLarge = 5,
    /// Nothing heard for too long.
    Timeout = 6,
    /// The store cannot write (disk full): nothing can be acknowledged.
    Storage = 7,
    /// Come back later.
    Overloaded = 8,
    /// This node is not known or not allowed here.
    Forbidden = 9,
}

impl CloseCode {
    /// The code with this number, if there is one.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::GoingAway,
            2 => Self::Fenced,
            3 => Self::Version,
            4 => Self::Violation,
            5 => Self::TooLarge,
            6 => Self::Timeout,
            7 => Self::Storage,
            8 => Self::Overloaded,
            9 => Self::Forbidden,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
