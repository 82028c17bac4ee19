use causeway_log::store::memory::Fault;
use causeway_log::{Op, Slot, Store, Uid};
use serde_json::{Value, json};

use super::*;
use crate::rig::{Rig, node};

mod model;

pub(super) fn resource(plural: &str) -> Resource {
    match plural {
        "endpointslices" => Resource::new("discovery.k8s.io", plural),
        "customresourcedefinitions" => Resource::new("apiextensions.k8s.io", plural),
        "devices" | "devicemodels" => Resource::new(causeway_projections::twin::GROUP, plural),
        "widgets" => Resource::new("shop.example", plural),
        _ => Resource::core(plural),
    }
}

fn key(plural: &str, namespace: &str, name: &str, life: u64) -> Key {
    let uid = Uid::Uuid(uuid::Uuid::from_u128(life.into()));
    Key::new(resource(plural), namespace, name, uid).unwrap()
}

fn present(key: &Key, rest: Value, version: u64) -> Seen {
    let mut object = rest;
    object["metadata"]["name"] = json!(&*key.name);
    object["metadata"]["uid"] = json!(key.uid.to_string());
    Seen::Present {
        key: key.clone(),
        object,
        version: Some(version),
    }
}

fn edge_node(name: &str, version: u64) -> Seen {
    let labels = json!({"metadata": {"labels": {EDGE_LABEL: ""}}});
    present(&key("nodes", "", name, 1), labels, version)
}

fn pod(name: &str, life: u64, on: &str, map: &str, version: u64) -> Seen {
    let spec = json!({"spec": {"nodeName": on,
        "containers": [{"envFrom": [{"configMapRef": {"name": map}}]}]}});
    present(&key("pods", "shop", name, life), spec, version)
}

fn map(name: &str, data: &str, version: u64) -> Seen {
    let data = json!({"data": {"is": data}});
    present(&key("configmaps", "shop", name, 1), data, version)
}

fn listing(plural: &str) -> Seen {
    Seen::Listing {
        resource: resource(plural),
    }
}

fn listed(plural: &str) -> Seen {
    Seen::Listed {
        resource: resource(plural),
    }
}

fn wants(rig: &Rig) -> Vec<Want> {
    rig.machine
        .mirror()
        .unwrap()
        .take_wants()
        .into_iter()
        .collect()
}

fn want(plural: &str, namespace: &str, name: &str) -> Want {
    Want::Object(Name {
        resource: resource(plural),
        namespace: namespace.into(),
        name: name.into(),
    })
}

/// A mirror with one node, one pod on it, and what that needs.
fn rig() -> Rig {
    let mut rig = Rig::mirror();
    let seen = vec![
        edge_node("n1", 1),
        pod("till", 1, "n1", "menu", 2),
        map("menu", "soup", 3),
    ];
    assert!(rig.see(seen));
    rig
}

#[test]
fn what_no_node_needs_makes_no_record() {
    let mut rig = rig();
    let before = rig.store.watermarks().durable;
    let cloud = present(&key("nodes", "", "c1", 2), json!({}), 4);
    let seen = vec![
        cloud,
        pod("elsewhere", 2, "c1", "menu", 5),
        map("other", "x", 6),
        present(&key("secrets", "shop", "vault", 1), json!({}), 7),
        Seen::Gone {
            key: key("secrets", "shop", "vault", 1),
        },
    ];
    assert!(rig.see(seen));
    assert_eq!(rig.store.watermarks().durable, before);
    let down = rig.down("n1");
    assert_eq!(
        down,
        [
            "Put nodes/n1",
            "Put pods/shop/till",
            "Put configmaps/shop/menu"
        ]
    );
}

#[test]
fn what_was_passed_over_is_wanted_when_it_is_needed_and_removed_when_it_is_not() {
    let mut rig = rig();
    let first = wants(&rig);
    assert!(first.contains(&Want::Pods(node("n1"))), "{first:?}");
    assert!(first.contains(&Want::Network("shop".into())), "{first:?}");
    assert!(
        first.contains(&want("configmaps", "shop", "menu")),
        "it may have changed before it was needed"
    );
    rig.see(vec![map("late", "tea", 8), pod("bar", 2, "n1", "late", 9)]);
    assert_eq!(wants(&rig), [want("configmaps", "shop", "late")]);
    rig.see(vec![map("late", "tea", 8)]);
    assert!(rig.get(&key("configmaps", "shop", "late", 1)).is_some());
    rig.see(vec![Seen::Gone {
        key: key("pods", "shop", "bar", 2),
    }]);
    assert!(rig.get(&key("configmaps", "shop", "late", 1)).is_none());
    assert!(rig.get(&key("configmaps", "shop", "menu", 1)).is_some());
    assert_eq!(
        rig.down("n1").last().map(String::as_str),
        Some("Delete configmaps/shop/late")
    );
}

#[test]
fn what_changed_between_reading_it_and_needing_it_is_asked_for_again() {
    let mut rig = Rig::mirror();
    rig.see(vec![edge_node("n1", 1)]);
    let _ = wants(&rig);
    // Read for the pod that is about to be handed in; changed, with nobody who needs it, meanwhile.
    let read = map("menu", "soup", 2);
    let changed = map("menu", "stew", 4);
    rig.see(vec![changed.clone()]);
    rig.see(vec![pod("till", 1, "n1", "menu", 3), read]);
    assert!(wants(&rig).contains(&want("configmaps", "shop", "menu")));
    rig.see(vec![changed]);
    let held = rig.get(&key("configmaps", "shop", "menu", 1)).unwrap();
    assert!(held.to_string().contains("stew"), "{held}");
}

#[test]
fn only_a_list_that_came_to_its_end_removes() {
    let mut rig = rig();
    let menu = key("configmaps", "shop", "menu", 1);
    rig.see(vec![listing("configmaps")]);
    // It broke off and began again.
    rig.see(vec![listing("configmaps"), map("other", "x", 9)]);
    assert!(rig.get(&menu).is_some());
    // A list of another kind says nothing about this one.
    rig.see(vec![listing("secrets"), listed("secrets")]);
    assert!(rig.get(&menu).is_some());
    rig.see(vec![listed("configmaps")]);
    assert!(rig.get(&menu).is_none());
    // An end without a beginning says nothing.
    rig.see(vec![map("menu", "soup", 10), listed("configmaps")]);
    assert!(rig.get(&menu).is_some());
}

#[test]
fn a_list_that_shows_what_there_was_makes_no_record() {
    let mut rig = rig();
    let before = rig.store.watermarks().durable;
    let seen = vec![
        listing("nodes"),
        edge_node("n1", 1),
        listed("nodes"),
        listing("pods"),
        pod("till", 1, "n1", "menu", 2),
        listed("pods"),
        listing("configmaps"),
        map("menu", "soup", 3),
        listed("configmaps"),
    ];
    assert!(rig.see(seen.clone()));
    assert_eq!(rig.store.watermarks().durable, before);
    let mut rig = rig.crash();
    assert!(rig.see(seen));
    assert_eq!(
        rig.store.watermarks().durable,
        before,
        "nor after a restart"
    );
}

#[test]
fn another_life_of_a_name_replaces_the_one_before() {
    let mut rig = rig();
    rig.see(vec![pod("till", 7, "n1", "menu", 9)]);
    let down = rig.down("n1");
    assert!(
        down.ends_with(&[
            "Delete pods/shop/till".to_owned(),
            "Delete configmaps/shop/menu".to_owned(),
            "Put pods/shop/till".to_owned(),
        ]) || down.contains(&"Delete pods/shop/till".to_owned()),
        "{down:?}"
    );
    let old = rig
        .newest_down("n1", &key("pods", "shop", "till", 1), Slot::Object)
        .unwrap();
    assert_eq!(old.record.header.op, Op::Delete);
    // What the first life's watchers say late is of no interest.
    rig.see(vec![Seen::Gone {
        key: key("pods", "shop", "till", 1),
    }]);
    assert!(rig.get(&key("pods", "shop", "till", 7)).is_some());
}

#[test]
fn what_was_asked_for_and_comes_late_does_not_go_back_in_time() {
    let mut rig = rig();
    let menu = key("configmaps", "shop", "menu", 1);
    rig.see(vec![map("menu", "cake", 9)]);
    rig.see(vec![map("menu", "soup", 3)]);
    assert_eq!(rig.get(&menu).unwrap()["data"]["is"], "cake");
    rig.see(vec![Seen::Gone { key: menu.clone() }]);
    rig.see(vec![map("menu", "cake", 9)]);
    assert!(rig.get(&menu).is_none(), "this life is over");
    // Unless the cluster was restored from a copy, which a list tells.
    rig.see(vec![
        listing("configmaps"),
        map("menu", "soup", 3),
        listed("configmaps"),
    ]);
    assert_eq!(rig.get(&menu).unwrap()["data"]["is"], "soup");
}

#[test]
fn absence_of_what_was_asked_for_removes_nothing() {
    let mut rig = rig();
    let menu = key("configmaps", "shop", "menu", 1);
    let name = Name::of(&menu);
    rig.see(vec![Seen::Absent { name }]);
    assert!(
        rig.get(&menu).is_some(),
        "it was made after it was asked for"
    );
}

#[test]
fn a_node_that_loses_its_label_and_never_came_is_released() {
    let mut rig = rig();
    rig.see(vec![present(&key("nodes", "", "n1", 1), json!({}), 9)]);
    for (plural, namespace, name) in [
        ("nodes", "", "n1"),
        ("pods", "shop", "till"),
        ("configmaps", "shop", "menu"),
    ] {
        assert!(
            rig.get(&key(plural, namespace, name, 1)).is_none(),
            "{plural}"
        );
    }
}

#[test]
fn a_node_that_came_once_is_ours_without_a_label() {
    let mut rig = Rig::mirror();
    let n1 = key("nodes", "", "n1", 1);
    rig.see(vec![
        present(&n1, json!({}), 1),
        pod("till", 1, "n1", "menu", 2),
    ]);
    assert!(rig.get(&n1).is_none());
    let seat = rig.connect("n1");
    let status = rig.draft(&n1, Op::Status, b"{}");
    let incoming = rig.incoming(vec![status]);
    rig.receive(&seat, incoming).unwrap();
    drop(seat);
    assert_eq!(wants(&rig), [want("nodes", "", "n1")]);
    rig.see(vec![present(&n1, json!({}), 1)]);
    assert_eq!(wants(&rig), [Want::Pods(node("n1")), Want::Devices]);
    rig.see(vec![pod("till", 1, "n1", "menu", 2)]);
    assert!(rig.get(&key("pods", "shop", "till", 1)).is_some());
    // It still is after a restart.
    let mut rig = rig.crash();
    rig.see(vec![
        listing("nodes"),
        present(&n1, json!({}), 1),
        listed("nodes"),
    ]);
    assert!(rig.get(&n1).is_some());
}

#[test]
fn custom_resources_come_with_the_subscription_of_a_node() {
    let mut rig = rig();
    let _ = wants(&rig);
    let definition = present(
        &key("customresourcedefinitions", "", "widgets.shop.example", 1),
        json!({"spec": {"group": "shop.example"}}),
        9,
    );
    let widget = present(&key("widgets", "shop", "w", 1), json!({"spec": {}}), 10);
    rig.see(vec![definition.clone(), widget.clone()]);
    assert!(rig.get(&key("widgets", "shop", "w", 1)).is_none());
    let subscribed = json!({"metadata": {"labels": {EDGE_LABEL: ""},
        "annotations": {crate::interest::SUBSCRIBE_ANNOTATION: "shop.example"}}});
    rig.see(vec![present(&key("nodes", "", "n1", 1), subscribed, 11)]);
    assert_eq!(wants(&rig), [Want::Group("shop.example".into())]);
    rig.see(vec![definition, widget]);
    assert!(rig.get(&key("widgets", "shop", "w", 1)).is_some());
    rig.see(vec![edge_node("n1", 12)]);
    assert!(rig.get(&key("widgets", "shop", "w", 1)).is_none());
    let definition = key("customresourcedefinitions", "", "widgets.shop.example", 1);
    assert!(rig.get(&definition).is_none());
}

#[test]
fn an_object_too_large_is_left_out_alone() {
    let mut rig = rig();
    let huge = "x".repeat(causeway_log::limits::BODY_BYTES_MAX);
    rig.see(vec![map("menu", &huge, 9), pod("bar", 2, "n1", "menu", 10)]);
    let menu = key("configmaps", "shop", "menu", 1);
    assert_eq!(
        rig.get(&menu).unwrap()["data"]["is"],
        "soup",
        "what was there stays"
    );
    assert!(rig.get(&key("pods", "shop", "bar", 2)).is_some());
    let refused = rig.machine.mirror().unwrap().refused();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].0, Name::of(&menu));
    rig.see(vec![map("menu", "cake", 11)]);
    assert!(rig.machine.mirror().unwrap().refused().is_empty());
}

#[test]
fn an_object_too_large_to_be_read_stays_as_it_was_last_known() {
    let mut rig = rig();
    let menu = key("configmaps", "shop", "menu", 1);
    let too_large = |life: u64, version: u64| Seen::TooLarge {
        key: key("configmaps", "shop", "menu", life),
        size: 20 << 20,
        version: Some(version),
    };
    rig.see(vec![
        listing("configmaps"),
        too_large(1, 9),
        listed("configmaps"),
    ]);
    assert_eq!(rig.get(&menu).unwrap()["data"]["is"], "soup");
    let refused = rig.machine.mirror().unwrap().refused();
    assert_eq!(refused, [(Name::of(&menu), 20 << 20)]);
    rig.see(vec![too_large(2, 10)]);
    assert!(rig.get(&menu).is_none(), "its life is over");
    let gone = key("configmaps", "shop", "menu", 2);
    rig.see(vec![Seen::Gone { key: gone }]);
    assert!(rig.machine.mirror().unwrap().refused().is_empty());
}

#[test]
fn a_round_that_fails_voids_the_lists_under_way() {
    let mut rig = rig();
    rig.see(vec![listing("configmaps")]);
    rig.disk.set_fault(Fault::Full);
    assert!(!rig.see(vec![map("menu", "cake", 9)]));
    rig.disk.heal();
    let mut rig = rig.crash();
    rig.see(vec![listed("configmaps")]);
    assert!(rig.get(&key("configmaps", "shop", "menu", 1)).is_some());
}

fn complete(uid: u64) -> Seen {
    Seen::Complete {
        key: key("namespaces", "", "kube-system", uid),
        object: json!({"metadata": {"name": "kube-system"}}),
    }
}

#[test]
fn a_mirror_is_served_when_it_was_complete_once() {
    let mut rig = rig();
    let kube_system = key("namespaces", "", "kube-system", 1);
    rig.see(vec![
        listing("namespaces"),
        present(&kube_system, json!({}), 4),
        listed("namespaces"),
    ]);
    assert!(
        !is_complete(&rig.machine.view()),
        "seen, but other things were not"
    );
    rig.see(vec![complete(1)]);
    assert!(is_complete(&rig.machine.view()));
    rig.see(vec![
        listing("namespaces"),
        present(&kube_system, json!({}), 4),
        listed("namespaces"),
    ]);
    assert!(is_complete(&rig.crash().machine.view()));
}

#[test]
fn another_cluster_is_another_epoch_of_what_nodes_are_sent() {
    let mut rig = rig();
    rig.see(vec![complete(1)]);
    let down = StreamId::down(node("n1"));
    let epoch = rig.store.stream(&down).unwrap().unwrap().epoch;
    rig.see(vec![complete(1)]);
    assert_eq!(rig.store.stream(&down).unwrap().unwrap().epoch, epoch);
    // The other one has the same pod, in another life, and no map.
    rig.see(vec![
        listing("pods"),
        pod("till", 9, "n1", "menu", 2),
        listed("pods"),
    ]);
    rig.see(vec![listing("configmaps"), listed("configmaps")]);
    rig.see(vec![
        listing("namespaces"),
        present(&key("namespaces", "", "kube-system", 2), json!({}), 4),
        listed("namespaces"),
    ]);
    assert!(
        is_complete(&rig.machine.view()),
        "nodes are served meanwhile"
    );
    rig.see(vec![complete(2)]);
    assert_ne!(rig.store.stream(&down).unwrap().unwrap().epoch, epoch);
    assert!(rig.get(&key("namespaces", "", "kube-system", 2)).is_some());
    let till = |life| rig.newest_down("n1", &key("pods", "shop", "till", life), Slot::Object);
    assert_eq!(till(1).unwrap().record.header.op, Op::Delete);
    assert_eq!(till(9).unwrap().record.header.op, Op::Put);
    // What comes later goes down in the new epoch.
    assert!(rig.see(vec![map("menu", "soup", 4)]));
    assert!(rig.get(&key("configmaps", "shop", "menu", 1)).is_some());
}
