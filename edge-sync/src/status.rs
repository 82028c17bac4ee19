//! What the edge says about itself: the link's state and counters, the status document, metrics.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use causeway_daemon::inspect::store_status;
use causeway_daemon::metrics::{encode_counters, encode_gauges};
use causeway_daemon::session_driver::SessionEvent;
use causeway_daemon::store_dir::{disk_space, wall_time};
use causeway_kube_api::source::format_time;
use causeway_log::replication::SessionStats;
use causeway_log::store::StreamInfo;
use causeway_log::{NodeName, Offset, Store, StreamId, WallTime};
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use serde_json::{Value, json};
use tokio::time::Instant;

/// Where the link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    /// No cloud is configured, or the daemon stops.
    Off,
    /// Dialing.
    Connecting,
    /// A connection stands, the two sides compare what they have.
    Handshake,
    /// Records flow.
    Connected,
    /// Until the next attempt.
    Waiting,
}

impl LinkState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Connecting => "connecting",
            Self::Handshake => "handshake",
            Self::Connected => "connected",
            Self::Waiting => "waiting",
        }
    }
}

/// What is known of the link; the link writes, status and metrics read.
#[derive(Debug)]
pub(crate) struct LinkBoard {
    url: Option<String>,
    now: Mutex<LinkNow>,
    sessions: AtomicU64,
    failures: AtomicU64,
    /// Failed attempts since the last success.
    failing: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// What the cloud acknowledged in the newest session; reaches the store later, with a batch.
    acked: AtomicU64,
}

#[derive(Debug)]
struct LinkNow {
    state: LinkState,
    /// When records began, or ceased, to flow.
    since: WallTime,
    last_error: Option<String>,
    retry_at: Option<Instant>,
}

impl LinkBoard {
    pub(crate) fn new(url: Option<String>) -> Self {
        let now = LinkNow {
            state: LinkState::Off,
            since: wall_time(),
            last_error: None,
            retry_at: None,
        };
        Self {
            url,
            now: Mutex::new(now),
            sessions: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            failing: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            acked: AtomicU64::new(0),
        }
    }

    pub(crate) fn enter(&self, state: LinkState, error: Option<String>, pause: Option<Duration>) {
        let mut now = self.now.lock();
        let was_connected = now.state == LinkState::Connected;
        if was_connected != (state == LinkState::Connected) {
            now.since = wall_time();
        }
        now.state = state;
        now.retry_at = pause.map(|pause| Instant::now() + pause);
        if error.is_some() {
            now.last_error = error;
        }
    }

    /// Counts a failed attempt; gives how many there were in a row.
    pub(crate) fn count_failure(&self) -> u64 {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.failing.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn observe(&self, event: &SessionEvent) {
        match event {
            SessionEvent::Established(_) => {
                self.sessions.fetch_add(1, Ordering::Relaxed);
                self.failing.store(0, Ordering::Relaxed);
                self.enter(LinkState::Connected, None, None);
            }
            SessionEvent::Received { bytes } => {
                self.bytes_in.fetch_add(*bytes as u64, Ordering::Relaxed);
            }
            SessionEvent::Sent { bytes } => {
                self.bytes_out.fetch_add(*bytes as u64, Ordering::Relaxed);
            }
            // The session's counters are quicker; the link tells of the end itself.
            SessionEvent::Acked { .. } | SessionEvent::Ended { .. } => {}
        }
    }

    pub(crate) fn record(&self, stats: &SessionStats) {
        self.acked.store(stats.acked_upto.get(), Ordering::Relaxed);
    }

    fn is_connected(&self) -> bool {
        self.now.lock().state == LinkState::Connected
    }

    fn show(&self) -> Value {
        let now = self.now.lock();
        let retry_in = now
            .retry_at
            .map(|at| at.saturating_duration_since(Instant::now()));
        json!({
            "cloud": self.url,
            "state": now.state.as_str(),
            "since": format_time(now.since),
            "last_error": now.last_error,
            "retry_in_ms": retry_in.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)),
            "sessions": self.sessions.load(Ordering::Relaxed),
            "failures": self.failures.load(Ordering::Relaxed),
            "bytes_in": self.bytes_in.load(Ordering::Relaxed),
            "bytes_out": self.bytes_out.load(Ordering::Relaxed),
        })
    }
}

/// Everything the status document and a scrape look at.
#[derive(Clone)]
pub(crate) struct EdgeStatus {
    pub(crate) node: NodeName,
    pub(crate) dir: PathBuf,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) board: Arc<LinkBoard>,
}

impl fmt::Debug for EdgeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeStatus")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl EdgeStatus {
    /// The document of `/causeway/v1/status`.
    pub(crate) fn show(&self) -> Value {
        let disk = disk_space(&self.dir).ok();
        json!({
            "role": "edge",
            "version": env!("CARGO_PKG_VERSION"),
            "node": self.node.as_str(),
            "store": store_status(&*self.store),
            "disk": disk.map(|disk| json!({ "free": disk.free_bytes, "total": disk.total_bytes })),
            "link": self.board.show(),
            "down": self.show_down(),
            "up": self.show_up(),
        })
    }

    /// The copy of what the cloud sends; `null` before the first session.
    fn show_down(&self) -> Value {
        let Ok(info) = self.store.stream(&StreamId::down(self.node.clone())) else {
            return json!({ "error": "cannot be read" });
        };
        info.map_or(Value::Null, |info| {
            json!({
                "epoch": info.epoch.to_string(),
                "head": info.head.get(),
                "received": info.received.get(),
                "history": info.history.get(),
            })
        })
    }

    fn show_up(&self) -> Value {
        let Some((info, acked)) = self.up() else {
            return json!({ "error": "cannot be read" });
        };
        json!({
            "epoch": info.epoch.to_string(),
            "head": info.durable.get(),
            "acked": acked.get(),
            "lag": info.durable.ahead_of(acked),
            "history": info.history.get(),
        })
    }

    /// The own stream, and what the cloud has of it.
    fn up(&self) -> Option<(StreamInfo, Offset)> {
        let info = self.store.stream(&StreamId::up(self.node.clone())).ok()??;
        let told = Offset::new(self.board.acked.load(Ordering::Relaxed));
        let acked = info.acked.max(told).min(info.durable);
        Some((info, acked))
    }
}

impl Collector for EdgeStatus {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let board = &self.board;
        let counters = [
            (
                "link_sessions",
                "Sessions with the cloud established",
                &board.sessions,
            ),
            (
                "link_failures",
                "Attempts to reach the cloud that failed",
                &board.failures,
            ),
        ];
        let counters =
            counters.map(|(name, help, value)| (name, help, value.load(Ordering::Relaxed)));
        encode_counters(&mut encoder, counters)?;
        let free = disk_space(&self.dir).map_or(0, |disk| disk.free_bytes);
        let gauges = [
            (
                "link_connected",
                "1 while records flow",
                u64::from(board.is_connected()),
            ),
            (
                "up_lag_offsets",
                "How far the cloud's acknowledgement is behind",
                self.up()
                    .map_or(0, |(info, acked)| info.durable.ahead_of(acked)),
            ),
            ("disk_free_bytes", "What is left where the store is", free),
        ];
        encode_gauges(&mut encoder, gauges)
    }
}
