//! Devices at the edge: they report through their nodes, and remember what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use causeway_edge_sync::machine::Request;
use causeway_edge_sync::twins::{DeviceReport, ReportError, Told};
use causeway_kube_api::Clock as _;
use causeway_log::store::ReadLimit;
use causeway_log::{Batch, Direction, EventId, Key, NodeName, Op, Revision, Slot, Store, StreamId};
use causeway_projections::twin::history::{Chunk, Policy, readings};
use causeway_projections::twin::{
    self, DeviceName, Property, Report, State, TwinVersion, Value as TwinValue,
};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::act::Said;
use super::queue::Event;
use super::{Invariant, World};

/// Readings that stay due are asked for again after this long.
const DRAIN_AGAIN: Duration = Duration::from_secs(1);

/// A report under way.
#[derive(Debug)]
pub(super) struct Reporting {
    answer: oneshot::Receiver<Result<Told, ReportError>>,
    said: Vec<(Arc<str>, Arc<str>)>,
}

/// What the devices of a node were told, and what became of their readings and of Events: TWIN-4,
/// TWIN-5 and FACT-1. It begins anew when the node, or the cloud, gets another disk.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Of each life of a Device: what its node took.
    pub(super) promised: BTreeMap<Key, Promised>,
    /// Facts that are durable in the node's stream: readings, and Events.
    pub(super) kept: BTreeMap<EventId, Key>,
    /// Those that are durable in the cloud.
    pub(super) arrived: BTreeSet<EventId>,
    /// Facts that the node's store let go of before the cloud had them.
    pub(super) given_up: u64,
    /// Events that the node took: FACT-1.
    pub(super) events: BTreeSet<Uuid>,
    /// Readings by what they say.
    pub(super) readings: BTreeMap<(DeviceName, Arc<str>, Arc<str>), Count>,
    /// Readings that the node counted as given up.
    pub(super) dropped: u64,
    /// What is on the disk as it is opened next was there before the ledger began.
    has_past: bool,
}

/// What a device was told that its node took.
#[derive(Debug, Default)]
pub(super) struct Promised {
    pub(super) properties: BTreeMap<Arc<str>, Property>,
    pub(super) state: Option<State>,
}

/// How often a reading was made, was acknowledged as one to keep, and came to the cloud.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) issued: u64,
    pub(super) acked: u64,
    pub(super) arrived: u64,
}

impl Ledger {
    /// A fact is durable in the cloud. `false`: it came before.
    fn arrive(&mut self, id: EventId, key: &Key, body: &[u8]) -> bool {
        if !self.arrived.insert(id) {
            return false;
        }
        if key.resource != readings() {
            return true;
        }
        let Ok(chunk) = Chunk::decode(body) else {
            return true;
        };
        self.dropped += chunk.dropped();
        for (property, series) in chunk.series() {
            for reading in series {
                let what = (
                    DeviceName::of(key),
                    Arc::clone(property),
                    Arc::clone(&reading.value),
                );
                self.readings.entry(what).or_default().arrived += 1;
            }
        }
        true
    }

    /// What was acknowledged so far may be lost.
    fn forgive(&mut self) {
        for count in self.readings.values_mut() {
            (count.acked, count.arrived) = (0, 0);
        }
        self.given_up = 0;
    }

    fn promise(&mut self, told: &Told, said: &[(Arc<str>, Arc<str>)]) {
        let reported = &told.after.twin.reported;
        let key = &told.before.key;
        for ((name, took), (_, value)) in told.properties.iter().zip(said) {
            if took.is_err() {
                continue;
            }
            if told.before.policies.of(name) == Policy::All {
                let what = (DeviceName::of(key), Arc::clone(name), Arc::clone(value));
                self.readings.entry(what).or_default().acked += 1;
            }
            // The Device may have become another since.
            let is_same = told.after.key == *key;
            if let Some(property) = reported.properties.get(name).filter(|_| is_same) {
                let promised = self.promised.entry(key.clone()).or_default();
                let known = promised.properties.entry(Arc::clone(name));
                let known = known.or_insert_with(|| property.clone());
                if known.version < property.version {
                    *known = property.clone();
                }
            }
        }
        if let (Some(Ok(_)), Some(state)) = (&told.state, &reported.state) {
            let promised = self.promised.entry(key.clone()).or_default();
            if promised.state.as_ref() < Some(state) {
                promised.state = Some(state.clone());
            }
        }
    }
}

impl World {
    /// A device reports.
    pub(super) fn report(&mut self, n: usize, said: &Said) {
        if self.nodes[n].edge.is_none() {
            let name = self.nodes[n].name.clone();
            let what = format_args!("its broker does not answer");
            self.trace.event(self.now, "refused", name.as_str(), what);
            return;
        }
        let device = DeviceName::new(&said.namespace, &said.name);
        let time = self.nodes[n].clock.now();
        let properties: Vec<(Arc<str>, Report)> = said
            .properties
            .iter()
            .map(|(name, value)| {
                let report = Report {
                    value: Some(TwinValue::new(value)),
                    observed: None,
                    version: said.version.map(TwinVersion::new),
                    time,
                };
                (name.as_str().into(), report)
            })
            .collect();
        let values: Vec<(Arc<str>, Arc<str>)> = said
            .properties
            .iter()
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect();
        // Whether the node knows the device shows once it looks at the report, not before.
        for (property, value) in &values {
            let what = (device.clone(), Arc::clone(property), Arc::clone(value));
            let count = self.nodes[n].ledger.readings.entry(what).or_default();
            count.issued += 1;
        }
        let report = Box::new(DeviceReport {
            device,
            properties,
            state: said.state.as_deref().map(Into::into),
            doubt: None,
            all_or_nothing: said.all_or_nothing,
        });
        let (done, answer) = oneshot::channel();
        self.ask_edge(n, Request::Twin { report, done });
        if let Some(edge) = &mut self.nodes[n].edge {
            let said = values;
            edge.reports.push(Reporting { answer, said });
        }
    }

    /// Takes the answers of the node.
    pub(super) fn hear_devices(&mut self, n: usize) {
        let Some(edge) = self.nodes[n].edge.as_mut() else {
            return;
        };
        if edge.reports.is_empty() {
            return;
        }
        let mut told = Vec::new();
        edge.reports
            .retain_mut(|report| match report.answer.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => true,
                Err(oneshot::error::TryRecvError::Closed) => false,
                Ok(answer) => {
                    told.push((answer, std::mem::take(&mut report.said)));
                    false
                }
            });
        for (answer, said) in told {
            let node = &mut self.nodes[n];
            let name = node.name.clone();
            match answer {
                Ok(told) => {
                    node.ledger.promise(&told, &said);
                    let (device, count) = (told.after.name(), told.properties.len());
                    let what = format_args!("{device}: {count} properties");
                    self.trace.event(self.now, "reported", name.as_str(), what);
                }
                Err(why) => {
                    let what = format_args!("{why}");
                    self.trace.event(self.now, "refused", name.as_str(), what);
                }
            }
        }
    }

    /// What a batch that became durable at a node says of readings, and of Devices that went.
    pub(super) fn note_kept(&mut self, n: usize, batch: &Batch) {
        let ledger = &mut self.nodes[n].ledger;
        for entry in &batch.entries {
            let StreamId::Node(_, Direction::Up) = &entry.stream else {
                continue;
            };
            let draft = &entry.draft;
            if draft.op == Op::Fact {
                ledger.kept.insert(draft.id, draft.key.clone());
            }
            if draft.op == Op::Delete && draft.key.resource == twin::devices() {
                ledger.promised.remove(&draft.key);
            }
        }
    }

    /// A disk of a node is opened: a batch that was on its way there as the process died may have
    /// made it.
    pub(super) fn note_opened(&mut self, n: usize, store: &dyn Store) {
        let node = &mut self.nodes[n];
        let up = StreamId::up(node.name.clone());
        let has_past = std::mem::take(&mut node.ledger.has_past);
        for (id, key, _) in facts(store, &up) {
            if has_past {
                node.ledger.arrived.insert(id);
            } else {
                node.ledger.kept.insert(id, key);
            }
        }
        let is_gone = |key: &Key| {
            let newest = store.newest(&up, key, Slot::Object).ok().flatten();
            newest.is_some_and(|stored| stored.record.header.op == Op::Delete)
        };
        node.ledger.promised.retain(|key, _| !is_gone(key));
    }

    /// What a batch that became durable in the cloud says of facts: TWIN-5 and FACT-1, once.
    pub(super) fn note_arrived(&mut self, batch: &Batch) {
        let mut twice = None;
        for entry in &batch.entries {
            let StreamId::Node(name, Direction::Up) = &entry.stream else {
                continue;
            };
            let draft = &entry.draft;
            if draft.op != Op::Fact {
                continue;
            }
            let Some(n) = self.names.get(name) else {
                continue;
            };
            let node = &mut self.nodes[*n];
            let body = draft.body.bytes();
            let is_new = node.ledger.arrive(draft.id, &draft.key, body);
            if !is_new && !node.has_lost_history && !self.has_lost_history {
                let what = format!("{name}: {} of {} came twice", draft.id, draft.key);
                twice = Some((invariant_of(&draft.key), what));
            }
        }
        if let Some((invariant, what)) = twice {
            self.violate(invariant, what);
        }
    }

    /// The disk of the cloud is opened.
    pub(super) fn note_cloud_opened(&mut self, store: &dyn Store) {
        let names: Vec<(NodeName, usize)> = self
            .names
            .iter()
            .map(|(name, n)| (name.clone(), *n))
            .collect();
        for (name, n) in names {
            for (id, key, body) in facts(store, &StreamId::up(name)) {
                self.nodes[n].ledger.arrive(id, &key, &body);
            }
        }
    }

    /// A node's disk is another: what it knew nobody promises any more.
    pub(super) fn forget_node(&mut self, n: usize) {
        let ledger = &mut self.nodes[n].ledger;
        ledger.forgive();
        ledger.promised.clear();
        ledger.events.clear();
        ledger.kept.clear();
        ledger.has_past = true;
    }

    /// The cloud's disk is another: what arrived before may be gone, or may come again.
    pub(super) fn forget_arrivals(&mut self) {
        for node in &mut self.nodes {
            let ledger = &mut node.ledger;
            ledger.forgive();
            ledger.events.clear();
            // What is in the node's stream counts as arrived: the cloud may have let it go. So does
            // what the node held before the ledger began, which is on its disk and not among these.
            let kept = std::mem::take(&mut ledger.kept);
            ledger.arrived.extend(kept.into_keys());
        }
    }

    // === readings that wait ===

    /// Readings that wait at the node are sent on when they are due.
    pub(super) fn drain_later(&mut self, n: usize) {
        let Some(edge) = &mut self.nodes[n].edge else {
            return;
        };
        let due = *edge.twins.due().borrow();
        if edge.draining.is_none()
            && edge.drains_at != due
            && let Some(at) = due
        {
            edge.drains_at = due;
            let life = edge.life;
            self.queue
                .push(at.max(self.now), Event::Drain { node: n, life });
        }
    }

    pub(super) fn drain(&mut self, n: usize, life: u64) {
        let Some(edge) = self.nodes[n].edge.as_mut().filter(|edge| edge.life == life) else {
            return;
        };
        let is_due = edge.twins.due().borrow().is_some_and(|at| at <= self.now);
        edge.drains_at = None;
        if is_due && edge.draining.is_none() {
            let (done, drained) = oneshot::channel();
            edge.draining = Some(drained);
            self.ask_edge(n, Request::Drain { done });
        } else {
            self.drain_later(n);
        }
    }

    /// Takes the answer; what stays due is asked for again after a while.
    pub(super) fn hear_drain(&mut self, n: usize) {
        let Some(edge) = &mut self.nodes[n].edge else {
            return;
        };
        if let Some(draining) = &mut edge.draining
            && !matches!(
                draining.try_recv(),
                Err(oneshot::error::TryRecvError::Empty)
            )
        {
            edge.draining = None;
            let due = *edge.twins.due().borrow();
            if due.is_some_and(|at| at <= self.now) {
                let life = edge.life;
                edge.drains_at = due;
                self.queue
                    .push(self.now + DRAIN_AGAIN, Event::Drain { node: n, life });
            }
        }
        self.drain_later(n);
    }
}

/// What a fact that goes missing, or comes twice, breaks.
pub(super) fn invariant_of(fact: &Key) -> Invariant {
    match fact.resource == readings() {
        true => Invariant::ReadingsOnce,
        false => Invariant::FactsOnce,
    }
}

/// The facts in a stream.
fn facts(store: &dyn Store, stream: &StreamId) -> Vec<(EventId, Key, Vec<u8>)> {
    let mut facts = Vec::new();
    let mut after = Revision::ZERO;
    while let Ok(page) = store.read(stream, after, ReadLimit::SCAN) {
        let Some(last) = page.last() else { break };
        after = last.revision;
        for stored in page {
            let header = &stored.record.header;
            if header.op == Op::Fact {
                let body = stored.record.body.bytes().to_vec();
                facts.push((header.id, header.key.clone(), body));
            }
        }
    }
    facts
}
