//! The edge as a client of an external broker.
//!
//! ```text
//!   dial ─▶ CONNECT (persistent session) ─▶ SUBSCRIBE ─▶ messages both ways ─▶ broken ─▶ pause ─┐
//!    ▲                                                                                          │
//!    └──────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! # Guarantees
//! - A message with QoS 1 is acknowledged when what it says is durable, or when it is refused and
//!   its publisher was told why. What is not acknowledged comes again.
//! - A message that comes again within the life of this process is taken once ([`Seen`]).
//! - What is published while the edge is away is kept by the broker, as far as its own limits go:
//!   the session is persistent and the client id stable.
//!
//! # Assumptions
//! - The broker marks what it sends again, and keeps its packet id, as MQTT says.

mod dial;

use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::tasks::Stop;
use causeway_daemon::telemetry::error_chain;
use causeway_log::replication::Backoff;
use futures_util::FutureExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use self::dial::{Connection, DialError, dial};
use super::desk::{Desk, Verdict, stamp};
use super::inbound::{Inbound, NotDurable};
use super::life::{Life, Receipt};
use super::mqtt::{Incoming, Packet, ProtocolError, Publish, Qos, WireError};
use super::outbox::Outbox;
use super::topics::subscriptions;
use super::window::publish;
use crate::config::{MqttConfig, MqttUrl};

/// A ping so often; a broker from which nothing came for three of them is dead.
const PING_EVERY: Duration = Duration::from_secs(10);
const PINGS_UNANSWERED_MAX: u32 = 3;
/// No more is handed to a connection that has so much to send.
const UNSENT_BYTES_MAX: usize = 64 * 1024;

/// A connection ended, or did not begin.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the broker refuses the subscription to {0}")]
    Subscription(String),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the broker is silent")]
    Silent,
    #[error("the broker does not acknowledge")]
    NoAck,
    #[error(transparent)]
    NotDurable(#[from] NotDurable),
    #[error("stopping")]
    Stopped,
}

impl From<ProtocolError> for Ended {
    fn from(error: ProtocolError) -> Self {
        Self::Wire(error.into())
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Client {
    config: MqttConfig,
    url: MqttUrl,
    desk: Arc<Desk>,
    filters: [String; 4],
    outbox: Outbox,
    inbound: Inbound,
    life: Life,
    /// The broker has confirmed the subscriptions of this session.
    is_subscribed: bool,
}

impl Client {
    pub(super) fn new(config: MqttConfig, url: MqttUrl, desk: Arc<Desk>) -> Self {
        Self {
            config,
            url,
            filters: subscriptions(&desk.node),
            outbox: Outbox::new(desk.node.clone()),
            inbound: Inbound::new(Arc::clone(&desk)),
            desk,
            life: Life::default(),
            is_subscribed: false,
        }
    }

    /// Keeps the connection until stopped.
    pub(super) async fn run(mut self, mut stop: Stop) {
        let mut backoff = Backoff::new(fastrand::u64(..));
        let mut failures = 0_u32;
        while !stop.is_set() {
            let mut stood = None;
            let ended = self.once(stop.clone(), &mut stood).await;
            if matches!(ended, Ended::Stopped) {
                break;
            }
            self.desk.stats.failed();
            // One that breaks as soon as it stands must not come back at once, for ever.
            if stood.is_some_and(|stood| stood.elapsed() >= PING_EVERY) {
                backoff.reset();
                failures = 0;
            }
            failures = failures.saturating_add(1);
            let (broker, error) = (&self.url, error_chain(&ended).to_string());
            if failures == 1 {
                tracing::warn!(%broker, error, "no connection to the MQTT broker; trying on");
            } else {
                tracing::debug!(%broker, error, "still no connection to the MQTT broker");
            }
            tokio::select! {
                () = stop.wait() => break,
                () = tokio::time::sleep(backoff.next(None)) => {}
            }
        }
        self.desk.stats.connected.set(0);
    }

    /// One connection. `stood` says since when it could carry messages.
    async fn once(&mut self, mut stop: Stop, stood: &mut Option<Instant>) -> Ended {
        let client = self.config.client_id.clone();
        let client = client.unwrap_or_else(|| format!("causeway-{}", self.desk.node));
        let dialed = tokio::select! {
            () = stop.wait() => return Ended::Stopped,
            dialed = dial(&self.config, &self.url, client) => dialed,
        };
        let (wire, session_present) = match dialed {
            Ok(dialed) => dialed,
            Err(error) => return error.into(),
        };
        *stood = Some(Instant::now());
        self.desk.stats.stood();
        tracing::info!(broker = %self.url, session_present, "connected to the MQTT broker");
        let Err(ended) = Box::pin(self.session(wire, session_present, stop.clone())).await;
        // What it brought is decided before the next one begins: whether it comes again or not
        // depends on it.
        while !self.inbound.is_empty() {
            tokio::select! {
                () = stop.wait() => return Ended::Stopped,
                // There is nobody to acknowledge it to.
                verdict = self.inbound.next() => drop(self.told(verdict)),
            }
        }
        self.inbound = Inbound::new(Arc::clone(&self.desk));
        ended
    }

    /// Carries messages until the connection ends.
    async fn session(
        &mut self,
        mut wire: Connection,
        session_present: bool,
        mut stop: Stop,
    ) -> Result<std::convert::Infallible, Ended> {
        let mut twins = self.desk.twins.subscribe();
        self.begin(&mut wire, session_present);
        twins.mark_changed();
        let mut ticks = interval(PING_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard, mut unanswered) = (0, 0);
        loop {
            self.receive(&mut wire)?;
            while let Some(verdict) = self.inbound.next().now_or_never() {
                self.settle(&mut wire, verdict)?;
            }
            self.publish(&mut wire);
            tokio::select! {
                turned = wire.turn(self.inbound.has_room()) => turned?,
                verdict = self.inbound.next() => self.settle(&mut wire, verdict)?,
                changed = twins.changed() => {
                    changed.map_err(|_| Ended::Stopped)?;
                    twins.mark_unchanged();
                    self.look();
                }
                _ = ticks.tick() => {
                    unanswered = if wire.bytes_in() == heard { unanswered + 1 } else { 0 };
                    heard = wire.bytes_in();
                    self.tick(&mut wire, unanswered)?;
                }
                () = stop.wait() => {
                    self.leave(wire).await;
                    return Err(Ended::Stopped);
                }
            }
        }
    }

    fn look(&mut self) {
        let Self { desk, outbox, .. } = self;
        desk.twins.read(|twins| outbox.look(twins));
    }

    /// What is first said on a connection.
    fn begin(&mut self, wire: &mut Connection, session_present: bool) {
        if !session_present {
            self.life.renew();
            self.is_subscribed = false;
        }
        // A subscription brings all that the broker retains, so it is made once a session.
        if !self.is_subscribed {
            let filters = self.filters.clone().map(|filter| (filter, Qos::One));
            wire.send(&Packet::Subscribe {
                id: SUBSCRIBE_ID,
                filters: filters.into(),
            });
        }
        for publish in self.life.window.again(session_present, Instant::now()) {
            wire.send(&Packet::Publish(publish));
        }
        self.look();
        self.outbox.remind_all(|_| true);
    }

    /// Takes what has arrived, as long as there is room for it.
    fn receive(&mut self, wire: &mut Connection) -> Result<(), Ended> {
        while self.inbound.has_room()
            && let Some(incoming) = wire.next()?
        {
            match incoming {
                Incoming::Oversized { head, bytes } => {
                    self.message(head, Some(bytes));
                }
                Incoming::Packet(packet) => self.packet(wire, packet)?,
            }
        }
        Ok(())
    }

    fn packet(&mut self, wire: &mut Connection, packet: Packet) -> Result<(), Ended> {
        match packet {
            Packet::Publish(publish) => self.message(publish, None),
            Packet::PubAck(id) => self.life.window.acked(id),
            Packet::PubRel(id) => wire.send(&self.life.release(id)),
            Packet::SubAck { codes, .. } => {
                if codes.len() != self.filters.len() {
                    return Err(ProtocolError::Malformed.into());
                }
                let mut refused = self.filters.iter().zip(&codes);
                if let Some((filter, _)) = refused.find(|(_, code)| **code > Qos::Two as u8) {
                    return Err(Ended::Subscription(filter.clone()));
                }
                self.is_subscribed = true;
            }
            Packet::PingResp | Packet::UnsubAck(_) => {}
            Packet::Connect(_)
            | Packet::ConnAck { .. }
            | Packet::PubRec(_)
            | Packet::PubComp(_)
            | Packet::Subscribe { .. }
            | Packet::Unsubscribe { .. }
            | Packet::PingReq
            | Packet::Disconnect => return Err(ProtocolError::Unexpected.into()),
        }
        Ok(())
    }

    /// A message. `oversized`: it was passed over, for having so many bytes.
    fn message(&mut self, publish: Publish, oversized: Option<usize>) {
        if self.inbound.is_new(&mut self.life, &publish, oversized) {
            self.inbound.take(publish, oversized);
        }
    }

    fn settle(&mut self, wire: &mut Connection, verdict: (Receipt, Verdict)) -> Result<(), Ended> {
        let receipt = self.told(verdict)?;
        if let Some(acknowledgement) = self.life.acknowledge(receipt) {
            wire.send(&acknowledgement);
        }
        Ok(())
    }

    /// Notes what follows from a message, apart from its acknowledgement.
    fn told(&mut self, verdict: (Receipt, Verdict)) -> Result<Receipt, NotDurable> {
        let settled = self.inbound.settle(&mut self.life, verdict);
        for answer in settled.answers {
            if !self.outbox.answer(answer) {
                self.desk.stats.dropped("answer");
            }
        }
        if let Some(device) = settled.remind {
            self.outbox.remind(&device);
        }
        settled.receipt
    }

    /// Hands messages to the connection, as many as it takes.
    fn publish(&mut self, wire: &mut Connection) {
        while self.life.window.has_room()
            && wire.unsent() < UNSENT_BYTES_MAX
            && let Some(message) = self.outbox.next(|_| true, stamp)
        {
            let publish = publish(message, &self.config);
            let publish = self.life.window.send(publish, Instant::now());
            wire.send(&Packet::Publish(publish));
            self.desk.stats.sent();
        }
    }

    fn tick(&self, wire: &mut Connection, unanswered: u32) -> Result<(), Ended> {
        if unanswered >= PINGS_UNANSWERED_MAX {
            return Err(Ended::Silent);
        }
        if self.life.window.is_overdue(Instant::now()) {
            return Err(Ended::NoAck);
        }
        wire.send(&Packet::PingReq);
        Ok(())
    }

    /// Says goodbye, so that the broker knows what it still has to keep.
    async fn leave(&mut self, mut wire: Connection) {
        wire.send(&Packet::Disconnect);
        let _ = timeout(Duration::from_secs(1), wire.flush()).await;
    }
}

/// There is one subscription at a time.
const SUBSCRIBE_ID: u16 = 1;
