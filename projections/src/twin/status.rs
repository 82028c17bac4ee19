//! What a device reports as a DeviceStatus of the API, the same at both ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_log::{Key, WallTime};
use serde_json::{Map, Value as Json, json};

use super::{GROUP, Property, Reported, VERSION, Value};

/// The DeviceStatus of the Device `device`, without uid and resource version of its own.
#[must_use]
pub fn device_status(device: &Key, reported: &Reported) -> Json {
    let api_version = format!("{GROUP}/{VERSION}");
    let mut metadata = json!({
        "name": &*device.name,
        "namespace": &*device.namespace,
    });
    if !device.uid.is_none() {
        metadata["ownerReferences"] = json!([{
            "apiVersion": api_version,
            "kind": "Device",
            "name": &*device.name,
            "uid": device.uid.to_string(),
        }]);
    }
    let mut status = Map::new();
    let twins = reported.properties.iter().filter_map(twin);
    status.insert("twins".to_owned(), twins.collect());
    if let Some(state) = reported.shown_state() {
        status.insert("state".to_owned(), json!(&*state.state));
        if state.last_online > 0 {
            let time = format_time(state.last_online);
            status.insert("lastOnlineTime".to_owned(), json!(time));
        }
    }
    json!({
        "apiVersion": api_version,
        "kind": "DeviceStatus",
        "metadata": metadata,
        "spec": {},
        "status": status,
    })
}

fn twin((name, property): (&Arc<str>, &Property)) -> Option<Json> {
    let reported = property.value.as_ref()?;
    let mut twin = json!({
        "propertyName": &**name,
        "reported": value(reported, Some(property.time)),
    });
    if let Some(observed) = &property.observed {
        twin["observedDesired"] = value(observed, None);
    }
    Some(twin)
}

/// A value with its metadata; what its source says of the time is there as KubeEdge has it.
fn value(value: &Value, time: Option<u64>) -> Json {
    let entries = value.metadata.iter();
    let mut metadata: BTreeMap<&str, String> = entries
        .map(|(key, value)| (&**key, value.to_string()))
        .collect();
    if let Some(time) = time.filter(|time| *time > 0) {
        metadata
            .entry("timestamp")
            .or_insert_with(|| time.to_string());
    }
    json!({ "value": &*value.value, "metadata": metadata })
}

/// RFC 3339 in UTC, whole seconds.
fn format_time(millis: u64) -> String {
    let seconds = i64::try_from(WallTime::from_unix_millis(millis).unix_millis() / 1000);
    jiff::Timestamp::from_second(seconds.unwrap_or(i64::MAX))
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}
