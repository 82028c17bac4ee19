//! A scenario on the simulated world.

use std::time::Duration;

use causeway_log::NodeName;
use causeway_log::replication::Moment;
use serde_json::Value;

use super::devices::TwinEnds;
use super::model::{Action, Cut, DiskFault, Manifest, Part, Report, Road, Scenario, Target};
use super::run::{Outcome, run};
use super::streams::Ends;
use super::system::{System, SystemError};
use crate::trace::Trace;
use crate::world::{self, Act, NodeState, Options, Said, Stats, Violation, Who, World};

/// A custom kind is defined by an object that may be applied at the same moment; users look for it
/// so often,
const LOOK_FOR_KIND: Duration = Duration::from_millis(100);
/// and so long.
const KIND_WITHIN: Duration = Duration::from_secs(60);

/// The simulated world as a [`System`].
#[derive(Debug)]
pub struct Virtual {
    world: World,
    /// Objects of custom kinds, until the cloud serves their kinds or that takes too long.
    unserved: Vec<(Duration, Value)>,
}

/// Runs a scenario in virtual time.
#[must_use]
pub fn simulate(
    scenario: &Scenario,
    seed: u64,
    progress: &mut dyn FnMut(Duration),
) -> (Outcome, Virtual) {
    let mut system = Virtual::new(scenario, seed);
    let outcome = run(scenario, seed, &mut system, progress);
    (outcome, system)
}

impl Virtual {
    /// A world with the nodes of a scenario, at its start.
    #[must_use]
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let options = Options {
            nodes: scenario.nodes.len(),
            names: scenario.nodes.iter().map(ToString::to_string).collect(),
            trace: true,
            ..Options::default()
        };
        Self {
            world: World::new(seed, options),
            unserved: Vec::new(),
        }
    }

    /// What happened, line by line.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        self.world.trace()
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.world.stats()
    }

    /// Stands for everything that happened: the same seed gives the same.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.world.digest()
    }

    fn each(&mut self, nodes: &[NodeName], act: impl Fn(NodeName) -> Act) {
        for node in nodes {
            self.world.act(act(node.clone()));
        }
    }

    fn parts(&mut self, parts: &[Part], act: impl Fn(Who) -> Act) {
        for part in parts {
            for who in processes(part) {
                self.world.act(act(who));
            }
        }
    }

    /// Disks and clocks belong to the machine, which its sync daemon stands for.
    fn machines(&mut self, parts: &[Part], act: impl Fn(Who) -> Act) {
        for part in parts {
            let who = match part {
                Part::Cloud => Who::Cloud,
                Part::Node(node) | Part::EdgeSync(node) | Part::Edged(node) => {
                    Who::Edge(node.clone())
                }
            };
            self.world.act(act(who));
        }
    }

    fn slow(&mut self, nodes: &[NodeName], road: &Road) {
        let Road {
            delay,
            jitter,
            bytes_per_second,
            loss_per_mille,
        } = *road;
        self.each(nodes, |node| Act::Slow {
            node,
            delay,
            jitter,
            bytes_per_second: bytes_per_second.unwrap_or(0),
            loss: f64::from(loss_per_mille) / 1000.0,
        });
    }

    fn apply(&mut self, manifests: &[Manifest]) {
        let patience = self.now().saturating_add(KIND_WITHIN);
        for Manifest {
            object, resource, ..
        } in manifests
        {
            if resource.is_some() && !self.world.serves(object) {
                self.unserved.push((patience, object.clone()));
            } else {
                self.world.act(Act::Apply(object.clone()));
            }
        }
    }

    /// Applies what the cloud can take by now, or is not going to.
    fn apply_served(&mut self) {
        let now = self.now();
        for (patience, object) in std::mem::take(&mut self.unserved) {
            if now >= patience || self.world.serves(&object) {
                self.world.act(Act::Apply(object));
            } else {
                self.unserved.push((patience, object));
            }
        }
    }

    fn delete(&mut self, target: &Target) {
        let Target {
            resource,
            namespace,
            name,
            grace,
        } = target.clone();
        self.world.act(Act::Delete {
            resource,
            namespace,
            name,
            grace: grace.map(|grace| i64::try_from(grace.as_secs()).unwrap_or(i64::MAX)),
        });
    }
}

impl System for Virtual {
    fn now(&self) -> Duration {
        self.world.now().0
    }

    fn run_until(&mut self, at: Duration, _waiting: bool) -> Result<(), SystemError> {
        while !self.unserved.is_empty() && self.now() < at {
            let next = self.now().saturating_add(LOOK_FOR_KIND).min(at);
            self.world.run_until(Moment(next))?;
            self.apply_served();
        }
        self.world.run_until(Moment(at)).map_err(SystemError::from)
    }

    fn act(&mut self, action: &Action, _label: &str) -> Result<(), SystemError> {
        match action {
            Action::Cut { nodes, how } => {
                let kind = match how {
                    Cut::Silent => world::Cut::Silent,
                    Cut::Reset => world::Cut::Reset,
                    Cut::ToEdge => world::Cut::Down,
                    Cut::ToCloud => world::Cut::Up,
                };
                self.each(nodes, |node| Act::Cut { node, kind });
            }
            Action::Heal(nodes) => self.each(nodes, |node| Act::Heal { node }),
            Action::Flap { nodes, up, down } => {
                let (up, down) = (*up, *down);
                self.each(nodes, |node| Act::Flap { node, up, down });
            }
            Action::Slow { nodes, road } => self.slow(nodes, road),
            Action::Storm(nodes) => {
                let kind = world::Cut::Reset;
                self.each(nodes, |node| Act::Cut { node, kind });
                self.each(nodes, |node| Act::Heal { node });
            }
            Action::Apply(manifests) => self.apply(manifests),
            Action::Delete(target) => self.delete(target),
            Action::EdgeWrite {
                nodes,
                target,
                patch,
            } => self.each(nodes, |node| Act::EdgeWrite {
                node,
                resource: target.resource.clone(),
                namespace: target.namespace.clone(),
                name: target.name.clone(),
                patch: patch.clone(),
            }),
            Action::Report(report) => self.each(&report.nodes, |node| said(report, node)),
            Action::Kill(parts) => self.parts(parts, |who| Act::Kill { who }),
            Action::Start(parts) => self.parts(parts, |who| Act::Start { who }),
            Action::Reboot(nodes) => self.each(nodes, |node| Act::Reboot { node }),
            Action::Wipe(parts) => {
                // Both the store and what is known of processes are on the disk that goes.
                self.parts(parts, |who| Act::Wipe { who });
            }
            Action::Snapshot(parts) => self.machines(parts, |who| Act::Snapshot { who }),
            Action::Restore(parts) => self.machines(parts, |who| Act::Restore { who }),
            Action::Disk { parts, fault } => {
                let fault = match fault {
                    DiskFault::Full => world::DiskFault::Full,
                    DiskFault::WriteFails => world::DiskFault::WriteFails,
                    DiskFault::SyncFails => world::DiskFault::SyncFails,
                    DiskFault::ReadFails => world::DiskFault::ReadFails { one_in: 1 },
                    DiskFault::None => world::DiskFault::Heal,
                };
                self.machines(parts, |who| Act::Disk { who, fault });
            }
            Action::Clock { parts, by_millis } => {
                let by = *by_millis;
                self.machines(parts, |who| Act::Clock { who, by });
            }
        }
        Ok(())
    }

    fn node(&mut self, node: &NodeName) -> NodeState {
        self.world.node(node)
    }

    fn refusals(&self) -> Vec<(Duration, String)> {
        let refused = self.world.trace().lines().iter().filter_map(|line| {
            let mut columns = line.splitn(4, '\t');
            let at = columns.next()?.parse().ok()?;
            let event = columns.next()?;
            let what = columns.nth(1)?;
            (event == "refused").then(|| (Duration::from_micros(at), what.to_owned()))
        });
        refused.collect()
    }

    fn objects(&mut self) -> Option<Vec<Value>> {
        // A cloud has namespaces at least.
        Some(self.world.cloud_objects()).filter(|objects| !objects.is_empty())
    }

    fn streams(&mut self, node: &NodeName) -> Option<[Ends; 2]> {
        self.world.streams(node)
    }

    fn twin(&mut self, node: &NodeName, namespace: &str, name: &str) -> TwinEnds {
        self.world.twin(node, namespace, name)
    }

    fn readings(
        &mut self,
        node: &NodeName,
        namespace: &str,
        name: &str,
        property: &str,
    ) -> Option<u64> {
        self.world.readings(node, namespace, name, property)
    }
}

impl From<Violation> for SystemError {
    fn from(violation: Violation) -> Self {
        Self {
            invariant: Some(violation.invariant),
            what: violation.to_string(),
        }
    }
}

/// The processes of a part.
fn processes(part: &Part) -> Vec<Who> {
    match part {
        Part::Cloud => vec![Who::Cloud],
        Part::Node(node) => vec![Who::Edge(node.clone()), Who::Edged(node.clone())],
        Part::EdgeSync(node) => vec![Who::Edge(node.clone())],
        Part::Edged(node) => vec![Who::Edged(node.clone())],
    }
}

/// What a device says at a node.
fn said(report: &Report, node: NodeName) -> Act {
    Act::Report(Said {
        node,
        namespace: report.namespace.clone(),
        name: report.name.clone(),
        properties: report.values.clone(),
        state: report.state.clone(),
        version: None,
        all_or_nothing: true,
    })
}
