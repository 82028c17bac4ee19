//! Twins by example; the laws of merging are in `laws`, what is kept of readings in `history`.

mod fold;
mod history;
mod laws;
mod rows;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_log::WallTime;
use serde_json::{Value as Json, json};

use super::*;

fn at(millis: u64) -> WallTime {
    WallTime::from_unix_millis(millis)
}

fn thermostat(desired: &str) -> Json {
    json!({"spec": {"properties": [
        {"name": "target", "desired": {"value": desired, "metadata": {"timestamp": "7"}}},
        {"name": "temperature", "desired": {"value": ""}},
    ]}})
}

fn model() -> Json {
    json!({"spec": {"properties": [
        {"name": "target", "type": "FLOAT", "accessMode": "ReadWrite", "minimum": "5", "maximum": "30"},
        {"name": "temperature", "type": "FLOAT", "accessMode": "ReadOnly"},
        {"name": "starts", "type": "INT", "minimum": "0", "maximum": "9223372036854775806"},
        {"name": "heating", "type": "boolean"},
    ]}})
}

fn rules() -> Rules {
    Rules::of(&thermostat("20"), Some(&model()))
}

fn report(value: &str) -> Report {
    Report {
        value: Some(Value::new(value)),
        time: at(1000),
        ..Report::default()
    }
}

fn wish(pairs: &[(&str, &str)]) -> BTreeMap<Arc<str>, Value> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).into(), Value::new(value)))
        .collect()
}

#[test]
fn a_wish_is_open_until_the_device_reports_it() {
    let mut twin = Twin::default();
    let wishes = wishes(&thermostat("20"));
    assert_eq!(wishes.len(), 1, "an empty value wants nothing");
    let version = TwinVersion::new(9);
    twin.desired = Arc::new(twin.desired.advance(&wishes, version, at(1)).unwrap());
    let rules = rules();
    let delta = |twin: &Twin| -> Vec<(String, String, u64)> {
        twin.delta(&rules)
            .map(|(name, value, version)| {
                (name.to_string(), value.value.to_string(), version.get())
            })
            .collect()
    };
    assert_eq!(delta(&twin), [("target".into(), "20".into(), 9)]);

    Arc::make_mut(&mut twin.reported)
        .report("target", report("19"), &rules)
        .unwrap();
    assert_eq!(delta(&twin).len(), 1);
    Arc::make_mut(&mut twin.reported)
        .report("target", report("20.0"), &rules)
        .unwrap();
    assert!(delta(&twin).is_empty(), "numbers are compared as numbers");
}

#[test]
fn nothing_is_asked_of_what_can_only_be_read() {
    let wishes = wish(&[("temperature", "20")]);
    let desired = Desired::default().advance(&wishes, TwinVersion::ZERO, at(1));
    let twin = Twin {
        desired: Arc::new(desired.unwrap()),
        ..Twin::default()
    };
    assert_eq!(twin.delta(&rules()).count(), 0);
}

#[test]
fn the_same_wishes_make_no_new_document() {
    let wishes = wishes(&thermostat("20"));
    let first = Desired::default().advance(&wishes, TwinVersion::new(5), at(1));
    let first = first.unwrap();
    assert_eq!(first.advance(&wishes, TwinVersion::new(6), at(2)), None);
}

#[test]
fn what_is_no_longer_desired_leaves_a_tombstone_and_versions_only_grow() {
    let version = TwinVersion::new(50);
    let first = Desired::default().advance(&wish(&[("a", "1"), ("b", "2")]), version, at(1));
    // A cloud that was restored from a backup counts again from an earlier place.
    let earlier = TwinVersion::new(3);
    let second = first.unwrap().advance(&wish(&[("b", "2")]), earlier, at(2));
    let second = second.unwrap();
    let gone = second.properties.get("a").unwrap();
    assert_eq!((gone.value.clone(), gone.version.get()), (None, 51));
    assert_eq!(second.properties.get("b").unwrap().version.get(), 50);
    let third = second.advance(&wish(&[("a", "1"), ("b", "2")]), earlier, at(3));
    assert_eq!(
        third.unwrap().properties.get("a").unwrap().version.get(),
        52
    );
}

#[test]
fn tombstones_are_bounded_and_the_oldest_go_first() {
    let mut desired = Desired::default();
    for n in 0..=TOMBSTONES_MAX {
        let wishes = wish(&[(&format!("p{n}"), "1")]);
        let version = desired.properties.version().next();
        desired = desired.advance(&wishes, version, at(1)).unwrap();
    }
    desired = desired
        .advance(&BTreeMap::new(), TwinVersion::ZERO, at(2))
        .unwrap();
    assert_eq!(desired.properties.iter().count(), TOMBSTONES_MAX);
    assert!(desired.properties.get("p0").is_none());
}

#[test]
fn an_echo_changes_nothing() {
    let mut reported = Reported::default();
    let rules = rules();
    let first = reported.report("temperature", report("20"), &rules);
    assert_eq!(first, Ok(Took::Changed));
    let before = reported.clone();
    let again = Report {
        time: at(999_999),
        ..report("20")
    };
    assert_eq!(
        reported.report("temperature", again, &rules),
        Ok(Took::Echo)
    );
    assert_eq!(reported, before);
}

#[test]
fn a_stale_value_loses_by_version_and_never_by_the_clock() {
    let mut reported = Reported::default();
    let rules = rules();
    let claim = |version: u64, value: &str, time: u64| Report {
        version: Some(TwinVersion::new(version)),
        time: at(time),
        ..report(value)
    };
    let years = 1000 * 60 * 60 * 24 * 365 * 2;
    let mut say = |report: Report| reported.report("temperature", report, &rules);
    assert_eq!(say(claim(4, "20", years)), Ok(Took::Changed));
    let (known, claimed) = (TwinVersion::new(4), TwinVersion::new(3));
    assert_eq!(
        say(claim(3, "21", 2 * years)),
        Err(Refused::Stale { known, claimed })
    );
    assert_eq!(say(claim(4, "21", 0)).unwrap_err().code(), 409);
    assert_eq!(say(claim(4, "20", 0)), Ok(Took::Echo));
    assert_eq!(say(claim(5, "22", 0)), Ok(Took::Changed));
    assert_eq!(say(report("23")), Ok(Took::Changed));
    assert_eq!(say(claim(u64::MAX, "24", 0)).unwrap_err().code(), 400);
    assert_eq!(reported.properties.version().get(), 6);
}

#[test]
fn what_the_model_does_not_allow_is_refused_and_leaves_no_trace() {
    let mut reported = Reported::default();
    let rules = rules();
    let mut refused = |name: &str, value: &str| {
        let before = reported.clone();
        let refused = reported.report(name, report(value), &rules).unwrap_err();
        assert_eq!(reported, before);
        (refused.code(), refused.to_string())
    };
    assert_eq!(refused("pressure", "1").0, 404);
    assert_eq!(refused("no spaces", "1").0, 400);
    assert_eq!(refused("", "1").0, 400);
    assert_eq!(refused(&"x".repeat(129), "1").0, 400);
    for (name, value) in [
        ("temperature", "warm"),
        ("temperature", "NaN"),
        ("temperature", "inf"),
        ("heating", "True"),
        ("starts", "1.5"),
        ("starts", "-1"),
        ("starts", "9223372036854775807"),
        ("target", "4.9"),
        ("target", "31"),
        ("target", &"1".repeat(1024 * 1024)),
    ] {
        assert_eq!(refused(name, value).0, 400, "{name}: {} bytes", value.len());
    }
}

#[test]
fn a_device_before_its_model_takes_any_text_of_its_own_properties() {
    let rules = Rules::of(&thermostat("20"), None);
    let mut reported = Reported::default();
    assert!(reported.report("target", report("warm"), &rules).is_ok());
    let refused = reported.report("heating", report("true"), &rules);
    assert_eq!(refused, Err(Refused::Unknown));
}

#[test]
fn a_property_can_be_removed_and_comes_back_with_a_later_version() {
    let mut reported = Reported::default();
    let rules = rules();
    let gone = Report {
        value: None,
        ..report("")
    };
    let remove = |reported: &mut Reported| reported.report("heating", gone.clone(), &rules);
    assert_eq!(remove(&mut reported), Ok(Took::Echo), "nothing was there");
    reported.report("heating", report("true"), &rules).unwrap();
    assert_eq!(remove(&mut reported), Ok(Took::Changed));
    assert_eq!(remove(&mut reported), Ok(Took::Echo));
    reported.report("heating", report("true"), &rules).unwrap();
    assert_eq!(reported.properties.get("heating").unwrap().version.get(), 3);
}

#[test]
fn a_state_is_one_of_five() {
    let mut reported = Reported::default();
    assert_eq!(reported.report_state("online", at(5)), Ok(Took::Changed));
    assert_eq!(reported.report_state("online", at(6)), Ok(Took::Echo));
    assert_eq!(reported.report_state("offline", at(7)), Ok(Took::Changed));
    let state = reported.state.clone().unwrap();
    assert_eq!((state.version.get(), state.last_online), (2, 5));
    let refused = reported.report_state("asleep", at(8)).unwrap_err();
    assert_eq!(refused.code(), 400);
}

#[test]
fn the_documents_are_frozen() {
    let wishes = wishes(&thermostat("20"));
    let desired = Desired::default().advance(&wishes, TwinVersion::new(9), at(1700));
    let golden = r#"{"properties":{"target":{"time":1700,"value":{"metadata":{"timestamp":"7"},"value":"20"},"version":9}}}"#;
    let desired = desired.unwrap();
    assert_eq!(String::from_utf8(desired.encode()).unwrap(), golden);
    assert_eq!(Desired::decode(golden.as_bytes()).unwrap(), desired);

    let mut reported = Reported::default();
    let seen = Report {
        observed: Some(Value::new("20")),
        ..report("19.5")
    };
    reported.report("target", seen, &rules()).unwrap();
    reported.report_state("ok", at(2000)).unwrap();
    let golden = r#"{"properties":{"target":{"observed":{"value":"20"},"time":1000,"value":{"value":"19.5"},"version":1}},"state":{"lastOnline":2000,"state":"ok","version":1}}"#;
    assert_eq!(String::from_utf8(reported.encode()).unwrap(), golden);
    assert_eq!(Reported::decode(golden.as_bytes()).unwrap(), reported);
    let twin = Twin {
        desired: Arc::new(desired),
        reported: Arc::new(reported),
    };
    assert_eq!(twin.digest().to_string(), "be7f3f1c49dd9881");
}

#[test]
fn what_is_no_document_is_refused() {
    let decode = |text: &str| Reported::decode(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(decode("[]"), "the document is malformed");
    assert_eq!(decode(r#"{"more":1}"#), "the document is malformed");
    let unbounded = "the document is beyond the bounds of a twin";
    assert_eq!(
        decode(r#"{"properties":{"no spaces":{"version":1}}}"#),
        unbounded
    );
    assert_eq!(
        decode(r#"{"properties":{},"state":{"version":1,"state":"asleep"}}"#),
        unbounded
    );
    let long = " ".repeat(DOCUMENT_BYTES_MAX + 1);
    assert!(decode(&long).contains("exceeds the limit"));
}

#[test]
fn everything_wrong_with_a_device_is_told_with_its_field() {
    let device = json!({"spec": {"properties": [
        {"name": "target", "desired": {"value": "99"}},
        {"name": "bad name"},
        {"name": "pressure"},
        {"name": "target"},
        {"name": "heating", "desired": {"value": "yes"}},
        {"name": "temperature", "desired": {"value": "21"}},
        {"name": "starts", "desired": {"value": "1", "metadata": {"k": "v".repeat(300)}}},
    ]}});
    let told: Vec<String> = check(&device, Some(&model()))
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        told,
        [
            "spec.properties[0].desired.value: the value is out of range: minimum \"5\", maximum \"30\"",
            "spec.properties[1].name: must be 1 to 128 characters of a-z A-Z 0-9 - _ . , : / @ #",
            "spec.properties[2].name: the device model has no property \"pressure\"",
            "spec.properties[3].name: \"target\" is there twice",
            "spec.properties[4].desired.value: the value is not of type BOOLEAN",
            "spec.properties[6].desired.metadata: the metadata has more than 16 entries, or a long one",
        ]
    );
    let without: Vec<String> = check(&device, None)
        .into_iter()
        .map(|error| error.field)
        .collect();
    assert_eq!(
        without,
        [
            "spec.properties[1].name",
            "spec.properties[3].name",
            "spec.properties[6].desired.metadata",
        ]
    );
    assert!(check(&thermostat("21"), Some(&model())).is_empty());
    assert!(check(&json!({"spec": {"properties": 7}}), None).is_empty());
}
