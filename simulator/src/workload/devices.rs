//! Devices: what users want of them at the cloud and at the edge, and what they report.

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_log::NodeName;
use serde_json::{Value, json};

use crate::rng::{Purpose, stream};
use crate::world::{Act, Options, Said};

/// Names of devices, each on the node that its number says, unless it was moved.
const DEVICES: usize = 5;
/// Something about devices happens that often.
const EVERY: Duration = Duration::from_secs(4);
/// What is kept of readings: all, some, and of the rest the latest.
const HISTORY: &str = "temperature=all, power=change:5, door=every:20s";

pub(super) fn draw(
    seed: u64,
    options: &Options,
    nodes: &[NodeName],
    acts: &mut Vec<(Duration, Act)>,
) {
    let mut random = stream(seed, Purpose::Devices);
    acts.push((Duration::ZERO, Act::Apply(model(1_000_000))));
    let count = options.safety.as_millis() / EVERY.as_millis();
    for _ in 0..count {
        let at = options.safety.mul_f64(random.f64());
        acts.push((at, one(&mut random, nodes)));
    }
}

fn one(random: &mut fastrand::Rng, nodes: &[NodeName]) -> Act {
    let number = random.usize(..DEVICES);
    let home = &nodes[number % nodes.len()];
    match random.u32(..100) {
        0..20 => {
            let is_moved = random.u32(..8) == 0;
            let node = match is_moved {
                true => &nodes[random.usize(..nodes.len())],
                false => home,
            };
            Act::Apply(device(random, number, node))
        }
        20..24 => Act::Delete {
            resource: "devices.devices.kubeedge.io".to_owned(),
            namespace: "default".to_owned(),
            name: name(number),
            grace: None,
        },
        24..27 => Act::Apply(model(random.u32(900_000..=1_000_000))),
        27..28 => Act::Delete {
            resource: "devicemodels.devices.kubeedge.io".to_owned(),
            namespace: "default".to_owned(),
            name: "room".to_owned(),
            grace: None,
        },
        28..40 => Act::EdgeWrite {
            node: home.clone(),
            resource: "devices.devices.kubeedge.io".to_owned(),
            namespace: "default".to_owned(),
            name: name(number),
            patch: json!({"spec": {"properties": properties(random)}}),
        },
        _ => Act::Report(report(random, number, home)),
    }
}

fn name(number: usize) -> String {
    format!("d{number}")
}

fn model(most: u32) -> Value {
    json!({
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "DeviceModel",
        "metadata": {"name": "room", "namespace": "default"},
        "spec": {
            "protocol": "virtual",
            "properties": [
                {"name": "temperature", "type": "INT", "accessMode": "ReadWrite", "minimum": "0", "maximum": most.to_string()},
                {"name": "power", "type": "FLOAT", "accessMode": "ReadWrite"},
                {"name": "door", "type": "STRING", "accessMode": "ReadOnly"},
            ],
        },
    })
}

fn device(random: &mut fastrand::Rng, number: usize, node: &NodeName) -> Value {
    json!({
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "Device",
        "metadata": {
            "name": name(number),
            "namespace": "default",
            "annotations": {"causeway.dev/history": HISTORY},
        },
        "spec": {
            "nodeName": node.as_str(),
            "deviceModelRef": {"name": "room"},
            "protocol": {"protocolName": "virtual"},
            "properties": properties(random),
        },
    })
}

/// All properties, with what is desired of some.
fn properties(random: &mut fastrand::Rng) -> Value {
    let mut temperature = json!({"name": "temperature"});
    let mut power = json!({"name": "power"});
    if random.u32(..4) != 0 {
        temperature["desired"] = json!({"value": random.u32(..1000).to_string()});
    }
    if random.bool() {
        power["desired"] = json!({"value": format!("{}.5", random.u32(..100))});
    }
    json!([temperature, power, {"name": "door"}])
}

fn report(random: &mut fastrand::Rng, number: usize, node: &NodeName) -> Said {
    let mut properties = BTreeMap::new();
    // Some say what is known, some say nonsense.
    let temperature = match random.u32(..20) {
        0 => "warm".to_owned(),
        1 => "1000000000".to_owned(),
        2..6 => random.u32(..3).to_string(),
        _ => random.u32(..900_000).to_string(),
    };
    properties.insert("temperature".to_owned(), temperature);
    if random.bool() {
        properties.insert("power".to_owned(), random.u32(..100).to_string());
    }
    if random.u32(..4) == 0 {
        let door = if random.bool() { "open" } else { "shut" };
        properties.insert("door".to_owned(), door.to_owned());
    }
    if random.u32(..20) == 0 {
        properties.insert("no-such-property".to_owned(), "1".to_owned());
    }
    let states = ["online", "offline", "unhealthy", "asleep"];
    Said {
        node: node.clone(),
        namespace: "default".to_owned(),
        name: name(number),
        properties,
        state: (random.u32(..6) == 0).then(|| states[random.usize(..states.len())].to_owned()),
        version: (random.u32(..10) == 0).then(|| random.u64(..40)),
        all_or_nothing: random.bool(),
    }
}
