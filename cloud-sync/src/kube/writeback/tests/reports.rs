use causeway_log::NodeName;
use serde_json::{Value, json};

use crate::kube::writeback::call::{Content, Identity, Place};
use crate::kube::writeback::{node, status};
use crate::rig;

fn n1() -> NodeName {
    NodeName::new("n1").unwrap()
}

#[test]
fn the_status_of_a_pod_is_patched_as_its_node_and_for_its_life() {
    let key = rig::key("pods", "default", "till");
    let reported = json!({
        "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
        "qosClass": "Burstable", "resourceClaimStatuses": [], "$patch": "replace", "newer": 1,
        "conditions": [{"type": "Ready", "status": "True"}, {"status": "no type"}],
        "containerStatuses": [{"name": "c", "ready": true}],
    });
    let call = status::patch_pod(&n1(), &key, &reported);
    assert_eq!(call.identity, Identity::Node(n1()));
    assert_eq!(call.path, "/api/v1/namespaces/default/pods/till/status");
    assert_eq!(call.content, Content::StrategicPatch);
    let body = call.body.unwrap();
    assert_eq!(body["metadata"], json!({"uid": key.uid.to_string()}));
    let patched = &body["status"];
    assert_eq!(patched["phase"], "Running");
    assert_eq!(
        patched["podIPs"],
        json!([{"ip": "10.0.0.1"}, {"$patch": "replace"}])
    );
    assert_eq!(patched.get("$patch"), None, "no directives from nodes");
    assert_eq!(patched["newer"], 1, "what newer kubelets report passes");
    assert_eq!(patched.get("qosClass"), None, "the API server's");
    assert_eq!(
        patched.get("resourceClaimStatuses"),
        None,
        "the scheduler's"
    );
    assert_eq!(
        patched["message"],
        Value::Null,
        "what is no longer reported goes"
    );
    let conditions = patched["conditions"].as_array().unwrap();
    let ready = json!({"type": "Ready", "status": "True", "reason": null, "message": null});
    assert!(
        conditions.contains(&ready),
        "the reason it was not ready goes"
    );
    assert!(conditions.contains(&json!({"$patch": "delete", "type": "Initialized"})));
    assert!(
        conditions.iter().all(|one| one["type"] != "PodScheduled"),
        "not taken away"
    );
}

#[test]
fn a_status_that_others_changed_is_noticed() {
    let ready = |status: &str| {
        json!({"phase": "Running", "conditions": [
        {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": status}]})
    };
    assert!(!status::has_drifted(Some(&ready("True")), &ready("True")));
    assert!(status::has_drifted(Some(&ready("False")), &ready("True")));
    assert!(status::has_drifted(None, &ready("True")));
    let mut ended = ready("True");
    ended["phase"] = json!("Failed");
    assert!(status::has_drifted(Some(&ended), &ready("True")));
    assert!(status::is_terminal(Some(&ended)) && !status::is_terminal(Some(&ready("True"))));
    let node =
        json!({"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "a"}]});
    let unknown = json!({"conditions": [{"type": "Ready", "status": "Unknown"}]});
    assert!(status::has_node_drifted(Some(&unknown), &node));
    assert!(!status::has_node_drifted(Some(&node), &node));
}

#[test]
fn a_node_says_of_itself_what_admission_lets_it() {
    for may in [
        "kubernetes.io/hostname",
        "shop",
        "example.com/shelf",
        "node.kubernetes.io/instance-type",
        "x.kubelet.kubernetes.io/y",
    ] {
        assert!(node::may_label(may), "{may}");
    }
    for may_not in [
        "node-role.kubernetes.io/edge",
        "kubernetes.io/other",
        "k8s.io/x",
        "a.k8s.io/x",
        "node-restriction.kubernetes.io/x",
        "shop.node-restriction.kubernetes.io/x",
    ] {
        assert!(!node::may_label(may_not), "{may_not}");
    }
    let wanted = json!({
        "metadata": {"labels": {"node-role.kubernetes.io/edge": "", "shop": "7"},
            "annotations": {"causeway.dev/subscribe": "everything.example.com", "a": "b"},
            "uid": "mine"},
        "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}], "podCIDR": "10.0.0.0/8"},
        "status": {"phase": "hostile"},
    });
    let made = node::registered(&n1(), &wanted, "request-1");
    assert_eq!(
        made["metadata"],
        json!({"name": "n1", "labels": {"shop": "7"},
        "annotations": {"a": "b", "causeway.dev/request": "request-1"}})
    );
    assert_eq!(
        made["spec"],
        json!({"taints": [{"key": "k", "effect": "NoSchedule"}]})
    );
    assert_eq!(made.get("status"), None);
    assert_eq!(node::mark_as_edge(&n1()).identity, Identity::Cloud);
}

#[test]
fn a_change_of_a_node_keeps_the_labels_it_may_not_set() {
    let current =
        json!({"metadata": {"labels": {"node-role.kubernetes.io/edge": "", "k8s.io/x": "cloud"}}});
    let mut wanted = json!({"metadata": {"labels": {"k8s.io/x": "edge", "node-role.kubernetes.io/lead": "", "shop": "7"}}});
    node::limit(&mut wanted, &current);
    assert_eq!(
        wanted["metadata"]["labels"],
        json!({"node-role.kubernetes.io/edge": "", "k8s.io/x": "cloud", "shop": "7"})
    );
}

#[test]
fn names_from_nodes_cannot_climb_out_of_their_place() {
    let place = Place::core("pods", "a/b", "..");
    assert_eq!(
        place.path("status"),
        "/api/v1/namespaces/a%2Fb/pods/%2E%2E/status"
    );
    let place = Place::core("pods", "d", "x?fieldManager=y#z");
    assert_eq!(
        place.path(""),
        "/api/v1/namespaces/d/pods/x%3FfieldManager%3Dy%23z"
    );
}
