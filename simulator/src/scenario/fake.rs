//! A system that does what a test says, to try expectations on.

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_log::NodeName;
use serde_json::Value;

use crate::scenario::{Action, Ends, Held, System, SystemError, TwinEnds};
use crate::world::{ContainerState, NodeState, PodState};

type States = Box<dyn Fn(Duration) -> NodeState>;

/// One node whose state is a function of time.
pub(crate) struct Fake {
    now: Duration,
    states: States,
    pub(crate) objects: Vec<Value>,
    /// What the cloud holds of the stream to the node, which holds nothing.
    pub(crate) held: Held,
    pub(crate) acts: Vec<(Duration, Action)>,
    /// The system breaks at this time.
    pub(crate) breaks: Option<Duration>,
    /// The device `default/oven`.
    pub(crate) twin: Option<TwinEnds>,
    /// How many readings of it the cloud has.
    pub(crate) readings: BTreeMap<String, u64>,
}

impl Fake {
    pub(crate) fn new(states: impl Fn(Duration) -> NodeState + 'static) -> Self {
        Self {
            now: Duration::ZERO,
            states: Box::new(states),
            objects: Vec::new(),
            held: Held::default(),
            acts: Vec::new(),
            breaks: None,
            twin: None,
            readings: BTreeMap::new(),
        }
    }
}

impl System for Fake {
    fn now(&self) -> Duration {
        self.now
    }

    fn run_until(&mut self, at: Duration, _waiting: bool) -> Result<(), SystemError> {
        if self.breaks.is_some_and(|breaks| breaks <= at) {
            return Err(SystemError {
                invariant: Some("AUTO-1"),
                what: "it broke".to_owned(),
            });
        }
        self.now = at;
        Ok(())
    }

    fn act(&mut self, action: &Action, _label: &str) -> Result<(), SystemError> {
        self.acts.push((self.now, action.clone()));
        Ok(())
    }

    fn node(&mut self, _node: &NodeName) -> NodeState {
        (self.states)(self.now)
    }

    fn refusals(&self) -> Vec<(Duration, String)> {
        Vec::new()
    }

    fn objects(&mut self) -> Option<Vec<Value>> {
        Some(self.objects.clone())
    }

    fn streams(&mut self, _node: &NodeName) -> Option<[Ends; 2]> {
        let ends = |direction, cloud| Ends {
            direction,
            cloud,
            edge: Held::default(),
        };
        Some([ends("down", self.held.clone()), ends("up", Held::default())])
    }

    fn twin(&mut self, _node: &NodeName, namespace: &str, name: &str) -> TwinEnds {
        let is_asked = (namespace, name) == ("default", "oven");
        self.twin.clone().filter(|_| is_asked).unwrap_or_default()
    }

    fn readings(&mut self, _: &NodeName, _: &str, _: &str, property: &str) -> Option<u64> {
        self.readings.get(property).copied()
    }
}

pub(crate) fn pod(name: &str, uid: &str, image: &str, restarts: u32) -> PodState {
    PodState {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        running: true,
        containers: vec![ContainerState {
            name: "main".to_owned(),
            image: image.to_owned(),
            env: vec![("MODE".to_owned(), "fast".to_owned())],
            copies: 1,
            restarts,
            ..ContainerState::default()
        }],
        files: [("settings/mode".to_owned(), "fast\n".to_owned())].into(),
    }
}

pub(crate) fn state(pods: Vec<PodState>) -> NodeState {
    NodeState {
        connected: true,
        edge_running: true,
        edged_running: true,
        serving: true,
        pods,
    }
}
