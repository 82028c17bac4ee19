use serde_json::json;

use super::silence;

#[test]
fn a_silent_agent_makes_ready_unknown_once_and_leaves_the_rest() {
    let mut node = json!({"status": {"capacity": {"cpu": "2"}, "conditions": [
        {"type": "DiskPressure", "status": "False"},
        {"type": "Ready", "status": "True", "reason": "KubeletReady"}]}});
    assert!(silence(&mut node, "2026-01-01T00:00:00Z"));
    let conditions = &node["status"]["conditions"];
    assert_eq!(conditions[0]["status"], "False");
    assert_eq!(conditions[1]["status"], "Unknown");
    assert_eq!(conditions[1]["reason"], "NodeAgentSilent");
    assert_eq!(node["status"]["capacity"]["cpu"], "2");
    assert!(!silence(&mut node, "2026-01-01T00:00:01Z"), "said already");
}

#[test]
fn a_node_that_never_told_how_it_is_is_left_alone() {
    for mut node in [
        json!({}),
        json!({"status": 7}),
        json!({"status": {"conditions": [7]}}),
    ] {
        assert!(!silence(&mut node, "2026-01-01T00:00:00Z"));
    }
}
