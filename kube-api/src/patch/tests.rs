use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::catalog::{Catalog, CustomKind};

fn kind(group: &str, plural: &str) -> ServedKind {
    let catalog = Catalog::builtin();
    let found = catalog.kinds().find(|kind| kind.resource.is(group, plural));
    ServedKind::clone(found.unwrap())
}

fn custom() -> ServedKind {
    let custom = Some(std::sync::Arc::new(CustomKind::default()));
    ServedKind {
        custom,
        ..kind("", "configmaps")
    }
}

fn strategic(group: &str, plural: &str, current: &Value, patch: Value) -> Value {
    Patch::Strategic(patch)
        .apply(&kind(group, plural), current)
        .unwrap()
}

fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "web"}, "spec": spec})
}

#[test]
fn keyed_lists_merge_by_key() {
    let current = pod(json!({
        "containers": [
            {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
            {"name": "b", "image": "b:1"},
        ],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "tolerations": [{"key": "k"}],
    }));
    let patch = json!({"spec": {
        "containers": [{"name": "a", "image": "a:2", "env": [{"name": "Y", "value": "3"}]}],
        "tolerations": [{"key": "l"}],
    }});
    let expected = json!({
        "containers": [
            {"name": "a", "image": "a:2", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "3"}]},
            {"name": "b", "image": "b:1"},
        ],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "tolerations": [{"key": "l"}],
    });
    assert_eq!(strategic("", "pods", &current, patch)["spec"], expected);
}

#[test]
fn new_elements_stand_before_those_the_patch_does_not_name() {
    let current = pod(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    let patch = json!({"spec": {"containers": [{"name": "c"}]}});
    let names = json!([{"name": "c"}, {"name": "a"}, {"name": "b"}]);
    assert_eq!(
        strategic("", "pods", &current, patch)["spec"]["containers"],
        names
    );
}

#[test]
fn directives_are_obeyed() {
    let cases = [
        // Removal of an element by key, as kubectl apply sends it.
        (
            json!({"containers": [{"name": "a"}, {"name": "b"}]}),
            json!({"$setElementOrder/containers": [{"name": "b"}],
                "containers": [{"$patch": "delete", "name": "a"}]}),
            json!({"containers": [{"name": "b"}]}),
        ),
        // Order alone.
        (
            json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}),
            json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}]}),
            json!({"containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}]}),
        ),
        // Replacement of a list and of a map.
        (
            json!({"containers": [{"name": "a"}], "securityContext": {"runAsUser": 1, "fsGroup": 2}}),
            json!({"containers": [{"$patch": "replace"}, {"name": "z"}],
                "securityContext": {"$patch": "replace", "fsGroup": 3}}),
            json!({"containers": [{"name": "z"}], "securityContext": {"fsGroup": 3}}),
        ),
        // A volume changes its source.
        (
            json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
            json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}),
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}),
        ),
        (
            json!({"hostname": "a", "subdomain": "b"}),
            json!({"hostname": null}),
            json!({"subdomain": "b"}),
        ),
        // What is new holds no directives.
        (
            json!({}),
            json!({"volumes": [{"name": "v", "$retainKeys": ["name"], "emptyDir": {"medium": null}}]}),
            json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        ),
    ];
    for (spec, patch, expected) in cases {
        let found = strategic("", "pods", &pod(spec), json!({ "spec": patch }));
        assert_eq!(found["spec"], expected);
    }
}

#[test]
fn lists_of_values_merge_as_sets() {
    let current = json!({"metadata": {"finalizers": ["a", "b"]}});
    let added = strategic(
        "",
        "pods",
        &current,
        json!({"metadata": {"finalizers": ["c", "a"]}}),
    );
    assert_eq!(added["metadata"]["finalizers"], json!(["c", "a", "b"]));
    let removal = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}});
    assert_eq!(
        strategic("", "pods", &current, removal)["metadata"]["finalizers"],
        json!(["b"])
    );
}

#[test]
fn keys_are_those_of_the_kind() {
    let current = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "X", "status": "True"}],
        "addresses": [{"type": "Hostname", "address": "a"}]}});
    let patch = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "Hostname", "address": "b"}]}});
    let expected = json!({"conditions": [{"type": "Ready", "status": "True"}, {"type": "X", "status": "True"}],
        "addresses": [{"type": "Hostname", "address": "b"}]});
    assert_eq!(strategic("", "nodes", &current, patch)["status"], expected);
    let current = json!({"spec": {"ports": [{"port": 80, "name": "a"}, {"port": 81}]}});
    let patch = json!({"spec": {"ports": [{"port": 80, "name": "b"}]}});
    let expected = json!([{"port": 80, "name": "b"}, {"port": 81}]);
    assert_eq!(
        strategic("", "services", &current, patch)["spec"]["ports"],
        expected
    );
}

#[test]
fn malformed_strategic_patches_are_refused() {
    let cases = [
        (
            json!({"spec": {"$patch": "explode"}}),
            "Unknown patch type found: \"explode\"",
        ),
        (
            json!({"spec": {"containers": [{"image": "x"}]}}),
            "map does not contain declared merge key: name",
        ),
        (
            json!({"spec": {"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}}),
            "The order in patch list doesn't match $setElementOrder/ list for containers",
        ),
        (
            json!({"spec": {"$setElementOrder/containers": 1}}),
            "$setElementOrder/containers must be a list",
        ),
    ];
    for (patch, expected) in cases {
        let current = pod(json!({"containers": [{"name": "a"}]}));
        let refused = Patch::Strategic(patch)
            .apply(&kind("", "pods"), &current)
            .unwrap_err();
        assert_eq!((refused.code, refused.message.as_str()), (400, expected));
    }
}

#[test]
fn media_types_decide_the_language() {
    let pods = kind("", "pods");
    let parse = |media_type: &str, body: &str, kind: &ServedKind| {
        Patch::parse(media_type, body.as_bytes(), kind)
    };
    assert!(matches!(parse(MERGE, "{}", &pods), Ok(Patch::Merge(_))));
    assert!(matches!(
        parse("application/merge-patch+json; charset=utf-8", "{}", &pods),
        Ok(Patch::Merge(_))
    ));
    assert!(matches!(
        parse(STRATEGIC, "{}", &pods),
        Ok(Patch::Strategic(_))
    ));
    assert!(matches!(parse(JSON, "[]", &pods), Ok(Patch::Json(_))));
    let refused = parse(STRATEGIC, "{}", &custom()).unwrap_err();
    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (415, "UnsupportedMediaType")
    );
    assert_eq!(
        refused.message,
        "the body of the request was in an unknown format - accepted media types include: \
         application/json-patch+json, application/merge-patch+json"
    );
    assert_eq!(
        parse("application/apply-patch+yaml", "a: b", &pods)
            .unwrap_err()
            .code,
        415
    );
    assert_eq!(parse(MERGE, "[1]", &pods).unwrap_err().code, 400);
    assert_eq!(parse(JSON, "{\"op\": 1}", &pods).unwrap_err().code, 400);
    let many = json!(vec![
        json!({"op": "test", "path": "", "value": 1});
        OPERATIONS_MAX + 1
    ]);
    assert_eq!(parse(JSON, &many.to_string(), &pods).unwrap_err().code, 413);
}

#[test]
fn json_patches_apply_or_say_why_not() {
    let pods = kind("", "pods");
    let current = json!({"metadata": {"labels": {"a": "b"}}});
    let apply = |patch: Value| {
        Patch::parse(JSON, patch.to_string().as_bytes(), &pods)
            .unwrap()
            .apply(&pods, &current)
    };
    let added =
        apply(json!([{"op": "add", "path": "/metadata/labels/c~1d", "value": "e"}])).unwrap();
    assert_eq!(added["metadata"]["labels"], json!({"a": "b", "c/d": "e"}));
    for patch in [
        json!([{"op": "test", "path": "/metadata/labels/a", "value": "x"}]),
        json!([{"op": "remove", "path": "/spec"}]),
        json!([{"op": "replace", "path": "", "value": 1}]),
    ] {
        let refused = apply(patch).unwrap_err();
        assert_eq!((refused.code, refused.reason.as_str()), (422, "Invalid"));
        assert!(
            refused
                .message
                .starts_with("the server rejected our request due to an error in our request: ")
        );
    }
}

#[test]
fn copies_cannot_grow_an_object_without_bound() {
    let pods = kind("", "pods");
    let current = json!({"a": "x".repeat(100_000)});
    let mut operations = Vec::new();
    for step in 0..40 {
        operations.push(json!({"op": "copy", "from": "", "path": format!("/copy{step}")}));
    }
    let body = Value::from(operations).to_string();
    let refused = Patch::parse(JSON, body.as_bytes(), &pods)
        .unwrap()
        .apply(&pods, &current);
    assert_eq!(refused.unwrap_err().code, 422);
}

/// JSON with the names that strategic patches look at.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        proptest::sample::select(vec!["a", "b", "delete", "replace", "merge"])
            .prop_map(Value::from),
    ];
    let names = vec![
        "spec",
        "metadata",
        "containers",
        "name",
        "env",
        "finalizers",
        "volumes",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$deleteFromPrimitiveList/finalizers",
        "image",
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(proptest::sample::select(names.clone()), inner, 0..5)
                .prop_map(|map| map
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect()),
        ]
    })
}

fn fields() -> impl Strategy<Value = Value> {
    json_value().prop_map(|value| {
        if value.is_object() {
            value
        } else {
            json!({ "spec": value })
        }
    })
}

proptest! {
    #[test]
    fn no_patch_panics(current in fields(), patch in fields()) {
        let pods = kind("", "pods");
        let _ = Patch::Strategic(patch.clone()).apply(&pods, &current);
        let _ = Patch::Merge(patch).apply(&pods, &current);
    }

    #[test]
    fn merge_patches_are_idempotent(current in fields(), patch in fields()) {
        let pods = kind("", "pods");
        let patch = Patch::Merge(patch);
        let once = patch.apply(&pods, &current).unwrap();
        prop_assert_eq!(patch.apply(&pods, &once).unwrap(), once);
    }

    #[test]
    fn an_empty_strategic_patch_changes_nothing(current in fields()) {
        let pods = kind("", "pods");
        prop_assert_eq!(Patch::Strategic(json!({})).apply(&pods, &current).unwrap(), current);
    }

    /// The operations between two objects, applied to one, give the other.
    #[test]
    fn json_patches_undo_their_difference(before in fields(), after in fields()) {
        // Built without the crate's `diff` feature: the difference is one replacement.
        let patch = json!([{"op": "replace", "path": "", "value": after}]);
        let pods = kind("", "pods");
        let patch = Patch::parse(JSON, patch.to_string().as_bytes(), &pods).unwrap();
        prop_assert_eq!(patch.apply(&pods, &before).unwrap(), after);
    }
}
