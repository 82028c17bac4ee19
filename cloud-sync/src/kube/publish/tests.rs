use causeway_log::NodeName;
use serde_json::json;

use super::*;

#[test]
fn a_description_is_applied_and_goes_with_its_node() {
    let node = NodeName::new("n1").unwrap();
    let call = publication(&node, &json!({"connected": true}), Some("uid-1"));
    assert_eq!(call.identity, Identity::Cloud);
    assert_eq!(
        call.target(),
        "/apis/causeway.dev/v1/edgenodes/n1?fieldManager=causeway&force=true"
    );
    let body = call.body.unwrap();
    assert_eq!(body["metadata"]["ownerReferences"][0]["uid"], "uid-1");
    assert_eq!(body["status"]["connected"], true);
}

#[test]
fn the_time_of_a_look_is_no_news() {
    let said =
        |head: u64, observed: &str| json!({"head": head, "observed": observed, "lagMillis": 3});
    assert!(same(&said(1, "a"), &said(1, "b")));
    assert!(!same(&said(1, "a"), &said(2, "a")));
    assert!(!same(&said(1, "a"), &json!({})));
}
