//! The machine on a store in memory, round by round.

use causeway_kube_api::{Change, Expected, source::system_clock};
use causeway_log::batch::StreamChange;
use causeway_log::limits::BODY_BYTES_MAX;
use causeway_log::replication::Incoming;
use causeway_log::store::memory::{Fault, MemoryStore};
use causeway_log::store::{ReadLimit, StreamInfo};
use causeway_log::{Body, Op, Stored, Uid, WallTime};
use causeway_projections::rebuild::rebuild;
use causeway_projections::{Request as Asked, Verb};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;

/// A machine and the store it writes; each round takes the requests it is given.
struct Bench {
    store: Arc<MemoryStore>,
    machine: EdgeMachine,
    view: View,
    up_head: watch::Receiver<Offset>,
    down_offset: u64,
}

type LocalAnswer = oneshot::Receiver<Result<Written, WriteError>>;
type SessionAnswer = oneshot::Receiver<Result<(), WriteRefused>>;

impl Bench {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let open = StreamChange::Open {
            stream: up(),
            epoch: epoch(1),
        };
        store
            .append(&Batch {
                streams: vec![open],
                ..Batch::default()
            })
            .unwrap();
        store.sync().unwrap();
        let view = View::new(rebuild(&*store, &[down(), up()]).unwrap());
        let (sender, up_head) = watch::channel(Offset::ZERO);
        let dyn_store = Arc::clone(&store) as Arc<dyn Store>;
        let machine = EdgeMachine::new(node(), dyn_store, view.clone(), sender, system_clock());
        Self {
            store,
            machine,
            view,
            up_head,
            down_offset: 0,
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
        self.down_offset += 10;
        let offset = Offset::new(self.down_offset);
        let (request, mut told) = incoming(epoch(2), vec![(offset, draft(key, op, body, cause))]);
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

fn with_status(mut object: Value, phase: &str) -> Value {
    object["status"] = json!({ "phase": phase });
    object
}

#[test]
fn a_write_to_what_the_cloud_owns_is_served_as_pending() {
    let mut bench = Bench::new();
    let key = key("configmaps", "c");
    let written = bench.write(create(&key, config_map("1"))).unwrap();
    assert!(written.pending);
    assert_eq!(written.warnings.len(), 1);
    let object = written.object.unwrap();
    assert_eq!(
        object["metadata"]["annotations"]["causeway.dev/pending"],
        "true"
    );
    assert_eq!(
        object["metadata"]["resourceVersion"],
        written.revision.to_string()
    );
    let asked = bench.last_request();
    assert_eq!(
        (asked.verb, asked.base, asked.follows),
        (Verb::Create, None, None)
    );
    assert_eq!(asked.uid, key.uid);
    assert_eq!(*bench.up_head.borrow(), written.revision.as_own_offset());
}

#[test]
fn a_request_builds_on_the_one_before_until_the_cloud_answers() {
    let mut bench = Bench::new();
    let key = key("configmaps", "c");
    bench.write(create(&key, config_map("1"))).unwrap();
    let first = bench.up_records()[0].record.header.id;
    let update = bench.now(&key, Change::Put(config_map("2")));
    bench.write(update).unwrap();
    let asked = bench.last_request();
    assert_eq!((asked.verb, asked.follows), (Verb::Update, Some(first)));
    let second = bench.up_records()[1].record.header.id;
    bench.desire(&key, Op::Put, &config_map("2"), Some(second));
    bench.desire(&key, Op::Apply, &Value::Null, Some(second));
    let served = bench.served(&key).unwrap();
    assert!(served["metadata"].get("annotations").is_none(), "{served}");
    // An update of what the cloud has answered stands on the cloud's version.
    let update = bench.now(&key, Change::Put(config_map("3")));
    bench.write(update).unwrap();
    let asked = bench.last_request();
    assert_eq!(asked.base, Some(causeway_log::Version::new(77)));
    assert_eq!(asked.follows, None);
}

#[test]
fn an_object_that_would_not_change_makes_no_record() {
    let mut bench = Bench::new();
    let key = key("configmaps", "c");
    bench.desire(&key, Op::Put, &config_map("1"), None);
    let served = bench.served(&key).unwrap();
    let same = bench.now(&key, Change::Put(served));
    let written = bench.write(same).unwrap();
    assert_eq!(written.revision, bench.modified(&key));
    assert!(!written.pending && written.warnings.is_empty());
    assert!(bench.up_records().is_empty());
}

#[test]
fn the_status_of_an_own_pod_is_the_edges_word() {
    let mut bench = Bench::new();
    let key = key("pods", "p");
    bench.desire(&key, Op::Put, &pod("edge-1"), None);
    let report = bench.now(&key, Change::Status(with_status(pod("edge-1"), "Running")));
    let written = bench.write(report).unwrap();
    assert!(!written.pending);
    assert_eq!(written.object.unwrap()["status"]["phase"], "Running");
    let record = &bench.up_records()[0].record;
    assert_eq!(record.header.op, Op::Status);
    assert_eq!(record.body.bytes(), "{\"phase\":\"Running\"}");
    // Saying it again says nothing.
    let again = bench.now(&key, Change::Status(with_status(pod("edge-1"), "Running")));
    assert_eq!(bench.write(again).unwrap().revision, written.revision);
    assert_eq!(bench.up_records().len(), 1);
}

#[test]
fn the_status_of_anything_else_is_a_request() {
    let mut bench = Bench::new();
    let key = key("pods", "p");
    bench.desire(&key, Op::Put, &pod("edge-2"), None);
    let report = bench.now(&key, Change::Status(with_status(pod("edge-2"), "Running")));
    assert!(bench.write(report).unwrap().pending);
    assert_eq!(bench.last_request().verb, Verb::Status);
}

#[test]
fn a_node_is_created_with_its_status_beside_it() {
    let mut bench = Bench::new();
    let key = key("nodes", "edge-1");
    let object = with_status(json!({ "kind": "Node", "spec": {} }), "Ready");
    let written = bench.write(create(&key, object)).unwrap();
    let ops: Vec<Op> = bench
        .up_records()
        .iter()
        .map(|it| it.record.header.op)
        .collect();
    assert_eq!(ops, [Op::Apply, Op::Status]);
    assert_eq!(written.object.unwrap()["status"]["phase"], "Ready");
}

#[test]
fn a_finished_pod_goes_at_once() {
    let mut bench = Bench::new();
    let key = key("pods", "p");
    bench.desire(&key, Op::Put, &pod("edge-1"), None);
    let finish = Change::Delete {
        grace_period_seconds: Some(0),
        confirm: true,
    };
    let written = bench.write(bench.now(&key, finish)).unwrap();
    assert_eq!((written.pending, &written.object), (false, &None));
    assert_eq!(bench.served(&key), None);
    let record = &bench.up_records()[0].record;
    assert_eq!((record.header.op, record.body.len()), (Op::Delete, 0));
}

#[test]
fn deleting_what_the_cloud_owns_is_asked_once() {
    let mut bench = Bench::new();
    let key = key("configmaps", "c");
    bench.desire(&key, Op::Put, &config_map("1"), None);
    let change = || Change::Delete {
        grace_period_seconds: None,
        confirm: true,
    };
    let written = bench.write(bench.now(&key, change())).unwrap();
    assert!(written.pending);
    assert_eq!(bench.last_request().verb, Verb::Delete);
    bench.write(bench.now(&key, change())).unwrap();
    assert_eq!(bench.up_records().len(), 1);
}

#[test]
fn an_event_is_a_fact() {
    let mut bench = Bench::new();
    let key = key("events", "e");
    let change = Change::Fact(json!({ "kind": "Event", "reason": "Started" }));
    let write = Write {
        key: key.clone(),
        expected: Expected::Absent,
        change,
    };
    let written = bench.write(write).unwrap();
    assert!(!written.pending);
    assert_eq!(bench.up_records()[0].record.header.op, Op::Fact);
    assert_eq!(bench.served(&key).unwrap()["reason"], "Started");
}

#[test]
fn an_own_lease_is_never_renewed_in_the_log() {
    let mut bench = Bench::new();
    let lease = Resource::new("coordination.k8s.io", "leases");
    let key = Key::new(lease, "kube-node-lease", "edge-1", Uid::None).unwrap();
    bench
        .write(create(
            &key,
            json!({ "kind": "Lease", "spec": { "renewTime": 1 } }),
        ))
        .unwrap();
    let renew = Change::Put(json!({ "kind": "Lease", "spec": { "renewTime": 2 } }));
    bench.write(bench.now(&key, renew)).unwrap();
    assert_eq!(bench.up_records().len(), 1);
}

#[test]
fn stale_ground_is_a_conflict() {
    let mut bench = Bench::new();
    let key = key("configmaps", "c");
    bench.desire(&key, Op::Put, &config_map("1"), None);
    let modified = bench.modified(&key);
    let found = Some(modified);
    let exists = create(&key, config_map("2"));
    assert_eq!(bench.write(exists), Err(WriteError::Conflict { found }));
    let stale = Expected::At(Revision::new(99));
    let write = Write {
        key: key.clone(),
        expected: stale,
        change: Change::Put(config_map("2")),
    };
    assert_eq!(bench.write(write), Err(WriteError::Conflict { found }));
    let other_life = Key {
        uid: Uid::parse("other"),
        ..key
    };
    let write = Write {
        key: other_life,
        expected: Expected::At(modified),
        change: Change::Put(config_map("2")),
    };
    assert_eq!(bench.write(write), Err(WriteError::Conflict { found }));
}

#[test]
fn a_name_is_decided_once_a_round() {
    let mut bench = Bench::new();
    let key = key("configmaps", "c");
    let (first, mut first_told) = local(create(&key, config_map("1")));
    let (second, mut second_told) = local(create(&key, config_map("2")));
    let later = bench.round([first, second]).expect("the second waits");
    assert!(first_told.try_recv().unwrap().is_ok());
    assert!(second_told.try_recv().is_err(), "not answered yet");
    bench.round([later]);
    assert!(matches!(
        second_told.try_recv(),
        Ok(Err(WriteError::Conflict { found: Some(_) }))
    ));
}

#[test]
fn what_arrives_is_seen_before_a_local_write_is_decided() {
    let mut bench = Bench::new();
    let key = key("configmaps", "c");
    let record = (
        Offset::new(10),
        draft(&key, Op::Put, &config_map("cloud"), None),
    );
    let (arriving, _told) = incoming(epoch(2), vec![record]);
    let (write, mut told) = local(create(&key, config_map("edge")));
    let later = bench.round([arriving, write]).expect("the write waits");
    bench.round([later]);
    assert!(matches!(
        told.try_recv(),
        Ok(Err(WriteError::Conflict { found: Some(_) }))
    ));
}

#[test]
fn an_epoch_begins_a_batch() {
    let mut bench = Bench::new();
    let record = |offset| {
        let key = key("configmaps", "c");
        vec![(
            Offset::new(offset),
            draft(&key, Op::Put, &config_map("1"), None),
        )]
    };
    let (old, mut old_told) = incoming(epoch(2), record(10));
    let (new, mut new_told) = incoming(epoch(3), record(5));
    let later = bench.round([old, new]).expect("the new epoch waits");
    old_told.try_recv().unwrap().unwrap();
    assert_eq!(bench.info(&down()).epoch, epoch(2));
    bench.round([later]);
    new_told.try_recv().unwrap().unwrap();
    assert_eq!(bench.info(&down()).epoch, epoch(3));
    assert_eq!(bench.info(&down()).received, Offset::new(5));
}

#[test]
fn an_acknowledgement_travels_with_the_next_batch() {
    let mut bench = Bench::new();
    let pod_key = key("pods", "p");
    bench.desire(&pod_key, Op::Put, &pod("edge-1"), None);
    let report = bench.now(
        &pod_key,
        Change::Status(with_status(pod("edge-1"), "Running")),
    );
    let upto = bench.write(report).unwrap().revision.as_own_offset();
    let syncs = bench.store.stats().syncs;
    let (acked, mut told) = session(SessionWrite::Acked { upto });
    bench.round([acked]);
    told.try_recv().unwrap().unwrap();
    assert_eq!(
        (bench.store.stats().syncs, bench.info(&up()).acked),
        (syncs, Offset::ZERO)
    );
    bench
        .write(create(&key("configmaps", "c"), config_map("1")))
        .unwrap();
    assert_eq!(bench.info(&up()).acked, upto);
}

#[test]
fn a_new_own_epoch_forgets_the_acknowledgement() {
    let mut bench = Bench::new();
    bench
        .write(create(&key("configmaps", "c"), config_map("1")))
        .unwrap();
    let (acked, _told) = session(SessionWrite::Acked {
        upto: *bench.up_head.borrow(),
    });
    bench.round([acked]);
    let (open, mut told) = session(SessionWrite::OpenOwn { epoch: epoch(9) });
    bench.round([open]);
    told.try_recv().unwrap().unwrap();
    bench
        .write(create(&key("configmaps", "dd"), config_map("2")))
        .unwrap();
    assert_eq!(bench.info(&up()).epoch, epoch(9));
    assert_eq!(bench.info(&up()).acked, Offset::ZERO);
}

#[test]
fn a_full_disk_refuses_writes_and_keeps_reading() {
    let mut bench = Bench::new();
    let key = key("pods", "p");
    bench.desire(&key, Op::Put, &pod("edge-1"), None);
    bench.store.disk().set_fault(Fault::Full);
    let report = || Change::Status(with_status(pod("edge-1"), "Running"));
    let refused = bench.write(bench.now(&key, report()));
    assert!(
        matches!(refused, Err(WriteError::ReadOnly { .. })),
        "{refused:?}"
    );
    assert!(bench.served(&key).is_some());
    let (arriving, mut told) = incoming(epoch(2), Vec::new());
    bench.round([arriving]);
    assert_eq!(
        told.try_recv(),
        Ok(Ok(())),
        "nothing was asked to be written"
    );
    let place = Incoming {
        epoch: epoch(2),
        records: Vec::new(),
        upto: Some(Offset::new(10)),
    };
    let (place, mut told) = session(SessionWrite::Incoming(place));
    bench.round([place]);
    let refused = told.try_recv().unwrap();
    assert!(
        matches!(refused, Err(WriteRefused::ReadOnly { .. })),
        "{refused:?}"
    );

    bench.store.disk().heal();
    bench.store.try_recover().unwrap();
    bench.write(bench.now(&key, report())).unwrap();
    assert_eq!(bench.served(&key).unwrap()["status"]["phase"], "Running");
}

#[test]
fn an_object_over_the_limit_is_refused() {
    let mut bench = Bench::new();
    let key = key("configmaps", "c");
    let large = create(&key, config_map(&"x".repeat(BODY_BYTES_MAX)));
    let refused = bench.write(large);
    assert!(
        matches!(refused, Err(WriteError::TooLarge { .. })),
        "{refused:?}"
    );
    assert!(bench.up_records().is_empty());
}

#[test]
fn a_rebuild_serves_the_same() {
    let mut bench = Bench::new();
    let (map, own, gone) = (key("configmaps", "c"), key("pods", "p"), key("pods", "pp"));
    bench.desire(&map, Op::Put, &config_map("1"), None);
    bench.desire(&own, Op::Put, &pod("edge-1"), None);
    bench.desire(&gone, Op::Put, &pod("edge-1"), None);
    bench
        .write(bench.now(&map, Change::Put(config_map("2"))))
        .unwrap();
    let report = Change::Status(with_status(pod("edge-1"), "Running"));
    bench.write(bench.now(&own, report)).unwrap();
    let finish = Change::Delete {
        grace_period_seconds: Some(0),
        confirm: true,
    };
    bench.write(bench.now(&gone, finish)).unwrap();
    let rebuilt = rebuild(&*bench.store, &[down(), up()]).unwrap();
    bench.view.read(|objects| {
        assert_eq!(objects.revision(), rebuilt.revision());
        for resource in [&map.resource, &own.resource] {
            let served = objects.list(resource, None, None).map(|it| it.object());
            let again = rebuilt.list(resource, None, None).map(|it| it.object());
            assert_eq!(served.collect::<Vec<_>>(), again.collect::<Vec<_>>());
        }
    });
}
