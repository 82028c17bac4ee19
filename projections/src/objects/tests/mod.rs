//! The fold against its guarantees, on histories that a cloud and an edge could write.

mod bounds;
mod devices;
mod ends;
mod stored;

use std::collections::BTreeMap;

use causeway_log::{
    Body, Direction, EventId, Header, Key, NodeName, Op, Record, Resource, Revision, Slot, Stored,
    StreamId, Uid, Version, WallTime,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::request::{Request, Verb};

fn stream(direction: Direction) -> StreamId {
    StreamId::Node(NodeName::new("edge-1").unwrap(), direction)
}

fn event(number: u64) -> EventId {
    EventId::new(Uuid::from_u128(u128::from(number)))
}

fn key(name: &str, uid: u64) -> Key {
    let uid = Uid::Uuid(Uuid::from_u128(u128::from(uid)));
    Key::new(Resource::core("pods"), "default", name, uid).unwrap()
}

/// A store of the simplest kind: all records, and the newest per key and slot.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) records: Vec<(StreamId, Stored)>,
    since: BTreeMap<(StreamId, Key, Slot), (Revision, Op)>,
}

impl Log {
    pub(crate) fn add(
        &mut self,
        direction: Direction,
        op: Op,
        key: Key,
        body: Value,
    ) -> (StreamId, Stored) {
        self.add_caused(direction, op, key, body, None)
    }

    fn add_caused(
        &mut self,
        direction: Direction,
        op: Op,
        key: Key,
        body: Value,
        cause: Option<EventId>,
    ) -> (StreamId, Stored) {
        let revision = Revision::new(self.records.len() as u64 + 1);
        let stream = stream(direction);
        let place = (stream.clone(), key.clone(), op.slot());
        let since = match self.since.get(&place) {
            Some((since, before)) if *before != Op::Delete => *since,
            _ => revision,
        };
        self.since.insert(place, (since, op));
        let body = if body.is_null() {
            Body::EMPTY
        } else {
            body.to_string().into_bytes().into()
        };
        let header = Header {
            offset: revision.as_own_offset(),
            id: event(revision.get()),
            cause,
            time: WallTime::from_unix_millis(revision.get() * 1000),
            key,
            version: Version::new(revision.get()),
            op,
        };
        let stored = Stored {
            revision,
            since,
            record: Record { header, body },
        };
        self.records.push((stream.clone(), stored.clone()));
        (stream, stored)
    }

    fn fold(&self) -> Objects {
        let mut objects = Objects::new();
        for (stream, stored) in &self.records {
            objects.apply(stream, stored);
        }
        objects
    }

    /// The newest record of every key and slot, in key order: what a rebuild sees.
    pub(crate) fn newest(&self) -> Vec<(StreamId, Stored)> {
        let mut newest = BTreeMap::new();
        for (stream, stored) in &self.records {
            let header = &stored.record.header;
            let place = (stream.clone(), header.key.clone(), header.op.slot());
            newest.insert(place, (stream.clone(), stored.clone()));
        }
        newest.into_values().collect()
    }
}

fn pods() -> Resource {
    Resource::core("pods")
}

fn list(objects: &Objects) -> Vec<Value> {
    objects
        .list(&pods(), None, None)
        .map(Entry::object)
        .collect()
}

#[test]
fn layers_merge_into_one_object() {
    let mut log = Log::default();
    let pod = json!({"kind": "Pod", "metadata": {"name": "a"}, "spec": {"x": 1}});
    log.add(Direction::Down, Op::Put, key("a", 1), pod);
    log.add(
        Direction::Up,
        Op::Status,
        key("a", 1),
        json!({"phase": "Running"}),
    );
    let objects = log.fold();
    let entry = objects.get(&pods(), "default", "a").unwrap();
    let object = entry.object();
    assert_eq!(object["status"]["phase"], "Running");
    assert_eq!(object["metadata"]["resourceVersion"], "2");
    assert_eq!(object["metadata"]["namespace"], "default");
    assert_eq!(
        (entry.created(), entry.modified()),
        (Revision::new(1), Revision::new(2))
    );
    assert_eq!(entry.version(), Version::new(1));
}

#[test]
fn a_request_shows_until_it_is_answered() {
    let mut log = Log::default();
    log.add(
        Direction::Down,
        Op::Put,
        key("a", 1),
        json!({"metadata": {}, "data": {"k": "old"}}),
    );
    let ask = |data: &str| Request {
        verb: Verb::Update,
        object: Some(json!({"metadata": {}, "data": {"k": data}})),
        base: Some(Version::new(1)),
        uid: key("a", 1).uid,
        follows: None,
        grace_period_seconds: None,
    };
    let body: Value = serde_json::from_slice(&ask("new").encode()).unwrap();
    log.add(Direction::Up, Op::Apply, key("a", 1), body);
    let shown = list(&log.fold()).remove(0);
    assert_eq!(shown["data"]["k"], "new");
    assert_eq!(shown["metadata"]["annotations"][PENDING_ANNOTATION], "true");

    let refusal = json!({"kind": "Status", "message": "the object has been modified"});
    let cause = Some(event(2));
    log.add_caused(Direction::Down, Op::Reject, key("a", 1), refusal, cause);
    let shown = list(&log.fold()).remove(0);
    assert_eq!(shown["data"]["k"], "old");
    let told = &shown["metadata"]["annotations"];
    assert_eq!(told[REJECTED_ANNOTATION], "the object has been modified");
    assert!(told.get(PENDING_ANNOTATION).is_none());

    log.add(
        Direction::Down,
        Op::Put,
        key("a", 1),
        json!({"metadata": {}, "data": {"k": "next"}}),
    );
    let shown = list(&log.fold()).remove(0);
    assert!(shown["metadata"].get("annotations").is_none());
}

#[test]
fn an_answer_of_one_life_hides_no_answer_of_another() {
    let mut log = Log::default();
    let ask = |life: u64| {
        let request = Request {
            verb: Verb::Create,
            object: Some(json!({"kind": "ConfigMap", "metadata": {}})),
            base: None,
            uid: key("a", life).uid,
            follows: None,
            grace_period_seconds: None,
        };
        serde_json::from_slice::<Value>(&request.encode()).unwrap()
    };
    let refusal = || json!({"kind": "Status", "message": "no"});
    log.add(Direction::Up, Op::Apply, key("a", 1), ask(1));
    log.add_caused(
        Direction::Down,
        Op::Reject,
        key("a", 1),
        refusal(),
        Some(event(1)),
    );
    log.add(Direction::Up, Op::Apply, key("a", 2), ask(2));
    let made = json!({"kind": "ConfigMap", "metadata": {}});
    log.add(Direction::Down, Op::Put, key("a", 2), made);
    log.add_caused(
        Direction::Down,
        Op::Apply,
        key("a", 2),
        Value::Null,
        Some(event(3)),
    );
    // A reconcile may send an answer again that this end has let go of.
    log.add_caused(
        Direction::Down,
        Op::Reject,
        key("a", 1),
        refusal(),
        Some(event(1)),
    );
    let shown = list(&log.fold()).remove(0);
    assert!(shown["metadata"].get("annotations").is_none(), "{shown}");
}

#[test]
fn a_created_object_waits_for_its_owner_and_goes_when_refused() {
    let mut log = Log::default();
    let request = Request {
        verb: Verb::Create,
        object: Some(json!({"kind": "ConfigMap", "metadata": {}})),
        base: None,
        uid: key("a", 1).uid,
        follows: None,
        grace_period_seconds: None,
    };
    let body: Value = serde_json::from_slice(&request.encode()).unwrap();
    log.add(Direction::Up, Op::Apply, key("a", 1), body);
    assert_eq!(list(&log.fold()).len(), 1);
    let refusal = json!({"message": "no"});
    log.add_caused(
        Direction::Down,
        Op::Reject,
        key("a", 1),
        refusal,
        Some(event(1)),
    );
    let objects = log.fold();
    assert!(objects.is_empty());
    let gone: Vec<_> = objects.changes_after(&pods(), Revision::new(1)).collect();
    assert!(matches!(gone.as_slice(), [Change::Gone(_)]));
}

/// One step of a history: what the cloud, or the edge, does to one of a few names.
#[derive(Clone, Debug)]
enum Step {
    Put(usize, u8),
    Delete(usize),
    Status(usize, u8),
    Finish(usize),
    Ask(usize, u8),
    Answer(usize, bool),
    Again(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..3_usize;
    prop_oneof![
        4 => (name.clone(), any::<u8>()).prop_map(|(name, value)| Step::Put(name, value)),
        2 => name.clone().prop_map(Step::Delete),
        3 => (name.clone(), any::<u8>()).prop_map(|(name, value)| Step::Status(name, value)),
        1 => name.clone().prop_map(Step::Finish),
        2 => (name.clone(), any::<u8>()).prop_map(|(name, value)| Step::Ask(name, value)),
        2 => (name.clone(), any::<bool>()).prop_map(|(name, yes)| Step::Answer(name, yes)),
        1 => name.prop_map(Step::Again),
    ]
}

/// Plays steps as a well-behaved cloud and edge would: a life ends before the next one begins.
fn play(steps: &[Step]) -> Log {
    let mut log = Log::default();
    let mut lives: [(u64, bool, Option<EventId>); 3] = [(1, false, None); 3];
    for step in steps {
        let (Step::Put(name, _)
        | Step::Delete(name)
        | Step::Status(name, _)
        | Step::Finish(name)
        | Step::Ask(name, _)
        | Step::Answer(name, _)
        | Step::Again(name)) = step;
        let (uid, there, asked) = &mut lives[*name];
        let at = key(["a", "b", "c"][*name], *uid);
        match step {
            Step::Put(_, value) => {
                log.add(
                    Direction::Down,
                    Op::Put,
                    at,
                    json!({"metadata": {}, "spec": value}),
                );
                *there = true;
            }
            Step::Delete(_) if *there => {
                log.add(Direction::Down, Op::Delete, at, Value::Null);
                (*uid, *there) = (*uid + 1, false);
            }
            Step::Status(_, value) => {
                log.add(Direction::Up, Op::Status, at, json!({"value": value}));
            }
            Step::Finish(_) if *there => {
                log.add(Direction::Up, Op::Delete, at, Value::Null);
            }
            Step::Ask(_, value) => {
                let request = Request {
                    verb: if *there { Verb::Update } else { Verb::Create },
                    object: Some(json!({"metadata": {}, "spec": value})),
                    base: None,
                    uid: at.uid.clone(),
                    follows: None,
                    grace_period_seconds: None,
                };
                let body = serde_json::from_slice(&request.encode()).unwrap();
                let (_, stored) = log.add(Direction::Up, Op::Apply, at, body);
                *asked = Some(stored.record.header.id);
            }
            Step::Answer(_, accepted) => {
                let op = if *accepted { Op::Apply } else { Op::Reject };
                let body = if *accepted {
                    Value::Null
                } else {
                    json!({"message": "no"})
                };
                if let Some(cause) = asked.take() {
                    log.add_caused(Direction::Down, op, at, body, Some(cause));
                }
            }
            Step::Again(_) if *there => {
                // The same life again after a deletion, as a restored cloud may write.
                log.add(Direction::Down, Op::Delete, at.clone(), Value::Null);
                log.add(Direction::Down, Op::Put, at, json!({"metadata": {}}));
            }
            Step::Delete(_) | Step::Finish(_) | Step::Again(_) => {}
        }
    }
    log
}

/// A watcher that holds a copy and follows by changes alone.
#[derive(Default)]
struct Watcher {
    cursor: Revision,
    copy: BTreeMap<Key, Value>,
}

impl Watcher {
    fn pull(&mut self, objects: &Objects) {
        let mut last = self.cursor;
        for change in objects.changes_after(&pods(), self.cursor) {
            assert!(change.revision() >= last, "changes come in order");
            last = change.revision();
            match change {
                Change::Present(entry) => {
                    self.copy.insert(entry.key().clone(), entry.object());
                }
                Change::Gone(tombstone) => {
                    self.copy.remove(tombstone.key());
                }
            }
        }
        self.cursor = objects.revision();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// PROJ-1: newest-per-key in any order gives what the whole history gives.
    #[test]
    fn rebuild_equals_incremental(steps in prop::collection::vec(step(), 0..60), backwards: bool) {
        let log = play(&steps);
        let incremental = log.fold();
        let mut rebuilt = Objects::new();
        let mut newest = log.newest();
        if backwards {
            newest.reverse();
        }
        for (stream, stored) in &newest {
            rebuilt.apply(stream, stored);
        }
        prop_assert_eq!(list(&incremental), list(&rebuilt));
        prop_assert_eq!(incremental.len(), rebuilt.len());
        prop_assert_eq!(incremental.len(), list(&incremental).len());
        let entries = |objects: &Objects| -> Vec<_> {
            objects
                .list(&pods(), None, None)
                .map(|entry| (entry.key().clone(), entry.created(), entry.modified()))
                .collect()
        };
        prop_assert_eq!(entries(&incremental), entries(&rebuilt));
    }

    /// A record delivered twice changes nothing.
    #[test]
    fn redelivery_changes_nothing(steps in prop::collection::vec(step(), 0..40)) {
        let log = play(&steps);
        let mut objects = log.fold();
        let before = list(&objects);
        for (stream, stored) in &log.records {
            prop_assert_eq!(objects.apply(stream, stored), None);
        }
        prop_assert_eq!(before, list(&objects));
    }

    /// WATCH-1: list at N and the changes after N give the list at M.
    #[test]
    fn changes_lead_from_list_to_list(
        steps in prop::collection::vec(step(), 0..60),
        pulls in prop::collection::vec(any::<bool>(), 200),
    ) {
        let log = play(&steps);
        let mut objects = Objects::new();
        let mut watcher = Watcher::default();
        for ((stream, stored), pull) in log.records.iter().zip(pulls) {
            objects.apply(stream, stored);
            if pull {
                watcher.pull(&objects);
                let copy: Vec<_> = watcher.copy.values().cloned().collect();
                prop_assert_eq!(copy, list(&objects));
            }
        }
    }
}
