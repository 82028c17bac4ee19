use std::collections::BTreeSet;
use std::time::Duration;

use causeway_log::{NodeName, WallTime};
use serde_json::json;

use super::*;

fn names(count: usize) -> BTreeSet<NodeName> {
    let names = (0..count).map(|n| NodeName::new(&format!("n{n}")).unwrap());
    names.collect()
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_node_is_served_when_it_comes_and_once_in_an_interval() {
    let mut pacer = Pacer::new(secs(10), 4);
    let nodes = names(1);
    pacer.observe(&nodes, secs(5));
    let node = pacer.start(secs(5)).expect("it has just come");
    assert_eq!(pacer.start(secs(5)), None, "it is under way");
    pacer.finish(&node, true, secs(5), 0.0);
    assert_eq!(pacer.start(secs(14)), None);
    assert_eq!(pacer.start(secs(15)), Some(node));
}

#[test]
fn so_many_are_served_at_once() {
    let mut pacer = Pacer::new(secs(10), 4);
    pacer.observe(&names(10), secs(0));
    let served: Vec<_> = std::iter::from_fn(|| pacer.start(secs(0))).collect();
    assert_eq!(served.len(), 4);
    pacer.finish(&served[0], true, secs(0), 0.0);
    assert!(pacer.start(secs(0)).is_some());
}

#[test]
fn a_failure_is_tried_again_sooner_but_not_at_once() {
    let mut pacer = Pacer::new(secs(10), 4);
    pacer.observe(&names(1), secs(0));
    let node = pacer.start(secs(0)).unwrap();
    pacer.finish(&node, false, secs(0), 1.0);
    assert_eq!(pacer.start(Duration::from_millis(499)), None);
    let mut now = Duration::from_millis(500);
    for _ in 0..10 {
        assert!(pacer.start(now).is_some());
        pacer.finish(&node, false, now, 1.0);
        now += secs(10);
    }
}

#[test]
fn a_node_that_goes_is_served_no_more_and_leaves_room() {
    let mut pacer = Pacer::new(secs(10), 1);
    pacer.observe(&names(2), secs(0));
    let first = pacer.start(secs(0)).unwrap();
    pacer.observe(&BTreeSet::new(), secs(0));
    pacer.finish(&first, true, secs(0), 0.0);
    assert!(pacer.is_empty());
    assert_eq!(pacer.start(secs(100)), None);
    pacer.observe(&names(1), secs(100));
    assert!(pacer.start(secs(100)).is_some());
}

#[test]
fn hurry_brings_a_turn_forward() {
    let mut pacer = Pacer::new(secs(60), 1);
    pacer.observe(&names(1), secs(0));
    let node = pacer.start(secs(0)).unwrap();
    pacer.finish(&node, true, secs(0), 0.0);
    pacer.hurry(&node, secs(1));
    assert_eq!(pacer.start(secs(1)), Some(node));
}

#[test]
fn the_report_of_a_node_says_whether_its_agent_lives() {
    let report = |ready: &str| json!({"conditions": [{"type": "Ready", "status": ready}]});
    assert!(is_alive(Some(&report("True"))));
    assert!(is_alive(Some(&report("False"))), "not ready is not dead");
    assert!(!is_alive(Some(&report("Unknown"))));
    assert!(!is_alive(Some(&json!({}))));
    assert!(!is_alive(None));
}

#[test]
fn a_lease_is_written_as_the_node() {
    let node = NodeName::new("n1").unwrap();
    let now = WallTime::from_unix_millis(1_700_000_000_123);
    let call = renewal(&node, now, secs(10));
    assert_eq!(
        call.path,
        "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1"
    );
    assert_eq!(call.identity, Identity::Node(node.clone()));
    let spec = &call.body.unwrap()["spec"];
    assert_eq!(spec["renewTime"], "2023-11-14T22:13:20.123000Z");
    assert_eq!(spec["leaseDurationSeconds"], 40);
    let lease = creation(&node, "uid-1", now, secs(10)).body.unwrap();
    assert_eq!(lease["metadata"]["ownerReferences"][0]["uid"], "uid-1");
}
