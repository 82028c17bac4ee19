use bytes::Bytes;
use serde_json::json;

use super::*;

fn node() -> NodeFacts {
    NodeFacts {
        name: "edge-1".to_owned(),
        address: "10.0.0.7".to_owned(),
    }
}

/// A config object: what it holds, or that it does not exist.
type Known<'a> = (ConfigKind, &'a str, Option<&'a [(&'a str, &'a str)]>);

fn configs(known: &[Known<'_>]) -> Configs {
    let data = |entries: &[(&str, &str)]| {
        let entry = |(key, value): &(&str, &str)| {
            ((*key).to_owned(), Bytes::copy_from_slice(value.as_bytes()))
        };
        entries.iter().map(entry).collect::<ConfigData>()
    };
    let known = known.iter().map(|(kind, name, entries)| {
        let (namespace, name) = ("default".to_owned(), (*name).to_owned());
        (
            ConfigRef {
                kind: *kind,
                namespace,
                name,
            },
            entries.map(data),
        )
    });
    Configs {
        known: known.collect(),
    }
}

fn pod(container: Value) -> Value {
    json!({
        "metadata": {
            "namespace": "default", "name": "web", "uid": "u1",
            "labels": {"app": "web"}, "annotations": {"note": "a \"b\""},
        },
        "spec": {"containers": [container]},
    })
}

fn env(container: Value, configs: &Configs) -> Result<Vec<(String, String)>, Problem> {
    let pod = resolve(&pod(container), configs, &node()).unwrap();
    pod.containers[0].config.clone().map(|config| config.env)
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn references_to_variables_are_expanded_by_kubernetes_rules() {
    let defined = pairs(&[("A", "1"), ("B", "two")]);
    for (text, expanded) in [
        ("plain", "plain"),
        ("$(A) and $(B)", "1 and two"),
        ("$(C)", "$(C)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$", "$"),
        ("$(A", "$(A"),
        ("$A", "$A"),
        ("$((1 + 2))", "$((1 + 2))"),
        ("ü$(A)ü", "ü1ü"),
    ] {
        assert_eq!(env::expand(text, &defined), expanded, "{text}");
    }
}

#[test]
fn the_environment_comes_from_config_in_order_and_later_names_win() {
    let configs = configs(&[
        (
            ConfigKind::ConfigMap,
            "settings",
            Some(&[("MODE", "map"), ("ONLY", "here")]),
        ),
        (ConfigKind::Secret, "keys", Some(&[("KEY", "sesame")])),
    ]);
    let container = json!({
        "name": "main",
        "envFrom": [
            {"configMapRef": {"name": "settings"}},
            {"secretRef": {"name": "keys"}, "prefix": "SECRET_"},
        ],
        "env": [
            {"name": "MODE", "value": "own"},
            {"name": "BOTH", "value": "$(MODE)-$(SECRET_KEY)"},
            {"name": "ONE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "ONLY"}}},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
    });
    let wanted = pairs(&[
        ("MODE", "own"),
        ("ONLY", "here"),
        ("SECRET_KEY", "sesame"),
        ("BOTH", "own-sesame"),
        ("ONE", "here"),
        ("POD", "web"),
        ("APP", "web"),
        ("HOST", "10.0.0.7"),
        ("NODE", "edge-1"),
    ]);
    assert_eq!(env(container, &configs), Ok(wanted));
}

#[test]
fn missing_config_is_said_and_optional_config_is_not_needed() {
    let reference = |optional: bool| {
        json!({"name": "main", "env": [{"name": "A", "valueFrom": {"secretKeyRef":
            {"name": "keys", "key": "k", "optional": optional}}}]})
    };
    let unknown = env(reference(false), &Configs::default()).unwrap_err();
    assert!(unknown.quiet);
    let missing = configs(&[(ConfigKind::Secret, "keys", None)]);
    let problem = env(reference(false), &missing).unwrap_err();
    assert_eq!(problem.reason, "CreateContainerConfigError");
    assert_eq!(problem.message, "secret \"keys\" not found");
    assert_eq!(env(reference(true), &missing), Ok(vec![]));
    let empty = configs(&[(ConfigKind::Secret, "keys", Some(&[]))]);
    let problem = env(reference(false), &empty).unwrap_err();
    assert_eq!(
        problem.message,
        "couldn't find key k in Secret default/keys"
    );
    assert_eq!(env(reference(true), &empty), Ok(vec![]));
}

#[test]
fn all_config_a_pod_refers_to_is_found() {
    let mut object = pod(json!({
        "name": "main",
        "envFrom": [{"configMapRef": {"name": "a"}}],
        "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "b", "key": "k"}}}],
    }));
    object["spec"]["volumes"] = json!([
        {"name": "v1", "configMap": {"name": "c"}},
        {"name": "v2", "secret": {"secretName": "d"}},
        {"name": "v3", "projected": {"sources": [{"configMap": {"name": "e"}}]}},
    ]);
    let names: Vec<String> = references(&object)
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(names, ["a", "c", "e", "b", "d"]);
}

#[test]
fn volumes_hold_keys_fields_and_projections() {
    let configs = configs(&[
        (
            ConfigKind::ConfigMap,
            "settings",
            Some(&[("word", "one"), ("other", "two")]),
        ),
        (ConfigKind::Secret, "keys", Some(&[("key", "sesame")])),
    ]);
    let mut object = pod(json!({"name": "main"}));
    object["spec"]["volumes"] = json!([
        {"name": "some", "configMap": {"name": "settings", "defaultMode": 0o400,
            "items": [{"key": "word", "path": "deep/er/word", "mode": 0o600}]}},
        {"name": "all", "projected": {"sources": [
            {"configMap": {"name": "settings"}},
            {"secret": {"name": "keys"}},
            {"downwardAPI": {"items": [
                {"path": "note", "fieldRef": {"fieldPath": "metadata.annotations"}}]}},
        ]}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "host", "hostPath": {"path": "/var/x", "type": "DirectoryOrCreate"}},
    ]);
    let volumes = resolve(&object, &configs, &node())
        .unwrap()
        .volumes
        .unwrap();
    let files = |volume: &Volume| match &volume.source {
        VolumeSource::Files(files) => files
            .iter()
            .map(|(path, file)| {
                (
                    path.clone(),
                    String::from_utf8_lossy(&file.content).into_owned(),
                )
            })
            .collect(),
        VolumeSource::Empty | VolumeSource::Host { .. } => vec![],
    };
    assert_eq!(files(&volumes[0]), pairs(&[("deep/er/word", "one")]));
    let all = [
        ("key", "sesame"),
        ("note", "note=\"a \\\"b\\\"\""),
        ("other", "two"),
        ("word", "one"),
    ];
    assert_eq!(files(&volumes[1]), pairs(&all));
    assert_eq!(volumes[2].source, VolumeSource::Empty);
    assert_eq!(
        volumes[3].source,
        VolumeSource::Host {
            path: "/var/x".into(),
            create: true
        }
    );
}

#[test]
fn a_volume_path_that_leads_out_is_refused() {
    let configs = configs(&[(ConfigKind::ConfigMap, "settings", Some(&[("word", "one")]))]);
    for path in ["../up", "/root", "a//b", "a/../b", "", "..data"] {
        let mut object = pod(json!({"name": "main"}));
        object["spec"]["volumes"] = json!([{"name": "v", "configMap":
            {"name": "settings", "items": [{"key": "word", "path": path}]}}]);
        assert!(
            resolve(&object, &configs, &node())
                .unwrap()
                .volumes
                .is_err(),
            "{path:?}"
        );
    }
}

#[test]
fn the_spec_hash_is_stable_and_ignores_what_defaulting_adds() {
    let bare = json!({"name": "main", "image": "a", "command": ["x"]});
    let mut defaulted = bare.clone();
    defaulted["imagePullPolicy"] = "IfNotPresent".into();
    defaulted["terminationMessagePath"] = "/dev/termination-log".into();
    let hash = |container: &Value| spec_hash(container);
    assert_eq!(hash(&bare), hash(&defaulted));
    // Kept with running containers: a change of this number restarts all of them on an upgrade.
    assert_eq!(format!("{:016x}", hash(&bare)), "9886ae6b1fa45b74");
    let mut other = bare.clone();
    other["image"] = "b".into();
    assert_ne!(hash(&bare), hash(&other));
}

#[test]
fn grace_and_deletion_are_read() {
    let mut object = pod(json!({"name": "main"}));
    let read = |object: &Value| resolve(object, &Configs::default(), &node()).unwrap();
    assert_eq!(
        (read(&object).grace, read(&object).deletion),
        (Duration::from_secs(30), None)
    );
    object["spec"]["terminationGracePeriodSeconds"] = 5.into();
    object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    assert_eq!(read(&object).deletion, Some(Duration::from_secs(5)));
    object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
    assert_eq!(read(&object).deletion, Some(Duration::ZERO));
}

#[test]
fn what_cannot_be_a_pod_is_refused_with_a_reason() {
    let node = node();
    assert!(resolve(&json!({}), &Configs::default(), &node).is_err());
    let empty = json!({"metadata": {"name": "a", "uid": "b"}, "spec": {"containers": []}});
    assert!(resolve(&empty, &Configs::default(), &node).is_err());
}

fn projected(sources: Value) -> Value {
    let mut object = pod(json!({"name": "main"}));
    object["spec"]["volumes"] =
        json!([{"name": "access", "projected": {"defaultMode": 0o644, "sources": sources}}]);
    object
}

#[test]
fn a_token_is_known_by_pod_volume_and_source() {
    let sources = json!([
        {"configMap": {"name": "c"}},
        {"serviceAccountToken": {"path": "token", "audience": "vault"}},
    ]);
    let object = projected(sources);
    let tokens = references(&object)
        .into_iter()
        .filter(|one| one.kind == ConfigKind::Token);
    let names: Vec<String> = tokens.map(|one| one.name).collect();
    assert_eq!(names, ["u1.access.1"]);
    let issued = json!({"token": "issued", "expiresAt": "2001-01-01T00:00:00Z"});
    let data = config_data(ConfigKind::Token, &issued);
    assert_eq!(data["token"], "issued");
    assert!(config_data(ConfigKind::Token, &json!({"token": ""})).is_empty());
    assert!(config_data(ConfigKind::Token, &json!({"token": 1})).is_empty());
}

#[test]
fn a_token_is_for_the_user_that_the_containers_run_as() {
    let sources = json!([{"serviceAccountToken": {"path": "token"}}]);
    let known = configs(&[(
        ConfigKind::Token,
        "u1.access.0",
        Some(&[("token", "issued")]),
    )]);
    let mode = |object: &Value| {
        let volumes = resolve(object, &known, &node()).unwrap().volumes.unwrap();
        match &volumes[0].source {
            VolumeSource::Files(files) => files["token"].mode,
            VolumeSource::Empty | VolumeSource::Host { .. } => panic!("no files"),
        }
    };
    let mut object = projected(sources);
    assert_eq!(mode(&object), 0o600);
    object["spec"]["containers"][0]["securityContext"] = json!({"runAsUser": 1000});
    assert_eq!(mode(&object), 0o644);
}

#[test]
fn a_token_on_its_way_is_waited_for_quietly_and_unknown_sources_are_told() {
    let token = projected(json!([{"serviceAccountToken": {"path": "token"}}]));
    for known in [&[][..], &[(ConfigKind::Token, "u1.access.0", None)]] {
        let pod = resolve(&token, &configs(known), &node()).unwrap();
        let problem = pod.volumes.unwrap_err();
        assert!(problem.quiet, "{problem:?}");
    }
    let other = projected(json!([{"clusterTrustBundle": {"path": "x"}}]));
    let problem = resolve(&other, &Configs::default(), &node()).unwrap();
    assert!(!problem.volumes.unwrap_err().quiet);
}
