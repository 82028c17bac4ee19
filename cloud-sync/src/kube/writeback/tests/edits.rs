use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::kube::writeback::diff::{
    applied, apply_configuration, changeable, is_additive, merge_patch, wrote_last,
};

/// What a merge patch does, by RFC 7386.
fn merged(target: &Value, patch: &Value) -> Value {
    let Some(patch) = patch.as_object() else {
        return patch.clone();
    };
    let mut result = target.as_object().cloned().unwrap_or_default();
    for (field, value) in patch {
        if value.is_null() {
            result.remove(field);
        } else {
            let before = result.get(field).cloned().unwrap_or_default();
            result.insert(field.clone(), merged(&before, value));
        }
    }
    Value::Object(result)
}

fn arb_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (0..3_u8).prop_map(Value::from),
        Just(json!([1, 2])),
        Just(json!([]))
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop::collection::btree_map("[a-d]", inner, 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>()))
    })
}

proptest! {
    #[test]
    fn a_patch_makes_what_is_wanted_of_what_is_there(base in arb_value(), wanted in arb_value()) {
        match merge_patch(&base, &wanted) {
            Some(patch) => prop_assert_eq!(merged(&base, &patch), wanted),
            None => prop_assert_eq!(base, wanted),
        }
    }

    /// Where apply stands in for the patch, it says nothing but what is wanted.
    #[test]
    fn a_configuration_is_part_of_what_is_wanted(base in arb_value(), wanted in arb_value()) {
        prop_assume!(base.is_object() && wanted.is_object());
        let Some(patch) = merge_patch(&base, &wanted).filter(is_additive) else {
            return Ok(());
        };
        let owned = json!({"f:a": {}, "f:b": {"f:c": {}}, ".": {}});
        let applied = apply_configuration(&patch, Some(&owned), &wanted);
        prop_assert_eq!(&merged(&wanted, &applied), &wanted);
        prop_assert_eq!(merged(&base, &applied), wanted);
    }
}

#[test]
fn apply_keeps_what_it_applied_before() {
    let wanted = json!({"data": {"a": "1", "b": "2", "c": "3"}});
    let owned = json!({"f:data": {"f:a": {}}});
    let configuration = apply_configuration(&json!({"data": {"b": "2"}}), Some(&owned), &wanted);
    assert_eq!(configuration, json!({"data": {"a": "1", "b": "2"}}));
}

#[test]
fn only_what_sets_fields_of_maps_is_for_apply() {
    assert!(is_additive(&json!({"data": {"a": "1"}})));
    assert!(!is_additive(&json!({"data": {"a": null}})), "a removal");
    assert!(
        !is_additive(&json!({"spec": {"list": [1]}})),
        "a part of a list"
    );
}

#[test]
fn the_manager_that_wrote_last_is_known_by_time() {
    let object = |ours: &str, theirs: &str| {
        json!({"metadata": {"managedFields": [
            {"manager": "causeway/n1", "operation": "Apply", "time": ours, "fieldsV1": {"f:data": {}}},
            {"manager": "kubectl", "operation": "Update", "time": theirs, "fieldsV1": {}},
            {"manager": "late", "operation": "Update", "time": "9", "subresource": "status"},
        ]}})
    };
    let manager = "causeway/n1";
    for (object, fields, is_ours) in [
        (object("2", "1"), Some(json!({"f:data": {}})), true),
        (object("1", "1"), Some(json!({"f:data": {}})), true),
        (object("1", "2"), Some(json!({"f:data": {}})), false),
        (json!({}), None, false),
        (
            json!({"metadata": {"managedFields": [7, null]}}),
            None,
            false,
        ),
    ] {
        assert_eq!(applied(&object, manager), fields.as_ref());
        assert_eq!(wrote_last(&object, manager), is_ours, "{object}");
    }
}

#[test]
fn an_update_changes_no_status_and_no_identity() {
    let object = json!({"metadata": {"uid": "u", "labels": {"a": "b"}, "generation": 3}, "status": {}, "spec": {"x": 1}});
    assert_eq!(
        changeable(&object),
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"x": 1}})
    );
    assert_eq!(changeable(&json!([])), json!({}));
}
