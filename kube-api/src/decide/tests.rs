mod deletes;
mod updates;

use serde_json::{Value, json};

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
fn definitions_warn_of_rules_that_are_not_evaluated() {
    let object = json!({"metadata": {"name": "widgets.example.io"}, "spec": {
        "group": "example.io", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
            "type": "object", "x-kubernetes-validations": [{"rule": "true"}],
            "properties": {"a": {"type": "string", "pattern": "(?=a)"}}}}}]}});
    let definitions = kind("apiextensions.k8s.io", "customresourcedefinitions");
    let prepared = prepare_create(&definitions, object, &strict("")).unwrap();
    assert_eq!(
        prepared.warnings,
        [
            "spec.versions[0].schema.openAPIV3Schema: pattern \"(?=a)\" cannot be read and is not checked",
            "spec.versions[0].schema.openAPIV3Schema: x-kubernetes-validations are stored but not evaluated",
        ]
    );
}
