//! One client of the embedded broker.

use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::tasks::Stop;
use causeway_daemon::telemetry::error_chain;
use futures_util::FutureExt as _;
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use super::super::desk::Verdict;
use super::super::inbound::{Inbound, NotDurable};
use super::super::life::{Life, Receipt};
use super::super::mqtt::{
    Connect, Incoming, Packet, ProtocolError, Publish, Qos, TOPIC_BYTES_MAX, Will, Wire, WireError,
};
use super::Broker;
use super::index::ClientId;

/// From the connection to its first packet.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest name of a client.
const CLIENT_ID_BYTES_MAX: usize = 256;
/// No more is handed to a connection that has so much to send.
const UNSENT_BYTES_MAX: usize = 64 * 1024;
/// Without a keep alive, or with a long one, a client is given up after this much silence.
const SILENCE_MAX: Duration = Duration::from_secs(20 * 60);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("no packet in {CONNECT_TIMEOUT:?}")]
    Timeout,
    #[error("the client is not welcome")]
    Refused,
    #[error("the client is silent")]
    Silent,
    #[error("the topic is too long")]
    Topic,
    #[error(transparent)]
    NotDurable(#[from] NotDurable),
    #[error("another connection has its session")]
    Taken,
    #[error("the client left")]
    Left,
    #[error("stopping")]
    Stopped,
}

impl From<ProtocolError> for Ended {
    fn from(error: ProtocolError) -> Self {
        Self::Wire(error.into())
    }
}

struct Connection {
    broker: Arc<Broker>,
    client: ClientId,
    number: u64,
    wire: Wire<TcpStream>,
    inbound: Inbound,
    life: OwnedMutexGuard<Life>,
    wake: Arc<Notify>,
    kick: Arc<Notify>,
    silence_max: Duration,
}

/// Serves a client until it goes.
pub(super) async fn serve(stream: TcpStream, broker: Arc<Broker>, mut stop: Stop) {
    let _ = stream.set_nodelay(true);
    let mut wire = Wire::new(stream, broker.config.message_bytes_max);
    let welcomed = tokio::select! {
        () = stop.wait() => return,
        welcomed = timeout(CONNECT_TIMEOUT, welcome(&mut wire, &broker)) => welcomed,
    };
    let connect = match welcomed.unwrap_or(Err(Ended::Timeout)) {
        Ok(connect) => connect,
        Err(error) => {
            tracing::debug!(error = %error_chain(&error), "an MQTT client was not admitted");
            return;
        }
    };
    broker.desk.stats.clients.inc();
    Box::pin(connected(wire, &broker, connect, stop)).await;
    broker.desk.stats.clients.dec();
}

/// Reads how a client introduces itself, and refuses it if need be.
async fn welcome(wire: &mut Wire<TcpStream>, broker: &Broker) -> Result<Connect, Ended> {
    let refuse = |code| Packet::ConnAck {
        session_present: false,
        code,
    };
    let mut connect = match wire.receive().await {
        Ok(Incoming::Packet(Packet::Connect(connect))) => connect,
        Ok(_) => return Err(ProtocolError::Unexpected.into()),
        Err(error) => {
            if let WireError::Protocol(ProtocolError::Version { .. }) = error {
                wire.send(&refuse(1));
                wire.flush().await?;
            }
            return Err(error.into());
        }
    };
    if connect.client.is_empty() && connect.clean {
        connect.client = Uuid::new_v4().to_string();
    }
    let username = connect.username.as_deref();
    let code = if connect.client.is_empty() || connect.client.len() > CLIENT_ID_BYTES_MAX {
        2
    } else if !broker.admits(username, connect.password.as_ref()).await {
        4
    } else {
        return Ok(connect);
    };
    wire.send(&refuse(code));
    wire.flush().await?;
    Err(Ended::Refused)
}

async fn connected(wire: Wire<TcpStream>, broker: &Arc<Broker>, connect: Connect, mut stop: Stop) {
    let client: ClientId = connect.client.into();
    let attached = broker.sessions.lock().attach(&client, connect.clean);
    // The connection before has it until it has settled all that it was sent.
    let life = attached.life.lock_owned().await;
    let keep_alive = Duration::from_secs(connect.keep_alive.into()) * 3 / 2;
    let mut connection = Connection {
        inbound: Inbound::new(Arc::clone(&broker.desk)),
        broker: Arc::clone(broker),
        client,
        number: attached.number,
        wire,
        life,
        wake: attached.wake,
        kick: attached.kick,
        silence_max: if keep_alive.is_zero() {
            SILENCE_MAX
        } else {
            keep_alive.min(SILENCE_MAX)
        },
    };
    let ended = connection.run(attached.session_present, &mut stop).await;
    if let Err(error) = &ended {
        tracing::debug!(client = %connection.client, error = %error_chain(error), "an MQTT client is gone");
    }
    let is_over = matches!(ended, Err(Ended::Left | Ended::Stopped));
    connection.end(connect.will.filter(|_| !is_over)).await;
}

impl Connection {
    async fn run(&mut self, session_present: bool, stop: &mut Stop) -> Result<(), Ended> {
        self.wire.send(&Packet::ConnAck {
            session_present,
            code: 0,
        });
        for publish in self.life.window.again(true, Instant::now()) {
            self.wire.send(&Packet::Publish(publish));
        }
        let (mut heard, mut deadline) = (0, Instant::now() + self.silence_max);
        loop {
            self.receive()?;
            while let Some(verdict) = self.inbound.next().now_or_never() {
                self.settle(verdict)?;
            }
            self.publish();
            if self.wire.bytes_in() != heard {
                heard = self.wire.bytes_in();
                deadline = Instant::now() + self.silence_max;
            }
            let (kick, wake) = (Arc::clone(&self.kick), Arc::clone(&self.wake));
            tokio::select! {
                turned = self.wire.turn(self.inbound.has_room()) => turned?,
                verdict = self.inbound.next() => self.settle(verdict)?,
                () = wake.notified() => {}
                () = kick.notified() => return Err(Ended::Taken),
                () = sleep_until(deadline) => return Err(Ended::Silent),
                () = stop.wait() => return Err(Ended::Stopped),
            }
        }
    }

    /// Takes what has arrived, as long as there is room for it.
    fn receive(&mut self) -> Result<(), Ended> {
        while self.inbound.has_room()
            && let Some(incoming) = self.wire.next()?
        {
            match incoming {
                Incoming::Oversized { head, bytes } => self.message(head, Some(bytes))?,
                Incoming::Packet(packet) => self.packet(packet)?,
            }
        }
        Ok(())
    }

    fn packet(&mut self, packet: Packet) -> Result<(), Ended> {
        match packet {
            Packet::Publish(publish) => self.message(publish, None)?,
            Packet::PubAck(id) => self.life.window.acked(id),
            Packet::PubRel(id) => self.wire.send(&self.life.release(id)),
            Packet::Subscribe { id, filters } => self.subscribe(id, filters),
            Packet::Unsubscribe { id, filters } => {
                let mut sessions = self.broker.sessions.lock();
                sessions.unsubscribe(&self.client, self.number, &filters);
                drop(sessions);
                self.wire.send(&Packet::UnsubAck(id));
            }
            Packet::PingReq => self.wire.send(&Packet::PingResp),
            Packet::Disconnect => return Err(Ended::Left),
            Packet::Connect(_)
            | Packet::ConnAck { .. }
            | Packet::PubRec(_)
            | Packet::PubComp(_)
            | Packet::SubAck { .. }
            | Packet::UnsubAck(_)
            | Packet::PingResp => return Err(ProtocolError::Unexpected.into()),
        }
        Ok(())
    }

    fn subscribe(&mut self, id: u16, filters: Vec<(String, Qos)>) {
        let names: Vec<String> = filters.iter().map(|(filter, _)| filter.clone()).collect();
        let mut sessions = self.broker.sessions.lock();
        let codes = sessions.subscribe(&self.client, self.number, filters);
        drop(sessions);
        self.wire.send(&Packet::SubAck { id, codes });
        self.broker.remind(&names);
    }

    /// A message. `oversized`: it was passed over, for having so many bytes.
    fn message(&mut self, publish: Publish, oversized: Option<usize>) -> Result<(), Ended> {
        if publish.topic.len() > TOPIC_BYTES_MAX {
            return Err(Ended::Topic);
        }
        if !self.inbound.is_new(&mut self.life, &publish, oversized) {
            return Ok(());
        }
        if oversized.is_none() {
            self.broker.forward(&publish);
        }
        // Here it is live, whatever the broker keeps of it.
        let publish = Publish {
            retain: false,
            ..publish
        };
        if self.broker.desk.knows(&publish.topic) {
            self.inbound.take(publish, oversized);
        } else {
            self.inbound.skip(&publish);
        }
        Ok(())
    }

    fn settle(&mut self, verdict: (Receipt, Verdict)) -> Result<(), Ended> {
        let receipt = self.told(verdict)?;
        if let Some(acknowledgement) = self.life.acknowledge(receipt) {
            self.wire.send(&acknowledgement);
        }
        Ok(())
    }

    /// Notes what follows from a message, apart from its acknowledgement.
    fn told(&mut self, verdict: (Receipt, Verdict)) -> Result<Receipt, NotDurable> {
        let settled = self.inbound.settle(&mut self.life, verdict);
        for answer in settled.answers {
            self.broker.route(answer);
            self.broker.desk.stats.sent();
        }
        if let Some(device) = settled.remind {
            self.broker.outbox.lock().remind(&device);
            self.broker.due.notify_one();
        }
        settled.receipt
    }

    /// Hands messages to the connection, as many as it takes.
    fn publish(&mut self) {
        while self.life.window.has_room() && self.wire.unsent() < UNSENT_BYTES_MAX {
            let mut sessions = self.broker.sessions.lock();
            let Some(publish) = sessions.next(&self.client, self.number) else {
                return;
            };
            drop(sessions);
            let publish = self.life.window.send(publish, Instant::now());
            self.wire.send(&Packet::Publish(publish));
        }
    }

    /// Settles what is left, with the message that the client left for this case.
    async fn end(mut self, will: Option<Will>) {
        if let Some(will) = will {
            let Will {
                topic,
                payload,
                qos: _,
                retain,
            } = will;
            let publish = Publish {
                dup: false,
                qos: Qos::Zero,
                retain,
                topic,
                id: 0,
                payload,
            };
            // A topic that is too long is nobody's.
            let _ = self.message(publish, None);
        }
        while !self.inbound.is_empty() {
            let verdict = self.inbound.next().await;
            // There is nobody to acknowledge it to.
            let _ = self.told(verdict);
        }
        self.broker
            .sessions
            .lock()
            .detach(&self.client, self.number);
    }
}
