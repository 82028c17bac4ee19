//! What can be seen of a world.

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_log::replication::Moment;

use super::seen::Seen;

/// An invariant did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}: {invariant} at {:.3} s: {what}", at.0.as_secs_f64())]
pub struct Violation {
    /// Its id in the registry.
    pub invariant: &'static str,
    /// What was found instead.
    pub what: String,
    /// When.
    pub at: Moment,
    /// In which world.
    pub seed: u64,
}

/// A node, as one who stands before it sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// Its session with the cloud is established, as far as the edge knows.
    pub connected: bool,
    /// Its sync daemon runs.
    pub edge_running: bool,
    /// Its kubelet runs.
    pub edged_running: bool,
    /// Its local API serves pods: it runs, and has been synchronised once.
    pub serving: bool,
    /// What the runtime runs, or ran last, by namespace and name, then uid.
    pub pods: Vec<PodState>,
}

/// A life of a pod on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodState {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Tells this life from others.
    pub uid: String,
    /// All its containers run.
    pub running: bool,
    /// Its containers.
    pub containers: Vec<ContainerState>,
    /// What its volumes show, by volume and file.
    pub files: BTreeMap<String, String>,
}

/// A container: its newest attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerState {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Command and arguments.
    pub command: Vec<String>,
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// How many attempts run at this moment: one, unless an invariant is broken or none does.
    pub copies: usize,
    /// How often it was started again.
    pub restarts: u32,
}

/// Counters of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events handled.
    pub events: u64,
    /// Virtual time.
    pub elapsed: Duration,
    /// Bytes of messages sent from edges to the cloud.
    pub bytes_up: u64,
    /// Bytes of messages sent from the cloud to edges.
    pub bytes_down: u64,
    /// Sessions established.
    pub sessions: u64,
    /// Acts done.
    pub acts: u64,
    /// The longest that an undisturbed node waited for what it was to be sent: FAIR-1.
    pub fair_max: Duration,
    /// The most that an end of a session sent, in thousandths of its bound: COST-1.
    pub cost_max: u64,
    /// What happened, by kind.
    pub seen: Seen,
}
