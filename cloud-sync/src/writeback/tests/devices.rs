//! Devices: what nodes report of them, and what they may ask for.

use causeway_log::limits::FACTS_KEPT;
use causeway_log::store::{ReadLimit, TrimPolicy};
use causeway_log::{Key, Op, Resource, Revision, Slot, Store as _, StreamId, Uid, WallTime};
use causeway_projections::twin::history::{Chunk, Reading, readings};
use causeway_projections::twin::{GROUP, Report, Reported, Rules, Value as Property};
use causeway_projections::{Request, Verb};
use serde_json::{Value, json};

use super::{answer, counts, request, send};
use crate::rig::{Rig, node};

fn key_of(plural: &str, name: &str) -> Key {
    let uid = Uid::Uuid(uuid::Uuid::from_u128(7));
    Key::new(Resource::new(GROUP, plural), "default", name, uid).unwrap()
}

fn oven(on: &str, target: &str) -> (Key, Value) {
    let key = key_of("devices", "oven");
    let object = json!({
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "Device",
        "metadata": {"name": "oven", "namespace": "default", "uid": key.uid.to_string(),
            "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1},
        "spec": {
            "nodeName": on,
            "deviceModelRef": {"name": "heater"},
            "properties": [{"name": "target", "desired": {"value": target}}, {"name": "is"}],
        },
    });
    (key, object)
}

fn heater() -> (Key, Value) {
    let key = key_of("devicemodels", "heater");
    let object = json!({
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "DeviceModel",
        "metadata": {"name": "heater", "namespace": "default", "uid": key.uid.to_string()},
        "spec": {"properties": [
            {"name": "target", "type": "INT", "maximum": "30"},
            {"name": "is", "type": "INT", "accessMode": "ReadOnly"}]},
    });
    (key, object)
}

fn report(value: &str) -> Vec<u8> {
    let mut reported = Reported::default();
    let report = Report {
        value: Some(Property::new(value)),
        ..Report::default()
    };
    let rules = Rules::of(&oven("n1", "").1, None);
    reported.report("is", report, &rules).unwrap();
    reported.encode()
}

fn chunk() -> Vec<u8> {
    let mut chunk = Chunk::after(0);
    let reading = Reading {
        time: WallTime::from_unix_millis(1),
        value: "20".into(),
    };
    assert!(chunk.push(&"is".into(), reading));
    chunk.encode()
}

#[test]
fn a_node_speaks_for_the_devices_that_are_attached_to_it() {
    let mut rig = Rig::new();
    let (device, _) = oven("n1", "20");
    send(&mut rig, "n1", &device, Op::Twin, &report("1"));
    assert_eq!(counts(&rig), [("stale", 1)], "there is no such device");
    rig.create(oven("n1", "20"));
    let history = Key {
        resource: readings(),
        ..device.clone()
    };
    send(&mut rig, "n1", &device, Op::Twin, &report("2"));
    send(&mut rig, "n1", &history, Op::Fact, &chunk());
    send(&mut rig, "n2", &device, Op::Twin, &report("3"));
    send(&mut rig, "n2", &history, Op::Fact, &chunk());
    assert_eq!(counts(&rig), [("stale", 1), ("refused", 2), ("kept", 2)]);
    // It moves, and what was under way of its first node is late.
    rig.update(oven("n2", "20"));
    send(&mut rig, "n1", &device, Op::Twin, &report("4"));
    send(&mut rig, "n1", &device, Op::Delete, b"");
    assert_eq!(counts(&rig), [("stale", 3), ("refused", 2), ("kept", 2)]);
    assert!(rig.get(&device).is_some());
}

/// They were received, so the node does not send them again; here they go as all readings do.
#[test]
fn refused_readings_hold_up_nothing_and_go_with_the_window() {
    let mut rig = Rig::new();
    rig.create(oven("n1", "20"));
    let (device, _) = oven("n1", "20");
    let history = Key {
        resource: readings(),
        ..device
    };
    let sent = FACTS_KEPT + 5;
    for _ in 0..sent {
        send(&mut rig, "n2", &history, Op::Fact, &chunk());
    }
    assert_eq!(counts(&rig), [("refused", sent)]);
    let window = TrimPolicy {
        keep_revisions: 0,
        keep_since: WallTime::from_unix_millis(u64::MAX),
        bytes_max: 0,
        facts_max: u64::MAX,
        facts_bytes_max: 0,
        records_per_call_max: 4096,
    };
    while rig.store.trim(&window).unwrap().more {}
    let up = StreamId::up(node("n2"));
    let left = rig.store.read(&up, Revision::ZERO, ReadLimit::SCAN);
    assert_eq!(left.unwrap().len() as u64, FACTS_KEPT, "the newest stay");
}

#[test]
fn what_is_no_document_is_counted_and_no_other_kind_has_one() {
    let mut rig = Rig::new();
    let (device, _) = oven("n1", "20");
    rig.create(oven("n1", "20"));
    let history = Key {
        resource: readings(),
        ..device.clone()
    };
    for body in [&b"{}"[..], b"[", b"{\"properties\":{\"is\":7}}"] {
        send(&mut rig, "n1", &device, Op::Twin, body);
        send(&mut rig, "n1", &history, Op::Fact, body);
    }
    assert_eq!(counts(&rig), [("malformed", 6)]);
    send(
        &mut rig,
        "n1",
        &key_of("devicestatuses", "oven"),
        Op::Twin,
        &report("1"),
    );
    let status = json!({"state": "online"}).to_string();
    send(&mut rig, "n1", &device, Op::Status, status.as_bytes());
    assert_eq!(counts(&rig), [("refused", 2), ("malformed", 6)]);
}

fn ask(rig: &mut Rig, from: &str, wanted: Value) -> (Op, u64) {
    let (device, _) = oven("n1", "");
    let seen = rig.newest_down("n1", &device, Slot::Object);
    let seen = seen.map(|sent| sent.record.header.version);
    let asked: Request = request(Verb::Update, Some(wanted), seen);
    send(rig, from, &device, Op::Apply, &asked.encode());
    let (op, code, _) = answer(rig, from, &device);
    (op, code)
}

#[test]
fn a_node_may_ask_for_other_desired_values_of_its_devices_and_nothing_else() {
    let mut rig = Rig::new();
    rig.create(heater());
    let (device, object) = oven("n1", "20");
    rig.create((device.clone(), object));
    assert_eq!(ask(&mut rig, "n1", oven("n1", "25").1), (Op::Apply, 0));
    let target = |rig: &Rig| rig.get(&device).unwrap()["spec"]["properties"][0]["desired"].clone();
    assert_eq!(target(&rig), json!({"value": "25"}));
    // Asking keeps the device nowhere: it is its node's by what it says.
    rig.update(oven("n2", "25"));
    let newest = rig.newest_down("n1", &device, Slot::Object).unwrap();
    assert_eq!(newest.record.header.op, Op::Delete);
    rig.update(oven("n1", "25"));

    let mut labelled = oven("n1", "25").1;
    labelled["metadata"]["labels"] = json!({"a": "b"});
    let mut more = oven("n1", "25").1;
    more["spec"]["properties"][1]["collectCycle"] = json!(5);
    for wanted in [oven("n2", "25").1, labelled, more, json!([]), json!({})] {
        let refused = ask(&mut rig, "n1", wanted.clone());
        assert_eq!(refused.0, Op::Reject, "{wanted}");
    }
    assert_eq!(ask(&mut rig, "n2", oven("n1", "26").1), (Op::Reject, 403));
    assert_eq!(ask(&mut rig, "n1", oven("n1", "99").1), (Op::Reject, 422));
    assert_eq!(target(&rig), json!({"value": "25"}));
}

#[test]
fn a_node_makes_and_ends_no_devices_and_writes_no_statuses_of_them() {
    let mut rig = Rig::new();
    rig.create(oven("n1", "20"));
    let (device, object) = oven("n1", "20");
    let delete = Request {
        object: None,
        ..request(Verb::Delete, None, None)
    };
    send(&mut rig, "n1", &device, Op::Apply, &delete.encode());
    assert_eq!(answer(&rig, "n1", &device).1, 403);
    for plural in ["devices", "devicemodels", "devicestatuses"] {
        let key = key_of(plural, "mine");
        let create = request(Verb::Create, Some(object.clone()), None);
        send(&mut rig, "n1", &key, Op::Apply, &create.encode());
        assert_eq!(answer(&rig, "n1", &key).1, 403, "{plural}");
    }
    assert!(rig.get(&device).is_some());
}
