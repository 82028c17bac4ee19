use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn an_update_to_the_same_changes_nothing() {
    let pods = kind("", "pods");
    let current = created(&pods, pod_manifest());
    // As it is served, as the manifest says, and without a version.
    for object in [current.clone(), pod_manifest()] {
        let prepared = update(&pods, &current, object).unwrap();
        assert!(prepared.unchanged, "{prepared:?}");
        assert_eq!(prepared.object["metadata"].get("resourceVersion"), None);
    }
}

#[test]
fn updates_keep_identity_and_status_and_count_generations() {
    let pods = kind("", "pods");
    let mut current = created(&pods, pod_manifest());
    current["status"]["phase"] = "Running".into();
    let mut object = current.clone();
    object["spec"]["containers"][0]["image"] = "nginx:1.28".into();
    object["status"] = json!({"phase": "Failed"});
    object["metadata"]["managedFields"] = json!([{}]);
    object["metadata"]["annotations"] = json!({"causeway.dev/pending": "true"});
    let prepared = update(&pods, &current, object).unwrap();
    assert!(!prepared.unchanged);
    assert_eq!(prepared.object["status"]["phase"], "Running");
    assert_eq!(
        prepared.object["spec"]["containers"][0]["image"],
        "nginx:1.28"
    );
    let mut metadata = current["metadata"].clone();
    metadata["generation"] = 2.into();
    metadata.as_object_mut().unwrap().remove("resourceVersion");
    assert_eq!(prepared.object["metadata"], metadata);
}

#[test]
fn status_writes_change_status_alone() {
    let pods = kind("", "pods");
    let current = created(&pods, pod_manifest());
    let mut object = current.clone();
    object["spec"]["hostname"] = "other".into();
    object["metadata"]["labels"] = json!({"a": "b"});
    object["status"]["phase"] = "Running".into();
    let prepared = prepare_update(
        &pods,
        &current,
        object,
        Subresource::Status,
        &context("web"),
    )
    .unwrap();
    let mut expected = current;
    expected["status"]["phase"] = "Running".into();
    expected["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    assert_eq!(prepared.object, expected);
}

#[test]
fn stale_and_misplaced_updates_are_refused() {
    let pods = kind("", "pods");
    let current = created(&pods, pod_manifest());
    let with = |path: &str, value: &str| {
        let mut object = current.clone();
        *object.pointer_mut(path).unwrap() = value.into();
        object
    };
    let cases = [
        (
            with("/metadata/resourceVersion", "4"),
            409,
            "Operation cannot be fulfilled on pods \"web\": the object has been modified; please apply your changes to the latest version and try again",
        ),
        (
            with("/metadata/uid", "x"),
            409,
            "Operation cannot be fulfilled on pods \"web\": Precondition failed: UID in precondition: x, UID in object meta: 00000000-0000-0000-0000-000000000007",
        ),
        (
            with("/metadata/name", "other"),
            400,
            "the name of the object (other) does not match the name on the URL (web)",
        ),
        (
            with("/metadata/creationTimestamp", "2020-01-01T00:00:00Z"),
            422,
            "Pod \"web\" is invalid: metadata.creationTimestamp: Invalid value: \"2020-01-01T00:00:00Z\": field is immutable",
        ),
    ];
    for (object, code, message) in cases {
        let refused = update(&pods, &current, object).unwrap_err();
        assert_eq!((refused.code, refused.message.as_str()), (code, message));
    }
    let widgets = widget();
    let current = created(&widgets, json!({"metadata": {"name": "w"}}));
    let refused = update(&widgets, &current, json!({"metadata": {"name": "w"}})).unwrap_err();
    assert_eq!(
        causes(refused),
        ["metadata.resourceVersion: Invalid value: 0: must be specified for an update"]
    );
}

#[test]
fn immutable_fields_stay() {
    let changed = |kind: &ServedKind, object: Value, patch: Value| {
        let current = created(kind, object);
        let mut object = current.clone();
        json_patch::merge(&mut object, &patch);
        update(kind, &current, object).map(|_| ()).map_err(causes)
    };
    let pods = kind("", "pods");
    let refused = changed(&pods, pod_manifest(), json!({"spec": {"hostname": "x"}})).unwrap_err();
    assert!(
        refused[0].starts_with("spec: Forbidden: pod updates may not change fields other than")
    );
    assert!(refused[0].ends_with("changed: spec.hostname"));
    let toleration = json!({"spec": {"tolerations": [{"key": "a", "operator": "Exists"}]}});
    assert_eq!(changed(&pods, pod_manifest(), toleration), Ok(()));
    assert_eq!(
        changed(
            &pods,
            pod_manifest(),
            json!({"spec": {"activeDeadlineSeconds": 5}})
        ),
        Ok(())
    );

    let frozen = json!({"metadata": {"name": "c"}, "data": {"a": "b"}, "immutable": true});
    assert_eq!(
        changed(&kind("", "configmaps"), frozen, json!({"data": {"a": "c"}})),
        Err(vec![
            "data: Forbidden: field is immutable when `immutable` is set".to_owned()
        ])
    );
    let secret = json!({"metadata": {"name": "s"}});
    assert_eq!(
        changed(&kind("", "secrets"), secret, json!({"type": "x"})),
        Err(vec![
            "type: Invalid value: \"x\": field is immutable".to_owned()
        ])
    );
    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b", "c": "d"}},
            "spec": {"containers": [{"name": "a", "image": "i"}]}}}});
    let other = json!({"spec": {"selector": {"matchLabels": {"a": null, "c": "d"}}}});
    assert_eq!(
        changed(&kind("apps", "deployments"), deployment, other),
        Err(vec![
            "spec.selector: Invalid value: {\"matchLabels\":{\"c\":\"d\"}}: field is immutable"
                .to_owned()
        ])
    );
}

#[test]
fn patches_are_updates() {
    let pods = kind("", "pods");
    let current = created(&pods, pod_manifest());
    let patch = |body: Value, context: &Context| {
        prepare_patch(
            &pods,
            &current,
            &Patch::Strategic(body),
            Subresource::Main,
            context,
        )
    };
    let labelled = patch(json!({"metadata": {"labels": {"a": "b"}}}), &strict("web")).unwrap();
    assert_eq!(labelled.object["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(labelled.object["metadata"]["generation"], 1);
    let stale = patch(
        json!({"metadata": {"resourceVersion": "1"}}),
        &context("web"),
    )
    .unwrap_err();
    assert_eq!(stale.code, 409);
    let unknown = patch(json!({"spec": {"foo": 1}}), &strict("web")).unwrap_err();
    assert_eq!(unknown.code, 422);
    assert!(
        unknown
            .message
            .ends_with("strict decoding error: unknown field \"spec.foo\"")
    );
    let warned = patch(json!({"spec": {"foo": 1}}), &context("web")).unwrap();
    assert!(warned.unchanged);
    assert_eq!(warned.warnings, ["unknown field \"spec.foo\""]);
}

#[test]
fn what_was_wrong_before_does_not_stop_an_update() {
    let pods = kind("", "pods");
    let mut current = created(&pods, pod_manifest());
    current["spec"]["priorityClassName"] = "x".into();
    current["spec"]["containers"][0]["name"] = "Not_A_Label".into();
    let mut labelled = current.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    assert!(!update(&pods, &current, labelled).unwrap().unchanged);
    let mut worse = current.clone();
    worse["metadata"]["labels"] = json!({"a b": "c"});
    let told = causes(update(&pods, &current, worse).unwrap_err());
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("metadata.labels: Invalid value: \"a b\""));
}

/// Fragments that may stand anywhere in a manifest, well formed or not.
fn fragment() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1..70_000_i64).prop_map(Value::from),
        proptest::sample::select(vec!["", "a", "100m", "Always", "x/y", "Ünïcode"])
            .prop_map(Value::from),
    ];
    let names = vec![
        "metadata",
        "labels",
        "annotations",
        "finalizers",
        "generateName",
        "spec",
        "containers",
        "name",
        "image",
        "env",
        "value",
        "ports",
        "containerPort",
        "resources",
        "limits",
        "cpu",
        "volumes",
        "emptyDir",
        "restartPolicy",
        "hostNetwork",
        "status",
        "data",
        "immutable",
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            3 => proptest::collection::btree_map(proptest::sample::select(names.clone()), inner, 0..5)
                .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    /// Every request is answered; and what was created, put back as it is served, changes nothing.
    #[test]
    fn what_is_served_can_be_put_back(extra in fragment()) {
        for (group, plural) in [("", "pods"), ("", "configmaps"), ("", "secrets"), ("", "services")] {
            let kind = kind(group, plural);
            let mut object = json!({"metadata": {"name": "a"}});
            if plural == "pods" {
                object = pod_manifest();
            }
            json_patch::merge(&mut object, &extra);
            let Ok(prepared) = prepare_create(&kind, object, &context("")) else { continue };
            let current = served(&prepared, "5");
            let again = update(&kind, &current, current.clone()).unwrap();
            prop_assert!(again.unchanged, "{} became {}", current, again.object);
        }
    }
}
