use serde_json::{Value, json};

use super::*;
use crate::catalog::{Catalog, CustomKind};

fn kind(group: &str, plural: &str) -> ServedKind {
    let catalog = Catalog::builtin();
    let found = catalog.kinds().find(|kind| kind.resource.is(group, plural));
    ServedKind::clone(found.unwrap())
}

fn widget(schema: Value) -> ServedKind {
    let custom = CustomKind {
        schema: Some(schema),
        ..CustomKind::default()
    };
    ServedKind {
        resource: causeway_log::Resource::new("example.io", "widgets"),
        version: "v1".into(),
        kind: "Widget".into(),
        list_kind: "WidgetList".into(),
        singular: "widget".into(),
        custom: Some(std::sync::Arc::new(custom)),
        ..kind("", "configmaps")
    }
}

fn pod(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec})
}

/// Causes as `field: message`.
fn told(kind: &ServedKind, object: &Value) -> Vec<String> {
    let causes = validate(kind, object);
    causes
        .into_iter()
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect()
}

#[test]
fn every_served_kind_has_a_schema() {
    for kind in Catalog::builtin().kinds() {
        let known = model::model().kind(&kind.api_version(), &kind.kind);
        assert!(known.is_some(), "{} {}", kind.api_version(), kind.kind);
    }
    assert!(
        model::model()
            .kinds()
            .all(|(_, _, schema)| schema.field("metadata").is_some())
    );
}

#[test]
fn wrong_types_are_told_in_the_words_of_the_decoder() {
    let cases = [
        (
            json!({"containers": "web"}),
            "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            json!({"containers": [{"name": "a", "image": 5}]}),
            "json: cannot unmarshal number into Go struct field Container.spec.containers.image of type string",
        ),
        (
            json!({"containers": [{"name": "a", "env": [{"name": "A", "value": true}]}]}),
            "json: cannot unmarshal bool into Go struct field EnvVar.spec.containers.env.value of type string",
        ),
        (
            json!({"terminationGracePeriodSeconds": "30"}),
            "json: cannot unmarshal string into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type int64",
        ),
        (
            json!({"containers": [{"ports": [{"containerPort": 4_294_967_296_i64}]}]}),
            "json: cannot unmarshal number 4294967296 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
        ),
        (
            json!({"nodeSelector": {"a": 1}}),
            "json: cannot unmarshal number into Go struct field PodSpec.spec.nodeSelector of type string",
        ),
        (
            json!({"containers": [{"resources": {"limits": {"cpu": "lots"}}}]}),
            quantity::MALFORMED,
        ),
        (
            json!([]),
            "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec",
        ),
    ];
    for (spec, expected) in cases {
        let found = decode(&kind("", "pods"), &mut pod(spec));
        assert_eq!(found, Err(expected.to_owned()));
    }
    let mut secret = json!({"data": {"a": "not base64"}});
    let found = decode(&kind("", "secrets"), &mut secret);
    assert_eq!(found, Err("illegal base64 data at input byte 3".to_owned()));
}

#[test]
fn unknown_fields_and_nulls_are_dropped_and_the_former_told() {
    let mut object = pod(json!({
        "replicas": 3,
        "hostname": null,
        "containers": [{"name": "a", "imagee": "x", "command": ["sh", null]}],
        "nodeSelector": {"a": null, "b": "c"},
    }));
    let unknown = decode(&kind("", "pods"), &mut object).unwrap();
    assert_eq!(unknown, ["spec.containers[0].imagee", "spec.replicas"]);
    let expected = json!({
        "containers": [{"name": "a", "command": ["sh", ""]}],
        "nodeSelector": {"b": "c"},
    });
    assert_eq!(object["spec"], expected);
}

#[test]
fn invalid_pods_are_told_field_by_field() {
    let container = |extra: Value| {
        let mut container = json!({"name": "a", "image": "i"});
        json_patch::merge(&mut container, &extra);
        json!({ "containers": [container] })
    };
    let cases = [
        (json!({}), "spec.containers: Required value".to_owned()),
        (json!({"containers": [{"image": "i"}]}), "spec.containers[0].name: Required value".to_owned()),
        (json!({"containers": [{"name": "a"}]}), "spec.containers[0].image: Required value".to_owned()),
        (
            json!({"containers": [{"name": "A_b", "image": "i"}]}),
            format!("spec.containers[0].name: Invalid value: \"A_b\": {}", names::label("A_b").unwrap_err()),
        ),
        (
            json!({"containers": [{"name": "a", "image": "i"}, {"name": "a", "image": "i"}]}),
            "spec.containers[1].name: Duplicate value: \"a\"".to_owned(),
        ),
        (
            container(json!({"imagePullPolicy": "Sometimes"})),
            "spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\"".to_owned(),
        ),
        (
            container(json!({"ports": [{"containerPort": 70000}]})),
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive".to_owned(),
        ),
        (
            container(json!({"volumeMounts": [{"name": "data", "mountPath": "/d"}]})),
            "spec.containers[0].volumeMounts[0].name: Not found: \"data\"".to_owned(),
        ),
        (
            container(json!({"env": [{"name": "1A", "value": "x"}]})),
            format!("spec.containers[0].env[0].name: Invalid value: \"1A\": {}", names::env_name("1A").unwrap_err()),
        ),
        (
            container(json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}})),
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1500m".to_owned(),
        ),
        (
            container(json!({"resources": {"limits": {"memory": "-1"}}})),
            "spec.containers[0].resources.limits[memory]: Invalid value: \"-1\": must be greater than or equal to 0".to_owned(),
        ),
        (
            container(json!({"livenessProbe": {"periodSeconds": 3}})),
            "spec.containers[0].livenessProbe: Required value: must specify a handler type".to_owned(),
        ),
    ];
    for (spec, expected) in cases {
        let found = told(&kind("", "pods"), &pod(spec.clone()));
        assert_eq!(found, [expected], "{spec}");
    }
}

#[test]
fn invalid_metadata_is_told() {
    let object = json!({"metadata": {
        "name": "Web",
        "labels": {"a b": "c", "d": "e f"},
        "annotations": {"x/y/z": ""},
    }});
    let found = told(&kind("", "configmaps"), &object);
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(
        found[0]
            .starts_with("metadata.name: Invalid value: \"Web\": a lowercase RFC 1123 subdomain")
    );
    assert!(
        found[1].starts_with("metadata.annotations: Invalid value: \"x/y/z\": a qualified name")
    );
    assert!(
        found[2].starts_with("metadata.labels: Invalid value: \"a b\": name part must consist")
    );
    assert!(found[3].starts_with("metadata.labels: Invalid value: \"e f\": a valid label must be"));
    let unnamed = told(&kind("", "configmaps"), &json!({"metadata": {}}));
    assert_eq!(
        unnamed,
        ["metadata.name: Required value: name or generateName is required"]
    );
}

#[test]
fn rules_between_fields_are_told() {
    let named = |extra: Value| {
        let mut object = json!({"metadata": {"name": "a"}});
        json_patch::merge(&mut object, &extra);
        object
    };
    let template = json!({"metadata": {"labels": {"app": "b"}},
        "spec": {"containers": [{"name": "a", "image": "i"}], "restartPolicy": "Never"}});
    let cases = [
        (
            kind("", "configmaps"),
            named(json!({"data": {"a/b": ""}})),
            "data[a/b]: Invalid value: \"a/b\": a valid config key must consist of",
        ),
        (
            kind("", "secrets"),
            named(json!({"type": "kubernetes.io/tls"})),
            "data[tls.crt]: Required value",
        ),
        (
            kind("", "services"),
            named(json!({"spec": {"type": "ClusterIP"}})),
            "spec.ports: Required value",
        ),
        (
            kind("apps", "deployments"),
            named(
                json!({"spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template}}),
            ),
            "spec.template.metadata.labels: Invalid value: {\"app\":\"b\"}: `selector` does not match template `labels`",
        ),
        (
            kind("batch", "jobs"),
            named(
                json!({"spec": {"template": {"spec": {"restartPolicy": "Always",
                "containers": [{"name": "a", "image": "i"}]}}}}),
            ),
            "spec.template.spec.restartPolicy: Unsupported value: \"Always\": supported values: \"OnFailure\", \"Never\"",
        ),
        (
            kind("apiextensions.k8s.io", "customresourcedefinitions"),
            named(
                json!({"spec": {"group": "example.io", "scope": "Namespaced",
                "names": {"plural": "widgets", "kind": "Widget"},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object"}}}]}}),
            ),
            "metadata.name: Invalid value: \"a\": must be spec.names.plural+\".\"+spec.group",
        ),
    ];
    for (kind, object, expected) in cases {
        let found = told(&kind, &object);
        assert!(
            found.iter().any(|it| it.starts_with(expected)),
            "{found:?} lacks {expected}"
        );
    }
}

fn widget_schema() -> Value {
    json!({"type": "object", "required": ["spec"], "properties": {
        "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1, "maximum": 10},
            "mode": {"type": "string", "enum": ["fast", "slow"], "default": "slow"},
            "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
            "port": {"x-kubernetes-int-or-string": true},
            "note": {"type": "string", "nullable": true},
            "tags": {"type": "object", "additionalProperties": {"type": "string"}},
            "parts": {"type": "array", "minItems": 1, "items": {"type": "object",
                "properties": {"weight": {"type": "number", "default": 1.5}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }},
    }})
}

#[test]
fn custom_objects_are_pruned_defaulted_and_checked() {
    let kind = widget(widget_schema());
    let mut object = json!({
        "apiVersion": "example.io/v1", "kind": "Widget",
        "metadata": {"name": "w", "colour": "red"},
        "spec": {"size": 3, "odd": 1, "parts": [{"weight": 2}, {"x": 1}], "free": {"y": 1}, "note": null},
    });
    let unknown = decode(&kind, &mut object).unwrap();
    assert_eq!(unknown, ["metadata.colour", "spec.odd", "spec.parts[1].x"]);
    custom::default(
        kind.custom.as_ref().unwrap().schema.as_ref().unwrap(),
        &mut object,
    );
    let expected = json!({"size": 3, "mode": "slow", "note": null,
        "parts": [{"weight": 2}, {"weight": 1.5}], "free": {"y": 1}});
    assert_eq!(object["spec"], expected);
    assert_eq!(validate(&kind, &object), []);
}

#[test]
fn invalid_custom_objects_are_told_field_by_field() {
    let cases = [
        (json!({}), "spec.size: Required value"),
        (
            json!({"size": "x"}),
            "spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\"",
        ),
        (
            json!({"size": 0}),
            "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
        ),
        (
            json!({"size": 1, "mode": "odd"}),
            "spec.mode: Unsupported value: \"odd\": supported values: \"fast\", \"slow\"",
        ),
        (
            json!({"size": 1, "name": "A"}),
            "spec.name: Invalid value: \"A\": spec.name in body should match '^[a-z]+$'",
        ),
        (
            json!({"size": 1, "name": "abcdef"}),
            "spec.name: Too long: may not be more than 5 bytes",
        ),
        (
            json!({"size": 1, "tags": {"a": 1}}),
            "spec.tags[a]: Invalid value: \"integer\": spec.tags[a] in body must be of type string: \"integer\"",
        ),
        (
            json!({"size": 1, "parts": []}),
            "spec.parts: Invalid value: 0: spec.parts in body should have at least 1 items",
        ),
        (
            json!({"size": 1, "port": true}),
            "spec.port: Invalid value: \"boolean\": spec.port in body must be of type integer,string: \"boolean\"",
        ),
    ];
    let kind = widget(widget_schema());
    for (spec, expected) in cases {
        let object = json!({"metadata": {"name": "w"}, "spec": spec});
        assert_eq!(told(&kind, &object), [expected]);
    }
}

#[test]
fn quantities_compare_across_units() {
    let read = |text| quantity::Quantity::parse(text);
    for (one, other) in [
        ("1", "1000m"),
        ("1Ki", "1024"),
        ("0.5", "500m"),
        ("1e3", "1k"),
        ("2Gi", "2048Mi"),
        ("+1", "1"),
    ] {
        assert!(read(one).is_some());
        assert_eq!(read(one), read(other), "{one} {other}");
    }
    assert!(read("100Mi") < read("0.1Gi"));
    for malformed in ["", ".", "1.2.3", "1 Gi", "Gi", "1KiB", "--1", "1e"] {
        assert_eq!(read(malformed), None, "{malformed}");
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    pub(super) fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z./$-]{0,8}".prop_map(Value::from),
        ];
        let key = prop_oneof![
            3 => proptest::sample::select(vec![
                "metadata", "name", "spec", "containers", "env", "volumes", "status", "data",
                "labels", "ports", "resources", "limits",
            ]).prop_map(ToOwned::to_owned),
            1 => "[a-z]{1,4}",
        ];
        leaf.prop_recursive(5, 48, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(key.clone(), inner, 0..5)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        /// Whatever a client sends is answered, and what was decoded decodes again without loss.
        #[test]
        fn any_json_is_answered(object in json()) {
            for (group, plural) in [("", "pods"), ("", "secrets"), ("apps", "deployments")] {
                let kind = kind(group, plural);
                let mut decoded = object.clone();
                if decode(&kind, &mut decoded).is_ok() {
                    let again = decoded.clone();
                    prop_assert_eq!(decode(&kind, &mut decoded), Ok(Vec::new()));
                    prop_assert_eq!(&decoded, &again);
                    validate(&kind, &decoded);
                }
            }
            let kind = widget(widget_schema());
            let mut decoded = object;
            let _ = decode(&kind, &mut decoded);
            validate(&kind, &decoded);
        }
    }
}
