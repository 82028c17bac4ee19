//! The topics of the bus, by their names in KubeEdge.
//!
//! Messages to `$hw/events/upload/#`, `SYS/dis/upload_records` and `+/user/#` are of applications,
//! and for rules in the cloud. There are no rules yet, so they are not subscribed to: a broker
//! tells a publisher that nobody listens, this bus would acknowledge and drop. A rule's topics
//! will be further [`subscriptions`], and a further kind of [`Topic`].

use causeway_log::NodeName;
use causeway_projections::twin::fold::DeviceName;

/// What a message asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// The device reports properties, or wants others to be desired.
    TwinUpdate(DeviceName),
    /// The device asks for its twin.
    TwinGet(DeviceName),
    /// The device says how it is.
    StateUpdate(DeviceName),
    /// Somebody asks which devices this node has.
    MembershipGet,
}

/// What the bus says of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    UpdateResult,
    Delta,
    Document,
    GetResult,
    StateResult,
    Attributes,
}

/// The filters of everything that the bus listens to.
pub(super) fn subscriptions(node: &NodeName) -> [String; 4] {
    [
        "$hw/events/device/+/+/twin/update".to_owned(),
        "$hw/events/device/+/+/twin/get".to_owned(),
        "$hw/events/device/+/+/state/update".to_owned(),
        format!("$hw/events/node/{node}/membership/get"),
    ]
}

impl Topic {
    /// Reads a topic; `None`: it is none of this bus.
    pub(super) fn parse(topic: &str, node: &NodeName) -> Option<Self> {
        let rest = topic.strip_prefix("$hw/events/")?;
        let (kind, rest) = rest.split_once('/')?;
        if kind == "node" {
            let asked = rest.strip_suffix("/membership/get")?;
            return (asked == node.as_str()).then_some(Self::MembershipGet);
        }
        if kind != "device" {
            return None;
        }
        let mut levels = rest.splitn(3, '/');
        let (namespace, name) = (levels.next()?, levels.next()?);
        let device = DeviceName::new(namespace, name);
        match levels.next()? {
            "twin/update" => Some(Self::TwinUpdate(device)),
            "twin/get" => Some(Self::TwinGet(device)),
            "state/update" => Some(Self::StateUpdate(device)),
            _ => None,
        }
    }

    /// Where the answer goes.
    pub(super) fn answer(&self, node: &NodeName) -> String {
        match self {
            Self::TwinUpdate(device) => of_device(device, Told::UpdateResult),
            Self::TwinGet(device) => of_device(device, Told::GetResult),
            Self::StateUpdate(device) => of_device(device, Told::StateResult),
            Self::MembershipGet => membership(node, "get/result"),
        }
    }
}

/// The topic on which devices that come and go are told.
pub(super) fn membership_updated(node: &NodeName) -> String {
    membership(node, "updated")
}

fn membership(node: &NodeName, what: &str) -> String {
    format!("$hw/events/node/{node}/membership/{what}")
}

/// The topic of something that is told of a device.
pub(super) fn of_device(device: &DeviceName, told: Told) -> String {
    let what = match told {
        Told::UpdateResult => "twin/update/result",
        Told::Delta => "twin/update/delta",
        Told::Document => "twin/update/document",
        Told::GetResult => "twin/get/result",
        Told::StateResult => "state/update/result",
        Told::Attributes => "updated",
    };
    format!("$hw/events/device/{device}/{what}")
}
