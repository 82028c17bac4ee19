//! A device at a broker, through rumqttc: so the broker of an edge is tried with a client that has
//! nothing in common with it.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ClientError, ConnectionError, Event, EventLoop, MqttOptions, Outgoing, QoS,
};

pub use rumqttc::Packet;

/// Requests that wait to be sent.
const UNSENT_MAX: usize = 256;
/// Messages that may be on their way at once, not acknowledged.
const UNACKNOWLEDGED_MAX: u16 = 256;
/// Longest packet, either way.
const PACKET_BYTES_MAX: usize = 1 << 20;

/// The connection is gone.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    /// The broker did not answer, refused, or hung up.
    #[error("no connection to the broker")]
    Connection(#[source] Box<ConnectionError>),
    /// A topic that is none, or a request too many.
    #[error("the request cannot be sent")]
    Request(#[source] Box<ClientError>),
}

/// A connection to a broker.
pub struct Mqtt {
    client: AsyncClient,
    events: EventLoop,
    /// Requests that were made and not sent yet.
    unsent: usize,
    /// Packets that came while there was something to be sent.
    received: VecDeque<Packet>,
}

impl fmt::Debug for Mqtt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mqtt").finish_non_exhaustive()
    }
}

impl Mqtt {
    /// Connects with a clean session and no keep alive, without a user name or password.
    ///
    /// # Errors
    /// When the broker does not answer, or refuses.
    pub async fn connect(broker: SocketAddr, client: &str) -> Result<Self, MqttError> {
        let mut options = MqttOptions::new(client, broker.ip().to_string(), broker.port());
        options.set_keep_alive(Duration::ZERO);
        options.set_inflight(UNACKNOWLEDGED_MAX);
        options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
        let (client, events) = AsyncClient::new(options, UNSENT_MAX);
        let mut mqtt = Self {
            client,
            events,
            unsent: 0,
            received: VecDeque::new(),
        };
        while !matches!(mqtt.next().await?, Packet::ConnAck(_)) {}
        Ok(mqtt)
    }

    /// Publishes with QoS 1. It may be on its way only with the next call.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<(), MqttError> {
        self.room().await?;
        let sent = self
            .client
            .try_publish(topic, QoS::AtLeastOnce, false, payload);
        self.requested(sent)
    }

    /// Asks for the messages of a filter, with QoS 1.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn subscribe(&mut self, filter: &str) -> Result<(), MqttError> {
        self.room().await?;
        let sent = self.client.try_subscribe(filter, QoS::AtLeastOnce);
        self.requested(sent)
    }

    /// The next packet of the broker; a message with QoS 1 is acknowledged. Sends what waits
    /// meanwhile.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn next(&mut self) -> Result<Packet, MqttError> {
        if let Some(packet) = self.received.pop_front() {
            return Ok(packet);
        }
        loop {
            if let Some(packet) = self.step().await? {
                return Ok(packet);
            }
        }
    }

    async fn room(&mut self) -> Result<(), MqttError> {
        while self.unsent >= UNSENT_MAX {
            let packet = self.step().await?;
            self.received.extend(packet);
        }
        Ok(())
    }

    fn requested(&mut self, sent: Result<(), ClientError>) -> Result<(), MqttError> {
        sent.map_err(|error| MqttError::Request(Box::new(error)))?;
        self.unsent += 1;
        Ok(())
    }

    async fn step(&mut self) -> Result<Option<Packet>, MqttError> {
        let event = self.events.poll().await;
        match event.map_err(|error| MqttError::Connection(Box::new(error)))? {
            Event::Incoming(packet) => Ok(Some(packet)),
            Event::Outgoing(Outgoing::Publish(_) | Outgoing::Subscribe(_)) => {
                self.unsent = self.unsent.saturating_sub(1);
                Ok(None)
            }
            Event::Outgoing(_) => Ok(None),
        }
    }
}
