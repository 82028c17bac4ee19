//! A whole system in one process and in no time: one cloud, its edges, their links and disks.

mod act;
mod options;
mod state;

use std::time::Duration;

use causeway_log::NodeName;
use causeway_log::replication::Moment;
use serde_json::Value;

pub use act::{Act, Cut, DiskFault, Who};
pub use options::Options;
pub use state::{ContainerState, NodeState, PodState, Stats, Violation};

use crate::trace::Trace;

/// See the [module documentation](self).
#[derive(Debug)]
pub struct World;

impl World {
    /// A world in which everything runs and nothing has happened.
    #[must_use]
    pub fn new(_seed: u64, _options: Options) -> Self {
        panic!("not built")
    }
    /// Virtual time.
    #[must_use]
    pub fn now(&self) -> Moment {
        panic!("not built")
    }
    /// The names of the nodes.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeName> {
        panic!("not built")
    }
    /// Lets time pass.
    ///
    /// # Errors
    /// [`Violation`]
    pub fn run_until(&mut self, _at: Moment) -> Result<(), Violation> {
        panic!("not built")
    }
    /// Does something, now.
    pub fn act(&mut self, _act: Act) {
        panic!("not built")
    }
    /// Heals everything and runs until all is in order; says how long that took.
    ///
    /// # Errors
    /// [`Violation`]
    pub fn settle(&mut self, _within: Duration) -> Result<Duration, Violation> {
        panic!("not built")
    }
    /// A node.
    #[must_use]
    pub fn node(&self, _node: &NodeName) -> NodeState {
        panic!("not built")
    }
    /// All objects in the cloud.
    #[must_use]
    pub fn cloud_objects(&self) -> Vec<Value> {
        panic!("not built")
    }
    /// What happened.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        panic!("not built")
    }
    /// The digest of the run.
    #[must_use]
    pub fn digest(&self) -> u64 {
        panic!("not built")
    }
    /// Counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        panic!("not built")
    }
}
