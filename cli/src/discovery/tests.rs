use serde_json::json;

use super::*;

fn kinds() -> Kinds {
    let mut kinds = Vec::new();
    let core = json!({"resources": [
        {"name": "pods", "singularName": "pod", "shortNames": ["po"], "kind": "Pod", "namespaced": true},
        {"name": "pods/status", "kind": "Pod", "namespaced": true},
        {"name": "nodes", "singularName": "node", "shortNames": ["no"], "kind": "Node", "namespaced": false},
    ]});
    collect(&mut kinds, "", "v1", &core);
    let apps = json!({"resources": [
        {"name": "deployments", "singularName": "deployment", "shortNames": ["deploy"],
         "kind": "Deployment", "namespaced": true},
    ]});
    collect(&mut kinds, "apps", "v1", &apps);
    Kinds(kinds)
}

#[test]
fn every_way_people_write_a_kind_finds_it() {
    let kinds = kinds();
    for word in ["pods", "pod", "po", "Pod", "PODS", "pods."] {
        assert_eq!(kinds.named(word).unwrap().plural, "pods", "{word}");
    }
    for word in ["deployments.apps", "deploy", "Deployment"] {
        assert_eq!(
            kinds.named(word).unwrap().resource(),
            "deployments.apps",
            "{word}"
        );
    }
    assert!(kinds.named("deployments.batch").is_err());
    assert!(
        kinds.named("pods/status").is_err(),
        "a subresource is no kind"
    );
}

#[test]
fn paths_follow_the_api_conventions() {
    let kinds = kinds();
    let pods = kinds.named("pods").unwrap();
    assert_eq!(
        pods.path("hello", Some("web")),
        "/api/v1/namespaces/hello/pods/web"
    );
    assert_eq!(pods.path("", None), "/api/v1/pods");
    assert_eq!(
        kinds.named("node").unwrap().path("hello", Some("a")),
        "/api/v1/nodes/a"
    );
    let deployments = kinds.named("deploy").unwrap();
    assert_eq!(
        deployments.path("x", None),
        "/apis/apps/v1/namespaces/x/deployments"
    );
}

#[test]
fn a_manifest_names_its_kind_exactly() {
    let kinds = kinds();
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
    assert_eq!(kinds.of_object(&deployment).unwrap().plural, "deployments");
    assert!(
        kinds
            .of_object(&json!({"apiVersion": "v1", "kind": "Deployment"}))
            .is_none()
    );
    assert!(kinds.of_object(&json!({"kind": "Pod"})).is_none());
}
