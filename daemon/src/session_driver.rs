//! One loop for both ends of a session: it carries messages, store writes and time between the pure
//! [`causeway_log::replication::Session`] and the world.
//!
//! ```text
//!   transport ──frame──▶ Session ──Effect::Write──▶ Endpoint::write ──durable──▶ handle_written
//!   transport ◀──poll_frame── Session ◀──handle_stored── Endpoint::own_head
//! ```

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use causeway_log::limits::{FRAME_TARGET_BYTES, KEEPALIVE_IDLE, KEEPALIVE_TIMEOUT, WINDOW_BYTES};
use causeway_log::replication::{
    Close, CloseCode, Established, SessionConfig, SessionStats, SessionWrite,
};
use causeway_log::{NodeName, Offset, Store};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::tasks::Stop;
use crate::ws::Transport;

mod driver;

/// Writes asked for and not durable yet, per session. Reading stops beyond it.
const WRITES_OUTSTANDING_MAX: usize = 64;
/// Bytes of received frames whose writes are not durable yet, per session. Reading stops beyond it.
/// The peer's window is smaller; this holds peers that ignore it.
const WRITE_BYTES_OUTSTANDING_MAX: usize = 2 * WINDOW_BYTES;
/// A peer that takes none of our bytes for this long is gone, however much it sends.
/// Longer than liveness takes to judge: a slow link takes a kernel's buffer at a time.
const SEND_STALL_MAX: Duration = Duration::from_secs(60);
/// Saying goodbye takes no longer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

const _: () = assert!(FRAME_TARGET_BYTES <= WRITE_BYTES_OUTSTANDING_MAX);
const _: () = assert!(
    KEEPALIVE_IDLE.as_millis() + KEEPALIVE_TIMEOUT.as_millis() < SEND_STALL_MAX.as_millis()
);

/// What a session needs of its daemon.
pub trait Endpoint: Send + Sync + 'static {
    /// The store the session reads.
    fn store(&self) -> &Arc<dyn Store>;

    /// Makes a write durable, in the order of the calls; resolves when it is.
    fn write(
        &self,
        node: &NodeName,
        write: SessionWrite,
    ) -> BoxFuture<'static, Result<(), WriteRefused>>;

    /// The durable head of the stream this end sends to, or receives acks from, `node`.
    fn own_head(&self, node: &NodeName) -> watch::Receiver<Offset>;

    /// Something happened, for status and metrics. Must not block.
    fn observe(&self, node: &NodeName, event: SessionEvent);

    /// The session's own counters, whenever it comes to rest and once more before its end. Must not
    /// block.
    fn observe_stats(&self, node: &NodeName, stats: &SessionStats) {
        let _ = (node, stats);
    }
}

/// A write of a session was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteRefused {
    /// The store only reads; the reason is for people.
    #[error("the store is read-only: {reason}")]
    ReadOnly {
        /// The failure, such as "no space left on device".
        reason: String,
    },
    /// The stream has moved on under another session.
    #[error("a newer session of this node has taken over")]
    Fenced,
    /// The records do not fit the stream: the peer is at fault.
    #[error("the records do not fit the stream: {reason}")]
    Invalid {
        /// In words.
        reason: String,
    },
    /// The daemon stops.
    #[error("this side is stopping")]
    Stopping,
}

impl WriteRefused {
    /// With which code the session ends.
    #[must_use]
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::ReadOnly { .. } => CloseCode::Storage,
            Self::Fenced => CloseCode::Fenced,
            Self::Invalid { .. } => CloseCode::Violation,
            Self::Stopping => CloseCode::GoingAway,
        }
    }
}

/// What a daemon may want to show of its sessions.
#[derive(Clone, Debug)]
pub enum SessionEvent {
    /// The handshake is over.
    Established(Established),
    /// A message came.
    Received {
        /// Its size.
        bytes: usize,
    },
    /// A message was handed to the transport.
    Sent {
        /// Its size.
        bytes: usize,
    },
    /// The peer has everything of the own stream up to here.
    Acked {
        /// Up to and with this offset.
        upto: Offset,
    },
    /// The session is over; the last event.
    Ended {
        /// How.
        end: SessionEnd,
    },
}

/// A session that is over.
#[derive(Clone, Debug)]
pub struct SessionEnd {
    /// Why, and who said so.
    pub reason: EndReason,
    /// Whether the handshake had been completed.
    pub established: bool,
    /// How long it took, from the transport's connection.
    pub lasted: Duration,
    /// Traffic.
    pub counts: Counts,
}

/// Traffic of one session, without the transport's own overhead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages received.
    pub frames_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Messages sent.
    pub frames_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// One side said so.
    Closed(Close),
    /// The connection is gone; in words.
    Lost(String),
}

impl EndReason {
    /// The code, when a side gave one.
    #[must_use]
    pub const fn code(&self) -> Option<CloseCode> {
        match self {
            Self::Closed(close) => Some(close.code),
            Self::Lost(_) => None,
        }
    }
}

/// Ends a running session from outside, with a reason: a newer session of the node has come, the
/// node was removed, the daemon sheds load.
#[derive(Clone, Debug)]
pub struct Closer {
    request: Arc<watch::Sender<Option<Close>>>,
}

impl Closer {
    /// Asks the session to close. The first request counts.
    pub fn close(&self, code: CloseCode, reason: &str, retry_after: Option<Duration>) {
        self.request.send_if_modified(|request| {
            let first = request.is_none();
            request.get_or_insert_with(|| Close {
                code,
                reason: reason.to_owned(),
                retry_after,
                by_peer: false,
            });
            first
        });
    }
}

/// The driver's half of a [`Closer`], with the daemon's stop token.
#[derive(Clone, Debug)]
pub struct Control {
    stop: Stop,
    request: Option<watch::Receiver<Option<Close>>>,
}

impl Control {
    /// A session that ends with the daemon, and when its closer says so.
    #[must_use]
    pub fn new(stop: Stop) -> (Self, Closer) {
        let (sender, receiver) = watch::channel(None);
        (
            Self {
                stop,
                request: Some(receiver),
            },
            Closer {
                request: Arc::new(sender),
            },
        )
    }

    /// What the closer asked for, if it did.
    #[must_use]
    pub fn requested(&self) -> Option<Close> {
        self.request.as_ref()?.borrow().clone()
    }

    async fn closing(&mut self) -> Close {
        let request = &mut self.request;
        let asked = async {
            if let Some(request) = request
                && let Ok(asked) = request.wait_for(Option::is_some).await
                && let Some(close) = asked.clone()
            {
                return close;
            }
            // No closer, or a lost one: only the daemon ends this session.
            std::future::pending().await
        };
        tokio::select! {
            biased;
            () = self.stop.wait() => Close {
                code: CloseCode::GoingAway,
                reason: "this side is stopping".to_owned(),
                retry_after: None,
                by_peer: false,
            },
            close = asked => close,
        }
    }
}

impl From<Stop> for Control {
    fn from(stop: Stop) -> Self {
        Self {
            stop,
            request: None,
        }
    }
}

/// Runs one session from its handshake to its end. Resolves in bounded time after the control says
/// so, and after all its writes are done. Cancelling it is safe: nothing is acknowledged that is
/// not durable.
pub fn drive<T: Transport, E: Endpoint>(
    config: SessionConfig,
    transport: T,
    endpoint: Arc<E>,
    control: Control,
) -> impl Future<Output = SessionEnd> + Send + use<T, E> {
    /// Tells the sessions of one process apart in its log lines.
    static SESSIONS: AtomicU64 = AtomicU64::new(1);
    let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
    // On the heap from the start: a cloud has many of these, and futures are moved and copied.
    let driver = Box::new(driver::Driver::new(config, number, transport, endpoint));
    driver.run(control)
}
