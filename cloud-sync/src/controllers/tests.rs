use std::time::Duration;

use causeway_kube_api::{Catalog, Change, Write};
use causeway_log::{Body, Key, WallTime};
use serde_json::{Value, json};

use super::{Index, events, garbage, lifecycle, namespaces, scheduler};
use crate::hub::Presence;
use crate::rig::{Rig, key, object, pod};

const NOW: &str = "2026-01-01T00:00:00Z";

fn ready() -> Value {
    json!({"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]})
}

fn node(name: &str, rest: Value) -> (Key, Value) {
    let key = key("nodes", "", name);
    let mut node = object(&key, "Node", rest);
    if node.get("status").is_none() {
        node["status"] = ready();
    }
    (key, node)
}

/// Lets a controller decide and commits what it wants; gives what it wanted.
fn turn(
    rig: &mut Rig,
    decide: impl Fn(&causeway_projections::Objects, &Index) -> Vec<Write>,
) -> Vec<Write> {
    let writes = rig.machine.view().read(|objects| {
        let mut index = Index::new();
        index.observe(objects);
        decide(objects, &index)
    });
    for write in writes.clone() {
        rig.write(write).unwrap();
    }
    writes
}

fn schedule(rig: &mut Rig) -> usize {
    turn(rig, |objects, index| scheduler::decide(objects, index, NOW)).len()
}

fn bound_to(rig: &Rig, name: &str) -> String {
    let pod = rig.get(&key("pods", "default", name)).unwrap();
    pod["spec"]["nodeName"].as_str().unwrap_or("-").to_owned()
}

fn why_not(rig: &Rig, name: &str) -> String {
    let pod = rig.get(&key("pods", "default", name)).unwrap();
    assert_eq!(pod["status"]["conditions"][0]["status"], "False");
    pod["status"]["conditions"][0]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn pods_are_spread_over_ready_nodes() {
    let mut rig = Rig::new();
    for name in ["n1", "n2"] {
        rig.create(node(name, json!({})));
    }
    for name in ["a", "b", "c", "d"] {
        rig.create(pod(name, None, json!({})));
    }
    assert_eq!(schedule(&mut rig), 4);
    let nodes: Vec<String> = ["a", "b", "c", "d"]
        .iter()
        .map(|name| bound_to(&rig, name))
        .collect();
    assert_eq!(nodes, ["n1", "n2", "n1", "n2"]);
    assert_eq!(schedule(&mut rig), 0);
}

#[test]
fn a_pod_that_fits_nowhere_says_why_once() {
    let mut rig = Rig::new();
    rig.create(pod("a", None, json!({"nodeSelector": {"disk": "ssd"}})));
    assert_eq!(schedule(&mut rig), 1);
    assert_eq!(why_not(&rig, "a"), "no nodes available to schedule pods");
    rig.create(node("n1", json!({})));
    rig.create(node("n2", json!({"spec": {"unschedulable": true}})));
    rig.create(node("n3", json!({"status": {}})));
    let taints = json!([{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]);
    rig.create(node("n4", json!({"spec": {"taints": taints}})));
    assert_eq!(schedule(&mut rig), 1);
    assert_eq!(
        why_not(&rig, "a"),
        "0/4 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, \
         1 node(s) had untolerated taint {gpu: yes}, 1 node(s) were not ready, \
         1 node(s) were unschedulable.",
    );
    assert_eq!(schedule(&mut rig), 0, "it is not said again");
    rig.update(node("n1", json!({"metadata": {"labels": {"disk": "ssd"}}})));
    assert_eq!(schedule(&mut rig), 1);
    assert_eq!(bound_to(&rig, "a"), "n1");
}

#[test]
fn tolerations_and_affinity_decide() {
    let mut rig = Rig::new();
    let taints = json!([{"key": "gpu", "value": "yes", "effect": "NoSchedule"},
        {"key": "soft", "effect": "PreferNoSchedule"}]);
    let labels = json!({"zone": "b", "cores": "8"});
    rig.create(node(
        "n1",
        json!({"spec": {"taints": taints}, "metadata": {"labels": labels}}),
    ));
    let affinity = |expressions: Value| {
        json!({"tolerations": [{"key": "gpu", "operator": "Exists"}], "affinity": {"nodeAffinity":
            {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": expressions}]}}}})
    };
    let expression = |key: &str, operator: &str, values: Value| json!([{"key": key, "operator": operator, "values": values}]);
    let cases = [
        ("a", expression("zone", "In", json!(["a", "b"])), true),
        ("b", expression("zone", "NotIn", json!(["b"])), false),
        ("c", expression("cores", "Gt", json!(["4"])), true),
        ("d", expression("cores", "Lt", json!(["4"])), false),
        ("e", expression("none", "DoesNotExist", json!([])), true),
        ("f", expression("none", "Exists", json!([])), false),
        ("g", expression("zone", "Nonsense", json!([])), false),
    ];
    for (name, expressions, _) in &cases {
        rig.create(pod(name, None, affinity(expressions.clone())));
    }
    rig.create(pod("intolerant", None, json!({})));
    schedule(&mut rig);
    for (name, expressions, fits) in cases {
        assert_eq!(bound_to(&rig, name) == "n1", fits, "{expressions}");
    }
    assert_eq!(bound_to(&rig, "intolerant"), "-");
}

#[test]
fn pods_of_others_and_finished_ones_are_left_alone() {
    let mut rig = Rig::new();
    rig.create(node("n1", json!({})));
    rig.create(pod("theirs", None, json!({"schedulerName": "mine"})));
    rig.create(pod(
        "gated",
        None,
        json!({"schedulingGates": [{"name": "g"}]}),
    ));
    let (key, mut done) = pod("done", None, json!({}));
    done["status"] = json!({"phase": "Succeeded"});
    rig.create((key, done));
    assert_eq!(schedule(&mut rig), 0);
}

fn live(rig: &mut Rig, presence: Presence, reported: Option<&Value>) -> usize {
    let grace = Duration::from_secs(10);
    let body = reported.map(|status| Body::from(status.to_string().into_bytes()));
    let decide = |objects: &_, index: &_| {
        lifecycle::decide(objects, index, grace, NOW, |_| presence, |_| body.clone())
    };
    turn(rig, decide).len()
}

#[test]
fn a_node_that_is_away_is_unknown_and_comes_back_as_it_was() {
    let mut rig = Rig::new();
    let (n1, _) = rig_node(&mut rig);
    let (here, soon, late) = (
        Presence::Connected {
            lasting: Duration::ZERO,
        },
        Presence::Away {
            lasting: Duration::from_secs(9),
        },
        Presence::Away {
            lasting: Duration::from_secs(10),
        },
    );
    assert_eq!(live(&mut rig, here, Some(&ready())), 0);
    assert_eq!(live(&mut rig, soon, Some(&ready())), 0);
    assert_eq!(live(&mut rig, late, Some(&ready())), 1);
    let condition = rig.get(&n1).unwrap()["status"]["conditions"][0].clone();
    let expected = json!({"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown",
        "message": "edge link is down", "lastTransitionTime": NOW});
    assert_eq!(condition, expected);
    assert_eq!(
        live(&mut rig, late, Some(&ready())),
        0,
        "it is not said again"
    );
    assert_eq!(live(&mut rig, here, Some(&ready())), 1);
    assert_eq!(rig.get(&n1).unwrap()["status"], ready());
}

fn rig_node(rig: &mut Rig) -> (Key, Value) {
    let node = node("n1", json!({}));
    rig.create(node.clone());
    node
}

#[test]
fn a_terminating_namespace_is_emptied_and_goes() {
    let mut rig = Rig::new();
    let shop = key("namespaces", "", "shop");
    rig.create((shop.clone(), object(&shop, "Namespace", json!({}))));
    let map = key("configmaps", "shop", "menu");
    rig.create((map.clone(), object(&map, "ConfigMap", json!({}))));
    let till = key("pods", "shop", "till");
    let spec = json!({"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]});
    rig.create((till.clone(), object(&till, "Pod", json!({"spec": spec}))));
    rig.delete(&shop).unwrap();
    let now = WallTime::from_unix_millis(1_000_000);
    let empty = |rig: &mut Rig| {
        turn(rig, |objects, index| {
            namespaces::decide(objects, index, &Catalog::of(objects), now)
        })
        .len()
    };
    assert_eq!(empty(&mut rig), 2);
    assert_eq!(rig.get(&map), None);
    let pod = rig.get(&till).expect("a pod that runs gets its time");
    assert!(pod["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(empty(&mut rig), 0, "the pod is waited for");
    rig.delete(&till).unwrap();
    assert_eq!(empty(&mut rig), 1);
    assert_eq!(rig.get(&shop), None);
}

#[test]
fn what_lost_all_its_owners_goes() {
    let mut rig = Rig::new();
    let parent = key("configmaps", "default", "parent");
    rig.create((parent.clone(), object(&parent, "ConfigMap", json!({}))));
    let child = key("configmaps", "default", "child");
    let owners = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "parent",
        "uid": parent.uid.to_string()}]);
    let owned = object(
        &child,
        "ConfigMap",
        json!({"metadata": {"ownerReferences": owners}}),
    );
    rig.create((child.clone(), owned));
    let collect = |rig: &mut Rig| {
        let now = WallTime::from_unix_millis(1_000_000);
        turn(rig, |objects, index| {
            garbage::orphans(objects, index, &Catalog::of(objects), now)
        })
        .len()
    };
    assert_eq!(collect(&mut rig), 0);
    rig.delete(&parent).unwrap();
    assert_eq!(collect(&mut rig), 1);
    assert_eq!(rig.get(&child), None);
}

#[test]
fn pods_of_a_deleted_node_go_when_it_is_away() {
    let mut rig = Rig::new();
    let (n1, _) = rig_node(&mut rig);
    rig.create(pod("a", Some("n1"), json!({})));
    rig.create(pod("b", Some("never-joined"), json!({})));
    let collect = |rig: &mut Rig, connected: bool| {
        turn(rig, |objects, index| {
            garbage::abandoned(objects, index, |_| connected)
        })
        .len()
    };
    assert_eq!(collect(&mut rig, false), 0);
    rig.delete(&n1).unwrap();
    assert_eq!(collect(&mut rig, true), 0, "it is about to register again");
    assert_eq!(collect(&mut rig, false), 1);
    let mut index = Index::new();
    rig.machine.view().read(|objects| index.observe(objects));
    let leavers: Vec<&str> = garbage::leavers(&index, |_| false)
        .map(|name| &**name)
        .collect();
    assert_eq!(leavers, ["n1"]);
}

#[test]
fn events_are_bounded_by_age_and_number() {
    let mut rig = Rig::new();
    let now: jiff::Timestamp = NOW.parse().unwrap();
    let now = WallTime::from_unix_millis(u64::try_from(now.as_millisecond()).unwrap());
    let times = [
        "2025-12-31T22:00:00Z",
        "2025-12-31T23:50:00Z",
        "2025-12-31T23:55:00Z",
        NOW,
    ];
    for (n, time) in times.into_iter().enumerate() {
        let key = key("events", "default", &format!("e{n}"));
        let rest = json!({"lastTimestamp": time});
        rig.create((key.clone(), object(&key, "Event", rest)));
    }
    let left = |rig: &mut Rig, count_max: usize| {
        turn(rig, |objects, _| {
            events::decide(objects, now, Duration::from_secs(3600), count_max)
        });
        let gone = |n: &usize| {
            rig.get(&key("events", "default", &format!("e{n}")))
                .is_some()
        };
        (0..4_usize).filter(gone).collect::<Vec<_>>()
    };
    assert_eq!(left(&mut rig, 10), [1, 2, 3]);
    assert_eq!(left(&mut rig, 2), [2, 3]);
}

#[test]
fn the_index_kept_up_to_date_equals_a_new_one() {
    let mut rig = Rig::new();
    let mut index = Index::new();
    let check = |rig: &Rig, index: &mut Index| {
        let mut fresh = Index::new();
        rig.machine.view().read(|objects| {
            index.observe(objects);
            fresh.observe(objects);
        });
        assert_eq!(*index, fresh);
    };
    let (n1, _) = rig_node(&mut rig);
    check(&rig, &mut index);
    let (a, mut body) = pod("a", Some("n1"), json!({}));
    rig.create((a.clone(), body.clone()));
    check(&rig, &mut index);
    body["metadata"]["ownerReferences"] = json!([{"uid": "u"}]);
    rig.update((a.clone(), body));
    check(&rig, &mut index);
    rig.delete(&n1).unwrap();
    check(&rig, &mut index);
    rig.delete(&a).unwrap();
    check(&rig, &mut index);
    let again = Key {
        uid: causeway_log::Uid::parse("second-life"),
        ..n1
    };
    let change = Change::Put(object(&again, "Node", json!({})));
    let expected = causeway_kube_api::Expected::Absent;
    rig.write(Write {
        key: again,
        expected,
        change,
    })
    .unwrap();
    check(&rig, &mut index);
    assert_eq!(index.node_names().count(), 1);
}
