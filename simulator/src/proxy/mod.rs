//! A TCP link with faults.
//!
//! ```text
//!   client ──▶ [ reader ─ queue ─ writer ] ──▶ target      "up" bytes
//!          ◀── [ writer ─ queue ─ reader ] ◀──             "down" bytes
//!                    ▲
//!               Weather: open (delay, rate, loss) | silent, both ways or one | refusing
//! ```
//!
//! A [`Link`] is what a person asks for; it decides the weather that connections obey. Only a
//! flapping link changes its weather by itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

mod connection;
#[cfg(test)]
mod tests;

/// Connections of one link at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 1024;

/// What a link does with the bytes given to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Link {
    /// Carries everything at once.
    #[default]
    Whole,
    /// Carries nothing.
    Cut {
        /// How the ends notice.
        mode: CutMode,
    },
    /// Carries everything, later.
    Slow(Slow),
    /// Whole for `up_ms`, then reset for `down_ms`, again and again.
    Flap {
        /// How long it is whole each time, in milliseconds.
        up_ms: u64,
        /// How long it is cut each time, in milliseconds.
        down_ms: u64,
    },
}

/// How the ends of a cut link notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutMode {
    /// They do not: bytes vanish into silence, as when a radio link fades. Connections stay
    /// half-open; new ones are accepted by nobody.
    #[default]
    Silent,
    /// Connections are reset, and so is each new one, as when a router reboots.
    Reset,
    /// What the target sends is lost in silence; the other direction carries. Nobody can connect.
    ToEdge,
    /// What the connecting side sends is lost in silence; the other direction carries.
    ToCloud,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// From the connecting side to the target.
    Up,
    /// From the target to the connecting side.
    Down,
}

/// How a slow link carries bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slow {
    /// Each direction is later by this, in milliseconds.
    pub delay_ms: u64,
    /// And by up to so much more, drawn for each piece; order is kept.
    pub jitter_ms: u64,
    /// Each direction of each connection carries at most this; `None`: no bound.
    pub bytes_per_second: Option<u64>,
    /// The share of packets that are lost and sent again, in thousandths: a stall.
    #[serde(default)]
    pub loss_per_mille: u16,
}

/// Bytes and connections carried since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Bytes delivered from the connecting side to the target.
    pub up_bytes: u64,
    /// Bytes delivered from the target to the connecting side.
    pub down_bytes: u64,
    /// Connections made to the target.
    pub connections: u64,
}

impl Traffic {
    /// What was carried since `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            up_bytes: self.up_bytes.saturating_sub(earlier.up_bytes),
            down_bytes: self.down_bytes.saturating_sub(earlier.down_bytes),
            connections: self.connections.saturating_sub(earlier.connections),
        }
    }

    /// Bytes of both directions.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.up_bytes.saturating_add(self.down_bytes)
    }
}

/// A listening link. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct Proxy {
    local: SocketAddr,
    shared: Arc<Shared>,
    link: parking::Slot,
    _accepting: JoinSet<()>,
}

/// The state of one link that its connections see.
#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    weather: watch::Sender<Weather>,
    /// Counts how often every connection was broken.
    breaks: watch::Sender<u64>,
    up_bytes: AtomicU64,
    down_bytes: AtomicU64,
    connections: AtomicU64,
}

/// What connections obey right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Open(Slow),
    Silent,
    /// Silent in one direction.
    Lost(Way),
    Refusing,
}

impl Proxy {
    /// Listens on `listen` (port 0: any free port) and carries connections to `target`.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn listen(listen: SocketAddr, target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let local = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target,
            weather: watch::Sender::new(Weather::Open(Slow::default())),
            breaks: watch::Sender::new(0),
            up_bytes: AtomicU64::new(0),
            down_bytes: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            local,
            shared,
            link: parking::Slot::default(),
            _accepting: accepting,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Where it leads.
    #[must_use]
    pub fn target(&self) -> SocketAddr {
        self.shared.target
    }

    /// Changes what the link does; existing connections obey at once.
    pub fn set(&self, link: Link) {
        let mut flapping = JoinSet::new();
        match link {
            Link::Whole => self.change(Weather::Open(Slow::default())),
            Link::Slow(slow) => self.change(Weather::Open(slow)),
            Link::Cut {
                mode: CutMode::Silent,
            } => self.change(Weather::Silent),
            Link::Cut {
                mode: CutMode::Reset,
            } => self.change(Weather::Refusing),
            Link::Cut {
                mode: CutMode::ToEdge,
            } => self.change(Weather::Lost(Way::Down)),
            Link::Cut {
                mode: CutMode::ToCloud,
            } => self.change(Weather::Lost(Way::Up)),
            Link::Flap { up_ms, down_ms } => {
                let (up, down) = (Duration::from_millis(up_ms), Duration::from_millis(down_ms));
                flapping.spawn(flap(Arc::clone(&self.shared), up, down));
            }
        }
        self.link.put(link, flapping);
    }

    /// Stops carrying bytes.
    pub fn cut(&self, mode: CutMode) {
        self.set(Link::Cut { mode });
    }

    /// Carries everything at once again.
    pub fn heal(&self) {
        self.set(Link::Whole);
    }

    /// Resets every connection at this moment; new ones are carried as the link says.
    pub fn break_all(&self) {
        self.shared.breaks.send_modify(|breaks| *breaks += 1);
    }

    /// What the link was last asked to do.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link.link()
    }

    /// What it carried so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic {
            up_bytes: self.shared.up_bytes.load(Ordering::Relaxed),
            down_bytes: self.shared.down_bytes.load(Ordering::Relaxed),
            connections: self.shared.connections.load(Ordering::Relaxed),
        }
    }

    fn change(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
    }
}

/// The asked-for state and the task that enacts it when it takes one.
mod parking {
    use tokio::sync::watch;
    use tokio::task::JoinSet;

    use super::Link;

    /// Replacing the value aborts the task of the one before.
    #[derive(Debug, Default)]
    pub(super) struct Slot(watch::Sender<(Link, JoinSet<()>)>);

    impl Slot {
        pub(super) fn put(&self, link: Link, task: JoinSet<()>) {
            self.0.send_replace((link, task));
        }

        pub(super) fn link(&self) -> Link {
            self.0.borrow().0
        }
    }
}

async fn flap(shared: Arc<Shared>, up: Duration, down: Duration) {
    loop {
        shared.weather.send_replace(Weather::Open(Slow::default()));
        tokio::time::sleep(up).await;
        shared.weather.send_replace(Weather::Refusing);
        tokio::time::sleep(down).await;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    if connections.len() < CONNECTIONS_MAX {
                        connections.spawn(connection::carry(client, Arc::clone(&shared)));
                    }
                }
                // Out of descriptors or a client gone already: neither is a reason to stop.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// Makes the close of `stream` a reset, so that the other end learns of it as an error.
fn reset(stream: &TcpStream) {
    // Fails only on a socket that is closed already.
    let _ = stream.set_zero_linger();
}
