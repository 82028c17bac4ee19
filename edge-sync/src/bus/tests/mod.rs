//! The bus without a network.

mod decide;
mod faults;
mod outbox;
mod parts;
mod rig;

use std::sync::Arc;

use causeway_log::{Key, Revision, Uid, WallTime};
use causeway_projections::twin::history::Policies;
use causeway_projections::twin::{
    Desired, Device, Report, Reported, Rules, Twin, TwinVersion, Value, devices,
};
use serde_json::json;

/// A device with an integer `target`, wanted and reported as said.
fn device(name: &str, wanted: Option<&str>, reported: Option<(&str, u64)>) -> Arc<Device> {
    let model = json!({ "spec": { "properties": [
        { "name": "target", "type": "INT", "accessMode": "ReadWrite" },
        { "name": "label", "type": "STRING", "accessMode": "ReadWrite" },
    ] } });
    let object = json!({ "spec": { "properties": [{ "name": "target" }, { "name": "label" }] } });
    let rules = Rules::of(&object, Some(&model));
    let now = WallTime::from_unix_millis(1000);
    let wishes = wanted.map(|value| ("target".into(), Value::new(value)));
    let desired =
        Desired::default().advance(&wishes.into_iter().collect(), TwinVersion::new(7), now);
    let mut document = Reported::default();
    if let Some((value, time)) = reported {
        let report = Report {
            value: Some(Value::new(value)),
            time: WallTime::from_unix_millis(time),
            ..Report::default()
        };
        document.report("target", report, &rules).unwrap();
    }
    let uid = Uid::Uuid(uuid::Uuid::from_u64_pair(1, 2));
    Arc::new(Device {
        key: Key::new(devices(), "default", name, uid).unwrap(),
        object: Arc::new(object),
        model: Some(Arc::new(model)),
        rules: Arc::new(rules),
        policies: Arc::new(Policies::default()),
        policy_error: None,
        twin: Twin {
            desired: Arc::new(desired.unwrap_or_default()),
            reported: Arc::new(document),
        },
        changed: Revision::ZERO,
    })
}
