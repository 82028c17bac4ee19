//! Ends of pods that their node reports, and what the owner says later.

use causeway_log::{Direction, Op, Revision, Version};
use serde_json::{Value, json};

use super::super::Change;
use super::{Log, event, key, list, pods};
use crate::request::{Request, Verb};

#[test]
fn a_pod_the_node_has_finished_with_is_gone_at_once() {
    let mut log = Log::default();
    log.add(
        Direction::Down,
        Op::Put,
        key("a", 1),
        json!({"metadata": {}}),
    );
    log.add(Direction::Up, Op::Delete, key("a", 1), Value::Null);
    assert!(log.fold().is_empty());
    log.add(Direction::Down, Op::Delete, key("a", 1), Value::Null);
    log.add(
        Direction::Down,
        Op::Put,
        key("a", 2),
        json!({"metadata": {}}),
    );
    let objects = log.fold();
    assert_eq!(objects.len(), 1);
    let gone = objects.changes_after(&pods(), Revision::new(1)).next();
    assert!(matches!(gone, Some(Change::Gone(it)) if it.key() == &key("a", 1)));
}

/// A cloud that was restored from a backup forgets that it deleted a pod.
#[test]
fn a_pod_that_its_owner_puts_again_is_back_without_what_ended() {
    let mut log = Log::default();
    let wanted = json!({"metadata": {}, "status": {"phase": "Pending"}});
    log.add(Direction::Down, Op::Put, key("a", 1), wanted.clone());
    let ended = json!({"phase": "Failed"});
    log.add(Direction::Up, Op::Status, key("a", 1), ended);
    log.add(Direction::Up, Op::Delete, key("a", 1), Value::Null);
    log.add(Direction::Down, Op::Put, key("a", 1), wanted);
    let objects = log.fold();
    assert_eq!(list(&objects)[0]["status"]["phase"], "Pending");
    let changes: Vec<_> = objects.changes_after(&pods(), Revision::new(2)).collect();
    assert!(matches!(
        changes.as_slice(),
        [Change::Gone(_), Change::Present(_)]
    ));
    let running = json!({"phase": "Running"});
    log.add(Direction::Up, Op::Status, key("a", 1), running);
    assert_eq!(list(&log.fold())[0]["status"]["phase"], "Running");
    log.add(Direction::Up, Op::Delete, key("a", 1), Value::Null);
    assert!(log.fold().is_empty());
}

#[test]
fn a_pod_whose_deletion_was_asked_for_and_is_refused_is_back() {
    let mut log = Log::default();
    log.add(
        Direction::Down,
        Op::Put,
        key("a", 1),
        json!({"metadata": {}}),
    );
    let request = Request {
        verb: Verb::Delete,
        object: None,
        base: Some(Version::new(1)),
        uid: key("a", 1).uid,
        follows: None,
        grace_period_seconds: None,
    };
    let asked = serde_json::from_slice(&request.encode()).unwrap();
    log.add(Direction::Up, Op::Apply, key("a", 1), asked);
    log.add(Direction::Up, Op::Delete, key("a", 1), Value::Null);
    assert!(log.fold().is_empty());
    log.add_caused(
        Direction::Down,
        Op::Reject,
        key("a", 1),
        json!({"message": "no"}),
        Some(event(2)),
    );
    assert_eq!(log.fold().len(), 1);
}
