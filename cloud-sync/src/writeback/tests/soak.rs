//! A cloud's store stays as small as what is alive, however much has lived at its nodes.

use causeway_kube_api::{Change, Expected, Write};
use causeway_log::replication::SessionWrite;
use causeway_log::store::TrimPolicy;
use causeway_log::{Key, NodeName, Offset, Op, Store as _, StreamId, WallTime};
use causeway_projections::Verb;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{answer, map, request};
use crate::cluster::Request;
use crate::rig::{Rig, node, pod};

const LIVES: u64 = 5000;
const WINDOW: u64 = 200;
const TRIM_EVERY: u64 = 50;

/// A window of some revisions; the clocks of this test do not matter.
const POLICY: TrimPolicy = TrimPolicy {
    keep_revisions: WINDOW,
    keep_since: WallTime::from_unix_millis(u64::MAX),
    bytes_max: 0,
    facts_max: 100,
    facts_bytes_max: 0,
    records_per_call_max: 4096,
};

fn delete(rig: &mut Rig, key: &Key, grace_period_seconds: Option<i64>) {
    let expected = Expected::At(rig.revision(key));
    let change = Change::Delete {
        grace_period_seconds,
        confirm: false,
    };
    rig.write(Write {
        key: key.clone(),
        expected,
        change,
    })
    .unwrap();
}

fn report(rig: &mut Rig, key: &Key, phases: &[&str]) {
    let status = |phase: &&str| json!({ "phase": phase }).to_string().into_bytes();
    let drafts = phases
        .iter()
        .map(|phase| rig.draft(key, Op::Status, &status(phase)))
        .collect();
    rig.send("n1", drafts);
}

/// A pod runs at its node until it is deleted, by force or in order. The node ends its report.
fn pod_life(rig: &mut Rig, number: u64, is_forced: bool) {
    let (key, body) = pod(&format!("p{number}"), Some("n1"), json!({}));
    rig.create((key.clone(), body));
    report(rig, &key, &["Pending", "Running"]);
    report(rig, &key, &["Succeeded"]);
    delete(rig, &key, is_forced.then_some(0));
    let end = rig.draft(&key, Op::Delete, b"");
    rig.send("n1", vec![end]);
    assert_eq!(rig.get(&key), None);
}

/// The node asks for an object, which is made and deleted; or asks for what may not be.
fn request_life(rig: &mut Rig, number: u64, is_accepted: bool) {
    let (key, object) = map(&format!("m{number}"), "x");
    let (verb, expected) = match is_accepted {
        true => (Verb::Create, Op::Apply),
        false => (Verb::Update, Op::Reject),
    };
    let asked = request(verb, Some(object), None);
    let draft = rig.draft(&key, Op::Apply, &asked.encode());
    rig.send("n1", vec![draft]);
    assert_eq!(answer(rig, "n1", &key).0, expected);
    if is_accepted {
        delete(rig, &key, None);
    }
}

/// The node has everything. The acknowledgement is written with the next batch.
fn acknowledge(rig: &mut Rig) {
    let seat = rig.connect("n1");
    let (done, mut told) = oneshot::channel();
    rig.run(vec![Request::Session {
        node: seat.node().clone(),
        session: seat.number(),
        write: SessionWrite::Acked {
            upto: Offset::new(u64::MAX),
        },
        answer: done,
    }]);
    told.try_recv().unwrap().unwrap();
}

fn trim(rig: &Rig) {
    while rig.store.trim(&POLICY).unwrap().more {}
}

fn live(rig: &mut Rig) -> Vec<(Key, Value)> {
    let (running, config) = (pod("running", Some("n1"), json!({})), map("menu", "soup"));
    rig.create(running.clone());
    rig.create(config.clone());
    report(rig, &running.0, &["Running"]);
    vec![running, config]
}

#[test]
fn five_thousand_lives_leave_nothing_behind() {
    let mut rig = Rig::new();
    let live = live(&mut rig);
    let mut largest = 0;
    for number in 0..LIVES {
        match number % 5 {
            0 => pod_life(&mut rig, number, true),
            1 => request_life(&mut rig, number, true),
            2 => request_life(&mut rig, number, false),
            _ => pod_life(&mut rig, number, false),
        }
        if number % TRIM_EVERY == 0 {
            acknowledge(&mut rig);
            trim(&rig);
            largest = largest.max(rig.disk.bytes());
        }
    }
    acknowledge(&mut rig);
    rig.create(map("last", "x"));
    trim(&rig);
    let report = rig.store.verify().unwrap();
    assert!(report.is_sound(), "{:?}", report.damage);
    assert!(report.records <= WINDOW + 30, "{} records", report.records);
    assert!(largest < 600_000, "{largest} bytes");
    let mut rig = rig.crash();
    for (key, _) in &live {
        assert!(rig.get(key).is_some(), "{key} is still there");
    }
    let (running, _) = &live[0];
    assert_eq!(rig.get(running).unwrap()["status"]["phase"], "Running");
    let before = rig.store.watermarks().durable;
    rig.write_back("n1");
    assert_eq!(
        rig.store.watermarks().durable,
        before,
        "nothing is done twice"
    );
}

/// What is committed is acknowledged; only the write-back makes it count.
#[test]
fn the_window_takes_nothing_before_the_write_back() {
    let mut rig = Rig::new();
    let (key, body) = pod("till", Some("n1"), json!({}));
    rig.create((key.clone(), body));
    let menus: Vec<_> = (0..3).map(|n| map(&format!("m{n}"), "x")).collect();
    let mut drafts: Vec<_> = menus
        .iter()
        .map(|(key, object)| {
            let asked = request(Verb::Create, Some(object.clone()), None);
            rig.draft(key, Op::Apply, &asked.encode())
        })
        .collect();
    drafts.push(rig.draft(&key, Op::Fact, b"{}"));
    // A second request for the first object takes the place of the first.
    let again = request(Verb::Update, Some(menus[0].1.clone()), None);
    drafts.push(rig.draft(&menus[0].0, Op::Apply, &again.encode()));
    drafts.push(rig.draft(&key, Op::Status, br#"{"phase":"Running"}"#));
    let seat = rig.connect("n1");
    let incoming = rig.incoming(drafts);
    rig.receive(&seat, incoming).unwrap();
    drop(seat);
    for n in 0..10 {
        rig.create(map(&format!("other{n}"), "x"));
    }
    let everything = TrimPolicy {
        keep_revisions: 0,
        bytes_max: 1,
        facts_max: 0,
        ..POLICY
    };
    let kept = |rig: &Rig| {
        let stream = StreamId::up(NodeName::clone(&node("n1")));
        let limit = causeway_log::store::ReadLimit::SCAN;
        let after = causeway_log::Revision::ZERO;
        rig.store.read(&stream, after, limit).unwrap().len()
    };
    while rig.store.trim(&everything).unwrap().more {}
    assert_eq!(kept(&rig), 6);
    let mut rig = rig.crash();
    while rig.store.trim(&everything).unwrap().more {}
    while rig.write_back("n1").more {}
    for (key, _) in &menus {
        assert!(rig.get(key).is_some(), "{key} was asked for");
    }
    assert_eq!(rig.get(&key).unwrap()["status"]["phase"], "Running");
    while rig.store.trim(&everything).unwrap().more {}
    let left = "requests of what lives, the status, and the fact, as it is new";
    assert_eq!(kept(&rig), 5, "{left}");
}
