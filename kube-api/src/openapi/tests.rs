use serde_json::Value;

use super::*;

/// All `$ref`s of a document.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(
                fields
                    .get("$ref")
                    .and_then(Value::as_str)
                    .map(ToOwned::to_owned),
            );
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn resolves(document: &Value) {
    let mut found = Vec::new();
    references(document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_group_version_has_a_document_whose_references_resolve() {
    let catalog = Catalog::builtin();
    let index = v3_index(&catalog);
    for path in index["paths"].as_object().unwrap().keys() {
        let (group, version) = match path.strip_prefix("apis/") {
            Some(rest) => rest.split_once('/').unwrap(),
            None => ("", path.strip_prefix("api/").unwrap()),
        };
        let document = v3_document(&catalog, group, version).unwrap();
        resolves(&document);
    }
    assert_eq!(v3_document(&catalog, "none", "v1"), None);
    resolves(&v2_json(&catalog));
}

/// What kubectl 1.27 and later look at before they leave the check of unknown fields to the server.
#[test]
fn patches_of_every_kind_take_field_validation() {
    let catalog = Catalog::builtin();
    let document = v3_document(&catalog, "apps", "v1").unwrap();
    let patches = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|item| &item["patch"]);
    let found: Vec<&str> = patches
        .filter(|patch| {
            let mut parameters = patch["parameters"].as_array().unwrap().iter();
            parameters.any(|parameter| parameter["name"] == "fieldValidation")
        })
        .filter_map(|patch| patch["x-kubernetes-group-version-kind"]["kind"].as_str())
        .collect();
    for kind in ["Deployment", "DaemonSet", "StatefulSet", "ReplicaSet"] {
        assert!(found.contains(&kind), "{kind}");
    }
}

/// Splits a protobuf message into (field number, bytes) and refuses what is malformed.
fn parts(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let (first, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            number |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                break;
            }
        }
        number
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let length = varint(&mut bytes);
        assert_eq!(tag & 7, 2, "only length-delimited fields are expected here");
        let (part, rest) = bytes.split_at(usize::try_from(length).unwrap());
        bytes = rest;
        found.push((tag >> 3, part));
    }
    found
}

#[test]
fn the_protobuf_document_holds_every_definition() {
    let catalog = Catalog::builtin();
    let bytes = v2_protobuf(&catalog);
    let document = parts(&bytes);
    assert_eq!(document[0], (1, "2.0".as_bytes()));
    let definitions = document.iter().find(|(field, _)| *field == 9).unwrap().1;
    let count = v2_json(&catalog)["definitions"].as_object().unwrap().len();
    let names = parts(definitions);
    assert_eq!(names.len(), count);
    assert!(
        names
            .iter()
            .any(|(_, schema)| { parts(schema)[0] == (1, "io.k8s.api.core.v1.Pod".as_bytes()) })
    );
}
