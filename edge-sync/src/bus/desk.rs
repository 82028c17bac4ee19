//! Where messages are dealt with: each gets a verdict, in the order in which they came.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use causeway_daemon::store_dir::wall_time;
use causeway_log::NodeName;
use causeway_projections::twin::{Device, Took};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::unconstrained;
use tokio::time::Instant;
use uuid::Uuid;

use super::answer::{self, Member, Stamp};
use super::decide::{Ask, Asked, Delivery, Refusal, decide, is_newest};
use super::limits::{Admission, Rates};
use super::outbox::Message;
use super::payload::Base;
use super::stats::{Outcome, Stats};
use super::topics::{self, Told, Topic};
use crate::twins::{ReportError, TwinsHandle};

/// Code and reason of what is over a rate: KubeEdge has no code of its own for it.
const CODE_LIMITED: u16 = 500;
/// An answer with more than this is not made.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A message that came.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) topic: Arc<str>,
    pub(super) content: Content,
    pub(super) delivery: Delivery,
}

/// What is in a message.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Payload(Bytes),
    /// It was larger than a message may be, and passed over.
    Oversized {
        bytes: usize,
    },
}

/// What becomes of a message.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) answers: Vec<Message>,
    /// A device that reported something else than it should.
    pub(super) remind: Option<Arc<Device>>,
    /// What it says could not be made durable: it is not to be acknowledged, and not forgotten.
    pub(super) is_failed: bool,
}

/// A verdict to come.
pub(super) type Pending = BoxFuture<'static, Verdict>;

/// See the module.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) node: NodeName,
    pub(super) twins: TwinsHandle,
    pub(super) stats: Stats,
    rates: Mutex<Rates>,
    began: Instant,
    /// One message at a time is handed in.
    gate: AsyncMutex<()>,
}

/// Names a message that is sent.
pub(super) fn stamp() -> Stamp {
    Stamp {
        event_id: Uuid::new_v4().to_string(),
        now: wall_time(),
    }
}

fn stamp_of(event_id: &str) -> Stamp {
    Stamp {
        event_id: event_id.to_owned(),
        now: wall_time(),
    }
}

impl Desk {
    pub(super) fn new(node: NodeName, twins: TwinsHandle, rates: Rates, stats: Stats) -> Self {
        Self {
            node,
            twins,
            stats,
            rates: Mutex::new(rates),
            began: Instant::now(),
            gate: AsyncMutex::new(()),
        }
    }

    /// Whether a topic is of the bus at all.
    #[cfg(feature = "broker")]
    pub(super) fn knows(&self, topic: &str) -> bool {
        Topic::parse(topic, &self.node).is_some()
    }

    /// Takes a message in. What is to be written is on its way, behind that of all earlier
    /// messages, when this returns.
    pub(super) fn take(self: &Arc<Self>, letter: &Letter) -> Result<Verdict, Pending> {
        let Some(topic) = Topic::parse(&letter.topic, &self.node) else {
            self.stats.received(Outcome::Ignored);
            return Ok(Verdict::default());
        };
        match self
            .admit(letter)
            .and_then(|payload| self.ask(&topic, payload, letter))
        {
            Err(None) => Ok(Verdict::default()),
            Err(Some(refusal)) => Ok(self.refused(&topic, &refusal)),
            Ok(Ask::Members(base)) => Ok(self.members(&topic, &base)),
            Ok(Ask::Twin(base, _)) => Ok(self.twin(&topic, &base)),
            Ok(Ask::Write(asked)) => {
                let desk = Arc::clone(self);
                // Unconstrained: else the first poll may end before the place at the gate is taken.
                let mut writing =
                    unconstrained(async move { desk.write(topic, *asked).await }).boxed();
                // Messages are in order because each comes to the gate before the next is looked at.
                match writing
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                {
                    Poll::Ready(verdict) => Ok(verdict),
                    Poll::Pending => Err(writing),
                }
            }
        }
    }

    /// Whether a report says, with its source times, just what is known.
    pub(super) fn is_newest(&self, letter: &Letter) -> bool {
        let (Some(Topic::TwinUpdate(name)), Content::Payload(payload)) =
            (Topic::parse(&letter.topic, &self.node), &letter.content)
        else {
            return false;
        };
        let device = self.twins.read(|twins| twins.get(&name).cloned());
        device.is_some_and(|device| is_newest(payload, &device))
    }

    /// The payload, if there is one and the topic is not too loud.
    fn admit<'a>(&self, letter: &'a Letter) -> Result<&'a Bytes, Option<Refusal>> {
        match self.rates.lock().admit(&letter.topic, self.began.elapsed()) {
            Admission::Heard => {}
            Admission::Over { tell } => {
                let refusal = Refusal {
                    event_id: String::new(),
                    code: CODE_LIMITED,
                    reason: "the topic is over its rate: messages are dropped".to_owned(),
                    outcome: Outcome::Limited,
                };
                if !tell {
                    self.stats.received(Outcome::Limited);
                }
                return Err(tell.then_some(refusal));
            }
        }
        match &letter.content {
            Content::Payload(payload) => Ok(payload),
            Content::Oversized { bytes } => Err(Some(Refusal {
                event_id: String::new(),
                code: 400,
                reason: format!("a message of {bytes} bytes is too large"),
                outcome: Outcome::TooLarge,
            })),
        }
    }

    fn ask(&self, topic: &Topic, payload: &[u8], letter: &Letter) -> Result<Ask, Option<Refusal>> {
        let device = |name: &_| self.twins.read(|twins| twins.get(name).cloned());
        decide(topic, payload, letter.delivery, wall_time(), device).map_err(Some)
    }

    fn refused(&self, topic: &Topic, refusal: &Refusal) -> Verdict {
        let Refusal {
            event_id,
            code,
            reason,
            outcome,
        } = refusal;
        self.stats.received(*outcome);
        let payload = answer::failure(&stamp_of(event_id), *code, reason);
        self.answered(topic, payload)
    }

    fn answered(&self, topic: &Topic, payload: Bytes) -> Verdict {
        let topic = topic.answer(&self.node).into();
        Verdict {
            answers: vec![Message { topic, payload }],
            ..Verdict::default()
        }
    }

    fn members(&self, topic: &Topic, base: &Base) -> Verdict {
        self.stats.received(Outcome::Answered);
        let members: Vec<Member> = self.twins.read(|twins| {
            let devices = twins.devices();
            let member = devices.map(|(name, device)| {
                let state = device.twin.reported.shown_state();
                Member::of(name, state)
            });
            member.collect()
        });
        let payload = answer::members(&stamp_of(&base.event_id), &members);
        self.answered(topic, payload)
    }

    fn twin(&self, topic: &Topic, base: &Base) -> Verdict {
        let Topic::TwinGet(name) = topic else {
            return Verdict::default();
        };
        let Some(device) = self.twins.read(|twins| twins.get(name).cloned()) else {
            let device = name.clone();
            let error = ReportError::Unknown { device };
            return self.refused(topic, &Refusal::of(&base.event_id, &error));
        };
        let stamp = stamp_of(&base.event_id);
        let mut names: Vec<&Arc<str>> = device.rules.iter().map(|(name, _)| name).collect();
        let reported = device.twin.reported.properties.values();
        names.extend(reported.map(|(name, _)| name));
        let payload = answer::twin(&stamp, names, &device.twin, &device.rules);
        if payload.len() > ANSWER_BYTES_MAX {
            let refusal = Refusal {
                event_id: base.event_id.clone(),
                code: 500,
                reason: format!(
                    "the twin has {} bytes, too many for a message",
                    payload.len()
                ),
                outcome: Outcome::TooLarge,
            };
            return self.refused(topic, &refusal);
        }
        self.stats.received(Outcome::Answered);
        self.answered(topic, payload)
    }

    async fn write(self: Arc<Self>, topic: Topic, asked: Asked) -> Verdict {
        let Asked {
            base,
            report,
            wishes,
            names,
            attributes,
        } = asked;
        let device = report.device.clone();
        let says_nothing = report.properties.is_empty() && report.state.is_none();
        if says_nothing && wishes.is_empty() {
            return self.unchanged(&topic, &base, &names);
        }
        // The gate opens in the order in which it was come to.
        let turn = self.gate.lock().await;
        let handed = if says_nothing {
            None
        } else {
            Some(self.twins.hand_in(report).await)
        };
        let wished = if wishes.is_empty() {
            Ok(())
        } else {
            self.twins.wish(&device, wishes).await.map(|_| ())
        };
        drop(turn);
        let told = match handed {
            None => Ok(None),
            Some(Err(error)) => Err(error),
            Some(Ok(handed)) => handed.told().await.map(Some),
        };
        let told = match told.and_then(|told| wished.map(|()| told)) {
            Ok(told) => told,
            Err(error) => {
                let refusal = Refusal::of(&base.event_id, &error);
                let is_failed = !says_nothing && refusal.outcome == Outcome::Failed;
                return Verdict {
                    is_failed,
                    ..self.refused(&topic, &refusal)
                };
            }
        };
        let Some(told) = told else {
            self.stats.received(Outcome::Taken);
            return self.unchanged_answer(&topic, &base, &names);
        };
        let refused = told.properties.iter().find_map(|(name, took)| {
            let refused = took.as_ref().err()?.clone();
            let property = Arc::clone(name);
            Some(ReportError::Refused { property, refused })
        });
        if let Some(error) = refused {
            return self.refused(&topic, &Refusal::of(&base.event_id, &error));
        }
        let took = told.properties.iter().map(|(_, took)| took);
        let is_changed = took
            .chain(&told.state)
            .any(|took| *took == Ok(Took::Changed));
        self.stats.received(if is_changed {
            Outcome::Taken
        } else {
            Outcome::Echo
        });
        self.reported(&topic, &base, &names, &attributes, &told.after)
    }

    /// The answer to a report that is durable.
    fn reported(
        &self,
        topic: &Topic,
        base: &Base,
        names: &[Arc<str>],
        attributes: &BTreeMap<String, String>,
        after: &Arc<Device>,
    ) -> Verdict {
        let (stamp, twin) = (stamp_of(&base.event_id), &after.twin);
        let name = after.name();
        let mut verdict = match topic {
            Topic::StateUpdate(_) => {
                let state = twin.reported.shown_state();
                self.answered(topic, answer::state(&stamp, &name.name, state))
            }
            Topic::TwinUpdate(_) | Topic::TwinGet(_) | Topic::MembershipGet => {
                self.answered(topic, answer::twin(&stamp, names, twin, &after.rules))
            }
        };
        if !attributes.is_empty() {
            verdict.answers.push(Message {
                topic: topics::of_device(&name, Told::Attributes).into(),
                payload: answer::attributes(&self::stamp(), attributes),
            });
        }
        let mut open = twin.delta(&after.rules);
        let is_other = open.any(|(open, ..)| names.contains(open));
        verdict.remind = is_other.then(|| Arc::clone(after));
        verdict
    }

    /// A message that says only what is known.
    fn unchanged(&self, topic: &Topic, base: &Base, names: &[Arc<str>]) -> Verdict {
        self.stats.received(Outcome::Duplicate);
        self.unchanged_answer(topic, base, names)
    }

    fn unchanged_answer(&self, topic: &Topic, base: &Base, names: &[Arc<str>]) -> Verdict {
        let (Topic::TwinUpdate(name) | Topic::StateUpdate(name) | Topic::TwinGet(name)) = topic
        else {
            return Verdict::default();
        };
        let device = self.twins.read(|twins| twins.get(name).cloned());
        device.map_or_else(Verdict::default, |device| {
            let none = BTreeMap::new();
            self.reported(topic, base, names, &none, &device)
        })
    }
}
