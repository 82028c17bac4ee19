use serde_json::json;

use super::*;

#[test]
fn the_embedded_example_is_well_formed() {
    let mut documents = Vec::new();
    for (name, text) in EXAMPLE.into_iter().chain(DEVICE) {
        parse(name, text, &mut documents).unwrap();
    }
    assert_eq!(pods(&documents).len(), 2);
    let kinds: Vec<_> = documents
        .iter()
        .map(|one| one.object["kind"].as_str().unwrap())
        .collect();
    let wanted = [
        "Namespace",
        "ConfigMap",
        "Secret",
        "Pod",
        "Pod",
        "DeviceModel",
        "Device",
    ];
    assert_eq!(kinds, wanted);
}

#[test]
fn a_cluster_without_devices_is_told_how_to_get_them() {
    let mut applied = Applied::default();
    assert_eq!(applied.hint(), None);
    applied.unknown.insert("Device".to_owned());
    let hint = applied.hint().unwrap();
    assert!(hint.contains("deploy/kubernetes/chart/crds"), "{hint}");
    assert!(Path::new("../deploy/kubernetes/chart/crds").is_dir());
}

#[test]
fn what_is_missing_in_a_manifest_is_named() {
    let mut documents = Vec::new();
    let error = parse("x.yaml", "kind: Pod\n---\n", &mut documents).unwrap_err();
    assert_eq!(error.to_string(), "x.yaml, document 1 has no apiVersion");
    let error = parse("x.yaml", "a: [", &mut documents).unwrap_err();
    assert!(
        error.to_string().starts_with("x.yaml is no YAML"),
        "{error}"
    );
}

#[test]
fn an_object_with_server_fields_covers_its_manifest() {
    let held =
        json!({"metadata": {"name": "a", "uid": "u"}, "spec": {"list": [{"a": 1, "b": 2}, 3]}});
    assert!(covers(
        &held,
        &json!({"metadata": {"name": "a"}, "spec": {"list": [{"a": 1}]}})
    ));
    assert!(!covers(&held, &json!({"metadata": {"name": "b"}})));
    assert!(!covers(&held, &json!({"spec": {"list": [{"a": 1}, 3, 4]}})));
}

#[test]
fn string_data_is_compared_as_it_is_kept() {
    let secret = json!({"stringData": {"password": "open-sesame"}});
    assert_eq!(
        stored_form(&secret),
        json!({"data": {"password": "b3Blbi1zZXNhbWU="}})
    );
    assert_eq!(base64(b""), "");
    assert_eq!(base64(b"f"), "Zg==");
    assert_eq!(base64(b"fo"), "Zm8=");
    assert_eq!(base64(b"foo"), "Zm9v");
}
