//! The fold of a node's devices against its guarantees.

use causeway_log::{Direction, Key, Op, Revision, Uid};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::objects::tests::Log;
use crate::twin::{devices, models};

fn key(resource: Resource, name: &str, uid: u64) -> Key {
    let uid = Uid::Uuid(Uuid::from_u128(uid.into()));
    Key::new(resource, "default", name, uid).unwrap()
}

fn device(name: &str, uid: u64) -> Key {
    key(devices(), name, uid)
}

fn object(history: &str) -> Json {
    let mut object = thermostat("20");
    object["metadata"] = json!({"annotations": {"causeway.dev/history": history}});
    object["spec"]["deviceModelRef"] = json!({"name": "m"});
    object
}

fn document(value: &str, version: u64) -> Json {
    json!({"properties": {"target": {"version": version, "time": 1, "value": {"value": value}}}})
}

fn fold(log: &Log) -> Twins {
    let mut twins = Twins::new();
    for (stream, stored) in &log.records {
        twins.apply(stream, stored);
    }
    twins
}

fn name(name: &str) -> DeviceName {
    DeviceName::new("default", name)
}

#[test]
fn a_device_may_come_before_its_model_and_its_twin() {
    let mut log = Log::default();
    log.add(Direction::Up, Op::Twin, device("d", 1), document("19", 4));
    assert!(fold(&log).get(&name("d")).is_none());
    log.add(
        Direction::Down,
        Op::Put,
        device("d", 1),
        object("target=all"),
    );
    let twins = fold(&log);
    let alone = twins.get(&name("d")).unwrap();
    assert_eq!(alone.model, None);
    assert_eq!(
        alone.rules.get("target").unwrap().kind,
        None,
        "any text will do"
    );
    assert_eq!(
        alone.policies.of("target"),
        crate::twin::history::Policy::All
    );
    assert_eq!(
        &*alone
            .twin
            .reported
            .properties
            .value("target")
            .unwrap()
            .value,
        "19"
    );

    log.add(Direction::Down, Op::Put, key(models(), "m", 9), model());
    log.add(Direction::Down, Op::Twin, device("d", 1), document("20", 7));
    let twins = fold(&log);
    let whole = twins.get(&name("d")).unwrap();
    assert!(whole.model.is_some());
    assert_eq!(whole.rules.get("target").unwrap().kind, Some(Kind::Float));
    assert_eq!(whole.twin.delta(&whole.rules).count(), 1);
    assert_eq!(whole.changed, Revision::new(4));
    assert_eq!(twins.changed_after(Revision::new(3)).count(), 1);
    assert_eq!(twins.changed_after(Revision::new(4)).count(), 0);
    assert_eq!(twins.models().count(), 1);

    log.add(
        Direction::Down,
        Op::Delete,
        key(models(), "m", 9),
        Json::Null,
    );
    let twins = fold(&log);
    let alone = twins.get(&name("d")).unwrap();
    assert_eq!((&alone.model, alone.changed), (&None, Revision::new(5)));
}

#[test]
fn another_device_of_the_name_knows_nothing_of_the_last_one() {
    let mut log = Log::default();
    log.add(Direction::Down, Op::Put, device("d", 1), object(""));
    log.add(Direction::Down, Op::Twin, device("d", 1), document("20", 2));
    log.add(Direction::Up, Op::Twin, device("d", 1), document("19", 1));
    log.add(Direction::Down, Op::Delete, device("d", 1), Json::Null);
    let twins = fold(&log);
    assert!(twins.get(&name("d")).is_none());
    let gone: Vec<_> = twins.gone_after(Revision::new(3)).collect();
    assert_eq!(gone, [(&name("d"), Revision::new(4))]);
    assert_eq!(twins.changed_after(Revision::ZERO).count(), 0);

    log.add(Direction::Down, Op::Put, device("d", 2), object(""));
    log.add(Direction::Up, Op::Twin, device("d", 1), document("18", 2));
    let twins = fold(&log);
    let new = twins.get(&name("d")).unwrap();
    assert_eq!(new.twin, Twin::default());
    assert_eq!(new.key, device("d", 2));
    assert_eq!(twins.gone_after(Revision::ZERO).count(), 0);
}

#[test]
fn what_a_node_ended_does_not_come_back_with_the_device() {
    let mut log = Log::default();
    log.add(Direction::Down, Op::Put, device("d", 1), object(""));
    log.add(Direction::Up, Op::Twin, device("d", 1), document("19", 1));
    log.add(Direction::Down, Op::Delete, device("d", 1), Json::Null);
    log.add(Direction::Up, Op::Delete, device("d", 1), Json::Null);
    log.add(Direction::Down, Op::Put, device("d", 1), object(""));
    let twins = fold(&log);
    assert_eq!(
        *twins.get(&name("d")).unwrap().twin.reported,
        Reported::default()
    );
}

#[test]
fn nonsense_in_records_is_an_empty_document_and_no_policy() {
    let mut log = Log::default();
    log.add(
        Direction::Down,
        Op::Put,
        device("d", 1),
        object("target=sometimes"),
    );
    log.add(Direction::Down, Op::Twin, device("d", 1), json!("none"));
    log.add(
        Direction::Up,
        Op::Twin,
        device("d", 1),
        json!({"properties": {"a b": 1}}),
    );
    let twins = fold(&log);
    let device = twins.get(&name("d")).unwrap();
    assert_eq!(device.twin, Twin::default());
    assert!(device.policy_error.is_some());
    assert_eq!(
        device.policies.of("target"),
        crate::twin::history::Policy::Latest
    );
}

#[test]
fn names_that_went_are_remembered_up_to_a_bound() {
    let mut log = Log::default();
    for number in 0..300 {
        let key = device(&format!("d{number}"), number);
        log.add(Direction::Down, Op::Put, key.clone(), object(""));
        log.add(Direction::Down, Op::Delete, key, Json::Null);
        let key = self::key(models(), &format!("m{number}"), number);
        log.add(Direction::Down, Op::Put, key.clone(), model());
        log.add(Direction::Down, Op::Delete, key, Json::Null);
    }
    let twins = fold(&log);
    assert_eq!(twins.gone_after(Revision::ZERO).count(), 256);
    assert_eq!(twins.floor(), Revision::new(43 * 4 + 2));
    assert_eq!(twins.models().count(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize, bool),
    Want(usize, u8),
    Report(usize, u8),
    Delete(usize, bool),
    Model(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..2_usize, any::<bool>()).prop_map(|(at, history)| Step::Put(at, history)),
        (0..2_usize, 0..3_u8).prop_map(|(at, value)| Step::Want(at, value)),
        (0..2_usize, 0..3_u8).prop_map(|(at, value)| Step::Report(at, value)),
        (0..2_usize, any::<bool>()).prop_map(|(at, is_new)| Step::Delete(at, is_new)),
        any::<bool>().prop_map(Step::Model),
    ]
}

/// A history as a cloud and an edge write it.
fn play(steps: &[Step]) -> Log {
    let mut log = Log::default();
    let mut names = [(1_u64, false, false); 2];
    let mut has_model = (100_u64, false);
    let mut version = 0;
    for step in steps {
        version += 1;
        match step {
            Step::Put(at, history) => {
                let (uid, is_there, _) = &mut names[*at];
                let history = if *history { "*=all" } else { "" };
                let key = device(["a", "b"][*at], *uid);
                log.add(Direction::Down, Op::Put, key, object(history));
                *is_there = true;
            }
            Step::Want(at, value) | Step::Report(at, value) if names[*at].1 => {
                let is_report = matches!(step, Step::Report(..));
                let direction = if is_report {
                    Direction::Up
                } else {
                    Direction::Down
                };
                let key = device(["a", "b"][*at], names[*at].0);
                log.add(
                    direction,
                    Op::Twin,
                    key,
                    document(&value.to_string(), version),
                );
                names[*at].2 |= is_report;
            }
            Step::Delete(at, is_new) if names[*at].1 => {
                let (uid, is_there, is_reported) = &mut names[*at];
                let key = device(["a", "b"][*at], *uid);
                log.add(Direction::Down, Op::Delete, key.clone(), Json::Null);
                if *is_reported {
                    log.add(Direction::Up, Op::Delete, key, Json::Null);
                }
                (*is_there, *is_reported) = (false, false);
                *uid += u64::from(*is_new);
            }
            Step::Model(is_there) => {
                let key = key(models(), "m", has_model.0);
                if *is_there {
                    log.add(Direction::Down, Op::Put, key, model());
                } else if has_model.1 {
                    log.add(Direction::Down, Op::Delete, key, Json::Null);
                    has_model.0 += 1;
                }
                has_model.1 = *is_there;
            }
            Step::Want(..) | Step::Report(..) | Step::Delete(..) => {}
        }
    }
    log
}

fn seen(twins: &Twins) -> Vec<Arc<Device>> {
    twins
        .devices()
        .map(|(_, device)| Arc::clone(device))
        .collect()
}

proptest! {
    /// PROJ-1, and what a subscriber pulls leads it to the same devices.
    #[test]
    fn devices_do_not_depend_on_the_order_of_records(
        steps in prop::collection::vec(step(), 0..50),
        seed: u64,
    ) {
        let log = play(&steps);
        let mut twins = Twins::new();
        let (mut copy, mut cursor) = (BTreeMap::new(), Revision::ZERO);
        for (stream, stored) in &log.records {
            let before = seen(&twins);
            let has_changed = twins.apply(stream, stored);
            prop_assert!(has_changed || before == seen(&twins));
            for (name, _) in twins.gone_after(cursor) {
                copy.remove(name);
            }
            for device in twins.changed_after(cursor) {
                copy.insert(device.name(), Arc::clone(device));
            }
            cursor = twins.revision();
            prop_assert_eq!(copy.values().cloned().collect::<Vec<_>>(), seen(&twins));
        }
        let mut newest = log.newest();
        // Any order will do; this one depends on the seed.
        newest.sort_by_key(|(_, stored)| stored.revision.get().wrapping_mul(seed | 1));
        let mut rebuilt = Twins::new();
        for (stream, stored) in &newest {
            rebuilt.apply(stream, stored);
        }
        prop_assert_eq!(seen(&rebuilt), seen(&twins));
        let gone = |twins: &Twins| -> Vec<_> {
            let gone = twins.gone_after(Revision::ZERO);
            gone.map(|(name, revision)| (name.clone(), revision)).collect()
        };
        prop_assert_eq!(gone(&rebuilt), gone(&twins));
        for (stream, stored) in &log.records {
            prop_assert!(!twins.apply(stream, stored), "once more changes nothing");
        }
    }
}
