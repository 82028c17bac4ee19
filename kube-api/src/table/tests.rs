use serde_json::{Value, json};

use super::*;
use crate::catalog::{Catalog, CustomKind};

/// 2026-01-01T00:00:00Z.
const NOW: WallTime = WallTime::from_unix_millis(1_767_225_600_000);

fn kind(group: &str, plural: &str) -> ServedKind {
    let catalog = Catalog::builtin();
    let found = catalog.kinds().find(|kind| kind.resource.is(group, plural));
    ServedKind::clone(found.unwrap())
}

fn cells(kind: &ServedKind, object: &Value) -> Vec<Value> {
    let row = row(kind, object.clone(), IncludeObject::None, NOW);
    row["cells"].as_array().unwrap().clone()
}

#[test]
fn every_kind_has_as_many_cells_as_columns() {
    for kind in Catalog::builtin().kinds() {
        assert_eq!(
            columns(kind).len(),
            cells(kind, &json!({})).len(),
            "{}",
            kind.kind
        );
    }
}

#[test]
fn durations_are_those_of_kubectl() {
    let cases = [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (599, "9m59s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (12_000, "3h20m"),
        (28_800, "8h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (180_000, "2d2h"),
        (691_200, "8d"),
        (63_071_999, "729d"),
        (63_072_000, "2y"),
        (70_000_000, "2y80d"),
        (300_000_000, "9y"),
    ];
    for (seconds, expected) in cases {
        assert_eq!(age::human(seconds), expected, "{seconds}");
    }
}

fn pod(spec: Value, status: Value) -> Value {
    json!({"metadata": {"name": "web", "creationTimestamp": "2025-12-31T23:55:00Z"},
        "spec": spec, "status": status})
}

#[test]
fn pods_show_what_kubectl_shows() {
    let two =
        json!({"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]});
    let cases = [
        (json!({}), ["0/2", "Pending", "0"]),
        (
            json!({"phase": "Running", "containerStatuses": [
                {"name": "a", "ready": true, "state": {"running": {}}},
                {"name": "b", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"finishedAt": "2025-12-31T23:57:00Z"}}}]}),
            ["1/2", "CrashLoopBackOff", "3 (3m ago)"],
        ),
        (
            json!({"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "state": {"running": {}}}]}),
            ["0/2", "Init:0/1", "0"],
        ),
        (
            json!({"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "restartCount": 2, "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}),
            ["0/2", "Init:Error", "2"],
        ),
        (
            json!({"phase": "Succeeded", "containerStatuses": [
                {"name": "a", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]}),
            ["0/2", "Completed", "0"],
        ),
        (
            json!({"phase": "Failed", "containerStatuses": [
                {"name": "a", "state": {"terminated": {"exitCode": 137, "signal": 9}}}]}),
            ["0/2", "Signal:9", "0"],
        ),
        (
            json!({"phase": "Failed", "reason": "Evicted"}),
            ["0/2", "Evicted", "0"],
        ),
    ];
    for (status, expected) in cases {
        let cells = cells(&kind("", "pods"), &pod(two.clone(), status));
        assert_eq!(cells[1..4], expected.map(Value::from));
        assert_eq!((&cells[0], &cells[4]), (&json!("web"), &json!("5m")));
        assert_eq!(cells[5..], ["<none>"; 4].map(Value::from));
    }
    let mut going = pod(two, json!({"phase": "Running"}));
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:30Z".into();
    assert_eq!(cells(&kind("", "pods"), &going)[2], "Terminating");
}

#[test]
fn rows_of_other_kinds() {
    let at = "2025-12-31T23:59:50Z";
    let cases = [
        (
            kind("", "nodes"),
            json!({"metadata": {"name": "edge-1", "creationTimestamp": at,
                "labels": {"node-role.kubernetes.io/edge": ""}},
                "spec": {"unschedulable": true},
                "status": {"conditions": [{"type": "Ready", "status": "True"}],
                    "nodeInfo": {"kubeletVersion": "v1"},
                    "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}),
            json!([
                "edge-1",
                "Ready,SchedulingDisabled",
                "edge",
                "10s",
                "v1",
                "10.0.0.1",
                "<none>",
                "<unknown>",
                "<unknown>",
                "<unknown>"
            ]),
        ),
        (
            kind("", "configmaps"),
            json!({"metadata": {"name": "c", "creationTimestamp": at},
                "data": {"a": ""}, "binaryData": {"b": ""}}),
            json!(["c", 2, "10s"]),
        ),
        (
            kind("", "services"),
            json!({"metadata": {"name": "s", "creationTimestamp": at}, "spec": {"type": "NodePort",
                "selector": {"app": "a"},
                "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]}}),
            json!([
                "s",
                "NodePort",
                "<none>",
                "<none>",
                "80:30080/TCP,53/UDP",
                "10s",
                "app=a"
            ]),
        ),
    ];
    for (kind, object, expected) in cases {
        assert_eq!(Value::from(cells(&kind, &object)), expected);
    }
}

#[test]
fn rows_of_workloads_and_events() {
    let at = "2025-12-31T23:59:50Z";
    let cases = [
        (
            kind("apps", "deployments"),
            json!({"metadata": {"name": "d", "creationTimestamp": at},
                "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "a"}},
                    "template": {"spec": {"containers": [{"name": "x", "image": "y"}]}}},
                "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}}),
            json!(["d", "1/3", 2, 1, "10s", "x", "y", "app=a"]),
        ),
        (
            kind("", "events"),
            json!({"metadata": {"name": "e"}, "type": "Warning", "reason": "BackOff", "message": "m\n",
                "involvedObject": {"kind": "Pod", "name": "web"}, "lastTimestamp": at, "count": 4,
                "source": {"component": "edged", "host": "edge-1"}, "firstTimestamp": at}),
            json!([
                "10s",
                "Warning",
                "BackOff",
                "pod/web",
                "",
                "edged, edge-1",
                "m",
                "10s",
                4,
                "e"
            ]),
        ),
    ];
    for (kind, object, expected) in cases {
        assert_eq!(Value::from(cells(&kind, &object)), expected);
    }
}

#[test]
fn custom_columns_follow_their_definition() {
    let custom = CustomKind {
        printer_columns: vec![
            json!({"name": "Size", "type": "integer", "jsonPath": ".spec.size"}),
            json!({"name": "Ready", "type": "string",
                "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}),
            json!({"name": "First", "type": "string", "jsonPath": ".spec.list[0].a", "priority": 1}),
            json!({"name": "Dotted", "type": "string", "jsonPath": ".metadata.labels.a\\.b/c"}),
            json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}),
            json!({"name": "None", "type": "string", "jsonPath": ".spec.none"}),
        ],
        ..CustomKind::default()
    };
    let widget = ServedKind {
        custom: Some(std::sync::Arc::new(custom)),
        ..kind("", "configmaps")
    };
    let object = json!({
        "metadata": {"name": "w", "creationTimestamp": "2025-12-31T23:00:00Z", "labels": {"a.b/c": "d"}},
        "spec": {"size": 3, "list": [{"a": "x"}]},
        "status": {"conditions": [{"type": "X", "status": "no"}, {"type": "Ready", "status": "True"}]},
    });
    assert_eq!(
        Value::from(cells(&widget, &object)),
        json!(["w", 3, "True", "x", "d", "60m", null])
    );
    assert_eq!(columns(&widget)[3]["priority"], 1);
    let plain = ServedKind {
        custom: Some(std::sync::Arc::default()),
        ..kind("", "configmaps")
    };
    assert_eq!(Value::from(cells(&plain, &object)), json!(["w", "60m"]));
}

#[test]
fn paths_beyond_the_subset_find_nothing() {
    let object = json!({"a": [1, 2, {"b": "c"}]});
    for (path, expected) in [
        (".a[0]", Some(json!(1))),
        (".a[-1].b", Some(json!("c"))),
        ("{.a[*].b}", Some(json!("c"))),
        (".a['x']", None),
        (".a[", None),
        ("..a", None),
        (".a[?(@.b)]", None),
        ("a", None),
        ("", Some(object.clone())),
    ] {
        assert_eq!(jsonpath::first(&object, path).cloned(), expected, "{path}");
    }
}

#[test]
fn rows_carry_as_much_of_the_object_as_asked() {
    let object = json!({"metadata": {"name": "c"}, "data": {}});
    let kind = kind("", "configmaps");
    let shown = |include| row(&kind, object.clone(), include, NOW)["object"].clone();
    assert_eq!(shown(IncludeObject::None), Value::Null);
    assert_eq!(shown(IncludeObject::Object), object);
    let metadata = shown(IncludeObject::Metadata);
    assert_eq!(metadata["kind"], "PartialObjectMetadata");
    assert_eq!(metadata["metadata"], object["metadata"]);
    assert_eq!(metadata.get("data"), None);
}
