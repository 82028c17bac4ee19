//! What a device reports, as the DeviceStatus of its name.

use proptest::prelude::*;

use super::*;
use crate::twin::history::readings;
use crate::twin::{devices, statuses};

fn device(name: &str, uid: u64) -> Key {
    Key {
        resource: devices(),
        ..key(name, uid)
    }
}

fn report(value: &str) -> Value {
    json!({"properties": {"t": {"time": 1000, "value": {"value": value}, "version": 1}}})
}

fn shown(objects: &Objects) -> Vec<Value> {
    let entries = objects.list(&statuses(), None, None);
    entries.map(Entry::object).collect()
}

#[test]
fn a_report_shows_as_long_as_its_device_is_there() {
    let mut log = Log::default();
    log.add(
        Direction::Down,
        Op::Put,
        device("a", 1),
        json!({"metadata": {}}),
    );
    assert!(shown(&log.fold()).is_empty(), "nothing is reported yet");
    log.add(Direction::Up, Op::Twin, device("a", 1), report("21"));
    let objects = log.fold();
    let entry = objects.get(&statuses(), "default", "a").unwrap();
    let object = entry.object();
    assert_eq!(object["kind"], "DeviceStatus");
    assert_eq!(object["metadata"]["uid"], device("a", 1).uid.to_string());
    assert_eq!(object["metadata"]["resourceVersion"], "2");
    assert_eq!(object["status"]["twins"][0]["reported"]["value"], "21");
    assert_eq!(entry.created(), Revision::new(2));
    assert_eq!(objects.len(), 2, "the Device and its status");

    log.add(Direction::Down, Op::Delete, device("a", 1), Value::Null);
    log.add(Direction::Up, Op::Delete, device("a", 1), Value::Null);
    let objects = log.fold();
    assert!(objects.is_empty());
    let gone = objects.changes_after(&statuses(), Revision::new(2)).next();
    assert!(matches!(gone, Some(Change::Gone(it)) if it.created() == Revision::new(2)));
}

#[test]
fn another_device_of_the_name_does_not_show_what_the_last_one_reported() {
    let mut log = Log::default();
    log.add(
        Direction::Down,
        Op::Put,
        device("a", 1),
        json!({"metadata": {}}),
    );
    log.add(Direction::Up, Op::Twin, device("a", 1), report("21"));
    log.add(
        Direction::Down,
        Op::Put,
        device("a", 2),
        json!({"metadata": {}}),
    );
    assert!(shown(&log.fold()).is_empty());
    log.add(Direction::Up, Op::Twin, device("a", 1), report("22"));
    assert!(shown(&log.fold()).is_empty(), "too late");
}

#[test]
fn readings_make_no_object() {
    let mut log = Log::default();
    let key = Key {
        resource: readings(),
        ..device("a", 1)
    };
    log.add(Direction::Up, Op::Fact, key, json!({"series": {}}));
    let objects = log.fold();
    assert!(objects.is_empty());
    assert_eq!(objects.resources().count(), 0);
    assert_eq!(objects.revision(), Revision::new(1));
}

#[derive(Clone, Debug)]
enum Life {
    Put(usize),
    Report(usize, u8),
    Delete(usize),
    Replace(usize),
}

fn life() -> impl Strategy<Value = Life> {
    prop_oneof![
        (0..2_usize).prop_map(Life::Put),
        (0..2_usize, 0..3_u8).prop_map(|(name, value)| Life::Report(name, value)),
        (0..2_usize).prop_map(Life::Delete),
        (0..2_usize).prop_map(Life::Replace),
    ]
}

/// What an edge's store may hold: a report only of a Device that is there, and its end with it.
fn lived(steps: &[Life]) -> Log {
    let mut log = Log::default();
    let mut names = [(1_u64, false, false); 2];
    for step in steps {
        let (Life::Put(at) | Life::Report(at, _) | Life::Delete(at) | Life::Replace(at)) = step;
        let (uid, is_there, is_reported) = &mut names[*at];
        let key = device(["a", "b"][*at], *uid);
        match step {
            Life::Put(_) => {
                log.add(Direction::Down, Op::Put, key, json!({"metadata": {}}));
                *is_there = true;
            }
            Life::Report(_, value) if *is_there => {
                log.add(Direction::Up, Op::Twin, key, report(&value.to_string()));
                *is_reported = true;
            }
            Life::Delete(_) | Life::Replace(_) if *is_there => {
                log.add(Direction::Down, Op::Delete, key.clone(), Value::Null);
                if *is_reported {
                    log.add(Direction::Up, Op::Delete, key, Value::Null);
                }
                (*is_there, *is_reported) = (false, false);
                *uid += u64::from(matches!(step, Life::Replace(_)));
            }
            Life::Report(..) | Life::Delete(_) | Life::Replace(_) => {}
        }
    }
    log
}

proptest! {
    /// PROJ-1, WATCH-1.
    #[test]
    fn statuses_do_not_depend_on_the_order_and_watchers_see_them(
        steps in prop::collection::vec(life(), 0..40),
        backwards: bool,
    ) {
        let log = lived(&steps);
        let mut objects = Objects::new();
        let (mut copy, mut cursor) = (BTreeMap::new(), Revision::ZERO);
        for (stream, stored) in &log.records {
            objects.apply(stream, stored);
            for change in objects.changes_after(&statuses(), cursor) {
                match change {
                    Change::Present(it) => drop(copy.insert(it.key().clone(), it.object())),
                    Change::Gone(it) => drop(copy.remove(it.key())),
                }
            }
            cursor = objects.revision();
            let copied: Vec<_> = copy.values().cloned().collect();
            prop_assert_eq!(copied, shown(&objects));
        }
        let mut newest = log.newest();
        if backwards {
            newest.reverse();
        }
        let mut rebuilt = Objects::new();
        for (stream, stored) in &newest {
            rebuilt.apply(stream, stored);
        }
        prop_assert_eq!(shown(&rebuilt), shown(&objects));
        prop_assert_eq!(rebuilt.len(), objects.len());
        prop_assert_eq!(
            rebuilt.latest_change(&statuses()) > cursor,
            false
        );
        for (stream, stored) in &log.records {
            prop_assert_eq!(objects.apply(stream, stored), None, "once more changes nothing");
        }
    }
}
