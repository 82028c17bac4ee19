//! What a scenario runs on: the simulated world, or real daemons.

use std::time::Duration;

use causeway_log::NodeName;
use serde_json::Value;

use super::devices::TwinEnds;
use super::model::Action;
use super::streams::Ends;
use crate::world::NodeState;

/// What a scenario runs on.
pub trait System {
    /// Time since the start.
    fn now(&self) -> Duration;

    /// Lets time pass until `at`, or a little longer, but not beyond the next moment that the
    /// scenario mentions. With `waiting`, something expected may come true at any moment.
    ///
    /// # Errors
    /// When a promise of the engine is broken, or the system cannot go on.
    fn run_until(&mut self, at: Duration, waiting: bool) -> Result<(), SystemError>;

    /// Does something, which people know as `label`.
    ///
    /// # Errors
    /// When it cannot be done.
    fn act(&mut self, action: &Action, label: &str) -> Result<(), SystemError>;

    /// How a node is.
    fn node(&mut self, node: &NodeName) -> NodeState;

    /// What the cloud refused so far, and when.
    fn refusals(&self) -> Vec<(Duration, String)>;

    /// All objects of the cloud; none while it does not answer.
    fn objects(&mut self) -> Option<Vec<Value>>;

    /// What both ends hold of a node's streams, `down` first; none while one of them does not say.
    fn streams(&mut self, node: &NodeName) -> Option<[Ends; 2]>;

    /// A device of a node, as both ends have it.
    fn twin(&mut self, node: &NodeName, namespace: &str, name: &str) -> TwinEnds;

    /// How many readings of a device's property the cloud has; none while it does not say.
    fn readings(
        &mut self,
        node: &NodeName,
        namespace: &str,
        name: &str,
        property: &str,
    ) -> Option<u64>;

    /// How often the nodes are to be looked at from now on, besides what the scenario asks for.
    fn pulse(&self) -> Option<Duration> {
        None
    }

    /// How its time went.
    fn pacing(&self) -> Pacing {
        Pacing::Virtual
    }
}

/// How the time of a run went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pacing {
    /// It was simulated.
    #[default]
    Virtual,
    /// It was real, but for waits.
    Live {
        /// How long it took, starting included.
        real: Duration,
        /// Waits that were shortened.
        skips: Vec<Skip>,
        /// What else was not as the scenario says.
        notes: Vec<String>,
    },
}

/// A wait that was shortened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skip {
    /// From this time of the scenario
    pub from: Duration,
    /// until this
    pub until: Duration,
    /// it took so long.
    pub real: Duration,
}

/// Why a run ended before its time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct SystemError {
    /// The invariant that did not hold, when it was one.
    pub invariant: Option<&'static str>,
    /// What went wrong.
    pub what: String,
}
