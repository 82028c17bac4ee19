//! Requests of nodes: what is allowed, what conflicts, what is answered.

use causeway_kube_api::Change;
use causeway_log::store::memory::Fault;
use causeway_log::{EventId, Key, Op, Resource, Slot, Store as _, Uid, Version};
use causeway_projections::{Request, Verb};
use serde_json::{Value, json};

use super::super::authorize::{Asked, authorize, keep_cloud_fields};
use super::{answer, bound, map, request, running, send};
use crate::interest::SUBSCRIBE_ANNOTATION;
use crate::rig::{Rig, key, node, object, pod, prepared};

fn ask(rig: &mut Rig, from: &str, key: &Key, request: &Request) -> EventId {
    send(rig, from, key, Op::Apply, &request.encode())
}

/// A pod on `n1` that uses the map `menu`.
fn shop() -> (Rig, Key, Version) {
    let mut rig = Rig::new();
    rig.create(map("menu", "soup"));
    rig.create(pod(
        "till",
        Some("n1"),
        json!({"volumes": [{"name": "v", "configMap": {"name": "menu"}}]}),
    ));
    let (menu, _) = map("menu", "");
    let sent = rig.newest_down("n1", &menu, Slot::Object).unwrap();
    (rig, menu, sent.record.header.version)
}

#[test]
fn an_edit_of_what_a_node_holds_is_accepted_and_answered() {
    let (mut rig, menu, seen) = shop();
    let edit = request(Verb::Update, Some(map("menu", "cake").1), Some(seen));
    let id = ask(&mut rig, "n1", &menu, &edit);
    assert_eq!(rig.get(&menu).unwrap()["data"]["k"], "cake");
    assert_eq!(answer(&rig, "n1", &menu), (Op::Apply, 0, Some(id)));
    let put = rig.newest_down("n1", &menu, Slot::Object).unwrap().record;
    assert_eq!(put.header.cause, Some(id));
}

#[test]
fn a_node_hears_of_the_end_of_what_it_made_though_a_disk_failed_first() {
    let mut rig = Rig::new();
    let (own, body) = map("own", "x");
    ask(
        &mut rig,
        "n1",
        &own,
        &request(Verb::Create, Some(body), None),
    );
    rig.disk.set_fault(Fault::Full);
    assert!(rig.delete(&own).is_err());
    rig.disk.heal();
    rig.store.try_recover().unwrap();
    rig.delete(&own).unwrap();
    let down = rig.down("n1");
    let end = "Delete configmaps/default/own".to_owned();
    assert!(down.contains(&end), "{down:?}");
}

#[test]
fn an_edit_of_what_has_changed_is_a_conflict_unless_it_follows() {
    let (mut rig, menu, seen) = shop();
    let edit = |data: &str| request(Verb::Update, Some(map("menu", data).1), Some(seen));
    let first = ask(&mut rig, "n1", &menu, &edit("cake"));
    // Made before the answer came: it builds on the first.
    let second = Request {
        follows: Some(first),
        ..edit("pie")
    };
    let second = ask(&mut rig, "n1", &menu, &second);
    assert_eq!(answer(&rig, "n1", &menu), (Op::Apply, 0, Some(second)));
    // One in between was superseded on the way: the last still builds on what was accepted.
    let lost = EventId::new(uuid::Uuid::from_u128(99));
    let third = Request {
        follows: Some(lost),
        ..edit("tart")
    };
    ask(&mut rig, "n1", &menu, &third);
    assert_eq!(rig.get(&menu).unwrap()["data"]["k"], "tart");
    // Somebody in the cloud writes, and the node did not see it.
    rig.update(map("menu", "closed"));
    let late = Request {
        follows: Some(second),
        ..edit("cake")
    };
    let late = ask(&mut rig, "n1", &menu, &late);
    assert_eq!(answer(&rig, "n1", &menu), (Op::Reject, 409, Some(late)));
    assert_eq!(rig.get(&menu).unwrap()["data"]["k"], "closed");
}

/// The node's disk went back in time: it asks once more what was refused, and superseded, long ago.
#[test]
fn a_request_from_before_what_was_accepted_is_a_conflict() {
    let (mut rig, menu, seen) = shop();
    let edit = |data: &str, base, follows| Request {
        follows,
        ..request(Verb::Update, Some(map("menu", data).1), Some(base))
    };
    let first = ask(&mut rig, "n1", &menu, &edit("cake", seen, None));
    rig.update(map("menu", "closed"));
    let mut stale = rig.draft(&menu, Op::Apply, &edit("pie", seen, Some(first)).encode());
    stale.version = Some(Version::new(1_000));
    rig.send("n1", vec![stale.clone()]);
    assert_eq!(answer(&rig, "n1", &menu), (Op::Reject, 409, Some(stale.id)));
    let put = rig.newest_down("n1", &menu, Slot::Object).unwrap().record;
    let mut good = rig.draft(
        &menu,
        Op::Apply,
        &edit("tart", put.header.version, None).encode(),
    );
    good.version = Some(Version::new(1_001));
    rig.send("n1", vec![good.clone()]);
    assert_eq!(answer(&rig, "n1", &menu), (Op::Apply, 0, Some(good.id)));
    rig.send("n1", vec![stale.clone()]);
    assert_eq!(answer(&rig, "n1", &menu), (Op::Reject, 409, Some(stale.id)));
    assert_eq!(rig.get(&menu).unwrap()["data"]["k"], "tart");
}

/// The same when both were made on one version of the object: the newer one counts.
#[test]
fn of_requests_on_one_version_an_older_one_is_a_conflict() {
    let (mut rig, menu, seen) = shop();
    let made = |rig: &Rig, data: &str, follows, version| {
        let edit = Request {
            follows,
            ..request(Verb::Update, Some(map("menu", data).1), Some(seen))
        };
        let mut draft = rig.draft(&menu, Op::Apply, &edit.encode());
        draft.version = Some(Version::new(version));
        draft
    };
    let first = made(&rig, "cake", None, 1_000);
    let second = made(&rig, "pie", Some(first.id), 1_001);
    let third = made(&rig, "tart", Some(second.id), 1_002);
    for (draft, op) in [
        (&first, Op::Apply),
        (&third, Op::Apply),
        (&second, Op::Reject),
    ] {
        rig.send("n1", vec![draft.clone()]);
        assert_eq!(answer(&rig, "n1", &menu).0, op);
    }
    assert_eq!(rig.get(&menu).unwrap()["data"]["k"], "tart");
}

#[test]
fn a_change_of_status_is_no_conflict() {
    let mut rig = Rig::new();
    let (till, mut body) = prepared(pod("till", Some("n1"), json!({})));
    rig.create((till.clone(), body.clone()));
    let seen = rig
        .newest_down("n1", &till, Slot::Object)
        .unwrap()
        .record
        .header
        .version;
    send(&mut rig, "n1", &till, Op::Status, &running());
    body["metadata"]["labels"] = json!({"edited": "yes"});
    ask(
        &mut rig,
        "n1",
        &till,
        &request(Verb::Update, Some(body), Some(seen)),
    );
    let stored = rig.get(&till).unwrap();
    assert_eq!(
        stored["metadata"]["labels"]["edited"],
        "yes",
        "{:?}",
        answer(&rig, "n1", &till)
    );
    assert_eq!(stored["status"]["phase"], "Running");
}

#[test]
fn a_node_may_not_touch_what_it_does_not_hold() {
    let (mut rig, menu, seen) = shop();
    let edit = request(Verb::Update, Some(map("menu", "cake").1), Some(seen));
    ask(&mut rig, "n2", &menu, &edit);
    assert_eq!(answer(&rig, "n2", &menu).1, 403);
    ask(
        &mut rig,
        "n2",
        &menu,
        &request(Verb::Delete, None, Some(seen)),
    );
    assert_eq!(answer(&rig, "n2", &menu).1, 403);
    assert_eq!(rig.get(&menu).unwrap()["data"]["k"], "soup");
}

#[test]
fn what_a_node_makes_it_keeps_until_it_is_gone() {
    let mut rig = Rig::new();
    let (menu, object) = map("menu", "soup");
    ask(
        &mut rig,
        "n1",
        &menu,
        &request(Verb::Create, Some(object), None),
    );
    assert_eq!(answer(&rig, "n1", &menu).0, Op::Apply);
    assert_eq!(
        rig.get(&menu).unwrap()["metadata"]["uid"],
        menu.uid.to_string()
    );
    let mut rig = rig.crash();
    rig.update(map("menu", "cake"));
    let sent = rig.newest_down("n1", &menu, Slot::Object).unwrap().record;
    assert_eq!(sent.header.op, Op::Put);
    assert!(String::from_utf8_lossy(sent.body.bytes()).contains("cake"));
    rig.delete(&menu).unwrap();
    assert_eq!(
        rig.newest_down("n1", &menu, Slot::Object)
            .unwrap()
            .record
            .header
            .op,
        Op::Delete
    );
}

#[test]
fn a_node_registers_itself_and_nobody_else() {
    let mut rig = Rig::new();
    let mut register = |from: &str, name: &str| {
        let key = key("nodes", "", name);
        let annotations = json!({SUBSCRIBE_ANNOTATION: "secret.io"});
        let node = object(
            &key,
            "Node",
            json!({"metadata": {"annotations": annotations}}),
        );
        ask(
            &mut rig,
            from,
            &key,
            &request(Verb::Create, Some(node), None),
        );
        answer(&rig, from, &key)
    };
    assert_eq!(register("n1", "n1").0, Op::Apply);
    assert_eq!(register("n1", "n2").1, 403);
    let stored = rig.get(&key("nodes", "", "n1")).unwrap();
    assert_eq!(
        stored["metadata"]["annotations"].get(SUBSCRIBE_ANNOTATION),
        None
    );
}

#[test]
fn a_pod_made_at_an_edge_runs_there_and_names_only_what_the_edge_holds() {
    let (mut rig, _, _) = shop();
    let secret = key("secrets", "default", "vault");
    rig.create((secret.clone(), object(&secret, "Secret", json!({}))));
    let mut make = |name: &str, on: Option<&str>, spec: Value| {
        let (key, pod) = pod(name, on, spec);
        ask(
            &mut rig,
            "n1",
            &key,
            &request(Verb::Create, Some(pod), None),
        );
        (answer(&rig, "n1", &key), rig.get(&key))
    };
    let volumes = |volume: Value| json!({"volumes": [volume]});
    let uses_menu = volumes(json!({"name": "v", "configMap": {"name": "menu"}}));
    let ((op, code, _), stored) = make("own", None, uses_menu);
    assert_eq!((op, code), (Op::Apply, 0));
    assert_eq!(stored.unwrap()["spec"]["nodeName"], "n1");
    assert_eq!(make("elsewhere", Some("n2"), json!({})).0.1, 403);
    let uses_vault = volumes(json!({"name": "v", "secret": {"secretName": "vault"}}));
    assert_eq!(make("thief", None, uses_vault).0.1, 403);
    assert!(rig.newest_down("n1", &secret, Slot::Object).is_none());
}

#[test]
fn refusals_say_why_in_the_words_of_the_api() {
    let (mut rig, menu, seen) = shop();
    let gone = key("configmaps", "default", "gone");
    let edit = request(
        Verb::Update,
        Some(object(&gone, "ConfigMap", json!({}))),
        Some(seen),
    );
    ask(&mut rig, "n1", &gone, &edit);
    assert_eq!(answer(&rig, "n1", &gone).1, 404);
    ask(
        &mut rig,
        "n1",
        &menu,
        &request(Verb::Create, Some(map("menu", "x").1), None),
    );
    assert_eq!(answer(&rig, "n1", &menu).1, 409);
    let other = object(
        &key("configmaps", "default", "other"),
        "ConfigMap",
        json!({}),
    );
    ask(
        &mut rig,
        "n1",
        &menu,
        &request(Verb::Update, Some(other), Some(seen)),
    );
    assert_eq!(answer(&rig, "n1", &menu).1, 400);
    let wrong = object(&menu, "Pod", json!({}));
    ask(
        &mut rig,
        "n1",
        &menu,
        &request(Verb::Update, Some(wrong), Some(seen)),
    );
    assert_eq!(answer(&rig, "n1", &menu).1, 400);
    let nowhere = key("configmaps", "nowhere", "x");
    let create = request(
        Verb::Create,
        Some(object(&nowhere, "ConfigMap", json!({}))),
        None,
    );
    ask(&mut rig, "n1", &nowhere, &create);
    assert_eq!(answer(&rig, "n1", &nowhere).1, 404);
}

#[test]
fn a_delete_by_request_is_graceful_for_a_pod_that_runs() {
    let mut rig = Rig::new();
    let (till, _) = bound(&mut rig, "till", "n1");
    let seen = rig
        .newest_down("n1", &till, Slot::Object)
        .unwrap()
        .record
        .header
        .version;
    let delete = Request {
        grace_period_seconds: Some(5),
        ..request(Verb::Delete, None, Some(seen))
    };
    ask(&mut rig, "n1", &till, &delete);
    let stored = rig.get(&till).unwrap();
    assert_eq!(stored["metadata"]["deletionGracePeriodSeconds"], 5);
}

#[test]
fn the_node_cannot_change_what_the_cloud_says_of_it() {
    let current = json!({"metadata": {"labels": {"node-restriction.kubernetes.io/zone": "safe"}},
        "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    let mut asked = json!({"metadata": {"labels": {"mine": "1",
        "node-restriction.kubernetes.io/zone": "any"},
        "annotations": {SUBSCRIBE_ANNOTATION: "all.io"}}, "spec": {"unschedulable": false}});
    keep_cloud_fields(&mut asked, Some(&current));
    let expected = json!({"metadata": {"labels": {"mine": "1",
        "node-restriction.kubernetes.io/zone": "safe"}, "annotations": {}},
        "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    assert_eq!(asked, expected);
}

#[test]
fn kinds_of_the_cluster_are_out_of_reach() {
    let from = node("n1");
    for (group, plural) in [
        ("", "namespaces"),
        ("", "serviceaccounts"),
        ("rbac.authorization.k8s.io", "clusterroles"),
        ("apiextensions.k8s.io", "customresourcedefinitions"),
        ("apps", "deployments"),
    ] {
        let key = Key::new(Resource::new(group, plural), "", "x", Uid::None).unwrap();
        for verb in [Verb::Create, Verb::Update, Verb::Status, Verb::Delete] {
            let asked = Asked {
                node: &from,
                key: &key,
                verb,
                object: None,
                current: None,
            };
            assert!(authorize(&asked, |_| true).is_err(), "{verb:?} {key}");
        }
    }
}

#[test]
fn a_request_waits_for_the_round_that_changes_its_object() {
    let (mut rig, menu, seen) = shop();
    let edit = request(Verb::Update, Some(map("menu", "cake").1), Some(seen));
    let draft = rig.draft(&menu, Op::Apply, &edit.encode());
    let seat = rig.connect("n1");
    let incoming = rig.incoming(vec![draft]);
    rig.receive(&seat, incoming).unwrap();
    let (answer_to, _answered) = tokio::sync::oneshot::channel();
    let write = causeway_kube_api::Write {
        key: menu.clone(),
        expected: causeway_kube_api::Expected::At(rig.revision(&menu)),
        change: Change::Put(map("menu", "closed").1),
    };
    let write = crate::cluster::Request::Write {
        write: Box::new(write),
        answer: answer_to,
    };
    let (write_back, _answer) = rig.write_back_request("n1");
    assert!(rig.run(vec![write, write_back]));
    assert_eq!(answer(&rig, "n1", &menu).1, 409);
    assert_eq!(rig.get(&menu).unwrap()["data"]["k"], "closed");
}

#[test]
fn a_creation_asked_for_again_is_an_update_of_what_the_first_one_made() {
    let (mut rig, menu, _) = shop();
    let (extra, object) = map("extra", "soup");
    let first = ask(
        &mut rig,
        "n1",
        &extra,
        &request(Verb::Create, Some(object), None),
    );
    let again = request(Verb::Create, Some(map("extra", "cake").1), None);
    let again = Request {
        follows: Some(first),
        ..again
    };
    ask(&mut rig, "n1", &extra, &again);
    assert_eq!(rig.get(&extra).unwrap()["data"]["k"], "cake");
    // It is no way to what the node does not hold.
    let stolen = request(Verb::Create, Some(map("menu", "cake").1), None);
    let stolen = Request {
        follows: Some(first),
        ..stolen
    };
    ask(&mut rig, "n2", &menu, &stolen);
    assert_eq!(answer(&rig, "n2", &menu).1, 409);
    assert_eq!(rig.get(&menu).unwrap()["data"]["k"], "soup");
}
