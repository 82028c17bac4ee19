//! Reports of devices: all of one device in a round become one document and few chunks of readings.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_daemon::telemetry::error_chain;
use causeway_kube_api::{Clock, WriteError};
use causeway_log::batch::{Entry, Place};
use causeway_log::limits::ROUND_BYTES_TARGET;
use causeway_log::replication::Incoming;
use causeway_log::writer::Committed;
use causeway_log::{Batch, Body, Draft, EventId, Key, Offset, Op, StreamId, Uid};
use causeway_projections::twin::{Device, DeviceName, GROUP, Reported};
use tokio::sync::oneshot;

use crate::twins::{
    Backlog, Delta, DeviceReport, Moment, Outcome, ReportError, Samplers, Told, TwinsView, Working,
};

/// Spreads the numbers of rounds evenly: 2^64 by the golden ratio. Each round begins with another
/// device, or on a link that is too slow for all the same ones would always be first.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

type Done = oneshot::Sender<Result<Told, ReportError>>;

/// The part of the machine that takes reports.
#[derive(Debug)]
pub(super) struct Reports {
    view: TwinsView,
    backlog: Backlog,
    /// What was kept last of each device that was heard of since the start.
    samplers: BTreeMap<DeviceName, (Uid, Samplers)>,
    /// Counts rounds with reports.
    rounds: u64,
    round: Round,
}

#[derive(Debug, Default)]
struct Round {
    devices: BTreeMap<DeviceName, Working>,
    /// The documents in the batch, by their place there.
    documents: BTreeMap<usize, Arc<Reported>>,
    answers: Vec<Answer>,
    /// At least the bytes that the reports add to the batch.
    bytes: usize,
    /// The round brings other Devices or models.
    is_shaken: bool,
    /// What becomes of kept readings.
    delta: Option<Delta>,
    /// Who asked for kept readings to be sent on.
    drains: Vec<oneshot::Sender<()>>,
}

#[derive(Debug)]
struct Answer {
    done: Done,
    device: DeviceName,
    before: Arc<Device>,
    outcome: Result<Outcome, ReportError>,
}

impl Reports {
    pub(super) fn new(view: TwinsView, backlog: Backlog) -> Self {
        view.set_due(backlog.due());
        Self {
            view,
            backlog,
            samplers: BTreeMap::new(),
            rounds: 0,
            round: Round::default(),
        }
    }

    /// The cloud has everything up to here.
    pub(super) fn acked(&mut self, upto: Offset, clock: &dyn Clock) {
        self.backlog.acked(upto, clock.monotonic());
    }

    /// Kept readings that are due go on with this round.
    pub(super) fn drain(&mut self, done: oneshot::Sender<()>) {
        self.round.drains.push(done);
    }

    /// Whether reports wait for the end of this round.
    pub(super) fn is_at_work(&self) -> bool {
        !self.round.devices.is_empty()
    }

    /// Whether records from the cloud can go into the same round: not when they change Devices or
    /// models that reports were decided by.
    pub(super) fn admits(&mut self, incoming: &Incoming) -> bool {
        let mut keys = incoming.records.iter().map(|(_, draft)| &draft.key);
        let is_shaking = keys.any(|key| &*key.resource.group == GROUP);
        if is_shaking && self.is_at_work() {
            return false;
        }
        self.round.is_shaken |= is_shaking;
        true
    }

    /// Takes a report, or hands it back when it must wait for the next round.
    pub(super) fn plan(
        &mut self,
        report: Box<DeviceReport>,
        done: Done,
        clock: &dyn Clock,
    ) -> Result<(), (Box<DeviceReport>, Done)> {
        let round = &mut self.round;
        if round.is_shaken || round.bytes >= ROUND_BYTES_TARGET {
            return Err((report, done));
        }
        let name = report.device.clone();
        if !round.devices.contains_key(&name) {
            let Some(device) = self.view.read(|twins| twins.get(&name).cloned()) else {
                // Whoever asked may be gone.
                let unknown = ReportError::Unknown { device: name };
                self.view.stats().answered(&Err(unknown.clone()));
                drop(done.send(Err(unknown)));
                return Ok(());
            };
            let working = Working::new(device);
            round.bytes += working.bytes_max();
            round.devices.insert(name.clone(), working);
        }
        let working = round.devices.get_mut(&name).expect("it is there by now");
        let nothing = Samplers::new();
        let history = match self.samplers.get(&name) {
            Some((uid, history)) if *uid == working.base.key.uid => history,
            Some(_) | None => &nothing,
        };
        let now = Moment {
            wall: clock.now(),
            monotonic: clock.monotonic(),
        };
        let properties = report.properties.iter();
        round.bytes += properties
            .map(|(name, it)| it.bytes_max(name))
            .sum::<usize>();
        let outcome = working.take(*report, history, now);
        round.answers.push(Answer {
            done,
            device: name,
            before: Arc::clone(&working.base),
            outcome,
        });
        Ok(())
    }

    /// Writes what the reports of the round changed.
    pub(super) fn seal(&mut self, up: &StreamId, clock: &dyn Clock, batch: &mut Batch) {
        let round = &mut self.round;
        let mut kept = Vec::new();
        let mut devices: Vec<_> = round.devices.values_mut().collect();
        if !devices.is_empty() {
            self.rounds = self.rounds.wrapping_add(1);
            let turn = self.rounds.wrapping_mul(SPREAD) >> 32;
            let turn = usize::try_from(turn).unwrap_or_default() % devices.len();
            devices.rotate_left(turn);
        }
        for working in devices {
            let key = &working.base.key;
            if working.has_changed {
                let body = working.reported.encode();
                let at = batch.entries.len();
                round.documents.insert(at, Arc::clone(&working.reported));
                batch
                    .entries
                    .push(entry(up, clock, key.clone(), Op::Twin, body));
            }
            if !working.kept.is_empty() {
                kept.push((key.clone(), std::mem::take(&mut working.kept)));
            }
        }
        let chunk = |key, body| entry(up, clock, key, Op::Fact, body);
        if let StreamId::Node(node, _) = up
            && let Err(error) = self.backlog.catch_up(node)
        {
            tracing::error!(error = %error_chain(&error), "kept readings cannot be read");
        }
        let now = clock.monotonic();
        round.delta = Some(self.backlog.plan(kept, now, batch, chunk));
    }

    /// Shows what became durable.
    pub(super) fn publish(&mut self, committed: &Committed<'_>) {
        let documents = &mut self.round.documents;
        let entries = committed.batch.entries.iter().zip(committed.records);
        self.view.publish(
            |twins| {
                let mut has_changed = false;
                for (at, (entry, stored)) in entries.enumerate() {
                    has_changed |= match documents.remove(&at) {
                        Some(reported) => twins.apply_reported(stored, reported),
                        None => twins.apply(&entry.stream, stored),
                    };
                }
                has_changed
            },
            committed.durable,
        );
    }

    /// Answers the reports of a round that is durable and shown.
    pub(super) fn committed(&mut self, committed: &Committed<'_>) {
        let round = std::mem::take(&mut self.round);
        if let Some(mut delta) = round.delta {
            if let Some(error) = delta.error.take() {
                tracing::error!(error = %error_chain(&error), "kept readings cannot be read");
            }
            let (kept, dropped) = (delta.kept, delta.dropped);
            let records = committed.records;
            let offset = |at: usize| Some(records.get(at)?.record.header.offset);
            self.backlog.commit(delta, offset);
            let stats = self.view.stats();
            stats.kept(kept, dropped, self.backlog.bytes());
            self.view.set_due(self.backlog.due());
        }
        for (name, working) in round.devices {
            if !working.moved.is_empty() {
                let uid = &working.base.key.uid;
                let (known, history) = self.samplers.entry(name).or_default();
                if known != uid {
                    (*known, *history) = (uid.clone(), Samplers::new());
                }
                history.extend(working.moved);
            }
        }
        if round.is_shaken {
            let samplers = &mut self.samplers;
            self.view
                .read(|twins| samplers.retain(|name, _| twins.get(name).is_some()));
        }
        for answer in round.answers {
            let Answer {
                done,
                device,
                before,
                outcome,
            } = answer;
            self.view.stats().answered(&outcome);
            let told = outcome.map(|Outcome { properties, state }| Told {
                after: self
                    .view
                    .read(|twins| twins.get(&device).cloned())
                    .unwrap_or_else(|| Arc::clone(&before)),
                before,
                properties,
                state,
            });
            drop(done.send(told));
        }
        for done in round.drains {
            // Whoever asked may be gone.
            done.send(()).ok();
        }
    }

    /// Refuses the reports of a round that came to nothing.
    pub(super) fn failed(&mut self, error: &WriteError) {
        self.backlog.failed();
        let round = std::mem::take(&mut self.round);
        for answer in round.answers {
            let refused: Result<Outcome, ReportError> = Err(error.clone().into());
            self.view.stats().answered(&refused);
            drop(answer.done.send(Err(error.clone().into())));
        }
        for done in round.drains {
            // Whoever asked may be gone.
            done.send(()).ok();
        }
    }
}

fn entry(up: &StreamId, clock: &dyn Clock, key: Key, op: Op, body: Vec<u8>) -> Entry {
    let time = clock.now();
    let [entropy @ .., _, _, _, _, _, _] = clock.entropy();
    Entry {
        stream: up.clone(),
        place: Place::Next,
        draft: Draft {
            id: EventId::compose(time, entropy),
            cause: None,
            time,
            key,
            version: None,
            op,
            body: Body::from(body),
        },
    }
}
