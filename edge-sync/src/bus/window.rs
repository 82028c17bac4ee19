//! Messages on their way to the other side, until it says that it has them.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::mqtt::{Publish, Qos};
use super::outbox::Message;
use crate::config::MqttConfig;

/// A broker that does not acknowledge a message for so long has lost it, or its acknowledgement.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);
/// Messages on their way at a time.
const WINDOW_MAX: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// In the order in which they were sent.
    sent: BTreeMap<u64, (Publish, Instant)>,
    by_id: BTreeMap<u16, u64>,
    count: u64,
    last_id: u16,
}

impl Window {
    pub(super) fn has_room(&self) -> bool {
        self.by_id.len() < WINDOW_MAX
    }

    /// Notes a message that is sent; it gets a packet id, unless nobody will acknowledge it.
    pub(super) fn send(&mut self, mut publish: Publish, now: Instant) -> Publish {
        if publish.qos == Qos::Zero {
            return publish;
        }
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if self.last_id != 0 && !self.by_id.contains_key(&self.last_id) {
                break;
            }
        }
        publish.id = self.last_id;
        self.count += 1;
        self.by_id.insert(publish.id, self.count);
        self.sent.insert(self.count, (publish.clone(), now));
        publish
    }

    /// The other side has the message with this id.
    pub(super) fn acked(&mut self, id: u16) {
        if let Some(count) = self.by_id.remove(&id) {
            self.sent.remove(&count);
        }
    }

    /// Whether a message is not acknowledged for so long that it is lost, or its acknowledgement.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        let oldest = self.sent.first_key_value();
        oldest.is_some_and(|(_, (_, at))| now.saturating_duration_since(*at) >= ACK_TIMEOUT)
    }

    /// All messages, to be sent once more on a new connection; `dup`: the other side may have
    /// them.
    pub(super) fn again(&mut self, dup: bool, now: Instant) -> impl Iterator<Item = Publish> {
        self.sent.values_mut().map(move |(publish, at)| {
            *at = now;
            Publish {
                dup,
                ..publish.clone()
            }
        })
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
