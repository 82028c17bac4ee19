use causeway_log::store::memory::Fault;
use causeway_log::{
    Batch, Entry, Epoch, EventId, Key, Offset, Op, Place, Resource, Slot, Store as _, StreamChange,
    StreamId, Uid, Version,
};
use causeway_projections::{Request, Verb};
use serde_json::{Value, json};

use super::Outcome;
use crate::rig::{Rig, key, node, object, pod};

mod devices;
mod happenings;
mod requests;
mod soak;

fn running() -> Vec<u8> {
    json!({"phase": "Running"}).to_string().into_bytes()
}

fn send(rig: &mut Rig, from: &str, key: &Key, op: Op, body: &[u8]) -> EventId {
    let draft = rig.draft(key, op, body);
    let id = draft.id;
    rig.send(from, vec![draft]);
    id
}

fn counts(rig: &Rig) -> Vec<(&'static str, u64)> {
    let all = Outcome::ALL
        .into_iter()
        .map(|o| (o.as_str(), rig.outcomes.get(o)));
    all.filter(|(_, count)| *count > 0).collect()
}

fn bound(rig: &mut Rig, name: &str, on: &str) -> (Key, Value) {
    let pod = pod(name, Some(on), json!({}));
    rig.create(pod.clone());
    pod
}

/// A pod on `n1` that was asked to end.
fn ending(rig: &mut Rig) -> Key {
    let (till, mut body) = bound(rig, "till", "n1");
    body["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    rig.update((till.clone(), body));
    till
}

#[test]
fn a_status_goes_to_the_pods_of_its_node_only() {
    let mut rig = Rig::new();
    let (till, _) = bound(&mut rig, "till", "n1");
    send(&mut rig, "n2", &till, Op::Status, &running());
    assert_eq!(rig.get(&till).unwrap().get("status"), None);
    send(&mut rig, "n1", &till, Op::Status, &running());
    assert_eq!(rig.get(&till).unwrap()["status"]["phase"], "Running");
    send(&mut rig, "n1", &till, Op::Status, &running());
    assert_eq!(
        counts(&rig),
        [("applied", 1), ("unchanged", 1), ("refused", 1)]
    );
}

#[test]
fn a_status_keeps_the_conditions_of_the_cloud() {
    let mut rig = Rig::new();
    let (till, mut body) = pod("till", Some("n1"), json!({}));
    body["status"] = json!({"qosClass": "BestEffort", "conditions": [
        {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}]});
    rig.create((till.clone(), body));
    let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    send(
        &mut rig,
        "n1",
        &till,
        Op::Status,
        status.to_string().as_bytes(),
    );
    assert_eq!(
        rig.get(&till).unwrap()["status"],
        json!({"phase": "Running", "qosClass": "BestEffort", "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}]}),
    );
}

#[test]
fn a_status_of_another_life_is_stale() {
    let mut rig = Rig::new();
    let (till, _) = bound(&mut rig, "till", "n1");
    let other = Key {
        uid: Uid::parse("another-life"),
        ..till
    };
    send(&mut rig, "n1", &other, Op::Status, &running());
    assert_eq!(counts(&rig), [("stale", 1)]);
}

#[test]
fn records_of_no_meaning_are_counted_and_passed_over() {
    let mut rig = Rig::new();
    let (till, _) = bound(&mut rig, "till", "n1");
    let map = key("configmaps", "default", "menu");
    for (key, op, body) in [
        (&till, Op::Put, &b"{}"[..]),
        (&till, Op::Reject, b"{}"),
        (&till, Op::Twin, b"{}"),
        (&till, Op::Status, b"[1"),
        (&till, Op::Status, b"7"),
        (&map, Op::Status, b"{}"),
        (&map, Op::Delete, b""),
        (&key("nodes", "", "n2"), Op::Status, b"{}"),
        (&till, Op::Fact, b"{}"),
        (&till, Op::Apply, b"garbage"),
    ] {
        send(&mut rig, "n1", key, op, body);
    }
    assert_eq!(
        counts(&rig),
        [("refused", 7), ("rejected", 1), ("malformed", 2)]
    );
}

#[test]
fn what_a_node_no_longer_has_is_no_complaint() {
    let mut rig = Rig::new();
    let (till, _) = bound(&mut rig, "till", "n1");
    send(&mut rig, "n1", &till, Op::Status, b"");
    send(&mut rig, "n1", &till, Op::Apply, b"");
    assert_eq!(counts(&rig), [("stale", 2)]);
}

#[test]
fn a_node_confirms_the_end_of_a_pod_that_was_asked_to_end() {
    let mut rig = Rig::new();
    let (till, mut body) = bound(&mut rig, "till", "n1");
    send(&mut rig, "n1", &till, Op::Delete, b"");
    assert!(rig.get(&till).is_some(), "nobody asked for its end");
    body["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    rig.update((till.clone(), body));
    send(&mut rig, "n2", &till, Op::Delete, b"");
    assert!(rig.get(&till).is_some(), "it is not the pod of that node");
    send(&mut rig, "n1", &till, Op::Delete, b"");
    assert_eq!(rig.get(&till), None);
    let down = rig.down("n1");
    assert!(down.ends_with(&[
        "Delete pods/default/till".to_owned(),
        "Delete namespaces/default".to_owned(),
    ]));
}

/// A restored cluster that ends the pod anew waits for the end of what runs now.
#[test]
fn an_end_before_a_newer_report_is_of_the_past() {
    let mut rig = Rig::new();
    let till = ending(&mut rig);
    let end = rig.draft(&till, Op::Delete, b"");
    let report = rig.draft(&till, Op::Status, &running());
    rig.send("n1", vec![end, report]);
    assert_eq!(rig.get(&till).unwrap()["status"]["phase"], "Running");
    send(&mut rig, "n1", &till, Op::Delete, b"");
    assert_eq!(rig.get(&till), None);
}

/// Until a reconcile is over, what came before it has offsets of an epoch that is over.
#[test]
fn an_end_in_a_new_epoch_is_newer_than_the_reports_before() {
    let mut rig = Rig::new();
    let till = ending(&mut rig);
    for _ in 0..3 {
        send(&mut rig, "n1", &till, Op::Status, &running());
    }
    let stream = StreamId::up(node("n1"));
    let epoch = Epoch::new(uuid::Uuid::from_u128(99));
    let end = Entry {
        stream: stream.clone(),
        place: Place::At(Offset::new(1)),
        draft: rig.draft(&till, Op::Delete, b""),
    };
    let reconcile = Batch {
        streams: vec![StreamChange::Open { stream, epoch }],
        entries: vec![end],
        ..Batch::default()
    };
    rig.store.append(&reconcile).unwrap();
    rig.store.sync().unwrap();
    rig.write_back("n1");
    assert_eq!(rig.get(&till), None);
}

#[test]
fn a_finalizer_holds_a_pod_after_its_node_is_done() {
    let mut rig = Rig::new();
    let (till, mut body) = pod("till", Some("n1"), json!({}));
    body["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    body["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    body["metadata"]["finalizers"] = json!(["example.com/wait"]);
    rig.create((till.clone(), body));
    send(&mut rig, "n1", &till, Op::Delete, b"");
    assert_eq!(
        rig.get(&till).unwrap()["metadata"]["deletionGracePeriodSeconds"],
        0
    );
}

fn event_of(pod: &Key) -> Vec<u8> {
    json!({"kind": "Event", "reason": "Started", "message": "started", "type": "Normal",
        "source": {"component": "edged", "host": "liar"}, "hostile": true,
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": &*pod.name,
            "uid": pod.uid.to_string()}})
    .to_string()
    .into_bytes()
}

fn events(rig: &Rig) -> Vec<Value> {
    rig.machine.view().read(|objects| {
        let events = Resource::core("events");
        objects
            .list(&events, None, None)
            .map(|entry| entry.object())
            .collect()
    })
}

#[test]
fn a_fact_becomes_an_event_of_its_node() {
    let mut rig = Rig::new();
    let (till, _) = bound(&mut rig, "till", "n1");
    let fact = key("events", "default", "whatever");
    send(&mut rig, "n1", &fact, Op::Fact, &event_of(&till));
    send(&mut rig, "n2", &fact, Op::Fact, &event_of(&till));
    let [event] = &events(&rig)[..] else {
        panic!("one event, not {}", events(&rig).len())
    };
    assert_eq!(
        event["metadata"]["name"],
        format!("till.{}", fact.uid.to_string().replace('-', ""))
    );
    assert_eq!(event["source"], json!({"component": "edged", "host": "n1"}));
    assert_eq!(event.get("hostile"), None);
    assert_eq!(counts(&rig), [("applied", 1), ("refused", 1)]);
}

fn map(name: &str, data: &str) -> (Key, Value) {
    let key = key("configmaps", "default", name);
    let object = object(&key, "ConfigMap", json!({"data": {"k": data}}));
    (key, object)
}

fn request(verb: Verb, object: Option<Value>, base: Option<Version>) -> Request {
    let (uid, follows, grace_period_seconds) = (Uid::None, None, None);
    Request {
        verb,
        object,
        base,
        uid,
        follows,
        grace_period_seconds,
    }
}

/// The newest answer that a node has for a key: the operation, and the code of a refusal.
fn answer(rig: &Rig, at: &str, key: &Key) -> (Op, u64, Option<EventId>) {
    let record = rig
        .newest_down(at, key, Slot::Request)
        .expect("an answer")
        .record;
    let body: Value = serde_json::from_slice(record.body.bytes()).unwrap_or_default();
    (
        record.header.op,
        body["code"].as_u64().unwrap_or_default(),
        record.header.cause,
    )
}

/// The power goes at every possible moment of a write-back: each record counts once.
#[test]
fn records_are_written_back_exactly_once_whenever_the_power_goes() {
    for fault in [Fault::PowerFailsAtSync, Fault::PowerFailsAfterSync] {
        let mut rig = Rig::new();
        let (till, _) = bound(&mut rig, "till", "n1");
        let create = |n: usize| {
            let (key, object) = map(&format!("made-{n}"), "x");
            (key, request(Verb::Create, Some(object), None).encode())
        };
        for n in 0..5 {
            let (made, body) = create(n);
            let fact = key("events", "default", &format!("f{n}"));
            let drafts = vec![
                rig.draft(&till, Op::Status, json!({"n": n}).to_string().as_bytes()),
                rig.draft(&fact, Op::Fact, &event_of(&till)),
                rig.draft(&made, Op::Apply, &body),
            ];
            let seat = rig.connect("n1");
            let incoming = rig.incoming(drafts);
            rig.receive(&seat, incoming).unwrap();
            drop(seat);
            rig.disk.set_fault(fault);
            let (request, _answer) = rig.write_back_request("n1");
            assert!(!rig.run(vec![request]), "the round fails");
            rig.disk.heal();
            rig = rig.crash();
            while rig.write_back("n1").more {}
            assert_eq!(rig.get(&till).unwrap()["status"]["n"], n);
            assert_eq!(events(&rig).len(), n + 1);
            assert_eq!(
                answer(&rig, "n1", &made).0,
                Op::Apply,
                "accepted once, not refused twice"
            );
            let before = rig.store.watermarks().durable;
            assert_eq!(rig.write_back("n1").records, 0);
            assert_eq!(rig.store.watermarks().durable, before);
        }
    }
}
