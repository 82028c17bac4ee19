use serde_json::{Value, json};

mod deletes;

use super::*;
use crate::catalog::{Catalog, CustomKind};

fn kind(group: &str, plural: &str) -> ServedKind {
    let catalog = Catalog::builtin();
    let found = catalog.kinds().find(|kind| kind.resource.is(group, plural));
    ServedKind::clone(found.unwrap())
}

fn widget() -> ServedKind {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"size": {"type": "integer", "default": 1}}},
        "status": {"type": "object", "properties": {"seen": {"type": "boolean"}}},
    }});
    let custom = CustomKind {
        schema: Some(schema),
        ..CustomKind::default()
    };
    ServedKind {
        resource: causeway_log::Resource::new("example.io", "widgets"),
        kind: "Widget".into(),
        status_subresource: true,
        custom: Some(std::sync::Arc::new(custom)),
        ..kind("", "configmaps")
    }
}

/// 2026-01-01T00:00:00Z, as an uid of known bytes.
fn context(name: &str) -> Context {
    Context {
        now: WallTime::from_unix_millis(1_767_225_600_000),
        uid: Uuid::from_u128(7),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        field_validation: FieldValidation::Warn,
        authority: Authority::Cloud,
    }
}

fn strict(name: &str) -> Context {
    Context {
        field_validation: FieldValidation::Strict,
        ..context(name)
    }
}

fn pod_manifest() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "a", "image": "nginx:1.27", "ports": [{"containerPort": 80}]}],
            "volumes": [{"name": "c", "configMap": {"name": "conf"}}]}})
}

/// What is served after `prepared` was stored.
fn served(prepared: &Prepared, version: &str) -> Value {
    let mut object = prepared.object.clone();
    object["metadata"]["resourceVersion"] = version.into();
    object
}

fn created(kind: &ServedKind, object: Value) -> Value {
    served(&prepare_create(kind, object, &context("")).unwrap(), "5")
}

fn update(kind: &ServedKind, current: &Value, object: Value) -> Result<Prepared, Status> {
    let name = current["metadata"]["name"].as_str().unwrap();
    prepare_update(kind, current, object, Subresource::Main, &context(name))
}

fn causes(status: Status) -> Vec<String> {
    let causes = status.details.unwrap_or_default().causes.into_iter();
    causes
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect()
}

#[test]
fn a_created_pod_has_identity_defaults_and_a_first_status() {
    let prepared = prepare_create(&kind("", "pods"), pod_manifest(), &strict("")).unwrap();
    let expected = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default", "generation": 1,
            "uid": "00000000-0000-0000-0000-000000000007", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {
            "containers": [{"name": "a", "image": "nginx:1.27", "imagePullPolicy": "IfNotPresent",
                "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
            "volumes": [{"name": "c", "configMap": {"name": "conf", "defaultMode": 420}}],
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "enableServiceLinks": true,
            "schedulerName": "default-scheduler", "securityContext": {},
            "terminationGracePeriodSeconds": 30,
        },
        "status": {"phase": "Pending", "qosClass": "BestEffort"},
    });
    assert_eq!(prepared.object, expected);
    assert_eq!(prepared.warnings, Vec::<String>::new());
}

#[test]
fn bad_creates_are_refused_in_kubernetes_words() {
    let pods = kind("", "pods");
    let with = |extra: Value| {
        let mut object = pod_manifest();
        json_patch::merge(&mut object, &extra);
        object
    };
    let cases = [
        (
            json!([1]),
            400,
            "the body of the request is not a JSON object",
        ),
        (
            with(json!({"apiVersion": "apps/v1"})),
            400,
            "the API version in the data (apps/v1) does not match the expected API version (v1)",
        ),
        (
            with(json!({"kind": "Service"})),
            400,
            "Service in version \"v1\" cannot be handled as a Pod: the kind in the data does not match the kind of the path",
        ),
        (
            with(json!({"metadata": {"namespace": "other"}})),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            with(json!({"metadata": {"resourceVersion": "3"}})),
            400,
            "resourceVersion should not be set on objects to be created",
        ),
        (
            with(json!({"spec": {"containers": {}}})),
            400,
            "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            with(json!({"spec": {"foo": 1}})),
            400,
            "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"spec.foo\"",
        ),
        (
            with(json!({"spec": {"containers": [{"image": "x"}]}})),
            422,
            "Pod \"web\" is invalid: spec.containers[0].name: Required value",
        ),
        (
            with(json!({"metadata": {"name": null}})),
            422,
            "Pod \"\" is invalid: metadata.name: Required value: name or generateName is required",
        ),
    ];
    for (object, code, message) in cases {
        let refused = prepare_create(&pods, object, &strict("")).unwrap_err();
        assert_eq!((refused.code, refused.message.as_str()), (code, message));
    }
}

#[test]
fn unknown_fields_warn_or_go_quietly() {
    let mut object = pod_manifest();
    object["spec"]["foo"] = 1.into();
    let warned = prepare_create(&kind("", "pods"), object.clone(), &context("")).unwrap();
    assert_eq!(warned.warnings, ["unknown field \"spec.foo\""]);
    assert_eq!(warned.object["spec"].get("foo"), None);
    let ignore = Context {
        field_validation: FieldValidation::Ignore,
        ..context("")
    };
    let ignored = prepare_create(&kind("", "pods"), object, &ignore).unwrap();
    assert_eq!(
        (ignored.warnings.len(), ignored.object["spec"].get("foo")),
        (0, None)
    );
}

#[test]
fn names_are_generated_from_the_uid() {
    let object = json!({"metadata": {"generateName": "job-"}});
    let prepared = prepare_create(&kind("", "configmaps"), object, &context("")).unwrap();
    // The last bytes of the uid are 7, 0, 0, 0, 0.
    assert_eq!(prepared.object["metadata"]["name"], "job-kbbbb");
}

#[test]
fn other_kinds_get_their_defaults() {
    let secret = created(
        &kind("", "secrets"),
        json!({"metadata": {"name": "s"}, "data": {"a": "eA=="}, "stringData": {"b": "y"}}),
    );
    assert_eq!(secret["data"], json!({"a": "eA==", "b": "eQ=="}));
    assert_eq!(
        (&secret["type"], secret.get("stringData")),
        (&json!("Opaque"), None)
    );

    let service = created(
        &kind("", "services"),
        json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}),
    );
    assert_eq!(
        service["spec"],
        json!({"type": "ClusterIP", "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}]})
    );

    let cluster = Context {
        namespace: String::new(),
        ..context("")
    };
    let namespace = json!({"metadata": {"name": "demo", "namespace": "x"}});
    let namespace = prepare_create(&kind("", "namespaces"), namespace, &cluster)
        .unwrap()
        .object;
    assert_eq!(
        namespace["metadata"]["labels"],
        json!({"kubernetes.io/metadata.name": "demo"})
    );
    assert_eq!(namespace["metadata"].get("namespace"), None);
    assert_eq!(namespace["status"], json!({"phase": "Active"}));

    let widget = created(
        &widget(),
        json!({"metadata": {"name": "w"}, "spec": {}, "status": {"seen": true}}),
    );
    assert_eq!(
        (&widget["spec"], widget.get("status")),
        (&json!({"size": 1}), None)
    );
}

#[test]
fn a_definition_is_established_at_once() {
    let object = json!({"metadata": {"name": "widgets.example.io"}, "spec": {
        "group": "example.io", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    let definition = created(
        &kind("apiextensions.k8s.io", "customresourcedefinitions"),
        object,
    );
    let names = json!({"plural": "widgets", "kind": "Widget", "singular": "widget", "listKind": "WidgetList"});
    assert_eq!(definition["spec"]["names"], names);
    assert_eq!(definition["status"]["acceptedNames"], names);
    assert_eq!(definition["status"]["storedVersions"], json!(["v1"]));
    let conditions = definition["status"]["conditions"].as_array().unwrap();
    let told: Vec<_> = conditions
        .iter()
        .map(|it| (&it["type"], &it["status"]))
        .collect();
    assert_eq!(
        told,
        [
            (&json!("NamesAccepted"), &json!("True")),
            (&json!("Established"), &json!("True"))
        ]
    );
}

#[test]
fn classes_of_service_follow_resources() {
    let pod = |resources: Value| {
        let mut pod = pod_manifest();
        pod["spec"]["containers"][0]["resources"] = resources;
        created(&kind("", "pods"), pod)["status"]["qosClass"].clone()
    };
    assert_eq!(pod(json!({})), "BestEffort");
    assert_eq!(pod(json!({"requests": {"cpu": "1"}})), "Burstable");
    assert_eq!(
        pod(json!({"limits": {"cpu": "1", "memory": "1Gi"}})),
        "Guaranteed"
    );
}

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
