use std::collections::{BTreeMap, BTreeSet};

use causeway_daemon::session_driver::WriteRefused;
use causeway_kube_api::{Change, Expected, Write, WriteError};
use causeway_log::store::memory::Fault;
use causeway_log::writer::Planned;
use causeway_log::{Batch, Body, Entry, Key, NodeName, Op, Place, Slot, Store as _, StreamId};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{BOOTSTRAP_NAMESPACES, Request};
use crate::interest::{Graph, down_body};
use crate::rig::{Rig, key, node, object, pod};

fn configmap(name: &str, data: &str) -> (Key, Value) {
    let key = key("configmaps", "default", name);
    let object = object(&key, "ConfigMap", json!({"data": {"k": data}}));
    (key, object)
}

fn wants_map(map: &str) -> Value {
    json!({"volumes": [{"name": "v", "configMap": {"name": map}}]})
}

#[test]
fn a_new_cluster_has_its_namespaces() {
    let rig = Rig::new();
    for name in BOOTSTRAP_NAMESPACES {
        let found = rig.machine.view().read(|objects| {
            objects
                .get(&causeway_log::Resource::core("namespaces"), "", name)
                .is_some()
        });
        assert!(found, "{name}");
    }
}

#[test]
fn a_bound_pod_and_what_it_names_go_down_in_one_batch() {
    let mut rig = Rig::new();
    rig.create(configmap("menu", "soup"));
    assert!(rig.down("n1").is_empty());
    rig.create(pod("till", Some("n1"), wants_map("menu")));
    let expected = [
        "Put configmaps/default/menu",
        "Put namespaces/default",
        "Put pods/default/till",
    ];
    assert_eq!(rig.down("n1"), expected);
}

#[test]
fn a_change_goes_to_holders_only_and_status_of_a_pod_to_nobody() {
    let mut rig = Rig::new();
    rig.create(configmap("menu", "soup"));
    let (till, mut body) = pod("till", Some("n1"), wants_map("menu"));
    rig.create((till.clone(), body.clone()));
    rig.create(pod("other", Some("n2"), json!({})));
    let (before, other) = (rig.down("n1").len(), rig.down("n2").len());
    rig.update(configmap("menu", "cake"));
    assert_eq!(rig.down("n1").len(), before + 1);
    body["status"] = json!({"phase": "Running"});
    rig.update((till, body));
    assert_eq!(rig.down("n1").len(), before + 1);
    assert_eq!(rig.down("n2").len(), other);
}

#[test]
fn a_write_that_changes_nothing_makes_no_record() {
    let mut rig = Rig::new();
    let written = rig.create(configmap("menu", "soup"));
    let durable = rig.store.watermarks().durable;
    let again = rig.update(configmap("menu", "soup"));
    assert_eq!(again.revision, written.revision);
    assert_eq!(rig.store.watermarks().durable, durable);
}

#[test]
fn the_second_write_of_a_round_is_decided_on_what_the_first_made() {
    let mut rig = Rig::new();
    rig.create(configmap("menu", "soup"));
    let (key, _) = configmap("menu", "");
    let expected = Expected::At(rig.revision(&key));
    let request = |data: &str| {
        let (answer, answered) = oneshot::channel();
        let change = Change::Put(configmap("menu", data).1);
        let write = Box::new(Write {
            key: key.clone(),
            expected,
            change,
        });
        (Request::Write { write, answer }, answered)
    };
    let ((one, mut first), (two, mut second)) = (request("cake"), request("pie"));
    rig.run(vec![one, two]);
    assert!(first.try_recv().unwrap().is_ok());
    let conflict = second.try_recv().unwrap();
    assert!(
        matches!(conflict, Err(WriteError::Conflict { found: Some(_) })),
        "{conflict:?}"
    );
    assert_eq!(rig.get(&key).unwrap()["data"]["k"], "cake");
}

#[test]
fn nothing_is_made_where_there_is_no_namespace() {
    let mut rig = Rig::new();
    let key = key("configmaps", "nowhere", "menu");
    let change = Change::Put(object(&key, "ConfigMap", json!({})));
    let refused = rig.write(Write {
        key,
        expected: Expected::Absent,
        change,
    });
    let Err(WriteError::Rejected(status)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        (status.code, &*status.message),
        (404, "namespaces \"nowhere\" not found")
    );
}

#[test]
fn a_namespace_with_content_is_marked_and_an_empty_one_goes() {
    let mut rig = Rig::new();
    let shop = key("namespaces", "", "shop");
    rig.create((shop.clone(), object(&shop, "Namespace", json!({}))));
    let map = key("configmaps", "shop", "menu");
    rig.create((map.clone(), object(&map, "ConfigMap", json!({}))));
    let marked = rig.delete(&shop).unwrap();
    assert_eq!(marked.object.unwrap()["status"]["phase"], "Terminating");
    let late = key("configmaps", "shop", "late");
    let change = Change::Put(object(&late, "ConfigMap", json!({})));
    let refused = rig.write(Write {
        key: late,
        expected: Expected::Absent,
        change,
    });
    let Err(WriteError::Rejected(status)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(status.code, 403);
    rig.delete(&map).unwrap();
    assert_eq!(rig.delete(&shop).unwrap().object, None);
    let default = rig.machine.view().read(|objects| {
        let namespaces = causeway_log::Resource::core("namespaces");
        objects
            .get(&namespaces, "", "default")
            .unwrap()
            .key()
            .clone()
    });
    assert!(matches!(rig.delete(&default), Err(WriteError::Rejected(_))));
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_of_the_round_stays() {
    let mut rig = Rig::new();
    rig.create(configmap("menu", "soup"));
    rig.disk.set_fault(Fault::Full);
    let (till, body) = pod("till", Some("n1"), wants_map("menu"));
    let write = Write {
        key: till.clone(),
        expected: Expected::Absent,
        change: Change::Put(body.clone()),
    };
    for _ in 0..2 {
        let refused = rig.write(write.clone());
        assert!(
            matches!(refused, Err(WriteError::ReadOnly { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(rig.get(&till), None);
    assert!(rig.get(&configmap("menu", "").0).is_some(), "reads go on");
    rig.disk.heal();
    rig.store.try_recover().unwrap();
    rig.create((till, body));
    assert_eq!(rig.down("n1").len(), 3);
}

#[test]
fn a_restart_appends_nothing() {
    let mut rig = Rig::new();
    rig.create(configmap("menu", "soup"));
    rig.create(pod("till", Some("n1"), wants_map("menu")));
    let before = rig.store.watermarks().durable;
    let rig = rig.crash();
    assert_eq!(rig.store.watermarks().durable, before);
    assert_eq!(rig.down("n1").len(), 3);
}

#[test]
fn a_start_brings_the_streams_in_line_with_the_cluster() {
    let mut rig = Rig::new();
    rig.create(configmap("menu", "soup"));
    rig.create(pod("till", Some("n1"), wants_map("menu")));
    // Another version of this program sent something else.
    let (menu, _) = configmap("menu", "");
    let stale = key("secrets", "default", "stale");
    let entry = |key: &Key, op, body: &[u8]| Entry {
        stream: StreamId::down(node("n1")),
        place: Place::Next,
        draft: causeway_log::Draft {
            version: None,
            ..rig.draft(key, op, body)
        },
    };
    let entries = vec![
        entry(&menu, Op::Put, b"{\"old\":1}"),
        entry(&stale, Op::Put, b"{}"),
    ];
    rig.store
        .append(&Batch {
            entries,
            ..Batch::default()
        })
        .unwrap();
    rig.store.sync().unwrap();
    let rig = rig.crash();
    let newest = |key: &Key| rig.newest_down("n1", key, Slot::Object).unwrap().record;
    assert_eq!(newest(&stale).header.op, Op::Delete);
    let (_, body) = configmap("menu", "soup");
    assert_eq!(newest(&menu).body, down_body(&menu, &body));
}

#[test]
fn a_fenced_session_writes_nothing() {
    let mut rig = Rig::new();
    let older = rig.connect("n1");
    let newer = rig.connect("n1");
    let draft = rig.draft(&key("nodes", "", "n1"), Op::Status, b"{}");
    let incoming = rig.incoming(vec![draft]);
    assert_eq!(
        rig.receive(&older, incoming.clone()),
        Err(WriteRefused::Fenced)
    );
    assert_eq!(rig.receive(&newer, incoming), Ok(()));
}

#[test]
fn what_is_sent_again_is_dropped() {
    let mut rig = Rig::new();
    let seat = rig.connect("n1");
    let draft = rig.draft(&key("nodes", "", "n1"), Op::Status, b"{}");
    let incoming = rig.incoming(vec![draft]);
    rig.receive(&seat, incoming.clone()).unwrap();
    let revision = |rig: &Rig| {
        let stream = StreamId::up(node("n1"));
        let newest = rig
            .store
            .newest(&stream, &key("nodes", "", "n1"), Slot::Status)
            .unwrap();
        newest.unwrap().revision
    };
    let first = revision(&rig);
    rig.receive(&seat, incoming).unwrap();
    assert_eq!(revision(&rig), first);
}

#[test]
fn records_that_do_not_fit_harm_nobody_else() {
    let mut rig = Rig::new();
    let (bad, good) = (rig.connect("n1"), rig.connect("n2"));
    let draft = rig.draft(&key("nodes", "", "n1"), Op::Status, b"{}");
    let mut incoming = rig.incoming(vec![draft.clone(), draft.clone()]);
    incoming.records.reverse();
    let (answer, mut refused) = oneshot::channel();
    let hostile = Request::Session {
        node: bad.node().clone(),
        session: bad.number(),
        write: causeway_log::replication::SessionWrite::Incoming(incoming),
        answer,
    };
    let fine = rig.incoming(vec![draft]);
    let (answer, mut done) = oneshot::channel();
    let innocent = Request::Session {
        node: good.node().clone(),
        session: good.number(),
        write: causeway_log::replication::SessionWrite::Incoming(fine),
        answer,
    };
    rig.run(vec![hostile, innocent]);
    assert!(matches!(
        refused.try_recv().unwrap(),
        Err(WriteRefused::Invalid { .. })
    ));
    assert_eq!(done.try_recv().unwrap(), Ok(()));
}

#[test]
fn acks_travel_with_the_next_batch_and_never_exceed_the_stream() {
    let mut rig = Rig::new();
    rig.create(pod("till", Some("n1"), json!({})));
    let seat = rig.connect("n1");
    let (answer, mut answered) = oneshot::channel();
    rig.run(vec![Request::Session {
        node: node("n1"),
        session: seat.number(),
        write: causeway_log::replication::SessionWrite::Acked {
            upto: causeway_log::Offset::new(u64::MAX),
        },
        answer,
    }]);
    assert_eq!(answered.try_recv().unwrap(), Ok(()));
    rig.create(configmap("menu", "soup"));
    let info = rig
        .store
        .stream(&StreamId::down(node("n1")))
        .unwrap()
        .unwrap();
    assert_eq!(info.acked, info.durable);
}

#[test]
fn a_node_that_left_is_forgotten_only_when_nothing_is_left_for_it() {
    let mut rig = Rig::new();
    let (till, body) = pod("till", Some("n1"), json!({}));
    rig.create((till.clone(), body));
    let forget = |rig: &mut Rig| {
        let (answer, mut answered) = oneshot::channel();
        rig.run(vec![Request::Forget {
            node: node("n1"),
            answer,
        }]);
        answered.try_recv().unwrap().unwrap()
    };
    assert!(!forget(&mut rig));
    rig.delete(&till).unwrap();
    assert!(forget(&mut rig));
    assert_eq!(rig.store.stream(&StreamId::down(node("n1"))).unwrap(), None);
    rig.create(pod("till", Some("n1"), json!({})));
    assert_eq!(
        rig.down("n1"),
        ["Put namespaces/default", "Put pods/default/till"]
    );
}

/// One step of a random life of a cluster.
#[derive(Clone, Debug)]
enum Act {
    Pod { name: usize, on: usize, map: usize },
    Map { name: usize, data: u8 },
    Delete { name: usize, pod: bool },
    Crash { fault: bool },
    Fail,
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3_usize, 0..3_usize, 0..2_usize)
            .prop_map(|(name, on, map)| Act::Pod { name, on, map }),
        4 => (0..2_usize, 0..3_u8).prop_map(|(name, data)| Act::Map { name, data }),
        3 => (0..3_usize, any::<bool>()).prop_map(|(name, pod)| Act::Delete { name, pod }),
        1 => any::<bool>().prop_map(|fault| Act::Crash { fault }),
        1 => Just(Act::Fail),
    ]
}

/// What every node is sent is a function of the cluster.
fn check_down(rig: &Rig) {
    let mut graph = Graph::default();
    let mut wanted: BTreeMap<(NodeName, Key), Body> = BTreeMap::new();
    rig.machine.view().read(|objects| {
        for entry in objects
            .resources()
            .flat_map(|r| objects.list(r, None, None))
        {
            let body: Value = serde_json::from_slice(entry.desired().unwrap().bytes()).unwrap();
            graph.put(entry.key(), &body, &mut Vec::new());
        }
        for (key, holders) in graph.held() {
            let entry = objects
                .get(&key.resource, &key.namespace, &key.name)
                .unwrap();
            let body: Value = serde_json::from_slice(entry.desired().unwrap().bytes()).unwrap();
            for holder in holders {
                wanted.insert((holder.clone(), key.clone()), down_body(key, &body));
            }
        }
    });
    let mut sent = BTreeMap::new();
    for name in ["n1", "n2"] {
        let keys: BTreeSet<Key> = match rig.store.stream(&StreamId::down(node(name))).unwrap() {
            None => BTreeSet::new(),
            Some(_) => super::start::scan(&*rig.store, &StreamId::down(node(name)))
                .unwrap()
                .into_iter()
                .map(|record| record.header.key)
                .collect(),
        };
        for key in keys {
            let newest = rig.newest_down(name, &key, Slot::Object).unwrap().record;
            if newest.header.op == Op::Put {
                sent.insert((node(name), key), newest.body);
            }
        }
    }
    assert_eq!(sent, wanted);
}

fn act(rig: &mut Rig, act: &Act) {
    let attempt = |rig: &mut Rig, (key, object): (Key, Value)| {
        let expected = match rig.revision(&key) {
            revision if rig.get(&key).is_some() => Expected::At(revision),
            _ => Expected::Absent,
        };
        let _ = rig.write(Write {
            key,
            expected,
            change: Change::Put(object),
        });
    };
    let maps = ["m0", "m1"];
    let pods = ["p0", "p1", "p2"];
    match *act {
        Act::Pod { name, on, map } => {
            let on = [None, Some("n1"), Some("n2")][on];
            attempt(rig, pod(pods[name], on, wants_map(maps[map])));
        }
        Act::Map { name, data } => attempt(rig, configmap(maps[name], &data.to_string())),
        Act::Delete { name, pod: true } => {
            let _ = rig.delete(&key("pods", "default", pods[name]));
        }
        Act::Delete { name, pod: false } => {
            let _ = rig.delete(&key("configmaps", "default", maps[name % 2]));
        }
        Act::Crash { .. } | Act::Fail => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_nodes_are_sent_is_a_function_of_the_cluster(
        acts in prop::collection::vec(any_act(), 1..30),
    ) {
        let mut rig = Rig::new();
        let mut faulty = None;
        for next in &acts {
            match next {
                Act::Crash { fault } => {
                    rig = rig.crash();
                    faulty = fault.then_some(Fault::PowerFailsAfterSync);
                }
                Act::Fail => faulty = Some(Fault::SyncFails),
                Act::Pod { .. } | Act::Map { .. } | Act::Delete { .. } => match faulty.take() {
                    None => act(&mut rig, next),
                    Some(fault) => {
                        rig.disk.set_fault(fault);
                        act(&mut rig, next);
                        rig.disk.heal();
                        if fault == Fault::SyncFails {
                            let _ = rig.store.try_recover();
                        } else {
                            rig = rig.crash();
                        }
                    }
                },
            }
            check_down(&rig);
        }
    }
}

#[test]
fn a_node_that_comes_back_in_the_round_that_forgets_it_begins_anew() {
    let mut rig = Rig::new();
    let seat = rig.connect("n1");
    let draft = rig.draft(&key("nodes", "", "n1"), Op::Status, b"{}");
    let incoming = rig.incoming(vec![draft]);
    rig.receive(&seat, incoming).unwrap();
    drop(seat);
    let (answer, mut forgotten) = oneshot::channel();
    let forget = Request::Forget {
        node: node("n1"),
        answer,
    };
    let draft = rig.draft(&key("nodes", "", "n1"), Op::Status, b"{\"a\":1}");
    let write = causeway_log::replication::SessionWrite::Incoming(rig.incoming(vec![draft]));
    let (answer, mut received) = oneshot::channel();
    let mut batch = Batch::default();
    assert!(matches!(rig.plan(forget, &mut batch), Planned::InBatch));
    let back = rig.connect("n1");
    let request = Request::Session {
        node: node("n1"),
        session: back.number(),
        write,
        answer,
    };
    let Planned::Later(request) = rig.plan(request, &mut batch) else {
        panic!("it must wait")
    };
    assert!(rig.commit(&batch));
    assert!(forgotten.try_recv().unwrap().unwrap());
    assert!(rig.run(vec![request]));
    assert_eq!(received.try_recv().unwrap(), Ok(()));
}
