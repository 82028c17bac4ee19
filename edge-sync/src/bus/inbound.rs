//! What comes on one connection, from its arrival to its acknowledgement; the same for the client
//! of an external broker and for the embedded one.

use std::sync::Arc;

use causeway_projections::twin::Device;

use super::decide::Delivery;
use super::desk::{Content, Desk, Letter, Verdict};
use super::intake::Intake;
use super::life::{Life, Receipt};
use super::mqtt::{Publish, Qos};
use super::outbox::Message;
use super::stats::Outcome;

/// A report cannot be made durable. It comes again, on another connection.
#[derive(Debug, thiserror::Error)]
#[error("a report cannot be made durable")]
pub(super) struct NotDurable;

/// What follows from a message.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) answers: Vec<Message>,
    /// A device that reported something else than it should.
    pub(super) remind: Option<Arc<Device>>,
    /// What there is to be acknowledged, with [`Life::acknowledge`].
    pub(super) receipt: Result<Receipt, NotDurable>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Inbound {
    desk: Arc<Desk>,
    intake: Intake<Receipt>,
    /// A report of this connection could not be made durable. It comes again, and for the sake of
    /// their order so must all that came after it.
    has_failed: bool,
}

impl Inbound {
    pub(super) fn new(desk: Arc<Desk>) -> Self {
        Self {
            intake: Intake::new(Arc::clone(&desk)),
            desk,
            has_failed: false,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.intake.has_room()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.intake.is_empty()
    }

    /// A message came; `true`: it is new, and is to be taken or skipped. One that was here before is
    /// only acknowledged again. `oversized`: it was passed over, for having so many bytes.
    pub(super) fn is_new(
        &mut self,
        life: &mut Life,
        publish: &Publish,
        oversized: Option<usize>,
    ) -> bool {
        let is_new = !life.is_again(publish, oversized);
        if !is_new {
            self.desk.stats.received(Outcome::Duplicate);
            self.skip(publish);
        }
        is_new
    }

    /// Hands a message in.
    pub(super) fn take(&mut self, publish: Publish, oversized: Option<usize>) {
        self.intake
            .take(receipt(&publish), letter(publish, oversized));
    }

    /// Acknowledges a message in its turn without looking at it.
    pub(super) fn skip(&mut self, publish: &Publish) {
        self.intake.settle(receipt(publish), Verdict::default());
    }

    /// The next verdict, in the order of the messages; [`Inbound::settle`] is to be told of it.
    /// Waits for ever when there is no message.
    pub(super) async fn next(&mut self) -> (Receipt, Verdict) {
        self.intake.next().await
    }

    /// What follows from a verdict.
    pub(super) fn settle(
        &mut self,
        life: &mut Life,
        (receipt, verdict): (Receipt, Verdict),
    ) -> Settled {
        let Verdict {
            answers,
            remind,
            is_failed,
        } = verdict;
        self.has_failed |= is_failed && receipt.qos != Qos::Zero;
        let receipt = if self.has_failed {
            life.forget(receipt);
            Err(NotDurable)
        } else {
            Ok(receipt)
        };
        Settled {
            answers,
            remind,
            receipt,
        }
    }
}

const fn receipt(publish: &Publish) -> Receipt {
    Receipt {
        id: publish.id,
        qos: publish.qos,
    }
}

/// A message as the desk takes it.
fn letter(publish: Publish, oversized: Option<usize>) -> Letter {
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
