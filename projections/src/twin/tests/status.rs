//! What the API shows of a report.

use causeway_log::{Key, Uid};
use uuid::Uuid;

use super::*;
use crate::twin::devices;
use crate::twin::status::device_status;

#[test]
fn a_report_shows_as_users_of_the_api_know_it() {
    let uid = Uid::Uuid(Uuid::from_u128(5));
    let key = Key::new(devices(), "default", "d", uid).unwrap();
    let mut reported = Reported::default();
    let seen = Report {
        observed: Some(Value::new("20")),
        ..report("19.5")
    };
    reported.report("target", seen, &rules()).unwrap();
    reported.report("starts", report("3"), &rules()).unwrap();
    let gone = Report {
        value: None,
        ..report("")
    };
    reported.report("starts", gone, &rules()).unwrap();
    reported
        .report_state("online", at(1_700_000_000_999))
        .unwrap();
    assert_eq!(
        device_status(&key, &reported),
        json!({
            "apiVersion": "devices.kubeedge.io/v1beta1",
            "kind": "DeviceStatus",
            "metadata": {
                "name": "d",
                "namespace": "default",
                "ownerReferences": [{
                    "apiVersion": "devices.kubeedge.io/v1beta1",
                    "kind": "Device",
                    "name": "d",
                    "uid": "00000000-0000-0000-0000-000000000005",
                }],
            },
            "spec": {},
            "status": {
                "twins": [{
                    "propertyName": "target",
                    "reported": {"value": "19.5", "metadata": {"timestamp": "1000"}},
                    "observedDesired": {"value": "20", "metadata": {}},
                }],
                "state": "online",
                "lastOnlineTime": "2023-11-14T22:13:20Z",
            },
        })
    );
    let empty = device_status(&key, &Reported::default());
    assert_eq!(empty["status"], json!({"twins": []}));
}

#[test]
fn no_document_is_longer_than_was_foretold() {
    let long = "\u{1}\"\\x".repeat(500);
    let metadata = [("key\n", "value\""), ("k", "")];
    let value = Value {
        value: long.as_str().into(),
        metadata: metadata
            .map(|(key, value)| (key.into(), value.into()))
            .into(),
    };
    let mut reported = Reported::default();
    let rules = Rules::of(
        &json!({"spec": {"properties": [{"name": "a"}, {"name": "b"}]}}),
        None,
    );
    let mut foretold = reported.bytes_max();
    for (name, time) in [("a", u64::MAX), ("b", 0), ("a", 1)] {
        let report = Report {
            value: Some(value.clone()),
            observed: Some(value.clone()),
            version: None,
            time: at(time),
        };
        foretold += report.bytes_max(name);
        reported.report(name, report, &rules).unwrap();
        reported.report_state("unhealthy", at(u64::MAX)).unwrap();
        assert!(reported.encode().len() <= reported.bytes_max());
        assert!(reported.bytes_max() <= foretold);
    }
    assert_eq!(Reported::decode(&reported.encode()).unwrap(), reported);
}
