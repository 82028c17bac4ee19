use serde_json::json;

use super::*;

#[test]
fn a_record_is_one_line() {
    let record = json!({
        "stream": "down", "revision": 118, "offset": 90, "time": "2026-11-20T04:31:07.25Z",
        "key": {"group": "", "resource": "configmaps", "namespace": "hello", "name": "greeting"},
        "version": 117, "op": "Put", "bytes": 212, "cause": null,
    });
    assert_eq!(
        describe(&record),
        "⇣     118  04:31:07.250  Put     hello/configmaps/greeting  v117  212 B",
    );
}

#[test]
fn a_record_with_strange_fields_is_still_a_line() {
    for record in [
        json!(null),
        json!({}),
        json!({"key": 1, "time": [], "stream": 7}),
    ] {
        assert!(!describe(&record).contains('\n'));
    }
}
