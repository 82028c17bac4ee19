use std::collections::BTreeSet;
use std::time::Duration;

use causeway_log::{Key, NodeName, Revision, WallTime};
use serde_json::{Value, json};

use super::*;
use crate::rig;

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn here(names: &[&str]) -> BTreeSet<NodeName> {
    names.iter().map(|name| node(name)).collect()
}

fn projected(sources: Value) -> Value {
    json!({"serviceAccountName": "shop", "volumes": [
        {"name": "kube-api-access-x", "projected": {"sources": sources}}]})
}

fn mounting() -> (Key, Value) {
    let sources = json!([
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "kube-root-ca.crt"}},
        {"serviceAccountToken": {"path": "vault", "audience": "https://vault"}},
    ]);
    rig::pod("till", Some("n1"), projected(sources))
}

const fn at(seconds: u64) -> WallTime {
    WallTime::from_unix_millis(seconds * 1000)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn held(due: &Due, issued: u64, expires: u64) -> Held {
    Held {
        key: due.place.clone(),
        revision: Revision::new(7),
        issued: Some(at(issued)),
        expires: Some(at(expires)),
    }
}

fn one(keeper: &mut Keeper) -> (Key, Due) {
    let (pod, body) = mounting();
    let mut sources = token_sources(&pod, &body);
    sources.truncate(1);
    keeper.pod(&pod, &node("n1"), sources);
    let due = keeper.start(&here(&["n1"]), secs(0), at(1000));
    (pod, due.expect("there is no token"))
}

#[test]
fn the_tokens_of_a_pod_are_found_in_its_volumes() {
    let (pod, body) = mounting();
    let found = token_sources(&pod, &body);
    let names: Vec<&str> = found.iter().map(|one| &*one.name).collect();
    let name = |n: u32| format!("{}.kube-api-access-x.{n}", pod.uid);
    assert_eq!(names, [name(0), name(2)]);
    assert_eq!(found[0].expiration_seconds, 3607);
    assert_eq!(
        (&*found[1].audience, found[1].expiration_seconds),
        ("https://vault", 3600)
    );
    assert!(found.iter().all(|one| one.service_account == "shop"));
    for hostile in [
        json!(7),
        json!({"sources": 7}),
        json!({"sources": [7, {"serviceAccountToken": 7}]}),
    ] {
        let pod = json!({"spec": {"volumes": [{"name": "v", "projected": hostile}]}});
        assert_eq!(token_sources(&rig::key("pods", "default", "p"), &pod), []);
    }
}

#[test]
fn a_token_is_asked_for_as_the_node_and_bound_to_the_pod() {
    let mut keeper = Keeper::default();
    let (pod, due) = one(&mut keeper);
    let call = request(&due);
    assert_eq!(call.identity, Identity::Node(node("n1")));
    assert_eq!(
        call.path,
        "/api/v1/namespaces/default/serviceaccounts/shop/token"
    );
    let spec = &call.body.unwrap()["spec"];
    assert_eq!(spec["boundObjectRef"]["uid"], pod.uid.to_string());
    assert_eq!(spec["audiences"], json!([]));
    let answer =
        json!({"status": {"token": "t0ken", "expirationTimestamp": "2026-01-01T00:00:00Z"}});
    let object = object(&due, &answer, at(1000)).expect("it is a token");
    assert_eq!(
        (&object["token"], &object["issuedAt"]),
        (&json!("t0ken"), &json!("1970-01-01T00:16:40Z"))
    );
    assert_eq!(object["spec"]["podUid"], pod.uid.to_string());
    for hostile in [
        json!({}),
        json!({"status": {"token": ""}}),
        json!({"status": {"token": "t", "expirationTimestamp": "soon"}}),
        json!({"status": {"token": "x".repeat(TOKEN_BYTES_MAX + 1), "expirationTimestamp": "2026-01-01T00:00:00Z"}}),
    ] {
        assert_eq!(super::object(&due, &hostile, at(0)), None);
    }
}

#[test]
fn a_token_is_renewed_when_four_fifths_of_its_life_are_over() {
    let mut keeper = Keeper::default();
    let (_, due) = one(&mut keeper);
    keeper.token(held(&due, 1000, 2000));
    keeper.finish(&due.place, None, secs(0), 0.5);
    let nodes = here(&["n1"]);
    assert_eq!(keeper.start(&nodes, secs(1), at(1001)), None);
    assert_eq!(keeper.start(&nodes, secs(700), at(1700)), None);
    let again = keeper
        .start(&nodes, secs(900), at(1900))
        .expect("it is old");
    assert_eq!(again.held, Some(held(&due, 1000, 2000)));
}

#[test]
fn nothing_is_asked_for_while_the_node_is_away_and_nothing_is_taken_away() {
    let mut keeper = Keeper::default();
    let (_, due) = one(&mut keeper);
    keeper.token(held(&due, 1000, 2000));
    keeper.finish(&due.place, None, secs(0), 0.5);
    let nobody = BTreeSet::new();
    for hours in 0..10_000 {
        assert_eq!(
            keeper.start(&nobody, secs(hours * 3600), at(hours * 3600)),
            None
        );
        assert_eq!(keeper.orphans(10), []);
    }
    let back = keeper.start(&here(&["n1"]), secs(40_000_000), at(40_000_000));
    assert!(
        back.is_some(),
        "an old token is renewed when the node is back"
    );
}

#[test]
fn a_refusal_leaves_the_last_token_and_is_tried_again_later() {
    let mut keeper = Keeper::default();
    let (_, due) = one(&mut keeper);
    keeper.token(held(&due, 1000, 1001));
    let backoff = Backoff {
        first: secs(2),
        longest: secs(60),
    };
    keeper.finish(&due.place, Some(backoff), secs(0), 1.0);
    let nodes = here(&["n1"]);
    assert_eq!(keeper.start(&nodes, secs(1), at(9000)), None);
    assert_eq!(keeper.orphans(10), []);
    assert_eq!(keeper.next_due(secs(1)), Some(secs(2)));
    assert!(keeper.start(&nodes, secs(2), at(9000)).is_some());
    let again = |keeper: &mut Keeper| keeper.finish(&due.place, Some(backoff), secs(3), 1.0);
    assert_eq!(again(&mut keeper), 2, "failures are counted");
    assert_eq!(keeper.next_due(secs(3)), Some(secs(7)));
    assert!(keeper.start(&nodes, secs(7), at(9000)).is_some());
    assert_eq!(keeper.finish(&due.place, None, secs(7), 1.0), 0);
}

#[test]
fn what_waits_for_its_node_is_no_reason_to_look() {
    let mut keeper = Keeper::default();
    let (pod, body) = mounting();
    keeper.pod(&pod, &node("n1"), token_sources(&pod, &body));
    assert_eq!(keeper.start(&here(&[]), secs(1), at(9000)), None);
    assert_eq!(keeper.next_due(secs(1)), None);
}

#[test]
fn a_token_goes_with_its_pod_and_never_outlives_it() {
    let mut keeper = Keeper::default();
    let (pod, due) = one(&mut keeper);
    let token = held(&due, 1000, 2000);
    keeper.token(token.clone());
    keeper.no_pod(&pod);
    assert_eq!(keeper.orphans(10), std::slice::from_ref(&token));
    keeper.finish(&due.place, None, secs(0), 0.5);
    assert_eq!(keeper.start(&here(&["n1"]), secs(9), at(9)), None);
    keeper.no_token(&token.key);
    assert_eq!(keeper.orphans(10), []);
}

#[test]
fn a_token_that_somebody_removed_is_asked_for_again() {
    let mut keeper = Keeper::default();
    let (_, due) = one(&mut keeper);
    keeper.token(held(&due, 1000, 9000));
    keeper.finish(&due.place, None, secs(0), 0.5);
    assert_eq!(keeper.start(&here(&["n1"]), secs(0), at(1000)), None);
    keeper.no_token(&due.place);
    assert!(keeper.start(&here(&["n1"]), secs(1), at(1001)).is_some());
}

#[test]
fn a_clock_that_was_years_ahead_does_not_stop_renewals() {
    let mut keeper = Keeper::default();
    let (_, due) = one(&mut keeper);
    keeper.token(held(&due, 900_000_000, 900_003_600));
    keeper.finish(&due.place, None, secs(0), 0.5);
    assert!(keeper.start(&here(&["n1"]), secs(1), at(1000)).is_some());
}

#[test]
fn the_api_server_may_not_know_a_pod_yet_or_any_more() {
    let refused = |code: u16, kind: &str, message: &str| {
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": message, "reason": "x", "code": code,
            "details": {"kind": kind}});
        Failure::Call(CallError::Refused {
            status: serde_json::from_value(status).unwrap(),
            retry_after: None,
        })
    };
    let other = "the UID in the bound object reference (a) does not match the UID in record. The \
                 object might have been deleted and then recreated";
    let elsewhere = "node requested token bound to a pod scheduled on a different node";
    let unrelated = "serviceaccounts \"shop\" is forbidden: User \"system:node:n1\" cannot create \
                     resource \"serviceaccounts/token\" in API group \"\" in the namespace \
                     \"default\": no relationship found between node 'n1' and this object";
    let denied = "serviceaccounts \"shop\" is forbidden: User \"system:node:n1\" cannot create \
                  resource \"serviceaccounts/token\" in API group \"\"";
    for (code, kind, message, is_unknown) in [
        (404, "pods", "pods \"till\" not found", true),
        (409, "Pod", other, true),
        (403, "serviceaccounts", other, true),
        (403, "serviceaccounts", elsewhere, true),
        (403, "serviceaccounts", unrelated, true),
        (403, "serviceaccounts", denied, false),
        (
            404,
            "serviceaccounts",
            "serviceaccounts \"shop\" not found",
            false,
        ),
        (503, "", "", false),
    ] {
        let failure = refused(code, kind, message);
        assert_eq!(
            failure.is_about_an_unknown_pod(),
            is_unknown,
            "{code} {message}"
        );
    }
}
