//! A machine at the edge.

use std::sync::Arc;
use std::time::Duration;

use causeway_edged::pod::NodeFacts;
use causeway_log::NodeName;
use causeway_log::store::memory::{Disk, Image};

use super::Options;
use super::clock::MachineClock;
use super::device::Ledger;
use super::edge::EdgeRun;
use super::kubelet::Kubelet;
use super::link::Link;
use super::register;
use super::release::Versions;
use super::runtime::Runtime;

/// A machine at the edge: what outlives its processes, and these.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: NodeName,
    pub(super) facts: NodeFacts,
    pub(super) clock: Arc<MachineClock>,
    pub(super) link: Link,
    pub(super) conns: Vec<u64>,
    pub(super) disk: Disk,
    pub(super) image: Option<Image>,
    pub(super) runtime: Runtime,
    pub(super) is_powered: bool,
    pub(super) boot: u64,
    pub(super) edge: Option<EdgeRun>,
    pub(super) life: u64,
    pub(super) wants_edge: bool,
    pub(super) kubelet: Option<Kubelet>,
    pub(super) wants_kubelet: bool,
    pub(super) has_fault: bool,
    /// An old copy of its disk was put in.
    pub(super) has_lost_history: bool,
    /// Counts what keeps the node from rest: AUTO-1.
    pub(super) calm: u64,
    pub(super) calm_due: bool,
    /// Counts what happens to its road: FAIR-1.
    pub(super) fair: u64,
    pub(super) fair_due: bool,
    /// Since when it waits for what, and what its road counted then.
    pub(super) fair_since: Option<(Duration, u64, u64)>,
    /// Its sync daemon and its kubelet stand still until then.
    pub(super) edge_frozen: Duration,
    pub(super) kubelet_frozen: Duration,
    /// What its sync daemon speaks.
    pub(super) speaks: Versions,
    /// What its devices were told.
    pub(super) ledger: Ledger,
}

impl Node {
    pub(super) fn new(
        n: usize,
        name: NodeName,
        clock: Arc<MachineClock>,
        options: &Options,
    ) -> Self {
        Self {
            facts: register::facts(name.as_str(), n),
            name,
            clock,
            link: Link::new(options),
            conns: Vec::new(),
            disk: Disk::new(),
            image: None,
            runtime: Runtime::default(),
            is_powered: true,
            boot: 0,
            edge: None,
            life: 0,
            wants_edge: true,
            kubelet: None,
            wants_kubelet: true,
            has_fault: false,
            has_lost_history: false,
            calm: 0,
            calm_due: false,
            fair: 0,
            fair_due: false,
            fair_since: None,
            edge_frozen: Duration::ZERO,
            kubelet_frozen: Duration::ZERO,
            speaks: Versions::OWN,
            ledger: Ledger::default(),
        }
    }
}
