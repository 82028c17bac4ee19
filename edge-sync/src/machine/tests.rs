//! The machine on a store in memory, round by round.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use causeway_kube_api::source::SystemClock;
use causeway_kube_api::{Change, Expected};
use causeway_log::batch::StreamChange;
use causeway_log::limits::BODY_BYTES_MAX;
use causeway_log::replication::Incoming;
use causeway_log::store::memory::{Disk, Fault, MemoryStore};
use causeway_log::store::{ReadLimit, StreamInfo};
use causeway_log::{Body, Op, Stored, Uid, WallTime};
use causeway_projections::rebuild::rebuild;
use causeway_projections::twin::rebuild_twins;
use causeway_projections::{Request as Asked, Verb};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;

mod ended;
mod rounds;
mod soak;
mod twins;
mod writes;

/// Readings wait for nothing.
const AT_ONCE: TwinsConfig = TwinsConfig {
    history_bytes_max: 1024 * 1024,
    history_delay: Duration::ZERO,
};

/// A machine and the store it writes; each round takes the requests it is given.
struct Bench {
    store: Arc<MemoryStore>,
    machine: EdgeMachine,
    clock: Arc<TestClock>,
    view: View,
    twins: TwinsView,
    up_head: watch::Receiver<Offset>,
    first_sync: FirstSync,
    down_offset: u64,
}

/// Its seconds pass when a test says so.
#[derive(Debug, Default)]
struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> WallTime {
        SystemClock.now()
    }

    fn entropy(&self) -> [u8; 16] {
        SystemClock.entropy()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

type LocalAnswer = oneshot::Receiver<Result<Written, WriteError>>;
type SessionAnswer = oneshot::Receiver<Result<(), WriteRefused>>;

impl Bench {
    fn new() -> Self {
        Self::on(&Disk::new(), AT_ONCE)
    }

    /// A start on what a disk holds.
    fn on(disk: &Disk, config: TwinsConfig) -> Self {
        let (store, _) = MemoryStore::on(disk).unwrap();
        let store = Arc::new(store);
        if store.stream(&up()).unwrap().is_none() {
            let open = StreamChange::Open {
                stream: up(),
                epoch: epoch(1),
            };
            let batch = Batch {
                streams: vec![open],
                ..Batch::default()
            };
            store.append(&batch).unwrap();
            store.sync().unwrap();
        }
        let view = View::new(rebuild(&*store, &[down(), up()]).unwrap());
        let twins = TwinsView::new(rebuild_twins(&*store, &node()).unwrap());
        let (sender, up_head) = watch::channel(Offset::ZERO);
        let dyn_store = Arc::clone(&store) as Arc<dyn Store>;
        let first_sync = FirstSync::read(&*dyn_store, &node()).unwrap();
        let clock = Arc::new(TestClock::default());
        let machine = EdgeMachine::new(
            node(),
            dyn_store,
            view.clone(),
            sender,
            first_sync.clone(),
            Arc::<TestClock>::clone(&clock),
        );
        let down_info = store.stream(&down()).unwrap();
        Self {
            machine: machine.with_twins(twins.clone(), config).unwrap(),
            down_offset: down_info.map_or(0, |info| info.received.get()),
            store,
            clock,
            view,
            twins,
            up_head,
            first_sync,
        }
    }

    /// One round; gives back what must wait for the next.
    fn round(&mut self, requests: impl IntoIterator<Item = Request>) -> Option<Request> {
        let mut batch = Batch::default();
        let mut later = None;
        for request in requests {
            if let Planned::Later(request) = self.machine.plan(request, &mut batch) {
                later = Some(request);
                break;
            }
        }
        self.machine.seal(&mut batch);
        let before = self.store.watermarks().durable;
        if batch.is_empty() {
            let committed = Committed {
                batch: &batch,
                records: &[],
                durable: before,
            };
            self.machine.committed(&committed);
            return later;
        }
        if let Err(error) = self.store.append(&batch) {
            self.machine.failed(&RoundError::Append(error));
            return later;
        }
        match self.store.sync() {
            Err(error) => self.machine.failed(&RoundError::Sync(error)),
            Ok(durable) => {
                let mut records = self.records(&down(), before);
                records.extend(self.records(&up(), before));
                records.sort_by_key(|stored| stored.revision);
                self.machine.committed(&Committed {
                    batch: &batch,
                    records: &records,
                    durable,
                });
            }
        }
        later
    }

    fn records(&self, stream: &StreamId, after: Revision) -> Vec<Stored> {
        if self.store.stream(stream).unwrap().is_none() {
            return Vec::new();
        }
        self.store.read(stream, after, ReadLimit::SCAN).unwrap()
    }

    fn up_records(&self) -> Vec<Stored> {
        self.records(&up(), Revision::ZERO)
    }

    fn last_request(&self) -> Asked {
        let records = self.up_records();
        let last = &records.last().unwrap().record;
        assert_eq!(last.header.op, Op::Apply);
        Asked::decode(last.body.bytes()).unwrap()
    }

    fn write(&mut self, write: Write) -> Result<Written, WriteError> {
        let (request, mut told) = local(write);
        assert!(
            self.round([request]).is_none(),
            "the first of a round can be planned"
        );
        told.try_recv().unwrap()
    }

    /// What the cloud wants arrives.
    fn desire(&mut self, key: &Key, op: Op, body: &Value, cause: Option<EventId>) {
        self.arrive(draft(key, op, body, cause));
    }

    fn arrive(&mut self, draft: Draft) {
        self.down_offset += 10;
        let offset = Offset::new(self.down_offset);
        let (request, mut told) = incoming(epoch(2), vec![(offset, draft)]);
        assert!(self.round([request]).is_none());
        told.try_recv().unwrap().unwrap();
    }

    fn modified(&self, key: &Key) -> Revision {
        self.view.read(|objects| {
            objects
                .get(&key.resource, &key.namespace, &key.name)
                .unwrap()
                .modified()
        })
    }

    fn served(&self, key: &Key) -> Option<Value> {
        self.view.read(|objects| {
            Some(
                objects
                    .get(&key.resource, &key.namespace, &key.name)?
                    .object(),
            )
        })
    }

    fn now(&self, key: &Key, change: Change) -> Write {
        Write {
            key: key.clone(),
            expected: Expected::At(self.modified(key)),
            change,
        }
    }

    fn info(&self, stream: &StreamId) -> StreamInfo {
        self.store.stream(stream).unwrap().unwrap()
    }
}

fn node() -> NodeName {
    NodeName::new("edge-1").unwrap()
}

fn down() -> StreamId {
    StreamId::down(node())
}

fn up() -> StreamId {
    StreamId::up(node())
}

fn epoch(number: u64) -> Epoch {
    Epoch::new(Uuid::from_u64_pair(number, number))
}

fn key(resource: &str, name: &str) -> Key {
    let namespace = if resource == "nodes" { "" } else { "default" };
    let uid = Uid::Uuid(Uuid::from_u64_pair(5, name.len() as u64));
    Key::new(Resource::core(resource), namespace, name, uid).unwrap()
}

fn draft(key: &Key, op: Op, body: &Value, cause: Option<EventId>) -> Draft {
    Draft {
        id: EventId::new(Uuid::from_u64_pair(6, body.to_string().len() as u64)),
        cause,
        time: WallTime::from_unix_millis(5),
        key: key.clone(),
        version: Some(causeway_log::Version::new(77)),
        op,
        body: if body.is_null() {
            Body::default()
        } else {
            body.to_string().into_bytes().into()
        },
    }
}

fn local(write: Write) -> (Request, LocalAnswer) {
    let (done, told) = oneshot::channel();
    (
        Request::Local {
            write: Box::new(write),
            done,
        },
        told,
    )
}

fn session(write: SessionWrite) -> (Request, SessionAnswer) {
    let (done, told) = oneshot::channel();
    (Request::Session { write, done }, told)
}

fn incoming(epoch: Epoch, records: Vec<(Offset, Draft)>) -> (Request, SessionAnswer) {
    let upto = records.last().map(|(offset, _)| *offset);
    session(SessionWrite::Incoming(Incoming {
        epoch,
        records,
        upto,
        caught_up: true,
    }))
}

fn create(key: &Key, object: Value) -> Write {
    Write {
        key: key.clone(),
        expected: Expected::Absent,
        change: Change::Put(object),
    }
}

fn config_map(value: &str) -> Value {
    json!({ "kind": "ConfigMap", "metadata": { "name": "c" }, "data": { "v": value } })
}

fn pod(node: &str) -> Value {
    json!({ "kind": "Pod", "metadata": { "name": "p" }, "spec": { "nodeName": node } })
}

/// The cloud wants it to end.
fn ending(mut object: Value) -> Value {
    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    object
}

fn with_status(mut object: Value, phase: &str) -> Value {
    object["status"] = json!({ "phase": phase });
    object
}
