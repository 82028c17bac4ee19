use causeway_kube_api::{Change, Expected, Write};
use causeway_log::{Key, Op, Resource, Slot, Store as _, StreamId, Uid};
use causeway_projections::twin::{Desired, GROUP};
use serde_json::{Value, json};

use crate::cluster::{EDGE_LABEL, Seen};
use crate::rig::{Rig, node};

fn key_of(plural: &str, name: &str, life: u128) -> Key {
    let uid = Uid::Uuid(uuid::Uuid::from_u128(life));
    Key::new(Resource::new(GROUP, plural), "default", name, uid).unwrap()
}

/// The device `oven` at a node, and what is wanted of its property `target`.
fn oven(on: &str, target: &str) -> (Key, Value) {
    let key = key_of("devices", "oven", 7);
    let object = json!({
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "Device",
        "metadata": {"name": "oven", "namespace": "default", "uid": key.uid.to_string()},
        "spec": {
            "nodeName": on,
            "deviceModelRef": {"name": "heater"},
            "properties": [{"name": "target", "desired": {"value": target}}, {"name": "is"}],
        },
    });
    (key, object)
}

/// What a node was told last: value and version of `target`.
fn told(rig: &Rig, on: &str) -> Option<(Option<String>, u64)> {
    let (key, _) = oven(on, "");
    let twin = rig.newest_down(on, &key, Slot::Twin)?;
    if twin.record.body.is_empty() {
        return None;
    }
    let desired = Desired::decode(twin.record.body.bytes()).unwrap();
    let target = desired.properties.get("target")?;
    let value = target.value.as_ref().map(|it| it.value.to_string());
    Some((value, target.version.get()))
}

fn twins(rig: &Rig, on: &str) -> usize {
    let down = rig.down(on);
    down.iter().filter(|it| it.starts_with("Twin")).count()
}

#[test]
fn what_is_wanted_goes_down_after_the_device_in_one_batch() {
    let mut rig = Rig::new();
    rig.create(oven("n1", "20"));
    assert_eq!(
        rig.down("n1"),
        [
            "Put namespaces/default",
            "Put customresourcedefinitions.apiextensions.k8s.io/devicemodels.devices.kubeedge.io",
            "Put customresourcedefinitions.apiextensions.k8s.io/devices.devices.kubeedge.io",
            "Put customresourcedefinitions.apiextensions.k8s.io/devicestatuses.devices.kubeedge.io",
            "Put devices.devices.kubeedge.io/default/oven",
            "Twin devices.devices.kubeedge.io/default/oven",
        ],
    );
    let (value, first) = told(&rig, "n1").unwrap();
    assert_eq!(value.as_deref(), Some("20"));
    rig.update(oven("n1", "21"));
    let (value, second) = told(&rig, "n1").unwrap();
    assert_eq!(value.as_deref(), Some("21"));
    assert!(second > first);
    rig.update(oven("n1", ""));
    assert_eq!(told(&rig, "n1").unwrap().0, None, "a tombstone");
}

#[test]
fn a_change_of_something_else_tells_nothing_anew() {
    let mut rig = Rig::new();
    let (key, mut device) = oven("n1", "20");
    rig.create((key.clone(), device.clone()));
    device["metadata"]["labels"] = json!({"room": "kitchen"});
    rig.update((key, device));
    assert_eq!(twins(&rig, "n1"), 1);
    let (_, version) = told(&rig, "n1").unwrap();
    // The record of the wishes is still the one that came with the first.
    let (key, _) = oven("n1", "");
    let stored = |slot| rig.newest_down("n1", &key, slot).unwrap().revision;
    assert!(stored(Slot::Twin) < stored(Slot::Object));
    assert!(version < stored(Slot::Object).get());
}

#[test]
fn two_changes_in_a_round_are_counted_one_after_the_other() {
    let mut rig = Rig::new();
    let (key, device) = oven("n1", "20");
    let mut batch = causeway_log::Batch::default();
    let machine = &mut rig.machine;
    machine.put(&mut batch, &key, device, None).unwrap();
    for target in ["21", "20"] {
        let (key, device) = oven("n1", target);
        machine.put(&mut batch, &key, device, None).unwrap();
    }
    let documents = batch.entries.iter().filter(|it| it.draft.op == Op::Twin);
    let versions: Vec<u64> = documents
        .map(|it| Desired::decode(it.draft.body.bytes()).unwrap())
        .map(|it| it.properties.version().get())
        .collect();
    assert_eq!(versions.len(), 3);
    assert!(
        versions.is_sorted_by(|one, next| one < next),
        "{versions:?}"
    );
    assert!(rig.commit(&batch));
}

#[test]
fn a_device_that_moves_away_and_back_is_told_of_anew_with_a_larger_version() {
    let mut rig = Rig::new();
    rig.create(oven("n1", "20"));
    let (_, first) = told(&rig, "n1").unwrap();
    rig.update(oven("n2", "20"));
    assert!(told(&rig, "n2").is_some());
    rig.update(oven("n1", "20"));
    let (value, second) = told(&rig, "n1").unwrap();
    assert_eq!(value.as_deref(), Some("20"));
    assert!(second > first, "{second} > {first}");
    let (key, _) = oven("n2", "");
    let newest = rig.newest_down("n2", &key, Slot::Object).unwrap();
    assert_eq!(newest.record.header.op, Op::Delete);
}

#[test]
fn another_life_of_a_device_is_another_document() {
    let mut rig = Rig::new();
    let (key, _) = rig.create_oven("n1", "20");
    rig.delete(&key).unwrap();
    let (_, mut device) = oven("n1", "20");
    let second = key_of("devices", "oven", 8);
    device["metadata"]["uid"] = json!(second.uid.to_string());
    rig.create((second.clone(), device));
    let twin = rig.newest_down("n1", &second, Slot::Twin).unwrap();
    let desired = Desired::decode(twin.record.body.bytes()).unwrap();
    assert!(desired.properties.value("target").is_some());
}

impl Rig {
    fn create_oven(&mut self, on: &str, target: &str) -> (Key, Value) {
        let oven = oven(on, target);
        self.create(oven.clone());
        oven
    }
}

#[test]
fn a_store_without_documents_gets_them_at_the_next_start() {
    let mut rig = Rig::new();
    let (key, device) = oven("n1", "20");
    rig.create((key.clone(), device));
    // As a program that knew no twins left it.
    let stream = StreamId::down(node("n1"));
    let draft = rig.draft(&key, Op::Twin, b"");
    append(
        &rig,
        &stream,
        causeway_log::Draft {
            version: None,
            ..draft
        },
    );
    assert_eq!(told(&rig, "n1"), None);
    let rig = rig.crash();
    assert_eq!(told(&rig, "n1").unwrap().0.as_deref(), Some("20"));
    let durable = rig.store.watermarks().durable;
    let rig = rig.crash();
    assert_eq!(rig.store.watermarks().durable, durable, "once is enough");
}

fn append(rig: &Rig, stream: &StreamId, draft: causeway_log::Draft) {
    let entry = causeway_log::Entry {
        stream: stream.clone(),
        place: causeway_log::Place::Next,
        draft,
    };
    let batch = causeway_log::Batch {
        entries: vec![entry],
        ..causeway_log::Batch::default()
    };
    rig.store.append(&batch).unwrap();
    rig.store.sync().unwrap();
}

#[test]
fn a_document_that_counted_further_than_this_store_is_followed() {
    let mut rig = Rig::new();
    let (key, _) = rig.create_oven("n1", "20");
    // What a cloud of before, whose store is lost, told the node last.
    let wishes = [(
        "target".into(),
        causeway_projections::twin::Value::new("30"),
    )]
    .into();
    let far = causeway_projections::twin::TwinVersion::new(1_000_000);
    let now = causeway_log::WallTime::from_unix_millis(1);
    let before = Desired::default().advance(&wishes, far, now).unwrap();
    let draft = rig.draft(&key, Op::Twin, &before.encode());
    let draft = causeway_log::Draft {
        version: None,
        ..draft
    };
    append(&rig, &StreamId::down(node("n1")), draft);
    rig.update(oven("n1", "22"));
    let (value, version) = told(&rig, "n1").unwrap();
    assert_eq!((value.as_deref(), version), (Some("22"), 1_000_001));
}

#[test]
fn a_document_that_cannot_be_read_is_written_anew() {
    let mut rig = Rig::new();
    let (key, _) = rig.create_oven("n1", "20");
    let draft = rig.draft(&key, Op::Twin, b"{\"properties\":7}");
    let draft = causeway_log::Draft {
        version: None,
        ..draft
    };
    append(&rig, &StreamId::down(node("n1")), draft);
    let rig = rig.crash();
    assert_eq!(told(&rig, "n1").unwrap().0.as_deref(), Some("20"));
}

#[test]
fn the_definitions_are_there_once_and_one_that_was_changed_is_left_alone() {
    let rig = Rig::new();
    let definitions = Resource::new("apiextensions.k8s.io", "customresourcedefinitions");
    let name = "devices.devices.kubeedge.io";
    let get = |rig: &Rig| {
        let view = rig.machine.view();
        view.read(|objects| {
            let entry = objects.get(&definitions, "", name).unwrap();
            (entry.key().clone(), entry.modified(), entry.object())
        })
    };
    let (key, made, mut definition) = get(&rig);
    assert_eq!(definition["status"]["storedVersions"], json!(["v1beta1"]));
    let mut rig = rig.crash();
    assert_eq!(get(&rig).1, made, "nothing is written again");

    definition["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    definition["spec"]["names"]["shortNames"] = json!(["dev"]);
    rig.write(Write {
        key,
        expected: Expected::At(made),
        change: Change::Put(definition),
    })
    .unwrap();
    let rig = rig.crash();
    assert_eq!(get(&rig).2["spec"]["names"]["shortNames"], json!(["dev"]));
}

#[test]
fn one_that_an_earlier_program_put_is_brought_up_to_date() {
    let mut rig = Rig::new();
    let definitions = Resource::new("apiextensions.k8s.io", "customresourcedefinitions");
    let name = "devices.devices.kubeedge.io";
    let get = |rig: &Rig| {
        let view = rig.machine.view();
        view.read(|objects| {
            let entry = objects.get(&definitions, "", name).unwrap();
            (entry.key().clone(), entry.modified(), entry.object())
        })
    };
    let (key, made, mut definition) = get(&rig);
    let wanted = definition["spec"].clone();
    definition["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    definition["spec"]["versions"][0]["additionalPrinterColumns"] = json!([]);
    let hash = crate::cluster::definitions::hash(&definition["spec"]);
    definition["metadata"]["annotations"]["causeway.dev/definition"] = json!(hash);
    rig.write(Write {
        key,
        expected: Expected::At(made),
        change: Change::Put(definition),
    })
    .unwrap();
    let rig = rig.crash();
    assert_eq!(get(&rig).2["spec"], wanted);
}

#[test]
fn a_mirror_sends_devices_of_its_nodes_with_what_is_wanted_of_them() {
    let mut rig = Rig::mirror();
    let seen = |key: &Key, object: Value, version: u64| Seen::Present {
        key: key.clone(),
        object,
        version: Some(version),
    };
    let definition = Key::new(
        Resource::new("apiextensions.k8s.io", "customresourcedefinitions"),
        "",
        "devices.devices.kubeedge.io",
        Uid::Uuid(uuid::Uuid::from_u128(1)),
    )
    .unwrap();
    rig.see(vec![seen(
        &definition,
        json!({"spec": {"group": GROUP}}),
        1,
    )]);
    assert!(rig.get(&definition).is_some(), "its kind is to be followed");
    let (key, device) = oven("n1", "20");
    rig.see(vec![seen(&key, device.clone(), 2)]);
    assert!(rig.get(&key).is_none(), "of a node that is not ours");

    let n1 = crate::rig::key("nodes", "", "n1");
    let labels = json!({"metadata": {"name": "n1", "labels": {EDGE_LABEL: ""}}});
    rig.see(vec![seen(&n1, labels, 3)]);
    let wants = rig.machine.mirror().unwrap().take_wants();
    assert!(wants.contains(&crate::cluster::Want::Devices), "{wants:?}");
    rig.see(vec![seen(&key, device, 2)]);
    assert_eq!(told(&rig, "n1").unwrap().0.as_deref(), Some("20"));
    rig.see(vec![seen(&key, oven("n1", "21").1, 4)]);
    assert_eq!(told(&rig, "n1").unwrap().0.as_deref(), Some("21"));
    assert_eq!(twins(&rig, "n1"), 2);
    // Seen again, or after a restart, it makes no record.
    let durable = rig.store.watermarks().durable;
    rig.see(vec![seen(&key, oven("n1", "21").1, 4)]);
    let mut rig = rig.crash();
    rig.see(vec![seen(&key, oven("n1", "21").1, 4)]);
    assert_eq!(rig.store.watermarks().durable, durable);
    rig.see(vec![seen(&key, oven("n2", "21").1, 5)]);
    assert!(rig.get(&key).is_none());
    let newest = rig.newest_down("n1", &key, Slot::Object).unwrap();
    assert_eq!(newest.record.header.op, Op::Delete);
}
