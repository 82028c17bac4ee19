//! What devices are told: JSON by KubeEdge's names.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use causeway_kube_api::source::format_time;
use causeway_log::WallTime;
use causeway_projections::twin::{Device, DeviceName, Property, Rules, State, Twin};
use serde::Serialize;

/// Names a message that is sent, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) event_id: String,
    pub(super) now: WallTime,
}

#[derive(Serialize)]
struct Sent<'a, T> {
    event_id: &'a str,
    timestamp: u64,
    #[serde(flatten)]
    rest: T,
}

impl Stamp {
    fn json<T: Serialize>(&self, rest: T) -> Bytes {
        let sent = Sent {
            event_id: &self.event_id,
            timestamp: self.now.unix_millis(),
            rest,
        };
        serde_json::to_vec(&sent)
            .expect("a message has only string keys")
            .into()
    }
}

/// One property on both sides.
#[derive(Serialize)]
pub(super) struct MsgTwin<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<MsgValue<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actual: Option<MsgValue<'a>>,
    optional: bool,
    metadata: MsgType,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_version: Option<MsgVersion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actual_version: Option<MsgVersion>,
}

#[derive(Serialize)]
struct MsgValue<'a> {
    value: &'a str,
    metadata: MsgTime,
}

#[derive(Serialize)]
struct MsgTime {
    timestamp: u64,
}

#[derive(Serialize)]
struct MsgType {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize)]
struct MsgVersion {
    cloud: u64,
    edge: u64,
}

impl<'a> MsgTwin<'a> {
    /// The property as it is; one that was there and is gone has the type `deleted`.
    pub(super) fn of(name: &str, twin: &'a Twin, rules: &Rules) -> Self {
        let (expected, actual) = (
            twin.desired.properties.get(name),
            twin.reported.properties.get(name),
        );
        let rule = rules.get(name);
        let value = |property: Option<&'a Property>| {
            let property = property?;
            let value = property.value.as_ref()?;
            Some(MsgValue {
                value: &value.value,
                metadata: MsgTime {
                    timestamp: property.time,
                },
            })
        };
        let kind = match rule {
            None => "deleted".to_owned(),
            Some(rule) => rule
                .kind
                .map_or_else(|| "string".to_owned(), |it| it.as_str().to_lowercase()),
        };
        Self {
            expected: value(expected),
            actual: value(actual),
            optional: false,
            metadata: MsgType { kind },
            expected_version: expected.map(|property| MsgVersion {
                cloud: property.version.get(),
                edge: 0,
            }),
            actual_version: actual.map(|property| MsgVersion {
                cloud: 0,
                edge: property.version.get(),
            }),
        }
    }
}

#[derive(Serialize)]
struct TwinOf<'a> {
    twin: BTreeMap<&'a str, MsgTwin<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<BTreeMap<&'a str, &'a str>>,
}

/// The properties of a twin: the answer to `twin/update` and `twin/get`.
pub(super) fn twin<'a>(
    stamp: &Stamp,
    names: impl IntoIterator<Item = &'a Arc<str>>,
    twin: &Twin,
    rules: &Rules,
) -> Bytes {
    let properties = names.into_iter();
    let twin = properties
        .map(|name| (&**name, MsgTwin::of(name, twin, rules)))
        .collect();
    stamp.json(TwinOf { twin, delta: None })
}

/// What the device still has to do; `None`: nothing.
pub(super) fn delta(stamp: &Stamp, twin: &Twin, rules: &Rules) -> Option<Bytes> {
    let delta: BTreeMap<&str, &str> = twin
        .delta(rules)
        .map(|(name, wish, _)| (&**name, &*wish.value))
        .collect();
    if delta.is_empty() {
        return None;
    }
    let properties = delta.keys();
    let twin = properties
        .map(|name| (*name, MsgTwin::of(name, twin, rules)))
        .collect();
    let delta = Some(delta);
    Some(stamp.json(TwinOf { twin, delta }))
}

/// A twin with what is known of its properties.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side<'a> {
    pub(super) twin: &'a Twin,
    pub(super) rules: &'a Rules,
}

impl<'a> Side<'a> {
    pub(super) fn of(device: &'a Device) -> Self {
        Self {
            twin: &device.twin,
            rules: &device.rules,
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    twin: BTreeMap<&'a str, Pair<'a>>,
}

#[derive(Serialize)]
struct Pair<'a> {
    last: Option<MsgTwin<'a>>,
    current: Option<MsgTwin<'a>>,
}

/// What became of the properties that changed; `None`: nothing changed.
pub(super) fn document(stamp: &Stamp, last: Option<Side<'_>>, now: Side<'_>) -> Option<Bytes> {
    fn sides<'a>(side: Side<'a>, name: &str) -> [Option<&'a Property>; 2] {
        let Twin { desired, reported } = side.twin;
        [desired.properties.get(name), reported.properties.get(name)]
    }
    let known = |side: Side<'_>, name: &str| sides(side, name).iter().any(Option::is_some);
    let names = [
        now.twin.desired.properties.iter(),
        now.twin.reported.properties.iter(),
    ];
    let changed = names.into_iter().flatten().map(|(name, _)| &**name);
    let changed = changed.filter(|name| {
        last.is_none_or(|last| sides(last, name) != sides(now, name)) && known(now, name)
    });
    let twin: BTreeMap<&str, Pair<'_>> = changed
        .map(|name| {
            let before = last.filter(|last| known(*last, name));
            let pair = Pair {
                last: before.map(|last| MsgTwin::of(name, last.twin, last.rules)),
                current: Some(MsgTwin::of(name, now.twin, now.rules)),
            };
            (name, pair)
        })
        .collect();
    (!twin.is_empty()).then(|| stamp.json(Document { twin }))
}

#[derive(Serialize)]
struct StateOf<'a> {
    device: StateDevice<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StateDevice<'a> {
    name: &'a str,
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_online_time: Option<String>,
}

/// The answer to `state/update`.
pub(super) fn state(stamp: &Stamp, name: &str, state: Option<&State>) -> Bytes {
    let device = StateDevice {
        name,
        state: state.map_or("unknown", |state| &state.state),
        last_online_time: state.and_then(last_online),
    };
    stamp.json(StateOf { device })
}

fn last_online(state: &State) -> Option<String> {
    let time = WallTime::from_unix_millis(state.last_online);
    (state.last_online > 0).then(|| format_time(time))
}

#[derive(Serialize)]
struct Attributes<'a> {
    attributes: BTreeMap<&'a str, Attribute<'a>>,
}

#[derive(Serialize)]
struct Attribute<'a> {
    value: &'a str,
}

/// The attributes that came with a state.
pub(super) fn attributes(stamp: &Stamp, attributes: &BTreeMap<String, String>) -> Bytes {
    let attributes = attributes
        .iter()
        .map(|(name, value)| (name.as_str(), Attribute { value }))
        .collect();
    stamp.json(Attributes { attributes })
}

/// A device in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_online: Option<String>,
}

impl Member {
    /// A device, and how it is.
    pub(super) fn of(device: &DeviceName, state: Option<&State>) -> Self {
        Self {
            id: device.to_string(),
            name: device.name.as_ref().into(),
            state: state.map(|state| Arc::clone(&state.state)),
            last_online: state.and_then(last_online),
        }
    }
}

#[derive(Serialize)]
struct Members<'a> {
    devices: &'a [Member],
}

/// The answer to `membership/get`.
pub(super) fn members(stamp: &Stamp, devices: &[Member]) -> Bytes {
    stamp.json(Members { devices })
}

#[derive(Serialize)]
struct MembersChanged<'a> {
    added_devices: &'a [Member],
    removed_devices: &'a [Member],
}

/// Devices that came and went.
pub(super) fn membership(stamp: &Stamp, added: &[Member], removed: &[Member]) -> Bytes {
    stamp.json(MembersChanged {
        added_devices: added,
        removed_devices: removed,
    })
}

#[derive(Serialize)]
struct Failure<'a> {
    code: u16,
    reason: &'a str,
}

/// A message could not be taken.
pub(super) fn failure(stamp: &Stamp, code: u16, reason: &str) -> Bytes {
    stamp.json(Failure { code, reason })
}
