//! The embedded broker: MQTT 3.1.1 for the devices of a node that has no other broker.
//!
//! It is small because of what it is for: QoS 2 is taken from publishers and given to nobody
//! (subscriptions get QoS 1), and sessions live in memory. What it has that a broker apart from the
//! bus cannot have is its acknowledgement.
//!
//! # Guarantees
//! - A message to the bus is acknowledged to the device that sent it when what it says is durable,
//!   or was refused and the device told. What is not acknowledged the device sends again.
//! - All else is acknowledged when it is in the queues of those who listen.
//!
//! # Caveats
//! - Sessions, queues and retained messages end with the process. A client sees that its session is
//!   new, subscribes again, and is told what its device still has to do.

mod connection;
mod index;
mod sessions;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use causeway_daemon::tasks::Stop;
use causeway_log::replication::Backoff;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use self::sessions::Sessions;
use super::desk::{Desk, stamp};
use super::mqtt::{Publish, matches};
use super::outbox::{Message, Outbox};
use super::topics::{Told, of_device};
use super::window::publish;
use crate::config::{MqttConfig, MqttMode};

/// Connections get this long to settle what they were sent.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// What connections share.
#[derive(Debug)]
struct Broker {
    config: MqttConfig,
    desk: Arc<Desk>,
    sessions: Mutex<Sessions>,
    outbox: Mutex<Outbox>,
    /// There may be something in the outbox.
    due: Notify,
}

/// Runs the broker until stopped.
pub(super) async fn run(config: MqttConfig, desk: Arc<Desk>, mut stop: Stop) {
    let sessions = Sessions::new(config.session_queue, config.clients_max);
    let broker = Arc::new(Broker {
        outbox: Mutex::new(Outbox::new(desk.node.clone())),
        sessions: Mutex::new(sessions),
        due: Notify::new(),
        config,
        desk,
    });
    let listener = tokio::select! {
        () = stop.wait() => return,
        listener = broker.listener() => listener,
    };
    tokio::join!(broker.tell(stop.clone()), broker.accept(listener, stop));
}

impl Broker {
    /// Listens, when it is time to. A port that is taken may come free.
    async fn listener(&self) -> TcpListener {
        if self.config.mode == MqttMode::Auto {
            self.first_device().await;
        }
        let address = self.config.listen;
        let mut backoff = Backoff::new(fastrand::u64(..));
        loop {
            match TcpListener::bind(address).await {
                Ok(listener) => {
                    self.said(address);
                    return listener;
                }
                Err(error) if backoff.attempts() == 0 => {
                    tracing::error!(%address, %error, "the MQTT broker cannot listen; trying on");
                }
                Err(error) => {
                    tracing::debug!(%address, %error, "the MQTT broker still cannot listen")
                }
            }
            tokio::time::sleep(backoff.next(None)).await;
        }
    }

    /// A node without devices needs no broker.
    async fn first_device(&self) {
        let mut changes = self.desk.twins.subscribe();
        while self
            .desk
            .twins
            .read(|twins| twins.devices().next().is_none())
        {
            if changes.changed().await.is_err() {
                std::future::pending().await
            }
        }
    }

    fn said(&self, address: SocketAddr) {
        tracing::info!(%address, "the MQTT broker listens");
        if self.config.username.is_none() && !address.ip().is_loopback() {
            tracing::warn!(%address, "whoever reaches the MQTT broker may speak for any device");
        }
    }

    /// Tells devices what changes, as long as somebody listens.
    async fn tell(&self, mut stop: Stop) {
        let mut twins = self.desk.twins.subscribe();
        twins.mark_changed();
        loop {
            while let Some(message) = self.next_told() {
                self.route(message);
                self.desk.stats.sent();
                tokio::task::consume_budget().await;
            }
            tokio::select! {
                () = stop.wait() => return,
                () = self.due.notified() => {}
                changed = twins.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.desk.twins.read(|twins| self.outbox.lock().look(twins));
                }
            }
        }
    }

    fn next_told(&self) -> Option<Message> {
        let wanted = |topic: &str| self.sessions.lock().wants(topic);
        self.outbox.lock().next(wanted, stamp)
    }

    /// Tells again what devices have not done yet to who has just subscribed.
    fn remind(&self, filters: &[String]) {
        self.outbox.lock().remind_all(|device| {
            let topic = of_device(device, Told::Delta);
            filters.iter().any(|filter| matches(filter, &topic))
        });
        self.due.notify_one();
    }

    /// Hands a message of the bus to who listens.
    fn route(&self, message: Message) {
        self.forward(&publish(message, &self.config));
    }

    /// Hands a message to who listens.
    fn forward(&self, publish: &Publish) {
        for _ in 0..self.sessions.lock().route(publish) {
            self.desk.stats.dropped("session");
        }
    }

    /// Whether a client may connect. Without a user name in the configuration everybody may who
    /// reaches the port.
    async fn admits(&self, username: Option<&str>, password: Option<&Bytes>) -> bool {
        let Some(wanted) = &self.config.username else {
            return true;
        };
        let secret = match super::password(&self.config).await {
            Ok(secret) => secret,
            Err(error) => {
                tracing::warn!(%error, "cannot read the password of the MQTT broker");
                return false;
            }
        };
        let is_right = match (&secret, password) {
            (None, _) => true,
            (Some(secret), Some(password)) => is_equal(secret, password),
            (Some(_), None) => false,
        };
        username == Some(wanted) && is_right
    }

    async fn accept(self: &Arc<Self>, listener: TcpListener, mut stop: Stop) {
        let slots = Arc::new(Semaphore::new(self.config.clients_max));
        let mut connections = JoinSet::new();
        loop {
            let slot = tokio::select! {
                () = stop.wait() => break,
                slot = Arc::clone(&slots).acquire_owned() => slot.expect("never closed"),
            };
            tokio::select! {
                () = stop.wait() => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a connection of the MQTT broker panicked");
                    }
                }
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let serving = connection::serve(stream, Arc::clone(self), stop.clone());
                        connections.spawn(async move {
                            serving.await;
                            drop(slot);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the MQTT broker cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        let drained = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, drained).await;
    }
}

/// In a time that does not tell where two secrets differ.
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    let differ = one
        .iter()
        .zip(other)
        .fold(0, |differ, (a, b)| differ | (a ^ b));
    one.len() == other.len() && differ == 0
}
