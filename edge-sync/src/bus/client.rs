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

use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::tasks::Stop;
use causeway_daemon::telemetry::error_chain;
use causeway_log::replication::Backoff;
use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::decide::Delivery;
use super::desk::{Content, Desk, Letter, Verdict, stamp};
use super::intake::Intake;
use super::mqtt::{Connect, Incoming, Packet, ProtocolError, Publish, Qos, Wire, WireError};
use super::outbox::{Message, Outbox};
use super::seen::Seen;
use super::stats::Outcome;
use super::topics::subscriptions;
use super::window::Window;
use crate::config::{MqttConfig, MqttUrl};

/// From dialing to the broker's welcome.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A ping so often; a broker from which nothing came for three of them is dead.
const PING_EVERY: Duration = Duration::from_secs(10);
const PINGS_UNANSWERED_MAX: u32 = 3;
/// The broker closes a connection from which nothing comes for one and a half of it.
const KEEP_ALIVE_SECONDS: u16 = 30;
/// No more is handed to a connection that has so much to send.
const UNSENT_BYTES_MAX: usize = 64 * 1024;

/// A connection ended, or did not begin.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("cannot be reached")]
    Dial(#[source] std::io::Error),
    #[error("no answer in {CONNECT_TIMEOUT:?}")]
    Timeout,
    #[cfg(feature = "tls")]
    #[error("no TLS")]
    Tls(#[from] super::tls::TlsError),
    #[cfg(not(feature = "tls"))]
    #[error("this build has no TLS")]
    NoTls,
    #[error("cannot read the password")]
    Password(#[source] std::io::Error),
    #[error("the broker refuses the connection: {0}")]
    Refused(&'static str),
    #[error("the broker refuses the subscription to {0}")]
    Subscription(String),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the broker is silent")]
    Silent,
    #[error("the broker does not acknowledge")]
    NoAck,
    #[error("a report cannot be made durable")]
    NotDurable,
    #[error("stopping")]
    Stopped,
}

impl From<ProtocolError> for Ended {
    fn from(error: ProtocolError) -> Self {
        Self::Wire(error.into())
    }
}

/// A connection, over TLS or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}
type Connection = Wire<Box<dyn Stream>>;

/// Which message a verdict is of.
#[derive(Clone, Copy, Debug)]
struct Receipt {
    id: u16,
    qos: Qos,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Client {
    config: MqttConfig,
    url: MqttUrl,
    desk: Arc<Desk>,
    filters: [String; 4],
    outbox: Outbox,
    intake: Intake<Receipt>,
    seen: Seen,
    window: Window,
    /// The broker has confirmed the subscriptions of this session.
    is_subscribed: bool,
    /// A report of this connection could not be made durable. It comes again, and for the sake of
    /// their order so must all that came after it.
    has_failed: bool,
}

impl Client {
    pub(super) fn new(config: MqttConfig, url: MqttUrl, desk: Arc<Desk>) -> Self {
        Self {
            config,
            url,
            filters: subscriptions(&desk.node),
            outbox: Outbox::new(desk.node.clone()),
            intake: Intake::new(Arc::clone(&desk)),
            desk,
            seen: Seen::default(),
            window: Window::default(),
            is_subscribed: false,
            has_failed: false,
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
        let dialed = tokio::select! {
            () = stop.wait() => return Ended::Stopped,
            dialed = timeout(CONNECT_TIMEOUT, self.dial()) => dialed,
        };
        let (wire, session_present) = match dialed {
            Ok(Ok(dialed)) => dialed,
            Ok(Err(ended)) => return ended,
            Err(_) => return Ended::Timeout,
        };
        *stood = Some(Instant::now());
        self.desk.stats.stood();
        tracing::info!(broker = %self.url, session_present, "connected to the MQTT broker");
        let Err(ended) = Box::pin(self.session(wire, session_present, stop.clone())).await;
        // What it brought is decided before the next one begins: whether it comes again or not
        // depends on it.
        while !self.intake.is_empty() {
            tokio::select! {
                () = stop.wait() => return Ended::Stopped,
                (receipt, verdict) = self.intake.next() => {
                    self.told(receipt, verdict);
                }
            }
        }
        self.has_failed = false;
        ended
    }

    async fn dial(&mut self) -> Result<(Connection, bool), Ended> {
        let MqttUrl { tls, host, port } = &self.url;
        let stream = TcpStream::connect((host.as_str(), *port)).await;
        let stream = stream.map_err(Ended::Dial)?;
        stream.set_nodelay(true).map_err(Ended::Dial)?;
        let stream: Box<dyn Stream> = if *tls {
            self.secured(stream).await?
        } else {
            Box::new(stream)
        };
        let mut wire = Wire::new(stream, self.config.message_bytes_max);
        wire.send(&Packet::Connect(self.introduction().await?));
        wire.flush().await?;
        match wire.receive().await? {
            Incoming::Packet(Packet::ConnAck {
                session_present,
                code: 0,
            }) => Ok((wire, session_present)),
            Incoming::Packet(Packet::ConnAck { code, .. }) => Err(Ended::Refused(refusal(code))),
            Incoming::Packet(_) | Incoming::Oversized { .. } => {
                Err(ProtocolError::Unexpected.into())
            }
        }
    }

    #[cfg(feature = "tls")]
    async fn secured(&mut self, stream: TcpStream) -> Result<Box<dyn Stream>, Ended> {
        let secured = super::tls::connect(&self.config, &self.url.host, stream).await?;
        Ok(Box::new(secured))
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_async, reason = "as with TLS")]
    async fn secured(&mut self, _: TcpStream) -> Result<Box<dyn Stream>, Ended> {
        Err(Ended::NoTls)
    }

    async fn introduction(&mut self) -> Result<Connect, Ended> {
        let config = &self.config;
        let client = config.client_id.clone();
        Ok(Connect {
            client: client.unwrap_or_else(|| format!("causeway-{}", self.desk.node)),
            clean: false,
            keep_alive: KEEP_ALIVE_SECONDS,
            username: config.username.clone(),
            password: super::password(config).await.map_err(Ended::Password)?,
            will: None,
        })
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
            while let Some((receipt, verdict)) = self.intake.next().now_or_never() {
                self.settle(&mut wire, receipt, verdict)?;
            }
            self.publish(&mut wire);
            tokio::select! {
                turned = wire.turn(self.intake.has_room()) => turned?,
                (receipt, verdict) = self.intake.next() => {
                    self.settle(&mut wire, receipt, verdict)?;
                }
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
            // Ids of another session name other messages.
            self.seen = Seen::default();
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
        for publish in self.window.again(session_present, Instant::now()) {
            wire.send(&Packet::Publish(publish));
        }
        self.look();
        self.outbox.remind_all(|_| true);
    }

    /// Takes what has arrived, as long as there is room for it.
    fn receive(&mut self, wire: &mut Connection) -> Result<(), Ended> {
        while self.intake.has_room()
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
            Packet::PubAck(id) => self.window.acked(id),
            Packet::PubRel(id) => wire.send(&Packet::PubComp(id)),
            Packet::SubAck { codes, .. } => {
                let mut refused = self.filters.iter().zip(&codes);
                if let Some((filter, _)) = refused.find(|(_, code)| **code >= 0x80) {
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
        let receipt = Receipt {
            id: publish.id,
            qos: publish.qos,
        };
        let is_sure = publish.qos != Qos::Zero;
        if is_sure && self.seen.is_again(&publish, oversized.unwrap_or_default()) {
            self.desk.stats.received(Outcome::Duplicate);
            self.intake.settle(receipt, Verdict::default());
            return;
        }
        self.intake.take(receipt, letter(publish, oversized));
    }

    fn settle(
        &mut self,
        wire: &mut Connection,
        receipt: Receipt,
        verdict: Verdict,
    ) -> Result<(), Ended> {
        if self.told(receipt, verdict) {
            return Err(Ended::NotDurable);
        }
        match receipt.qos {
            Qos::Zero => {}
            Qos::One => wire.send(&Packet::PubAck(receipt.id)),
            Qos::Two => wire.send(&Packet::PubRec(receipt.id)),
        }
        Ok(())
    }

    /// Notes what follows from a message, apart from its acknowledgement. `true`: there must be
    /// none.
    fn told(&mut self, receipt: Receipt, verdict: Verdict) -> bool {
        let Verdict {
            answers,
            remind,
            is_failed,
        } = verdict;
        for answer in answers {
            if !self.outbox.answer(answer) {
                self.desk.stats.dropped("answer");
            }
        }
        if let Some(device) = remind {
            self.outbox.remind(&device);
        }
        self.has_failed |= is_failed && receipt.qos != Qos::Zero;
        if self.has_failed {
            self.seen.forget(receipt.id);
        }
        self.has_failed
    }

    /// Hands messages to the connection, as many as it takes.
    fn publish(&mut self, wire: &mut Connection) {
        while self.window.has_room()
            && wire.unsent() < UNSENT_BYTES_MAX
            && let Some(message) = self.outbox.next(|_| true, stamp)
        {
            let publish = publish(message, &self.config);
            let publish = self.window.send(publish, Instant::now());
            wire.send(&Packet::Publish(publish));
            self.desk.stats.sent();
        }
    }

    fn tick(&self, wire: &mut Connection, unanswered: u32) -> Result<(), Ended> {
        if unanswered >= PINGS_UNANSWERED_MAX {
            return Err(Ended::Silent);
        }
        if self.window.is_overdue(Instant::now()) {
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

/// A message as the desk takes it.
pub(super) fn letter(publish: Publish, oversized: Option<usize>) -> Letter {
    let delivery = match (publish.retain, publish.dup) {
        (true, _) => Delivery::Retained,
        (false, true) => Delivery::Perhaps,
        (false, false) => Delivery::Fresh,
    };
    let content = match oversized {
        None => Content::Payload(publish.payload),
        Some(bytes) => Content::Oversized { bytes },
    };
    Letter {
        topic: publish.topic,
        content,
        delivery,
    }
}

/// A message of the bus as brokers take it.
pub(super) fn publish(message: Message, config: &MqttConfig) -> Publish {
    let Message { topic, payload } = message;
    Publish {
        dup: false,
        qos: if config.qos == 0 { Qos::Zero } else { Qos::One },
        retain: config.retain,
        topic,
        id: 0,
        payload,
    }
}

const fn refusal(code: u8) -> &'static str {
    match code {
        1 => "it does not speak MQTT 3.1.1",
        2 => "it does not take the client id",
        3 => "it is not available",
        4 => "user name or password is wrong",
        5 => "not authorized",
        _ => "for no reason that MQTT knows",
    }
}
