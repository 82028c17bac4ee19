//! Wishes, and the handle with a writer behind it.

use std::time::Duration;

use causeway_log::replication::{Incoming, SessionWrite};
use causeway_log::store::memory::MemoryStore;
use causeway_log::writer::Writer;
use causeway_log::{
    Draft, Epoch, EventId, Key, NodeName, Offset, Op, Resource, Store, StreamId, Uid, Version,
    WallTime,
};
use causeway_projections::rebuild::rebuild;
use causeway_projections::twin::{ValueError, devices, models};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::*;
use crate::first_sync::FirstSync;
use crate::machine::{EdgeMachine, begin};

fn key(resource: Resource, name: &str) -> Key {
    let uid = Uid::Uuid(Uuid::from_u64_pair(1, 2));
    Key::new(resource, "default", name, uid).unwrap()
}

fn device() -> Json {
    json!({
        "metadata": {"name": "d"},
        "spec": {
            "nodeName": "edge-1",
            "deviceModelRef": {"name": "m"},
            "properties": [
                {"name": "target", "desired": {"value": "20"}, "collectCycle": 10},
                {"name": "is"},
            ],
        },
    })
}

fn model() -> Json {
    json!({"spec": {"properties": [
        {"name": "target", "type": "FLOAT", "minimum": "5", "maximum": "30"},
        {"name": "is", "accessMode": "ReadOnly"},
        {"name": "more"},
    ]}})
}

/// An edge that has a device and its model.
async fn handle() -> (TwinsHandle, View, Writer) {
    let node = NodeName::new("edge-1").unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let head = begin(&*store, &node, Epoch::new(Uuid::from_u64_pair(3, 3))).unwrap();
    let streams = [StreamId::down(node.clone()), StreamId::up(node.clone())];
    let view = View::new(rebuild(&*store, &streams).unwrap());
    let twins = TwinsView::default();
    let first_sync = FirstSync::read(&*store, &node).unwrap();
    let (sender, _) = watch::channel(head);
    let machine = EdgeMachine::new(
        node,
        Arc::clone(&store),
        view.clone(),
        sender,
        first_sync,
        system_clock(),
    );
    let machine = machine
        .with_twins(twins.clone(), crate::config::TwinsConfig::default())
        .unwrap();
    let (thread, writer) = Writer::spawn("tested", store, machine);
    let put = |offset: u64, key: Key, body: Json| {
        let draft = Draft {
            id: EventId::new(Uuid::from_u64_pair(4, offset)),
            cause: None,
            time: WallTime::from_unix_millis(1),
            key,
            version: Some(Version::new(offset)),
            op: Op::Put,
            body: body.to_string().into_bytes().into(),
        };
        (Offset::new(offset), draft)
    };
    let records = vec![
        put(1, key(models(), "m"), model()),
        put(2, key(devices(), "d"), device()),
    ];
    let (done, told) = oneshot::channel();
    let write = SessionWrite::Incoming(Incoming {
        epoch: Epoch::new(Uuid::from_u64_pair(5, 5)),
        records,
        upto: Some(Offset::new(2)),
        caught_up: true,
    });
    writer.send(Request::Session { write, done }).await.unwrap();
    told.await.unwrap().unwrap();
    (TwinsHandle::new(twins, view.clone(), writer), view, thread)
}

fn name() -> DeviceName {
    DeviceName::new("default", "d")
}

fn wishes(pairs: &[(&str, Option<&str>)]) -> BTreeMap<Arc<str>, Option<Value>> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).into(), value.map(Value::new)))
        .collect()
}

#[tokio::test]
async fn a_wish_is_pending_on_the_device_until_the_cloud_answers() {
    let (twins, view, _thread) = handle().await;
    let wish = wishes(&[("target", Some("23"))]);
    let pending = twins.wish(&name(), wish.clone()).await.unwrap();
    assert!(pending.is_pending);
    let served = |view: &View| {
        view.read(|objects| objects.get(&devices(), "default", "d").unwrap().object())
    };
    let shown = served(&view);
    let target = &shown["spec"]["properties"][0];
    assert_eq!(
        target,
        &json!({"name": "target", "desired": {"value": "23"}, "collectCycle": 10})
    );
    assert_eq!(
        shown["metadata"]["annotations"]["causeway.dev/pending"],
        "true"
    );
    let device = twins.read(|twins| twins.get(&name()).cloned()).unwrap();
    assert!(
        device.twin.desired.properties.is_empty(),
        "the cloud has not said so"
    );
    // The same once more asks for nothing, and another builds on it.
    let again = twins.wish(&name(), wish).await.unwrap();
    assert_eq!(again.revision, pending.revision);
    twins
        .wish(&name(), wishes(&[("target", None)]))
        .await
        .unwrap();
    let shown = served(&view);
    assert_eq!(
        shown["spec"]["properties"][0],
        json!({"name": "target", "collectCycle": 10})
    );
}

#[tokio::test]
async fn what_may_not_be_wanted_is_refused_at_once() {
    let (twins, _view, _thread) = handle().await;
    for (property, value, code) in [
        ("target", "400", 400),
        ("target", "warm", 400),
        ("nothing", "1", 404),
        ("more", "1", 404),
        ("a b", "1", 400),
        ("is", "1", 400),
    ] {
        let refused = twins
            .wish(&name(), wishes(&[(property, Some(value))]))
            .await;
        assert_eq!(refused.unwrap_err().code(), code, "{property} = {value}");
    }
    let long = "1".repeat(1 << 20);
    let refused = twins
        .wish(&name(), wishes(&[("target", Some(&long))]))
        .await;
    let Err(ReportError::Refused { refused, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        refused,
        Refused::Value(ValueError::TooLong { bytes: 1 << 20 })
    );
    let nobody = DeviceName::new("default", "nobody");
    let refused = twins.wish(&nobody, wishes(&[])).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.to_string().as_str()),
        (404, "this node has no device default/nobody")
    );
}

#[tokio::test]
async fn a_report_through_the_handle_is_told_and_seen() {
    let (twins, _view, _thread) = handle().await;
    let mut woken = twins.subscribe();
    woken.mark_unchanged();
    let report = DeviceReport {
        device: name(),
        properties: vec![(
            "target".into(),
            Report {
                value: Some(Value::new("19")),
                ..Report::default()
            },
        )],
        ..DeviceReport::default()
    };
    let told = twins.report(report).await.unwrap();
    assert_eq!(told.properties, [("target".into(), Ok(Took::Changed))]);
    let changed = tokio::time::timeout(Duration::from_secs(10), woken.changed()).await;
    changed.unwrap().unwrap();
    let seen = twins.read(|twins| twins.get(&name()).cloned()).unwrap();
    assert_eq!(seen, told.after);
}
