//! From what is on disk to a machine that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use causeway_kube_api::source::format_time;
use causeway_kube_api::{Catalog, Clock, View};
use causeway_log::error::{AppendError, ReadError, SyncError};
use causeway_log::store::ReadLimit;
use causeway_log::{
    Batch, Body, Direction, Epoch, EventId, Key, NodeName, Op, Resource, Revision, Slot, Store,
    StreamChange, StreamId, Uid,
};
use causeway_projections::objects::Limits;
use causeway_projections::rebuild::rebuild_with;
use serde_json::{Value, json};

use super::{ClusterMachine, Round};
use crate::hub::Hub;
use crate::interest::{Graph, Name, Sticky, down_body_of, is_device};
use crate::writeback::Outcomes;

/// Namespaces that every cluster has.
pub const BOOTSTRAP_NAMESPACES: [&str; 4] =
    ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Watchers of a cluster may be this far behind before they must list anew.
const LIMITS: Limits = Limits {
    tombstones_max: 65_536,
    tombstone_bytes_max: 32 * 1024 * 1024,
    facts_max: 0,
};
/// A healing batch is written when it has so many records.
const HEAL_BATCH_RECORDS: usize = 1024;
/// … or so many bytes.
const HEAL_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The machine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be read.
    #[error("cannot read the store")]
    Read(#[from] ReadError),
    /// The first records cannot be written.
    #[error("cannot write the first records")]
    Append(#[from] AppendError),
    /// They cannot be made durable.
    #[error("cannot make the first records durable")]
    Sync(#[from] SyncError),
}

/// What a node was last sent of an object.
type Sent = BTreeMap<Key, Body>;

impl ClusterMachine {
    /// Rebuilds the cluster and the interest graph from `store`, brings the `down` streams in line
    /// with them, and makes the namespaces that every cluster has.
    ///
    /// The streams are in line already unless the rules of interest changed between versions of
    /// this program; whatever differs is appended, and nothing else.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        hub: Arc<Hub>,
        outcomes: Arc<Outcomes>,
    ) -> Result<Self, StartError> {
        let mut machine = Self::load(store, clock, hub, outcomes)?;
        machine.heal()?;
        machine.bootstrap()?;
        machine.define_devices()?;
        Ok(machine)
    }

    /// [`ClusterMachine::start`] for a cluster that mirrors a Kubernetes one: what it was when it was
    /// last seen.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn start_mirror(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        hub: Arc<Hub>,
        outcomes: Arc<Outcomes>,
    ) -> Result<Self, StartError> {
        let mut machine = Self::load(store, clock, hub, outcomes)?;
        machine.become_mirror()?;
        machine.heal()?;
        Ok(machine)
    }

    fn load(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        hub: Arc<Hub>,
        outcomes: Arc<Outcomes>,
    ) -> Result<Self, StartError> {
        if store.stream(&StreamId::Cluster)?.is_none() {
            let epoch = Epoch::new(clock.uid());
            let streams = vec![StreamChange::Open {
                stream: StreamId::Cluster,
                epoch,
            }];
            store.append(&Batch {
                streams,
                ..Batch::default()
            })?;
            store.sync()?;
        }
        let view = View::new(rebuild_with(&*store, &[StreamId::Cluster], LIMITS)?);
        let durable = store.watermarks().durable;
        let mut machine = Self {
            store,
            clock,
            view,
            hub,
            outcomes,
            graph: Graph::default(),
            catalog: (Revision::ZERO, Catalog::builtin()),
            depths: Arc::default(),
            changed_devices: Arc::default(),
            durable: tokio::sync::watch::Sender::new(durable),
            down: BTreeSet::new(),
            acks: BTreeMap::new(),
            mirror: None,
            round: Round::default(),
        };
        machine.catalog = (Revision::ZERO, machine.view.read(Catalog::of));
        machine.graph = machine.graph_of_objects(Sticky::default());
        Ok(machine)
    }

    /// The graph as what is durable says, with what nodes keep because of requests.
    pub(super) fn graph_of_objects(&self, kept: Sticky) -> Graph {
        let mut graph = Graph::keeping(kept);
        let mut deltas = Vec::new();
        self.view.read(|objects| {
            for entry in objects
                .resources()
                .flat_map(|r| objects.list(r, None, None))
            {
                let body: Option<Value> = entry
                    .desired()
                    .and_then(|body| serde_json::from_slice(body.bytes()).ok());
                graph.put(entry.key(), &body.unwrap_or_default(), &mut deltas);
                deltas.clear();
            }
        });
        graph
    }

    fn heal(&mut self) -> Result<(), StartError> {
        let mut sent: BTreeMap<NodeName, Sent> = BTreeMap::new();
        for stream in self.store.streams()? {
            let StreamId::Node(node, Direction::Down) = &stream else {
                continue;
            };
            self.down.insert(node.clone());
            let sent = sent.entry(node.clone()).or_default();
            let mut deltas = Vec::new();
            for record in scan(&*self.store, &stream)? {
                let header = record.header;
                match header.op {
                    Op::Put => {
                        sent.insert(header.key, record.body);
                    }
                    // The answer to an accepted request is what remembers who made the object.
                    Op::Apply => self.graph.stick(node, &header.key, &mut deltas),
                    Op::Delete | Op::Status | Op::Twin | Op::Fact | Op::Reject => {}
                }
            }
        }
        let mut wanted: BTreeMap<NodeName, Vec<Key>> =
            sent.keys().map(|node| (node.clone(), Vec::new())).collect();
        for (key, holders) in self.graph.held() {
            for node in holders {
                wanted.entry(node.clone()).or_default().push(key.clone());
            }
        }
        let mut batch = Batch::default();
        let mut differences = 0_usize;
        for (node, keys) in wanted {
            differences += self.heal_node(&node, keys, sent.remove(&node), &mut batch)?;
        }
        self.write_now(&mut batch)?;
        self.graph.keep();
        if differences > 0 {
            tracing::warn!(
                differences,
                "brought what nodes are sent in line with the cluster"
            );
        }
        Ok(())
    }

    fn heal_node(
        &mut self,
        node: &NodeName,
        keys: Vec<Key>,
        sent: Option<Sent>,
        batch: &mut Batch,
    ) -> Result<usize, StartError> {
        let mut sent = sent.unwrap_or_default();
        let cause = self.event_id();
        let mut differences = 0;
        for key in keys {
            let Some(current) = self.current(&Name::of(&key)) else {
                continue;
            };
            let body = down_body_of(&key, &current.body);
            if sent.remove(&key).is_none_or(|sent| sent != body) {
                self.send_record(batch, node, &key, Op::Put, body.clone(), cause);
                differences += 1;
            }
            if is_device(&key.resource) && self.send_wishes(batch, node, &key, &body, cause) {
                differences += 1;
            }
            self.write_when_full(batch)?;
        }
        for key in sent.into_keys() {
            self.send_record(batch, node, &key, Op::Delete, Body::EMPTY, cause);
            differences += 1;
            self.write_when_full(batch)?;
        }
        Ok(differences)
    }

    fn bootstrap(&mut self) -> Result<(), StartError> {
        let mut batch = Batch::default();
        for name in BOOTSTRAP_NAMESPACES {
            let resource = Resource::core("namespaces");
            let uid = self.clock.uid();
            let key = Key::new(resource, "", name, Uid::Uuid(uid))
                .expect("the names of these namespaces are valid");
            if self.current(&Name::of(&key)).is_some() {
                continue;
            }
            let object = json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": name,
                    "uid": uid.to_string(),
                    "creationTimestamp": format_time(self.clock.now()),
                    "labels": {"kubernetes.io/metadata.name": name},
                },
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            });
            // Far below the size of a record.
            let _ = self.put(&mut batch, &key, object, None);
        }
        self.write_now(&mut batch)
    }

    fn event_id(&self) -> EventId {
        let [a, b, c, d, e, f, g, h, i, j, ..] = self.clock.entropy();
        EventId::compose(self.clock.now(), [a, b, c, d, e, f, g, h, i, j])
    }

    fn write_when_full(&mut self, batch: &mut Batch) -> Result<(), StartError> {
        let bytes: usize = match batch.entries.len() % 64 {
            0 => batch
                .entries
                .iter()
                .map(|entry| entry.draft.body.len())
                .sum(),
            _ => 0,
        };
        if batch.entries.len() >= HEAL_BATCH_RECORDS || bytes >= HEAL_BATCH_BYTES {
            self.write_now(batch)?;
        }
        Ok(())
    }

    /// Writes before there is a writer thread.
    pub(super) fn write_now(&mut self, batch: &mut Batch) -> Result<(), StartError> {
        let batch = std::mem::take(batch);
        if batch.is_empty() {
            return Ok(());
        }
        let appended = self.store.append(&batch)?;
        let durable = self.store.sync()?;
        let cluster = batch.entries.iter().zip(&appended.revisions);
        let after = cluster
            .filter(|(entry, _)| entry.stream == StreamId::Cluster)
            .map(|(_, revision)| *revision)
            .min();
        if let Some(first) = after {
            let after = Revision::new(first.get().saturating_sub(1));
            let records = self
                .store
                .read(&StreamId::Cluster, after, ReadLimit::SCAN)?;
            self.view.publish(
                |objects| {
                    for stored in &records {
                        objects.apply(&StreamId::Cluster, stored);
                    }
                },
                durable,
            );
        }
        let round = std::mem::take(&mut self.round);
        self.down.extend(round.opened);
        Ok(())
    }
}

/// The newest record of every key and slot, except facts.
pub(super) fn scan(
    store: &dyn Store,
    stream: &StreamId,
) -> Result<Vec<causeway_log::Record>, ReadError> {
    let mut records = Vec::new();
    let mut after: Option<(Key, Slot)> = None;
    loop {
        let from = after.as_ref().map(|(key, slot)| (key, *slot));
        let page = store.scan_newest(stream, from, ReadLimit::SCAN)?;
        let Some(last) = page.last() else {
            return Ok(records);
        };
        let header = &last.record.header;
        after = Some((header.key.clone(), header.op.slot()));
        records.extend(page.into_iter().map(|stored| stored.record));
    }
}
