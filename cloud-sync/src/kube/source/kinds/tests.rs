use serde_json::json;

use super::*;

fn kind(plural: &str) -> Kind {
    let mut kinds = built_in().into_iter();
    kinds.find(|kind| &*kind.resource.plural == plural).unwrap()
}

#[test]
fn paths_are_those_of_the_api_and_names_cannot_leave_them() {
    assert_eq!(kind("nodes").collection(""), "/api/v1/nodes");
    let name = Name {
        resource: Resource::new("discovery.k8s.io", "endpointslices"),
        namespace: "shop".into(),
        name: "../../secrets?x".into(),
    };
    assert_eq!(
        kind("endpointslices").object(&name),
        "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/..%2F..%2Fsecrets%3Fx"
    );
    let dots = Name {
        name: "..".into(),
        ..name
    };
    assert!(kind("endpointslices").object(&dots).ends_with("/%2E%2E"));
}

#[test]
fn what_changes_without_meaning_is_left_out() {
    let pod = |version: &str, phase: &str| {
        json!({
            "metadata": {"name": "till", "namespace": "shop", "uid": "u",
                "resourceVersion": version, "managedFields": [{"manager": version}]},
            "spec": {"nodeName": "n1"},
            "status": {"phase": phase},
        })
    };
    let Some(Seen::Present {
        key,
        object,
        version,
    }) = kind("pods").present(pod("4", "Pending"))
    else {
        panic!("it is an object");
    };
    assert_eq!(key.to_string(), "pods/shop/till");
    assert_eq!(version, Some(4));
    let Some(Seen::Present { object: later, .. }) = kind("pods").present(pod("5", "Running"))
    else {
        panic!("it is an object");
    };
    assert_eq!(object, later);
    assert_eq!(object["apiVersion"], "v1");
    assert_eq!(object["kind"], "Pod");
}

#[test]
fn what_cannot_be_named_is_passed_over() {
    for object in [
        json!(null),
        json!([]),
        json!({"metadata": {"name": "a"}}),
        json!({"metadata": {"uid": "u"}}),
        json!({"metadata": {"name": "", "uid": "u"}}),
        json!({"metadata": {"name": "x".repeat(300), "uid": "u"}}),
    ] {
        assert_eq!(kind("configmaps").present(object.clone()), None, "{object}");
    }
}

#[test]
fn a_definition_is_followed_in_the_version_that_is_stored() {
    let definition = json!({"spec": {"group": "shop.example",
    "names": {"plural": "widgets", "kind": "Widget"},
    "versions": [
        {"name": "v1alpha1", "served": true, "storage": false},
        {"name": "v1", "served": true, "storage": true},
    ]}});
    let kind = of_definition(&definition).unwrap();
    assert_eq!(
        kind.collection("till"),
        "/apis/shop.example/v1/namespaces/till/widgets"
    );
    let unserved = json!({"spec": {"group": "shop.example",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [{"name": "v1", "served": false, "storage": true}]}});
    assert_eq!(of_definition(&unserved), None);
}
