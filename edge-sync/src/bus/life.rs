//! What a session with the other side knows of its messages on their way, in either direction.

use std::collections::BTreeSet;

use super::mqtt::{Packet, Publish, Qos};
use super::seen::Seen;
use super::window::Window;

/// See the module. It outlives connections, as the session does.
#[derive(Debug, Default)]
pub(super) struct Life {
    pub(super) window: Window,
    seen: Seen,
    /// Ids of messages to be delivered exactly once that the other side has not released yet.
    unreleased: BTreeSet<u16>,
}

/// Which message a verdict is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receipt {
    pub(super) id: u16,
    pub(super) qos: Qos,
}

impl Life {
    /// A message came; `true`: it was here before, and is being taken or was. `oversized`: it was
    /// passed over, for having so many bytes.
    pub(super) fn is_again(&mut self, publish: &Publish, oversized: Option<usize>) -> bool {
        match publish.qos {
            Qos::Zero => false,
            Qos::One => self.seen.is_again(publish, oversized.unwrap_or_default()),
            Qos::Two => !self.unreleased.insert(publish.id),
        }
    }

    /// The acknowledgement of a message, if it gets one. It is to be sent: its sender may give the
    /// id to another message then.
    pub(super) fn acknowledge(&mut self, receipt: Receipt) -> Option<Packet> {
        match receipt.qos {
            Qos::Zero => None,
            Qos::One => {
                self.seen.acknowledged(receipt.id);
                Some(Packet::PubAck(receipt.id))
            }
            Qos::Two => Some(Packet::PubRec(receipt.id)),
        }
    }

    /// The other side will not send a message again that is delivered exactly once.
    pub(super) fn release(&mut self, id: u16) -> Packet {
        self.unreleased.remove(&id);
        Packet::PubComp(id)
    }

    /// A message was not taken after all: when it comes again it is new.
    pub(super) fn forget(&mut self, receipt: Receipt) {
        self.seen.forget(receipt.id);
        self.unreleased.remove(&receipt.id);
    }

    /// The other side has lost the session: ids that it gives name other messages.
    pub(super) fn renew(&mut self) {
        self.seen = Seen::default();
        self.unreleased.clear();
    }
}
