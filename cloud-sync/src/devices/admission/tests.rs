use serde_json::json;

use super::*;

fn model() -> Value {
    json!({"spec": {"properties": [
        {"name": "target", "type": "FLOAT", "accessMode": "ReadWrite", "minimum": "5", "maximum": "30"},
    ]}})
}

fn device(target: &str, label: &str) -> Value {
    json!({
        "metadata": {"name": "oven", "labels": {"room": label}},
        "spec": {"properties": [{"name": "target", "desired": {"value": target}}]},
    })
}

#[test]
fn a_value_that_the_model_does_not_allow_is_refused_by_its_field() {
    let refused = admit(None, &device("99", "a"), Some(&model())).unwrap_err();
    assert_eq!(refused.code, 422);
    let details = refused.details.unwrap();
    assert_eq!(details.causes[0].field, "spec.properties[0].desired.value");
    assert!(
        refused.message.contains("out of range"),
        "{}",
        refused.message
    );
    assert_eq!(admit(None, &device("20", "a"), Some(&model())), Ok(()));
    // Before its model a device may want anything.
    assert_eq!(admit(None, &device("99", "a"), None), Ok(()));
}

#[test]
fn what_was_wrong_before_stands_in_nobodys_way() {
    let before = device("99", "a");
    assert_eq!(
        admit(Some(&before), &device("99", "b"), Some(&model())),
        Ok(())
    );
    let mut typo = before.clone();
    typo["metadata"]["annotations"] = json!({"causeway.dev/history": "target=al"});
    let refused = admit(Some(&before), &typo, Some(&model())).unwrap_err();
    let field = "metadata.annotations[causeway.dev/history]";
    assert_eq!(refused.details.unwrap().causes[0].field, field);
    let worse = admit(Some(&before), &device("hot", "b"), Some(&model()));
    assert_eq!(worse.unwrap_err().code, 422);
}
