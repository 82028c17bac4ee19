use std::sync::Arc;

use causeway_log::batch::{Entry, Place as At, Row, StreamChange};
use causeway_log::store::TrimPolicy;
use causeway_log::store::memory::MemoryStore;
use causeway_log::{Batch, Body, Draft, Epoch, EventId, WallTime};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::twin::history::{Chunk, Reading};
use crate::twin::{Report, TwinVersion, Value, rows, wishes};

const MINUTE: u64 = 60 * 1000;

struct Node {
    store: MemoryStore,
    events: u64,
}

fn node() -> NodeName {
    NodeName::new("n").unwrap()
}

fn key(resource: &str, name: &str, life: u64) -> Key {
    let uid = Uid::Uuid(Uuid::from_u64_pair(1, life));
    let group = if resource == "devicereadings" {
        "causeway.dev"
    } else {
        twin::GROUP
    };
    Key::new(Resource::new(group, resource), "default", name, uid).unwrap()
}

/// Readings at these minutes, which are their values too.
fn chunk_of(dropped: u64, minutes: &[u64]) -> Chunk {
    let mut chunk = Chunk::after(dropped);
    for minute in minutes {
        let reading = Reading {
            time: WallTime::from_unix_millis(minute * MINUTE),
            value: minute.to_string().into(),
        };
        assert!(chunk.push(&"temperature".into(), reading));
    }
    chunk
}

impl Node {
    fn new() -> Self {
        let store = MemoryStore::new();
        let streams = [StreamId::down(node()), StreamId::up(node())];
        let open = |stream| StreamChange::Open {
            stream,
            epoch: Epoch::new(Uuid::nil()),
        };
        let batch = Batch {
            streams: streams.map(open).into(),
            ..Batch::default()
        };
        store.append(&batch).unwrap();
        store.sync().unwrap();
        Self { store, events: 0 }
    }

    fn write(&mut self, stream: StreamId, key: Key, op: Op, millis: u64, body: Vec<u8>) {
        self.events += 1;
        let draft = Draft {
            id: EventId::new(Uuid::from_u64_pair(2, self.events)),
            cause: None,
            time: WallTime::from_unix_millis(millis),
            key,
            version: None,
            op,
            body: Body::new(body.into()),
        };
        let place = At::Next;
        let entry = Entry {
            stream,
            place,
            draft,
        };
        let batch = Batch {
            entries: vec![entry],
            ..Batch::default()
        };
        self.store.append(&batch).unwrap();
        self.store.sync().unwrap();
    }

    fn down(&mut self, key: Key, op: Op, body: Vec<u8>) {
        self.write(StreamId::down(node()), key, op, 0, body);
    }

    /// A device with a desired temperature, and what it reports.
    fn device(&mut self, name: &str, life: u64, wish: &str, reported: &str) {
        let device = json!({ "spec": {
            "deviceModelRef": { "name": "room" },
            "properties": [{ "name": "temperature", "desired": { "value": wish } }],
        }});
        let key = key("devices", name, life);
        self.down(key.clone(), Op::Put, device.to_string().into_bytes());
        let desired = Desired::default()
            .advance(
                &wishes(&device),
                TwinVersion::new(life),
                WallTime::default(),
            )
            .unwrap();
        self.down(key.clone(), Op::Twin, desired.encode());
        let mut document = Reported::default();
        let report = Report {
            value: Some(Value::new(reported)),
            ..Report::default()
        };
        document
            .report("temperature", report, &Rules::of(&device, None))
            .unwrap();
        self.write(StreamId::up(node()), key, Op::Twin, 0, document.encode());
    }

    /// One record of a device's readings: their times in minutes are their values.
    fn chunk(&mut self, name: &str, dropped: u64, minutes: &[u64]) {
        let chunk = chunk_of(dropped, minutes);
        let last = minutes.last().copied().unwrap_or_default() * MINUTE;
        let key = key("devicereadings", name, 1);
        self.write(StreamId::up(node()), key, Op::Fact, last, chunk.encode());
    }

    fn rows(&self, rows: Vec<Row>) {
        let batch = Batch {
            rows,
            ..Batch::default()
        };
        self.store.append(&batch).unwrap();
        self.store.sync().unwrap();
    }

    /// Readings that wait in a row.
    fn wait(&mut self, name: &str, number: u64, minutes: &[u64]) {
        let place = rows::Place::of(&key("devices", name, 1));
        self.rows(vec![place.row(number, &chunk_of(0, minutes).encode())]);
    }

    fn sent_on(&mut self, name: &str, numbers: &[u64]) {
        let place = rows::Place::of(&key("devices", name, 1));
        self.rows(numbers.iter().map(|it| place.no_row(*it)).collect());
    }

    /// The history as text, read in pages of `limit`.
    fn history(&self, asked: &Asked, limit: usize) -> Vec<String> {
        let Some(extent) = extent(&self.store, &node(), asked).unwrap() else {
            return vec!["nothing".to_owned()];
        };
        let mut shown = Vec::new();
        let mut from = extent.begin;
        loop {
            let page = page(&self.store, &node(), asked, from, limit).unwrap();
            assert!(page.items.len() <= limit);
            shown.extend(page.items.iter().map(|item| match item {
                Item::Reading(reading) => reading.value.to_string(),
                Item::Dropped(count) => format!("-{count}"),
            }));
            let Some(next) = page.next else {
                return shown;
            };
            assert!(next > from, "a page goes on");
            from = next.to_string().parse().unwrap();
        }
    }
}

fn asked(name: &str, since: Option<u64>, until: Option<u64>) -> Asked {
    let time = |minute| WallTime::from_unix_millis(minute * MINUTE);
    Asked {
        namespace: "default".into(),
        name: name.into(),
        property: "temperature".into(),
        since: since.map(time),
        until: until.map(time),
    }
}

#[test]
fn a_twin_is_seen_with_both_documents_and_its_model() {
    let mut node_ = Node::new();
    let model = json!({ "spec": { "properties": [{ "name": "temperature", "type": "FLOAT" }] } });
    node_.device("a", 1, "21", "20");
    node_.down(
        key("devicemodels", "room", 9),
        Op::Put,
        model.to_string().into_bytes(),
    );
    let seen = device(&node_.store, &node(), "default", "a")
        .unwrap()
        .unwrap();
    assert_eq!(seen.model, Some(model));
    assert_eq!(seen.twin.delta(&seen.rules).count(), 1);
    assert!(seen.rules.get("temperature").unwrap().kind.is_some());
    assert!(
        device(&node_.store, &node(), "default", "b")
            .unwrap()
            .is_none()
    );
    assert!(
        device(&node_.store, &node(), "other", "a")
            .unwrap()
            .is_none()
    );
}

#[test]
fn of_several_lives_of_a_name_the_one_that_is_there_is_seen() {
    let mut node_ = Node::new();
    node_.device("a", 7, "21", "old");
    node_.down(key("devices", "a", 7), Op::Delete, Vec::new());
    assert!(
        device(&node_.store, &node(), "default", "a")
            .unwrap()
            .is_none()
    );
    node_.device("a", 3, "22", "new");
    let seen = device(&node_.store, &node(), "default", "a")
        .unwrap()
        .unwrap();
    let value = seen.twin.reported.properties.value("temperature").unwrap();
    assert_eq!(&*value.value, "new");
}

#[test]
fn a_report_that_ended_or_was_taken_back_is_none() {
    let mut node_ = Node::new();
    let reported = |node_: &Node| {
        let seen = device(&node_.store, &node(), "default", "a").unwrap();
        seen.unwrap().twin.reported.properties.values().count()
    };
    node_.device("a", 1, "21", "20");
    assert_eq!(reported(&node_), 1);
    let up = StreamId::up(node());
    let key = key("devices", "a", 1);
    node_.write(up.clone(), key.clone(), Op::Delete, 0, Vec::new());
    assert_eq!(
        reported(&node_),
        0,
        "the device was moved away, and came back"
    );
    node_.device("a", 1, "21", "20");
    assert_eq!(reported(&node_), 1);
    node_.write(up, key, Op::Twin, 0, Vec::new());
    assert_eq!(reported(&node_), 0, "a reconcile took it back");
}

#[test]
fn devices_come_in_order_and_page_by_page() {
    let mut node_ = Node::new();
    for (life, name) in ["c", "a", "d", "b"].into_iter().enumerate() {
        node_.device(name, life as u64 + 1, "1", "1");
    }
    node_.down(key("devices", "b", 4), Op::Delete, Vec::new());
    let names = |after, limit| -> Vec<Arc<str>> {
        devices(&node_.store, &node(), after, limit)
            .unwrap()
            .into_iter()
            .map(|it| it.key.name)
            .collect()
    };
    assert_eq!(names(None, 100), ["a".into(), "c".into(), "d".into()]);
    assert_eq!(names(None, 2), ["a".into(), "c".into()]);
    assert_eq!(names(Some(("default", "a")), 1), ["c".into()]);
    assert_eq!(names(Some(("default", "d")), 1), []);
}

#[test]
fn a_record_that_is_no_document_is_named() {
    let mut node_ = Node::new();
    node_.device("a", 1, "21", "20");
    node_.down(key("devices", "a", 1), Op::Twin, b"{".to_vec());
    let error = device(&node_.store, &node(), "default", "a").unwrap_err();
    assert!(error.to_string().contains("default/a"), "{error}");
}

#[test]
fn readings_come_in_order_whatever_the_pages() {
    let mut node_ = Node::new();
    for round in 0..40 {
        node_.chunk("a", u64::from(round == 20) * 5, &[round * 2, round * 2 + 1]);
        node_.chunk("b", 0, &[round]);
    }
    let whole = node_.history(&asked("a", None, None), 1000);
    assert_eq!(whole.len(), 81);
    assert_eq!(whole[39..43], ["39", "-5", "40", "41"]);
    for limit in [1, 2, 3, 7] {
        assert_eq!(node_.history(&asked("a", None, None), limit), whole);
    }
    assert_eq!(node_.history(&asked("none", None, None), 10), ["nothing"]);
}

#[test]
fn a_search_by_time_begins_near_and_gives_what_was_asked() {
    let mut node_ = Node::new();
    for minute in 0..400 {
        node_.chunk("a", 0, &[minute]);
    }
    let window = node_.history(&asked("a", Some(300), Some(303)), 100);
    assert_eq!(window, ["300", "301", "302", "303"]);
    let extent = extent(&node_.store, &node(), &asked("a", Some(300), None))
        .unwrap()
        .unwrap();
    let skipped = extent.begin > "280-0".parse().unwrap();
    assert!(skipped && !extent.is_trimmed, "{extent:?}");
    assert_eq!(extent.oldest.unix_millis(), 0);
    assert_eq!(node_.history(&asked("a", Some(900), None), 10), [""; 0]);
}

#[test]
fn readings_that_wait_come_last_and_keep_their_place_when_they_are_sent_on() {
    let mut node_ = Node::new();
    for minute in 0..3 {
        node_.chunk("a", 0, &[minute]);
    }
    for number in 0..300 {
        node_.wait("a", number, &[10 + number]);
        node_.wait("ab", number, &[1]);
    }
    let all = asked("a", None, None);
    let whole = node_.history(&all, 1000);
    assert_eq!(whole.len(), 303);
    assert_eq!((&*whole[2], &*whole[3], &*whole[302]), ("2", "10", "309"));
    assert_eq!(node_.history(&all, 7), whole);
    let since = node_.history(&asked("a", Some(305), None), 1000);
    assert_eq!(since, ["305", "306", "307", "308", "309"]);
    let extent = extent(&node_.store, &node(), &all).unwrap().unwrap();
    let first = page(&node_.store, &node(), &all, extent.begin, 5).unwrap();
    let next = first.next.unwrap();
    // Two rows become one record.
    node_.chunk("a", 0, &[10, 11]);
    node_.sent_on("a", &[0, 1]);
    let rest = page(&node_.store, &node(), &all, next, 1000).unwrap();
    assert_eq!(rest.items.len(), 298);
    let Item::Reading(reading) = &rest.items[0] else {
        panic!("{rest:?}");
    };
    assert_eq!(&*reading.value, "12");
}

#[test]
fn readings_none_of_which_was_sent_on_are_read() {
    let mut node_ = Node::new();
    node_.device("a", 1, "1", "1");
    node_.wait("a", 4, &[7, 8]);
    assert_eq!(node_.history(&asked("a", None, None), 1), ["7", "8"]);
    let extent = extent(&node_.store, &node(), &asked("a", None, None)).unwrap();
    assert_eq!(extent.unwrap().oldest.unix_millis(), 7 * MINUTE);
}

#[test]
fn what_was_trimmed_is_told() {
    let mut node_ = Node::new();
    for minute in 0..20 {
        node_.chunk("a", 0, &[minute]);
    }
    let policy = TrimPolicy {
        keep_revisions: 0,
        keep_since: WallTime::from_unix_millis(u64::MAX),
        bytes_max: 0,
        facts_max: 5,
        facts_bytes_max: 0,
        records_per_call_max: 1000,
    };
    while node_.store.trim(&policy).unwrap().more {}
    let asked = asked("a", None, None);
    let extent = extent(&node_.store, &node(), &asked).unwrap().unwrap();
    assert!(extent.is_trimmed);
    assert_eq!(extent.oldest.unix_millis(), 15 * MINUTE);
    assert_eq!(node_.history(&asked, 2), ["15", "16", "17", "18", "19"]);
}

#[test]
fn what_is_no_place_is_refused() {
    for wrong in [
        "",
        "-",
        "1",
        "1-",
        "-1",
        "1-2-3",
        "x-1",
        "99999999999999999999-1",
    ] {
        assert_eq!(wrong.parse::<Place>(), Err(InvalidPlace), "{wrong}");
    }
}
