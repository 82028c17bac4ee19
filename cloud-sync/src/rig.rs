//! A cluster machine on a store in memory, driven round by round: what the writer thread does,
//! without the thread.

use std::sync::Arc;

use causeway_daemon::session_driver::WriteRefused;
use causeway_daemon::tasks::Shutdown;
use causeway_kube_api::decide::{Context, prepare_create};
use causeway_kube_api::schema::FieldValidation;
use causeway_kube_api::{Change, Clock, Expected, Write, WriteError, Written};
use causeway_log::replication::{Incoming, SessionWrite};
use causeway_log::store::ReadLimit;
use causeway_log::store::memory::{Disk, MemoryStore};
use causeway_log::writer::{Committed, Machine as _, Planned, RoundError};
use causeway_log::{
    Batch, Body, Draft, Epoch, EventId, Key, NodeName, Offset, Op, Resource, Revision, Slot, Store,
    Stored, StreamId, Uid, WallTime,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::cluster::{ClusterMachine, Request, Seen};
use crate::hub::{Hub, Seat};
use crate::writeback::{Outcomes, WroteBack};

/// A clock that stands, with entropy that counts.
#[derive(Debug, Default)]
pub(crate) struct Counter(std::sync::atomic::AtomicU64);

impl Clock for Counter {
    fn now(&self) -> WallTime {
        WallTime::from_unix_millis(1_700_000_000_000)
    }

    fn entropy(&self) -> [u8; 16] {
        let next = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let [a, b, c, d, e, f, g, h] = next.to_be_bytes();
        // Event identities take the first ten bytes, so the count must stand there.
        [a, b, c, d, e, f, g, h, 1, 2, 3, 4, 5, 6, g, h]
    }
}

pub(crate) struct Rig {
    pub(crate) disk: Disk,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) machine: ClusterMachine,
    pub(crate) hub: Arc<Hub>,
    pub(crate) outcomes: Arc<Outcomes>,
    clock: Arc<Counter>,
    shutdown: Shutdown,
    /// The next offset that a node sends.
    sent: u64,
}

pub(crate) fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

pub(crate) fn key(plural: &str, namespace: &str, name: &str) -> Key {
    // A uid that depends on the name alone.
    let text = Body::from(format!("{plural}/{namespace}/{name}").into_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(text.hash().as_bytes().split_at(16).0);
    let uid = Uid::Uuid(uuid::Builder::from_random_bytes(bytes).into_uuid());
    Key::new(Resource::core(plural), namespace, name, uid).unwrap()
}

/// An object with the metadata that `key` says, and `rest`.
pub(crate) fn object(key: &Key, kind: &str, rest: Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {
        "name": &*key.name, "uid": key.uid.to_string()}});
    if !key.namespace.is_empty() {
        object["metadata"]["namespace"] = json!(&*key.namespace);
    }
    for (field, value) in rest.as_object().cloned().unwrap_or_default() {
        match (object.get_mut(&field).and_then(Value::as_object_mut), value) {
            (Some(fields), Value::Object(more)) => fields.extend(more),
            (_, value) => object[field] = value,
        }
    }
    object
}

pub(crate) fn pod(name: &str, on: Option<&str>, spec: Value) -> (Key, Value) {
    let key = key("pods", "default", name);
    let mut all = json!({"containers": [{"name": "c", "image": "i"}]});
    for (field, value) in spec.as_object().cloned().unwrap_or_default() {
        all[field] = value;
    }
    if let Some(on) = on {
        all["nodeName"] = json!(on);
    }
    let pod = object(&key, "Pod", json!({"spec": all}));
    (key, pod)
}

/// The object as the API stores it: with its defaults.
pub(crate) fn prepared((key, object): (Key, Value)) -> (Key, Value) {
    let catalog = causeway_kube_api::Catalog::builtin();
    let kind = object["kind"].as_str().unwrap_or_default();
    let kind = catalog
        .find_kind(&key.resource.group, "v1", kind)
        .expect("a built-in kind");
    let Uid::Uuid(uid) = key.uid else {
        panic!("the uid is no UUID")
    };
    let context = Context {
        now: Counter::default().now(),
        uid,
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        field_validation: FieldValidation::Strict,
    };
    let prepared = prepare_create(kind, object, &context).expect("the object is valid");
    (key, prepared.object)
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::on(Disk::new(), Arc::new(Counter::default()), 0, false)
    }

    /// A machine that mirrors a Kubernetes cluster.
    pub(crate) fn mirror() -> Self {
        Self::on(Disk::new(), Arc::new(Counter::default()), 0, true)
    }

    fn on(disk: Disk, clock: Arc<Counter>, sent: u64, is_mirror: bool) -> Self {
        let (store, _) = MemoryStore::on(&disk).unwrap();
        let store = Arc::new(store);
        let (hub, outcomes) = (Hub::new(100), Arc::new(Outcomes::default()));
        let start = match is_mirror {
            true => ClusterMachine::start_mirror,
            false => ClusterMachine::start,
        };
        let machine = start(
            Arc::<MemoryStore>::clone(&store),
            Arc::<Counter>::clone(&clock),
            Arc::clone(&hub),
            Arc::clone(&outcomes),
        )
        .unwrap();
        Self {
            disk,
            store,
            machine,
            hub,
            outcomes,
            clock,
            shutdown: Shutdown::new(),
            sent,
        }
    }

    /// The power goes, and comes back.
    pub(crate) fn crash(self) -> Self {
        self.disk.crash();
        Self::on(
            self.disk,
            self.clock,
            self.sent,
            self.machine.mirror().is_some(),
        )
    }

    /// What the writer thread does with requests that wait. `false`: a round failed.
    pub(crate) fn run(&mut self, requests: Vec<Request>) -> bool {
        let mut waiting: std::collections::VecDeque<Request> = requests.into();
        while !waiting.is_empty() {
            let mut batch = Batch::default();
            let mut planned = 0;
            while let Some(request) = waiting.pop_front() {
                match self.machine.plan(request, &mut batch) {
                    Planned::InBatch => planned += 1,
                    Planned::Later(request) => {
                        assert!(planned > 0, "the first request of a round can be planned");
                        waiting.push_front(request);
                        break;
                    }
                }
            }
            if !self.commit(&batch) {
                return false;
            }
        }
        true
    }

    /// One request of a round.
    pub(crate) fn plan(&mut self, request: Request, batch: &mut Batch) -> Planned<Request> {
        self.machine.plan(request, batch)
    }

    /// The end of a round. `false`: it failed.
    pub(crate) fn commit(&mut self, batch: &Batch) -> bool {
        if batch.is_empty() {
            let durable = self.store.watermarks().durable;
            self.machine.committed(&Committed {
                batch,
                records: &[],
                durable,
            });
            return true;
        }
        let appended = match self.store.append(batch) {
            Ok(appended) => appended,
            Err(error) => {
                self.machine.failed(&RoundError::Append(error));
                return false;
            }
        };
        let durable = match self.store.sync() {
            Ok(durable) => durable,
            Err(error) => {
                self.machine.failed(&RoundError::Sync(error));
                return false;
            }
        };
        let records: Vec<Stored> = batch
            .entries
            .iter()
            .zip(appended.revisions)
            .map(|(entry, revision)| {
                self.store
                    .newest(&entry.stream, &entry.draft.key, entry.draft.op.slot())
                    .unwrap()
                    .filter(|newest| newest.revision == revision)
                    .unwrap_or_else(|| self.record(&entry.stream, revision))
            })
            .collect();
        self.machine.committed(&Committed {
            batch,
            records: &records,
            durable,
        });
        true
    }

    fn record(&self, stream: &StreamId, revision: Revision) -> Stored {
        let after = Revision::new(revision.get() - 1);
        self.store
            .read(stream, after, ReadLimit::SCAN)
            .unwrap()
            .remove(0)
    }

    pub(crate) fn write(&mut self, write: Write) -> Result<Written, WriteError> {
        let (answer, mut answered) = oneshot::channel();
        self.run(vec![Request::Write {
            write: Box::new(write),
            answer,
        }]);
        answered.try_recv().expect("a write is answered")
    }

    pub(crate) fn create(&mut self, (key, object): (Key, Value)) -> Written {
        let write = Write {
            key,
            expected: Expected::Absent,
            change: Change::Put(object),
        };
        self.write(write).unwrap()
    }

    pub(crate) fn update(&mut self, (key, object): (Key, Value)) -> Written {
        let expected = Expected::At(self.revision(&key));
        self.write(Write {
            key,
            expected,
            change: Change::Put(object),
        })
        .unwrap()
    }

    pub(crate) fn delete(&mut self, key: &Key) -> Result<Written, WriteError> {
        let expected = Expected::At(self.revision(key));
        let change = Change::Delete {
            grace_period_seconds: None,
            confirm: false,
        };
        self.write(Write {
            key: key.clone(),
            expected,
            change,
        })
    }

    pub(crate) fn revision(&self, key: &Key) -> Revision {
        self.machine.view().read(|objects| {
            objects
                .get(&key.resource, &key.namespace, &key.name)
                .map_or(Revision::ZERO, |entry| entry.modified())
        })
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Value> {
        self.machine.view().read(|objects| {
            Some(
                objects
                    .get(&key.resource, &key.namespace, &key.name)?
                    .object(),
            )
        })
    }

    /// What `down/node` says: operation and object, oldest first, with the answers to requests.
    pub(crate) fn down(&self, name: &str) -> Vec<String> {
        let stream = StreamId::down(node(name));
        if self.store.stream(&stream).unwrap().is_none() {
            return Vec::new();
        }
        let records = self
            .store
            .read(&stream, Revision::ZERO, ReadLimit::SCAN)
            .unwrap();
        let shown =
            |stored: Stored| format!("{:?} {}", stored.record.header.op, stored.record.header.key);
        records.into_iter().map(shown).collect()
    }

    pub(crate) fn newest_down(&self, name: &str, key: &Key, slot: Slot) -> Option<Stored> {
        self.store
            .newest(&StreamId::down(node(name)), key, slot)
            .unwrap()
    }

    /// A session of a node that has taken the node over.
    pub(crate) fn connect(&mut self, name: &str) -> Seat {
        let (seat, _control) = self.hub.admit(&node(name), self.shutdown.token()).unwrap();
        seat.take_over(self.clock.now());
        seat
    }

    pub(crate) fn draft(&self, key: &Key, op: Op, body: &[u8]) -> Draft {
        let [a, b, c, d, e, f, g, h, i, j, ..] = self.clock.entropy();
        Draft {
            id: EventId::compose(self.clock.now(), [a, b, c, d, e, f, g, h, i, j]),
            cause: None,
            time: self.clock.now(),
            key: key.clone(),
            version: Some(causeway_log::Version::new(self.sent + 1)),
            op,
            body: Body::from(body.to_vec()),
        }
    }

    /// Records of a node, as its session hands them in.
    pub(crate) fn incoming(&mut self, drafts: Vec<Draft>) -> Incoming {
        let records: Vec<(Offset, Draft)> = drafts
            .into_iter()
            .map(|draft| {
                self.sent += 1;
                (Offset::new(self.sent), draft)
            })
            .collect();
        let epoch = Epoch::new(Uuid::from_u128(7));
        Incoming {
            epoch,
            records,
            upto: Some(Offset::new(self.sent)),
            caught_up: true,
        }
    }

    pub(crate) fn receive(&mut self, seat: &Seat, incoming: Incoming) -> Result<(), WriteRefused> {
        let (answer, mut answered) = oneshot::channel();
        self.run(vec![Request::Session {
            node: seat.node().clone(),
            session: seat.number(),
            write: SessionWrite::Incoming(incoming),
            answer,
        }]);
        answered.try_recv().expect("a session is answered")
    }

    /// Something is seen of the cluster that is mirrored. `false`: it was not taken in.
    pub(crate) fn see(&mut self, seen: Vec<Seen>) -> bool {
        let (answer, mut answered) = oneshot::channel();
        self.run(vec![Request::Mirror { seen, answer }]);
        answered.try_recv().expect("it is answered").is_ok()
    }

    pub(crate) fn write_back(&mut self, name: &str) -> WroteBack {
        let (request, mut answered) = self.write_back_request(name);
        self.run(vec![request]);
        answered
            .try_recv()
            .expect("a write-back is answered")
            .unwrap()
    }

    pub(crate) fn write_back_request(
        &self,
        name: &str,
    ) -> (Request, oneshot::Receiver<Result<WroteBack, WriteError>>) {
        let (answer, answered) = oneshot::channel();
        (
            Request::WriteBack {
                node: node(name),
                answer,
            },
            answered,
        )
    }

    /// A node sends records, and all of them are written back.
    pub(crate) fn send(&mut self, name: &str, drafts: Vec<Draft>) {
        let seat = self.connect(name);
        let incoming = self.incoming(drafts);
        self.receive(&seat, incoming).unwrap();
        while self.write_back(name).more {}
        drop(seat);
    }
}
