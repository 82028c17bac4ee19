//! What is done to a world: workload and faults, as data.

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_log::NodeName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A step of the workload, or a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Act {
    /// A user applies an object in the cloud, as `kubectl apply` does. Tried again until the cloud
    /// answers.
    Apply(Value),
    /// A user deletes an object in the cloud. Tried again until the cloud answers.
    Delete {
        /// Plural name of the kind, such as `pods`, with its group: `deployments.apps`.
        resource: String,
        /// Empty for kinds without one.
        namespace: String,
        /// The object.
        name: String,
        /// Grace period in seconds; the object's own when there is none.
        grace: Option<i64>,
    },
    /// An application at the edge merges `patch` into an object through the local API.
    EdgeWrite {
        /// Where.
        #[serde(with = "node_name")]
        node: NodeName,
        /// Plural name of the kind.
        resource: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// A JSON merge patch.
        patch: Value,
    },
    /// The link of a node goes.
    Cut {
        /// Whose.
        #[serde(with = "node_name")]
        node: NodeName,
        /// How.
        kind: Cut,
    },
    /// The link of a node comes back, at its full speed; flapping ends.
    Heal {
        /// Whose.
        #[serde(with = "node_name")]
        node: NodeName,
    },
    /// The link of a node comes and goes until it is healed or cut.
    Flap {
        /// Whose.
        #[serde(with = "node_name")]
        node: NodeName,
        /// Up for so long.
        up: Duration,
        /// Then down for so long.
        down: Duration,
    },
    /// The link of a node gets these properties.
    Slow {
        /// Whose.
        #[serde(with = "node_name")]
        node: NodeName,
        /// One way.
        delay: Duration,
        /// Up to this much more.
        jitter: Duration,
        /// Zero: no bound.
        bytes_per_second: u64,
        /// Of packets, from 0 to 1: on an ordered stream, a loss is a stall.
        loss: f64,
    },
    /// A process is killed; what it had not synced is lost when the machine goes too, see
    /// [`Act::Reboot`].
    Kill {
        /// Which.
        who: Who,
    },
    /// A process is started, if it does not run.
    Start {
        /// Which.
        who: Who,
    },
    /// The power of a machine goes and comes back: unsynced writes are lost, containers are gone,
    /// the link dies without a word.
    Reboot {
        /// Which.
        #[serde(with = "node_name")]
        node: NodeName,
    },
    /// A disk is emptied while its process is down; it starts again on the empty disk.
    Wipe {
        /// Whose.
        who: Who,
    },
    /// A copy of a disk is taken.
    Snapshot {
        /// Whose.
        who: Who,
    },
    /// A disk is replaced by the copy taken last, if there is one; its process starts again.
    Restore {
        /// Whose.
        who: Who,
    },
    /// A wall clock jumps.
    Clock {
        /// Whose.
        who: Who,
        /// Milliseconds, forwards or backwards.
        by: i64,
    },
    /// Something happens to a disk.
    Disk {
        /// Whose.
        who: Who,
        /// What.
        fault: DiskFault,
    },
    /// A process stands still for a while, as one does that is suspended or starved: what arrives
    /// for it waits, its timers come late, and it reads nothing.
    Freeze {
        /// Which.
        who: Who,
        /// For so long.
        lasts: Duration,
    },
    /// All connections of a node are reset; it dials again.
    Reset {
        /// Whose.
        #[serde(with = "node_name")]
        node: NodeName,
    },
    /// The cloud service is replaced by a next process on the same store: it is asked to stop and
    /// takes no calls any more, ends, and after a gap the next one starts.
    Roll {
        /// How long it takes to end.
        drain: Duration,
        /// How long nobody is there.
        gap: Duration,
        /// The load balancer takes calls meanwhile and answers none; else it refuses them.
        swallows: bool,
    },
    /// A process is replaced by another release, which speaks these versions of the protocol, from
    /// the lowest to the highest.
    Release {
        /// Which: the cloud, or the sync daemon of a node.
        who: Who,
        /// What it speaks.
        versions: (u8, u8),
    },
    /// Something in the middle breaks connections of a node: messages are lost, doubled and swapped.
    /// When it ends, the connections end with it.
    Mangle {
        /// Whose.
        #[serde(with = "node_name")]
        node: NodeName,
        /// How many of a thousand messages; none when it ends.
        per_mille: u32,
    },
    /// A device at the edge reports through its node.
    Report(Said),
    /// An application at the edge writes an Event through the local API.
    EdgeEvent {
        /// Where.
        #[serde(with = "node_name")]
        node: NodeName,
        /// Its name.
        name: String,
    },
}

/// What a device says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// The node that it is attached to.
    #[serde(with = "node_name")]
    pub node: NodeName,
    /// The namespace of its Device.
    pub namespace: String,
    /// The name of its Device.
    pub name: String,
    /// Properties with their values.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// How it is, when it says so.
    #[serde(default)]
    pub state: Option<String>,
    /// The version that it gives all these properties; the next ones of their own when it says none.
    #[serde(default)]
    pub version: Option<u64>,
    /// Whether one property that is refused refuses the report.
    #[serde(default)]
    pub all_or_nothing: bool,
}

/// How a link goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cut {
    /// Nothing comes through, nobody is told.
    Silent,
    /// Both ends are told.
    Reset,
    /// Nothing comes through from the edge to the cloud.
    Up,
    /// Nothing comes through from the cloud to the edge.
    Down,
}

/// A process, or the machine it runs on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Who {
    /// The cloud service.
    Cloud,
    /// The sync daemon of a node.
    Edge(#[serde(with = "node_name")] NodeName),
    /// The kubelet of a node.
    Edged(#[serde(with = "node_name")] NodeName),
}

/// What happens to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DiskFault {
    /// No space is left.
    Full,
    /// Writes fail.
    WriteFails,
    /// Syncs fail.
    SyncFails,
    /// Of so many reads the last one fails, again and again.
    ReadFails {
        /// All of them when it is one.
        one_in: u32,
    },
    /// It works again.
    Heal,
}

/// Node names as text.
mod node_name {
    use causeway_log::NodeName;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(name: &NodeName, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<NodeName, D::Error> {
        let name = String::deserialize(from)?;
        NodeName::new(&name).map_err(D::Error::custom)
    }
}
