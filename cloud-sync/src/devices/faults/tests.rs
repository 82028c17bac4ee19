use causeway_log::{Resource, Uid};
use causeway_projections::twin::GROUP;
use serde_json::json;

use super::*;
use crate::rig::Rig;

fn key(plural: &str, name: &str) -> Key {
    let uid = Uid::Uuid(uuid::Uuid::from_u128(7));
    Key::new(Resource::new(GROUP, plural), "default", name, uid).unwrap()
}

fn oven(target: &str, label: &str) -> (Key, Value) {
    let key = key("devices", "oven");
    let object = json!({
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "Device",
        "metadata": {"name": "oven", "namespace": "default", "uid": key.uid.to_string(),
            "labels": {"room": label}},
        "spec": {"deviceModelRef": {"name": "heater"},
            "properties": [{"name": "target", "desired": {"value": target}}]},
    });
    (key, object)
}

fn model() -> (Key, Value) {
    let key = key("devicemodels", "heater");
    let object = json!({
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "DeviceModel",
        "metadata": {"name": "heater", "namespace": "default", "uid": key.uid.to_string()},
        "spec": {"properties": [{"name": "target", "type": "INT", "maximum": "30"}]},
    });
    (key, object)
}

#[test]
fn what_a_model_that_comes_later_does_not_allow_is_said_once() {
    let mut rig = Rig::new();
    let mut faults = Faults::default();
    let mut said = |rig: &Rig| {
        let view = rig.machine.view();
        let faults = view.read(|objects| faults.observe(objects));
        faults.into_iter().map(|it| it.what).collect::<Vec<_>>()
    };
    rig.create(oven("99", "a"));
    assert!(said(&rig).is_empty(), "without a model nothing is wrong");
    rig.create(model());
    let first = said(&rig);
    assert_eq!(first.len(), 1);
    assert!(
        first[0].contains("spec.properties[0].desired.value"),
        "{first:?}"
    );
    rig.update(oven("99", "b"));
    assert!(said(&rig).is_empty(), "it was said");
    rig.update(oven("hot", "b"));
    assert_eq!(said(&rig).len(), 1, "something else is wrong");
    rig.update(oven("20", "b"));
    assert!(said(&rig).is_empty());
    rig.update(oven("99", "b"));
    assert_eq!(said(&rig).len(), 1, "it is wrong again");
    let (key_of, mut noted) = oven("20", "b");
    noted["metadata"]["annotations"] = json!({"causeway.dev/history": "target=sometimes"});
    rig.update((key_of, noted));
    let annotation = said(&rig);
    assert!(
        annotation[0].contains("causeway.dev/history"),
        "{annotation:?}"
    );
    rig.delete(&key("devices", "oven")).unwrap();
    assert!(said(&rig).is_empty());
    assert!(faults.told.is_empty());
}
