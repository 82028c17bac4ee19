use serde_json::json;

use super::*;

fn device(annotations: &Value) -> Value {
    json!({
        "metadata": {"name": "oven", "annotations": annotations},
        "spec": {"properties": [{"name": "target", "desired": {"value": "20"}}]},
    })
}

fn told(annotations: &Value) -> Vec<String> {
    let model = json!({"spec": {"properties": [
        {"name": "target", "type": "INT"}, {"name": "is", "type": "INT"},
    ]}});
    let errors = mistakes(&device(annotations), Some(&model));
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn annotations_that_nobody_can_read_are_told_by_their_names() {
    let right = json!({
        HISTORY_ANNOTATION: "is=all, target=change:0.5, *=latest",
        CHANGE_ANNOTATION: "is=change:1",
        INTERVAL_ANNOTATION: "30s",
        "somebody.else/history": "is",
    });
    assert!(told(&right).is_empty());
    let wrong = json!({
        HISTORY_ANNOTATION: "is=every:10",
        CHANGE_ANNOTATION: "is",
        INTERVAL_ANNOTATION: "soon",
    });
    let told = told(&wrong);
    let fields = told.iter().map(|told| told.split(": ").next().unwrap());
    let expected = [
        "metadata.annotations[causeway.dev/history]",
        "metadata.annotations[causeway.dev/status-change]",
        "metadata.annotations[causeway.dev/status-interval]",
    ];
    assert_eq!(fields.collect::<Vec<_>>(), expected);
    assert!(told[0].contains("\"is=every:10\": expected"), "{told:?}");
    assert!(
        told[2].contains("\"soon\" must be a whole number"),
        "{told:?}"
    );
}

#[test]
fn a_policy_for_a_property_that_is_not_there_is_a_mistake_once_there_is_a_model() {
    let typo = json!({HISTORY_ANNOTATION: "iss=all"});
    let what = "metadata.annotations[causeway.dev/history]: the device has no property \"iss\"";
    assert_eq!(told(&typo), [what]);
    assert!(mistakes(&device(&typo), None).is_empty());
}
