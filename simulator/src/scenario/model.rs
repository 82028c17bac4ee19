//! What a scenario says, after reading.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use causeway_log::NodeName;
use serde_json::Value;

use super::tree::Place;

/// A whole scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name: what the file says, else the file's.
    pub name: String,
    /// What draws everything that the file leaves open.
    pub seed: u64,
    /// The nodes.
    pub nodes: Vec<NodeName>,
    /// Where the file says which.
    pub nodes_place: Place,
    /// What is applied at the start.
    pub manifests: Vec<Manifest>,
    /// What happens, in the order of time.
    pub steps: Vec<Step>,
    /// What is expected.
    pub expectations: Vec<Expectation>,
    /// When it ends: after everything that is mentioned.
    pub end: Duration,
}

impl Scenario {
    /// Every moment that the scenario mentions, its start and its end.
    #[must_use]
    pub fn moments(&self) -> BTreeSet<Duration> {
        let expected = self.expectations.iter();
        let expected = expected.flat_map(|one| [one.when.first(), one.when.last()]);
        let steps = self.steps.iter().map(|step| step.at);
        let ends = [Duration::ZERO, self.end];
        ends.into_iter().chain(steps).chain(expected).collect()
    }
}

/// An object to apply and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The file and the document in it, or the place in the scenario.
    pub source: String,
    /// The plural name of its kind with its group, for kinds that are not built in.
    pub resource: Option<String>,
    /// The object.
    pub object: Value,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub struct Step {
    /// When, from the start.
    pub at: Duration,
    /// Where the file says so.
    pub place: Place,
    /// For people: `cut edge-1`.
    pub label: String,
    /// What.
    pub action: Action,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Links carry nothing.
    Cut {
        /// Whose.
        nodes: Vec<NodeName>,
        /// How.
        how: Cut,
    },
    /// Links are whole again, as fast as at the start.
    Heal(Vec<NodeName>),
    /// Links come and go.
    Flap {
        /// Whose.
        nodes: Vec<NodeName>,
        /// How long they are whole each time.
        up: Duration,
        /// How long they are cut each time.
        down: Duration,
    },
    /// Links are slow, narrow or lossy.
    Slow {
        /// Whose.
        nodes: Vec<NodeName>,
        /// How.
        road: Road,
    },
    /// Every connection breaks at the same moment, and all dial again.
    Storm(Vec<NodeName>),
    /// Objects are created or changed through the cloud's API.
    Apply(Vec<Manifest>),
    /// An object is deleted through the cloud's API.
    Delete(Target),
    /// An application at the edge merges a patch into an object, through the local API.
    EdgeWrite {
        /// At which nodes.
        nodes: Vec<NodeName>,
        /// Which object.
        target: Target,
        /// A JSON merge patch.
        patch: Value,
    },
    /// A device reports through its node.
    Report(Report),
    /// Processes die; what they had not synced is lost. They stay dead until they are started.
    Kill(Vec<Part>),
    /// Processes start.
    Start(Vec<Part>),
    /// Machines lose power and start again: processes and pods are gone, disks stay.
    Reboot(Vec<NodeName>),
    /// Disks are replaced by empty ones: stores are empty, no pod runs, all starts from nothing.
    Wipe(Vec<Part>),
    /// Disks are copied, for a later `restore`.
    Snapshot(Vec<Part>),
    /// Disks become what they were when they were copied.
    Restore(Vec<Part>),
    /// Something happens to disks.
    Disk {
        /// Whose.
        parts: Vec<Part>,
        /// What.
        fault: DiskFault,
    },
    /// Wall clocks jump.
    Clock {
        /// Whose.
        parts: Vec<Part>,
        /// How far, in milliseconds; negative is into the past.
        by_millis: i64,
    },
}

/// What a device says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// At which nodes.
    pub nodes: Vec<NodeName>,
    /// The namespace of the Device.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Values by property.
    pub values: BTreeMap<String, String>,
    /// How it is.
    pub state: Option<String>,
}

/// What happens to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// No space is left.
    Full,
    /// Writes fail.
    WriteFails,
    /// Syncs fail.
    SyncFails,
    /// Reads fail.
    ReadFails,
    /// It works again.
    None,
}

/// How a link is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// Nothing arrives and nobody notices, as when a radio link fades.
    #[default]
    Silent,
    /// Connections are reset, as when a router reboots.
    Reset,
    /// What the cloud sends is lost; what the edge sends arrives.
    ToEdge,
    /// What the edge sends is lost; what the cloud sends arrives.
    ToCloud,
}

/// How a slow link carries bytes, each direction by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Road {
    /// Everything is later by this.
    pub delay: Duration,
    /// And by up to so much more.
    pub jitter: Duration,
    /// At most this many; none: no bound.
    pub bytes_per_second: Option<u64>,
    /// The share of pieces that are lost and sent again, in thousandths.
    pub loss_per_mille: u16,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The cloud.
    Cloud,
    /// Both daemons of a node.
    Node(NodeName),
    /// The sync daemon of a node.
    EdgeSync(NodeName),
    /// The pod daemon of a node.
    Edged(NodeName),
}

impl Part {
    /// The machine it runs on, by name.
    #[must_use]
    pub fn machine(&self) -> &str {
        match self {
            Self::Cloud => "cloud",
            Self::Node(node) | Self::EdgeSync(node) | Self::Edged(node) => node.as_str(),
        }
    }
}

/// An object to delete or to patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The plural name of its kind with its group, such as `pods` or `deployments.apps`.
    pub resource: String,
    /// Its namespace; empty for kinds without one.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How long its processes may take; none: as the object says.
    pub grace: Option<Duration>,
}

/// Something that must be so.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// Where the file says so.
    pub place: Place,
    /// For people.
    pub label: String,
    /// When.
    pub when: When,
    /// On which nodes.
    pub nodes: Vec<NodeName>,
    /// What.
    pub what: Claim,
}

/// When something is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At one moment.
    At(Duration),
    /// At some moment from `from` on, not later than `within` after it.
    Within {
        /// The first moment that counts.
        from: Duration,
        /// How long it may take.
        within: Duration,
    },
    /// All the time.
    Throughout {
        /// From then on.
        from: Duration,
        /// Until then; none: to the end.
        until: Option<Duration>,
    },
}

/// What is expected.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// Exactly these pods run.
    Runs(Vec<PodClaim>),
    /// These pods run, and maybe others.
    RunsAmongOthers(Vec<PodClaim>),
    /// The local API answers, or does not.
    Serves(bool),
    /// The node has a session with the cloud, or has none.
    Connected(bool),
    /// The node is connected and runs exactly what the cloud wants.
    Converged,
    /// No pod runs more than once.
    OneCopy,
    /// No pod that runs stops, is replaced, or starts again.
    Undisturbed,
    /// A device is so.
    Twin(TwinClaim),
}

/// What is expected of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TwinClaim {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What its node knows to be desired, by property; others may be too.
    pub desired: BTreeMap<String, String>,
    /// What it reports, by property; others may be too.
    pub reported: BTreeMap<String, String>,
    /// How it is.
    pub state: Option<String>,
    /// Whether both ends have the same of it.
    pub equal: bool,
    /// How many readings the cloud has, by property.
    pub readings: BTreeMap<String, u64>,
}

/// A pod that is expected to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodClaim {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The image that one of its containers runs.
    pub image: Option<String>,
    /// Environment variables that one of its containers was started with.
    pub env: BTreeMap<String, String>,
    /// Contents of files that its volumes show, by volume and file: `greeting/message`.
    pub files: BTreeMap<String, String>,
}
