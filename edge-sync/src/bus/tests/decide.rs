//! What messages ask for.

use std::sync::Arc;

use causeway_log::{NodeName, WallTime};
use causeway_projections::twin::{DeviceName, TwinVersion};
use serde_json::{Value as Json, json};

use super::super::decide::{Ask, Asked, Delivery, Refusal, decide};
use super::super::payload::Base;
use super::super::topics::Topic;
use super::device;

const NOW: WallTime = WallTime::from_unix_millis(5000);

fn node() -> NodeName {
    NodeName::new("edge-1").unwrap()
}

fn update(payload: &str, delivery: Delivery) -> Result<Asked, Refusal> {
    let topic = Topic::TwinUpdate(DeviceName::new("default", "thermo"));
    let known = device("thermo", Some("21"), Some(("20", 2000)));
    match decide(&topic, payload.as_bytes(), delivery, NOW, |_| Some(known))? {
        Ask::Write(asked) => Ok(*asked),
        other @ (Ask::Twin(..) | Ask::Members(_)) => panic!("{other:?}"),
    }
}

fn fresh(body: &Json) -> Asked {
    update(&body.to_string(), Delivery::Fresh).unwrap()
}

#[test]
fn topics_are_those_of_the_bus_or_none() {
    let device = || DeviceName::new("default", "thermo");
    for (topic, asks) in [
        (
            "$hw/events/device/default/thermo/twin/update",
            Topic::TwinUpdate(device()),
        ),
        (
            "$hw/events/device/default/thermo/twin/get",
            Topic::TwinGet(device()),
        ),
        (
            "$hw/events/device/default/thermo/state/update",
            Topic::StateUpdate(device()),
        ),
        (
            "$hw/events/node/edge-1/membership/get",
            Topic::MembershipGet,
        ),
    ] {
        assert_eq!(Topic::parse(topic, &node()), Some(asks), "{topic}");
    }
    for topic in [
        "",
        "$hw/events/device/thermo/twin/update",
        "$hw/events/device/default/thermo/twin/update/result",
        "$hw/events/device/default/thermo/twin/cloud_updated",
        "$hw/events/node/edge-2/membership/get",
        "$hw/events/upload/x",
        "SYS/dis/upload_records",
        "a/user/b",
    ] {
        assert_eq!(Topic::parse(topic, &node()), None, "{topic}");
    }
}

#[test]
fn a_report_has_the_time_and_the_version_that_its_source_gives_it() {
    let asked = fresh(&json!({
        "event_id": "e", "timestamp": 3000, "unknown": [{}],
        "twin": {
            "label": { "actual": { "value": true, "metadata": { "timestamp": 4000 } }, "optional": true },
            "target": {
                "actual": { "value": 22 }, "metadata": { "type": "int" },
                "actual_version": { "cloud": 3, "edge": 9 },
            },
        },
    }));
    assert_eq!(asked.base.event_id, "e");
    let [(label, first), (target, second)] = &asked.report.properties[..] else {
        panic!("{asked:?}");
    };
    assert_eq!((&**label, &**target), ("label", "target"));
    assert_eq!(&*first.value.as_ref().unwrap().value, "true");
    assert_eq!(first.time, WallTime::from_unix_millis(4000));
    assert_eq!(&*second.value.as_ref().unwrap().value, "22");
    assert_eq!(second.time, WallTime::from_unix_millis(3000));
    assert_eq!(second.version, Some(TwinVersion::new(9)));
    assert_eq!(
        second.value.as_ref().unwrap().metadata["type"],
        "int".into()
    );
    assert!(asked.report.all_or_nothing && asked.wishes.is_empty());
    let no_clock =
        fresh(&json!({ "timestamp": 0, "twin": { "target": { "actual": { "value": "22" } } } }));
    assert_eq!(no_clock.report.properties[0].1.time, NOW);
}

#[test]
fn a_wish_that_is_known_was_seen_and_another_is_asked_for() {
    let asked = fresh(&json!({ "twin": { "target": {
        "actual": { "value": "21" }, "expected": { "value": "21" },
    } } }));
    let report = &asked.report.properties[0].1;
    assert_eq!(&*report.observed.as_ref().unwrap().value, "21");
    assert!(asked.wishes.is_empty());
    let asked = fresh(&json!({ "twin": { "target": { "expected": { "value": "25" } } } }));
    assert!(asked.report.properties.is_empty());
    let wish = asked.wishes["target"].as_ref().unwrap();
    assert_eq!(&*wish.value, "25");
}

#[test]
fn deletions_have_two_spellings() {
    for deleted in [json!(null), json!({ "metadata": { "type": "deleted" } })] {
        let asked = fresh(&json!({ "twin": { "target": deleted } }));
        assert_eq!(asked.report.properties[0].1.value, None);
    }
}

#[test]
fn what_comes_perhaps_again_is_known_by_value_and_source_time() {
    let body = |value: &str, time: u64| {
        json!({ "timestamp": time, "twin": { "target": { "actual": { "value": value } } } })
            .to_string()
    };
    let count =
        |payload: &str, delivery| update(payload, delivery).unwrap().report.properties.len();
    for (payload, delivery, reports) in [
        (body("20", 2000), Delivery::Fresh, 1),
        (body("20", 2000), Delivery::Perhaps, 0),
        (body("20", 2001), Delivery::Perhaps, 1),
        (body("19", 2000), Delivery::Perhaps, 1),
        // Without a source time nobody can tell.
        (body("20", 0), Delivery::Perhaps, 1),
        // What a broker kept is of any age.
        (body("19", 1999), Delivery::Retained, 0),
        (body("19", 0), Delivery::Retained, 0),
        (body("19", 2001), Delivery::Retained, 1),
    ] {
        assert_eq!(count(&payload, delivery), reports, "{payload} {delivery:?}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_its_event_id_if_there_is_one() {
    let long = json!({ "event_id": "x".repeat(257) }).to_string();
    let many: serde_json::Map<String, Json> = (0..1025)
        .map(|it| (format!("p{it}"), json!(null)))
        .collect();
    let many = json!({ "twin": many }).to_string();
    let deep = format!("{{\"twin\":{}", "[".repeat(10_000));
    for payload in [
        "",
        "{",
        "[]",
        "{\"twin\":{\"a\":1}}",
        &long,
        &many,
        &deep,
        "\u{feff}{}",
    ] {
        let refusal = update(payload, Delivery::Fresh).unwrap_err();
        assert_eq!(refusal.code, 400, "{payload:.40}");
        assert!(refusal.reason.len() < 300, "{}", refusal.reason);
    }
    let refusal = update("{\"event_id\":\"e\",\"twin\":{}}", Delivery::Fresh).unwrap_err();
    assert_eq!(refusal.event_id, "e");
    let topic = Topic::StateUpdate(DeviceName::new("default", "nobody"));
    let unknown = decide(&topic, b"{\"state\":\"ok\"}", Delivery::Fresh, NOW, |_| {
        None
    });
    assert_eq!(unknown.unwrap_err().code, 404);
}

#[test]
fn questions_need_no_body() {
    for payload in ["", " \n", "{}", "{\"event_id\":\"\"}"] {
        let asked = decide(
            &Topic::MembershipGet,
            payload.as_bytes(),
            Delivery::Fresh,
            NOW,
            |_: &_| -> Option<Arc<_>> { None },
        );
        assert_eq!(asked, Ok(Ask::Members(Base::default())), "{payload:?}");
    }
}

#[test]
fn a_state_that_a_broker_kept_says_nothing_of_now() {
    let topic = Topic::StateUpdate(DeviceName::new("default", "thermo"));
    let known = device("thermo", None, None);
    let payload = b"{\"state\":\"online\"}";
    let state =
        |delivery| match decide(&topic, payload, delivery, NOW, |_| Some(Arc::clone(&known))) {
            Ok(Ask::Write(asked)) => asked.report.state,
            other => panic!("{other:?}"),
        };
    assert_eq!(state(Delivery::Fresh).as_deref(), Some("online"));
    assert_eq!(state(Delivery::Retained), None);
}
