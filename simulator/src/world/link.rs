//! Links: ordered streams of messages that are slow, stall, and are cut.
//!
//! The wire is a reliable stream, so what the network does to packets shows as time: a lost packet
//! is a stall until it is sent again, a cut is a stall until the link is healed or somebody gives
//! up. Nothing is lost, reordered or doubled within a connection, unless something in the middle breaks
//! it, see `mangle`; connections of one node may overlap.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use causeway_cloud_sync::hub::Seat;
use causeway_daemon::session_driver::{Control, WriteRefused};
use causeway_log::replication::Session;
use causeway_log::store::memory::MemoryStore;
use causeway_log::{Body, Entry};
use std::sync::Arc;
use tokio::sync::oneshot;

use super::{Cut, Options, Side};

/// A sender has room while less than this is under way: the buffers of two kernels.
const BUFFER_BYTES: usize = 64 * 1024;
/// Bytes of a packet.
const PACKET_BYTES: usize = 1400;
/// A lost packet is sent again after this long; each further loss doubles it.
const RESEND: Duration = Duration::from_millis(200);

/// How the link of a node is.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) cut: Option<Cut>,
    pub(super) delay: Duration,
    pub(super) jitter: Duration,
    pub(super) bytes_per_second: u64,
    pub(super) loss: f64,
    /// Of a thousand messages, so many are lost, doubled or swapped.
    pub(super) mangled: u32,
    /// Counts changes of mind about flapping.
    pub(super) flap: u64,
    pub(super) flapping: Option<(Duration, Duration)>,
}

impl Link {
    pub(super) fn new(options: &Options) -> Self {
        let Options {
            delay,
            jitter,
            loss,
            bytes_per_second,
            ..
        } = *options;
        Self {
            cut: None,
            delay,
            jitter,
            bytes_per_second,
            loss,
            mangled: 0,
            flap: 0,
            flapping: None,
        }
    }

    /// Whether nothing comes through towards `to`.
    pub(super) const fn is_blocked(&self, to: Side) -> bool {
        match (self.cut, to) {
            (None, _) | (Some(Cut::Up), Side::Edge) | (Some(Cut::Down), Side::Cloud) => false,
            (Some(Cut::Silent | Cut::Reset), _)
            | (Some(Cut::Up), Side::Cloud)
            | (Some(Cut::Down), Side::Edge) => true,
        }
    }

    pub(super) fn latency(&self, random: &mut fastrand::Rng) -> Duration {
        self.delay + self.jitter.mul_f64(random.f64())
    }

    /// How long the packets of `bytes` wait for those that were lost.
    fn stall(&self, bytes: usize, random: &mut fastrand::Rng) -> Duration {
        if self.loss <= 0.0 {
            return Duration::ZERO;
        }
        let mut stall = Duration::ZERO;
        for _ in 0..bytes.div_ceil(PACKET_BYTES) {
            let mut resend = RESEND;
            let mut waits = Duration::ZERO;
            while random.f64() < self.loss.min(0.9) {
                waits += resend;
                resend *= 2;
            }
            stall = stall.max(waits);
        }
        stall
    }
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    items: VecDeque<Item>,
    bytes: usize,
    /// The line is taken until then.
    busy_until: Duration,
    /// Nothing overtakes what arrives then.
    last_arrival: Duration,
    /// Items that were due while the link was cut.
    pub(super) stalled: usize,
}

#[derive(Debug)]
pub(super) enum Item {
    Message(Bytes),
    /// Nothing more will come.
    End,
}

impl Pipe {
    pub(super) const fn has_room(&self) -> bool {
        self.bytes < BUFFER_BYTES
    }

    /// Takes an item; says when it is due.
    pub(super) fn send(
        &mut self,
        now: Duration,
        item: Item,
        link: &Link,
        random: &mut fastrand::Rng,
    ) -> Duration {
        let bytes = match &item {
            Item::Message(message) => message.len(),
            Item::End => 0,
        };
        let line = match link.bytes_per_second {
            0 => Duration::ZERO,
            rate => Duration::from_secs_f64(bytes as f64 / rate as f64),
        };
        self.busy_until = self.busy_until.max(now) + line;
        let arrival = self.busy_until + link.latency(random) + link.stall(bytes, random);
        self.last_arrival = self.last_arrival.max(arrival);
        self.bytes += bytes;
        self.items.push_back(item);
        self.last_arrival
    }

    /// The two items that were sent last change places; `false`: there are no two.
    pub(super) fn swap_last(&mut self) -> bool {
        let last = self.items.len().saturating_sub(1);
        if last > 0 {
            self.items.swap(last - 1, last);
        }
        last > 0
    }

    /// Nothing is held up by what was sent when the link was worse.
    pub(super) fn is_free(&self, now: Duration) -> bool {
        self.last_arrival <= now + Duration::from_secs(2)
    }

    /// Nothing arrives before `at`.
    pub(super) fn begin(&mut self, at: Duration) {
        self.last_arrival = self.last_arrival.max(at);
    }

    pub(super) fn take(&mut self) -> Option<Item> {
        let item = self.items.pop_front();
        if let Some(Item::Message(message)) = &item {
            self.bytes -= message.len();
        }
        item
    }
}

/// A connection, from the call of an edge to the end of both ends.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) node: usize,
    /// Which start of the edge called.
    pub(super) life: u64,
    pub(super) edge: Option<Box<End>>,
    pub(super) cloud: Option<Box<End>>,
    pub(super) seat: Option<(Seat, Control)>,
    /// The edge does not know yet whether it is answered.
    pub(super) is_dialing: bool,
    pub(super) to_edge: Pipe,
    pub(super) to_cloud: Pipe,
}

/// One end of a connection, with its session.
#[derive(Debug)]
pub(super) struct End {
    pub(super) session: Session,
    pub(super) store: Arc<MemoryStore>,
    pub(super) began: Duration,
    pub(super) writes: VecDeque<oneshot::Receiver<Result<(), WriteRefused>>>,
    /// Messages that wait until writes are done.
    pub(super) inbox: VecDeque<Bytes>,
    /// The timer that was set last.
    pub(super) timer: Option<Duration>,
    pub(super) established: bool,
    /// What this end may send, when that can be said: COST-1.
    pub(super) budget: Option<Budget>,
}

/// What a session may send of its stream, at most: COST-1.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Budget {
    pub(super) records: u64,
    /// Of their bodies.
    pub(super) bytes: u64,
}

impl Budget {
    pub(super) fn add(&mut self, body: &Body) {
        self.records += 1;
        self.bytes += body.len() as u64;
    }

    pub(super) fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        let mut budget = Self::default();
        for entry in entries {
            budget.add(&entry.draft.body);
        }
        budget
    }
}

impl End {
    pub(super) fn new(session: Session, store: Arc<MemoryStore>, began: Duration) -> Box<Self> {
        Box::new(Self {
            session,
            store,
            began,
            writes: VecDeque::new(),
            inbox: VecDeque::new(),
            timer: None,
            established: false,
            budget: None,
        })
    }
}

impl Conn {
    /// Nobody is at its ends, and nobody will be.
    pub(super) const fn is_over(&self) -> bool {
        !self.is_dialing && self.edge.is_none() && self.cloud.is_none() && self.seat.is_none()
    }

    pub(super) const fn pipe(&mut self, to: Side) -> &mut Pipe {
        match to {
            Side::Edge => &mut self.to_edge,
            Side::Cloud => &mut self.to_cloud,
        }
    }

    pub(super) const fn end(&mut self, at: Side) -> &mut Option<Box<End>> {
        match at {
            Side::Edge => &mut self.edge,
            Side::Cloud => &mut self.cloud,
        }
    }
}
