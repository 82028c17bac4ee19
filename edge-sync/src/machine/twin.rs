//! Reports of devices: all of one device in a round become one document and few chunks of readings.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_kube_api::{Clock, WriteError};
use causeway_log::batch::{Entry, Place};
use causeway_log::limits::ROUND_BYTES_TARGET;
use causeway_log::replication::Incoming;
use causeway_log::writer::Committed;
use causeway_log::{Batch, Body, Draft, EventId, Key, Op, StreamId, Uid};
use causeway_projections::twin::history::{Chunk, Reading, readings};
use causeway_projections::twin::{Device, DeviceName, GROUP, Reported};
use tokio::sync::oneshot;

use crate::twins::{DeviceReport, History, Moment, Outcome, ReportError, Told, TwinsView, Working};

type Done = oneshot::Sender<Result<Told, ReportError>>;

/// The part of the machine that takes reports.
#[derive(Debug, Default)]
pub(super) struct Reports {
    view: TwinsView,
    /// What was kept last of each device that was heard of since the start.
    histories: BTreeMap<DeviceName, (Uid, History)>,
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
}

#[derive(Debug)]
struct Answer {
    done: Done,
    device: DeviceName,
    before: Arc<Device>,
    outcome: Result<Outcome, ReportError>,
}

impl Reports {
    pub(super) fn new(view: TwinsView) -> Self {
        Self {
            view,
            ..Self::default()
        }
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
                drop(done.send(Err(ReportError::Unknown { device: name })));
                return Ok(());
            };
            let working = Working::new(device);
            round.bytes += working.bytes_max();
            round.devices.insert(name.clone(), working);
        }
        let working = round.devices.get_mut(&name).expect("it is there by now");
        let nothing = History::new();
        let history = match self.histories.get(&name) {
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
        for working in round.devices.values_mut() {
            let key = &working.base.key;
            if working.has_changed {
                let body = working.reported.encode();
                let at = batch.entries.len();
                round.documents.insert(at, Arc::clone(&working.reported));
                batch
                    .entries
                    .push(entry(up, clock, key.clone(), Op::Twin, body));
            }
            let key = Key {
                resource: readings(),
                ..key.clone()
            };
            for chunk in chunks(std::mem::take(&mut working.kept)) {
                let body = chunk.encode();
                batch
                    .entries
                    .push(entry(up, clock, key.clone(), Op::Fact, body));
            }
        }
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
    pub(super) fn committed(&mut self) {
        let round = std::mem::take(&mut self.round);
        for (name, working) in round.devices {
            if !working.moved.is_empty() {
                let uid = &working.base.key.uid;
                let (known, history) = self.histories.entry(name).or_default();
                if known != uid {
                    (*known, *history) = (uid.clone(), History::new());
                }
                history.extend(working.moved);
            }
        }
        if round.is_shaken {
            let histories = &mut self.histories;
            self.view
                .read(|twins| histories.retain(|name, _| twins.get(name).is_some()));
        }
        for answer in round.answers {
            let Answer {
                done,
                device,
                before,
                outcome,
            } = answer;
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
    }

    /// Refuses the reports of a round that came to nothing.
    pub(super) fn failed(&mut self, error: &WriteError) {
        let round = std::mem::take(&mut self.round);
        for answer in round.answers {
            drop(answer.done.send(Err(error.clone().into())));
        }
    }
}

/// Readings in chunks, in their order.
fn chunks(readings: Vec<(Arc<str>, Reading)>) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    for (name, reading) in readings {
        let is_taken = chunks
            .last_mut()
            .is_some_and(|chunk| chunk.push(&name, reading.clone()));
        if !is_taken {
            let mut chunk = Chunk::default();
            let is_taken = chunk.push(&name, reading);
            debug_assert!(is_taken, "an empty chunk takes a reading");
            chunks.push(chunk);
        }
    }
    chunks
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
