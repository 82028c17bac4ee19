use causeway_log::{
    Body, EventId, Header, Key, NodeName, Offset, Op, Record, Resource, Uid, Version, WallTime,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{bound, counts, events, send};
use crate::rig::{Rig, key};
use crate::writeback::happening::{Happening, NoEvent};

fn n1() -> NodeName {
    NodeName::new("n1").unwrap()
}

fn record(key: Key, body: &Value) -> Record {
    Record {
        header: Header {
            offset: Offset::new(1),
            id: EventId::new(Uuid::from_u128(0x1234)),
            cause: None,
            time: WallTime::from_unix_millis(1_700_000_000_000),
            key,
            version: Version::new(1),
            op: Op::Fact,
        },
        body: Body::from(body.to_string().into_bytes()),
    }
}

fn at(group: &str, uid: Uid) -> Key {
    Key::new(Resource::new(group, "events"), "default", "whatever", uid).unwrap()
}

fn read(body: &Value) -> Result<Happening, NoEvent> {
    Happening::read(&n1(), &record(at("", Uid::Uuid(Uuid::from_u128(7))), body))
}

#[test]
fn an_event_is_named_after_the_one_at_the_edge() {
    let involved = json!({"kind": "Pod", "namespace": "lie", "name": "till", "uid": "u"});
    let body = json!({"involvedObject": involved, "reason": "x".repeat(500),
        "message": "m".repeat(5000), "hostile": true, "series": null,
        "source": {"component": "kubelet", "host": "liar"}});
    let told = read(&body).unwrap();
    assert_eq!(told.name, "till.00000000000000000000000000000007");
    assert_eq!(told.event["metadata"]["name"], told.name);
    assert_eq!(told.event["involvedObject"]["namespace"], "default");
    let source = json!({"component": "kubelet", "host": "n1"});
    assert_eq!(told.event["source"], source);
    assert_eq!(told.event["firstTimestamp"], "2023-11-14T22:13:20Z");
    assert_eq!(told.event["message"].as_str().map(str::len), Some(1024));
    assert_eq!(told.event["reason"].as_str().map(str::len), Some(128));
    for absent in ["hostile", "series", "eventTime", "action"] {
        assert_eq!(told.event.get(absent), None, "{absent}");
    }
    let nameless = record(at("", Uid::None), &body);
    let told = Happening::read(&n1(), &nameless).unwrap();
    assert_eq!(told.name, "till.00000000000000000000000000001234");
}

#[test]
fn what_is_no_event_makes_none_and_names_are_always_valid() {
    for hostile in [json!(7), json!({}), json!({"involvedObject": 7})] {
        assert_eq!(read(&hostile), Err(NoEvent::Malformed), "{hostile}");
    }
    let pod = record(key("pods", "default", "p"), &json!({"involvedObject": {}}));
    assert_eq!(Happening::read(&n1(), &pod), Err(NoEvent::Kind));
    let name = |involved: &str| {
        read(&json!({"involvedObject": {"name": involved}}))
            .unwrap()
            .name
    };
    for (involved, prefix) in [
        ("", "edge"),
        ("../x", "edge"),
        ("A_B", "edge"),
        ("a..b", "edge"),
        ("a.b-c", "a.b-c"),
    ] {
        let name = name(involved);
        assert!(name.starts_with(&format!("{prefix}.")), "{name}");
    }
    assert!(name(&"n".repeat(1000)).len() <= 253);
}

/// As client-go's newer recorder writes it.
fn newer(count: Option<u64>) -> Value {
    let mut event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "regarding": {"kind": "Node", "name": "n1"},
        "note": "too hot", "reason": "Heat", "type": "Warning", "action": null,
        "eventTime": "2026-01-01T00:00:00.123456Z",
        "reportingController": "example.com/thermometer", "reportingInstance": "liar",
        "deprecatedCount": null, "deprecatedFirstTimestamp": null,
    });
    if let Some(count) = count {
        event["series"] =
            json!({"count": count, "lastObservedTime": "2026-01-01T00:05:00.000000Z"});
    }
    event
}

#[test]
fn the_newer_dialect_becomes_the_older_with_what_only_it_has() {
    let record = record(at("events.k8s.io", Uid::None), &newer(Some(5)));
    let told = Happening::read(&n1(), &record).unwrap();
    let mut expected = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": told.name, "namespace": "default"},
        "involvedObject": {"kind": "Node", "name": "n1"},
        "message": "too hot", "reason": "Heat", "type": "Warning", "action": "Heat",
        "eventTime": "2026-01-01T00:00:00.123456Z",
        "reportingComponent": "example.com/thermometer", "reportingInstance": "n1",
        "source": {"component": "example.com/thermometer", "host": "n1"},
        "series": {"count": 5, "lastObservedTime": "2026-01-01T00:05:00.000000Z"},
    });
    assert_eq!(told.event, expected);
    assert_eq!(told.repeats(&expected), None, "it says as much");
    expected["series"] = json!({"count": 9, "lastObservedTime": "2026-01-01T00:09:00.000000Z"});
    assert_eq!(told.repeats(&expected), None, "it never counts back");
    expected["series"] = Value::Null;
    let series = json!({"count": 5, "lastObservedTime": "2026-01-01T00:05:00.000000Z"});
    let change = json!({"message": "too hot", "series": series});
    assert_eq!(told.repeats(&expected), Some(change));
}

fn repeated(pod: &Key, count: u64) -> Vec<u8> {
    json!({"reason": "BackOff", "message": format!("{count} times"), "count": count,
        "lastTimestamp": format!("2026-01-01T00:00:{count:02}Z"),
        "involvedObject": {"kind": "Pod", "name": &*pod.name, "uid": pod.uid.to_string()}})
    .to_string()
    .into_bytes()
}

#[test]
fn what_happens_again_is_counted_in_one_event() {
    let mut rig = Rig::new();
    let (till, _) = bound(&mut rig, "till", "n1");
    let fact = key("events", "default", "whatever");
    for count in [1, 2, 8, 4] {
        send(&mut rig, "n1", &fact, Op::Fact, &repeated(&till, count));
    }
    let [event] = &events(&rig)[..] else {
        panic!("one Event, not {}", events(&rig).len())
    };
    assert_eq!(
        (&event["count"], &event["message"]),
        (&json!(8), &json!("8 times"))
    );
    assert_eq!(
        event["firstTimestamp"],
        event["metadata"]["creationTimestamp"]
    );
    assert_eq!(counts(&rig), [("applied", 3), ("unchanged", 1)]);
}

#[test]
fn nobody_counts_in_the_event_of_another_node() {
    let mut rig = Rig::new();
    let (till, _) = bound(&mut rig, "till", "n1");
    let fact = key("events", "default", "whatever");
    send(&mut rig, "n1", &fact, Op::Fact, &repeated(&till, 1));
    let (other, _) = bound(&mut rig, "till-2", "n2");
    let mut lie: Value = serde_json::from_slice(&repeated(&other, 9)).unwrap();
    // The name that the Event of `n1` has is made of what is left of this one.
    lie["involvedObject"]["name"] = json!("till-2");
    send(&mut rig, "n2", &fact, Op::Fact, lie.to_string().as_bytes());
    let counted = events(&rig);
    let first = counted.iter().find(|event| event["source"]["host"] == "n1");
    assert_eq!(first.unwrap()["count"], 1);
    // A pod that moved: the name is the same, and the Event is the first node's.
    let node = |name: &str| json!({"involvedObject": {"kind": "Node", "name": name}, "count": 2});
    let fact = key("events", "default", "node");
    send(
        &mut rig,
        "n1",
        &fact,
        Op::Fact,
        node("n1").to_string().as_bytes(),
    );
    let events = Resource::core("events");
    let name = format!("n2.{}", fact.uid.to_string().replace('-', ""));
    let foreign = Key::new(events, "default", &name, Uid::Uuid(Uuid::from_u128(9))).unwrap();
    let event = json!({"source": {"host": "n1"}});
    rig.create((
        foreign.clone(),
        crate::rig::object(&foreign, "Event", event),
    ));
    send(
        &mut rig,
        "n2",
        &fact,
        Op::Fact,
        node("n2").to_string().as_bytes(),
    );
    assert_eq!(rig.get(&foreign).unwrap().get("count"), None);
    assert_eq!(counts(&rig), [("applied", 3), ("refused", 1)]);
}

#[test]
fn an_event_that_was_forgotten_is_made_again_in_another_life() {
    let mut rig = Rig::new();
    let (till, _) = bound(&mut rig, "till", "n1");
    let fact = key("events", "default", "whatever");
    send(&mut rig, "n1", &fact, Op::Fact, &repeated(&till, 1));
    let first = events(&rig).remove(0);
    let uid = Uid::parse(first["metadata"]["uid"].as_str().unwrap());
    let name = first["metadata"]["name"].as_str().unwrap();
    let life = Key::new(Resource::core("events"), "default", name, uid).unwrap();
    rig.delete(&life).unwrap();
    send(&mut rig, "n1", &fact, Op::Fact, &repeated(&till, 2));
    let again = events(&rig).remove(0);
    assert_eq!(again["metadata"]["name"], first["metadata"]["name"]);
    assert_ne!(again["metadata"]["uid"], first["metadata"]["uid"]);
    assert_eq!(again["count"], 2);
}
