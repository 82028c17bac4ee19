//! Histories as they are exported, and what they lead to.

use serde_json::{Value, json};

use super::*;

fn node() -> NodeName {
    NodeName::new("edge-1").unwrap()
}

fn line(revision: u64, op: &str, resource: &str, name: &str, uid: u8, body: Value) -> String {
    json!({
        "stream": "down", "revision": revision, "offset": revision,
        "id": uuid::Uuid::from_u128(revision.into()).to_string(), "cause": null,
        "time": "2026-11-20T04:31:07.25Z", "version": revision, "op": op, "bytes": 0, "hash": "",
        "key": {"group": "", "resource": resource, "namespace": "default", "name": name,
            "uid": uuid::Uuid::from_u128(uid.into()).to_string()},
        "body": body,
    })
    .to_string()
}

fn pod(uid: u8, image: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "default", "name": "web",
            "uid": uuid::Uuid::from_u128(uid.into()).to_string()},
        "spec": {"nodeName": "edge-1", "restartPolicy": "Always", "containers": [{
            "name": "main", "image": image,
            "env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "s", "key": "p"}}}]}]}})
}

fn replay(lines: &[String]) -> (Vec<Vec<String>>, Replay) {
    let mut replay = Replay::new(node());
    let mut decisions = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let (stream, stored) = parse_line(&node(), number + 2, line).unwrap();
        let event = replay.record(&stream, &stored);
        decisions.push(
            event
                .decisions
                .into_iter()
                .map(|decision| decision.what)
                .collect(),
        );
    }
    (decisions, replay)
}

#[test]
fn a_history_leads_to_the_decisions_of_the_planner() {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "data": {"p": "(redacted)"},
        "metadata": {"namespace": "default", "name": "s", "uid": "x"}});
    let mut going = pod(1, "web:2");
    going["metadata"]["deletionTimestamp"] = json!("2026-11-20T04:31:07Z");
    going["metadata"]["deletionGracePeriodSeconds"] = json!(5);
    let (decisions, replay) = replay(&[
        line(1, "Put", "secrets", "s", 9, secret),
        line(2, "Put", "pods", "web", 1, pod(1, "web:1")),
        line(3, "Put", "pods", "web", 1, pod(1, "web:2")),
        line(4, "Put", "pods", "web", 1, going),
        line(5, "Delete", "pods", "web", 1, Value::Null),
        line(6, "Put", "pods", "web", 2, pod(2, "web:3")),
    ]);
    assert!(decisions[0].is_empty());
    assert!(
        decisions[1].contains(&"start main (web:1)".to_owned()),
        "{decisions:?}"
    );
    let changed = &decisions[2];
    assert!(
        changed.contains(&"stop main (its spec changed)".to_owned()),
        "{decisions:?}"
    );
    assert!(
        changed.contains(&"start main (web:2), attempt 1".to_owned()),
        "{decisions:?}"
    );
    assert_eq!(
        decisions[3].last().map(String::as_str),
        Some("tell that it is gone")
    );
    assert!(decisions[4].is_empty(), "{decisions:?}");
    assert!(
        decisions[5].contains(&"start main (web:3)".to_owned()),
        "{decisions:?}"
    );
    assert_eq!(
        replay.running(),
        [("default/web".to_owned(), vec!["web:3".to_owned()])]
    );
}

#[test]
fn what_is_no_history_is_said_with_its_line() {
    assert_eq!(Line::parse(&first_line(&node())).unwrap().node, node());
    for text in [
        "",
        "{}",
        "[]",
        r#"{"causeway":"history","version":2,"node":"a"}"#,
    ] {
        assert_eq!(Line::parse(text).unwrap_err().line, 1, "{text}");
    }
    let good = line(1, "Put", "pods", "web", 1, Value::Null);
    for (from, to) in [
        ("\"Put\"", "\"Pat\""),
        ("\"down\"", "\"cluster\""),
        ("2026-", "x"),
        ("\"pods\"", "\"\""),
    ] {
        let error = parse_line(&node(), 7, &good.replace(from, to)).unwrap_err();
        assert_eq!(error.line, 7, "{error}");
    }
}
