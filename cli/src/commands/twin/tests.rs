use serde_json::json;

use super::*;

fn now() -> jiff::Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

#[test]
fn ages_have_one_unit() {
    for (time, expected) in [
        ("2026-11-20T11:59:30Z", Some("30s")),
        ("2026-11-20T11:30:00Z", Some("30m")),
        ("2026-11-20T02:00:00Z", Some("10h")),
        ("2026-11-10T12:00:00Z", Some("10d")),
        ("2030-01-01T00:00:00Z", Some("0s")),
        ("1970-01-01T00:00:00Z", None),
        ("yesterday", None),
    ] {
        assert_eq!(age(&json!(time), now()).as_deref(), expected, "{time}");
    }
    assert_eq!(age(&json!(5), now()), None);
}

#[test]
fn the_heading_says_whether_both_ends_agree() {
    let twin = |cloud: Value, edge: Value| {
        json!({
            "namespace": "default", "name": "oven", "model": "room", "modelIsHere": false,
            "state": {"state": "online", "lastOnline": "2026-11-20T11:58:00Z"},
            "digests": {"cloud": cloud, "edge": edge},
        })
    };
    let lines = heading(&twin(json!("aa"), json!("aa")), now());
    assert_eq!(
        lines,
        [
            "default/oven  model room (missing)",
            "state online, last online 2m ago",
            "equal at cloud and edge, digest aa",
        ]
    );
    for (cloud, edge, word) in [
        (json!("aa"), json!("bb"), "different"),
        (json!("aa"), json!(null), "the edge does not answer"),
        (json!(null), json!("aa"), "the cloud does not answer"),
    ] {
        let lines = heading(&twin(cloud, edge), now());
        assert!(lines.last().unwrap().contains(word), "{lines:?}");
    }
}

#[test]
fn a_state_that_nobody_knows_says_why() {
    let state = |said: &str| {
        let twin = json!({
            "namespace": "default", "name": "oven",
            "state": {"state": "unknown", "said": said, "lastOnline": null},
        });
        heading(&twin, now())[1].clone()
    };
    let why = "state unknown as its mapper cannot be heard";
    assert_eq!(state(""), why);
    assert_eq!(state("online"), format!("{why}, last said online"));
}

#[test]
fn a_history_that_cannot_be_read_is_told() {
    let twin = json!({"namespace": "default", "name": "oven", "historyMistake": "\"t\": expected"});
    let said = heading(&twin, now())[1].clone();
    assert!(said.ends_with("causeway.dev/history is wrong: \"t\": expected"));
}

#[test]
fn times_are_checked_before_the_server_is_asked() {
    assert_eq!(moment("since", "90s").unwrap(), "90s");
    assert_eq!(moment("since", "2h").unwrap(), "120m");
    let time = "2026-11-20T04:00:00Z";
    assert_eq!(moment("since", time).unwrap(), time);
    assert_eq!(moment("since", "2026-11-20T05:00:00+01:00").unwrap(), time);
    assert!(moment("since", "yesterday").is_err());
}
