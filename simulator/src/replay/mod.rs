//! A node's recorded history through the same folds and the same planner.
//!
//! ```text
//!   NDJSON ── read ──▶ records ── fold ──▶ objects ── resolve, plan ──▶ decisions
//!                                                         ▲    │
//!                                                     observed ◀ ideal runtime
//! ```
//!
//! The runtime is ideal: every step succeeds at once and nothing ends by itself, so the decisions
//! are those that the history alone asks for.

mod ideal;
mod record;

use std::collections::BTreeSet;
use std::time::Duration;

use causeway_edged::plan::{Action, PlanState, Timing, plan};
use causeway_edged::pod::{
    ConfigKind, Configs, DesiredPod, NodeFacts, config_data, references, resolve,
};
use causeway_log::replication::Moment;
use causeway_log::{NodeName, Op, Resource, Stored, StreamId, WallTime};
use causeway_projections::Objects;
use serde_json::Value;

use self::ideal::Runtime;
pub use self::record::{HistoryError, Line, first_line, parse_line};

/// A pod that is planned this often for one record would be planned for ever.
const ROUNDS_MAX: usize = 64;

/// A record and what it leads to.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place in the order of the store.
    pub revision: u64,
    /// When its writer's clock said it happened.
    pub time: WallTime,
    /// `down`, `up`.
    pub stream: &'static str,
    /// What it does.
    pub op: Op,
    /// What it is about, such as `pods hello/greeter`.
    pub about: String,
    /// The steps that the node takes, in order.
    pub decisions: Vec<Decision>,
}

/// A step of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Namespace and name of the pod.
    pub pod: String,
    /// What is done, for people.
    pub what: String,
}

/// The state of a replay. Records are given in the order of the store.
#[derive(Debug)]
pub struct Replay {
    node: NodeName,
    objects: Objects,
    runtime: Runtime,
    planner: PlanState,
    confirmed: BTreeSet<String>,
    began: Option<WallTime>,
}

impl Replay {
    /// Nothing has happened.
    #[must_use]
    pub fn new(node: NodeName) -> Self {
        Self {
            node,
            objects: Objects::new(),
            runtime: Runtime::default(),
            planner: PlanState::default(),
            confirmed: BTreeSet::new(),
            began: None,
        }
    }

    /// Takes the next record.
    pub fn record(&mut self, stream: &StreamId, stored: &Stored) -> Event {
        self.objects.apply(stream, stored);
        self.objects.cover(stored.revision);
        let header = &stored.record.header;
        let began = *self.began.get_or_insert(header.time);
        let elapsed = header
            .time
            .unix_millis()
            .saturating_sub(began.unix_millis());
        let decisions = self.decide(Moment(Duration::from_millis(elapsed)));
        let key = &header.key;
        Event {
            revision: stored.revision.get(),
            time: header.time,
            stream: if *stream == StreamId::up(self.node.clone()) {
                "up"
            } else {
                "down"
            },
            op: header.op,
            about: if key.namespace.is_empty() {
                format!("{} {}", key.resource, key.name)
            } else {
                format!("{} {}/{}", key.resource, key.namespace, key.name)
            },
            decisions,
        }
    }

    /// The objects as the node sees them.
    #[must_use]
    pub const fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Namespace, name and images of the pods that run in the end.
    #[must_use]
    pub fn running(&self) -> Vec<(String, Vec<String>)> {
        self.runtime.running()
    }

    /// Plans and does until there is nothing to do.
    fn decide(&mut self, now: Moment) -> Vec<Decision> {
        let pods: Vec<Value> = self
            .objects
            .list(&Resource::core("pods"), None, None)
            .map(|entry| entry.object())
            .filter(|pod| pod["spec"]["nodeName"] == self.node.as_str())
            .collect();
        let uid = |pod: &Value| {
            pod["metadata"]["uid"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let known: BTreeSet<String> = pods.iter().map(uid).collect();
        self.confirmed.retain(|uid| known.contains(uid));
        let configs = self.configs(&pods);
        let facts = NodeFacts {
            name: self.node.to_string(),
            address: String::new(),
        };
        let desired: Vec<DesiredPod> = pods
            .iter()
            .filter_map(|pod| resolve(pod, &configs, &facts).ok())
            .collect();
        let mut decisions = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let open: Vec<DesiredPod> = desired
                .iter()
                .filter(|pod| !self.confirmed.contains(&pod.uid))
                .cloned()
                .collect();
            let observed = self.runtime.observe();
            let plan = plan(&open, &observed, now, &Timing::default(), &mut self.planner);
            if plan.pods.is_empty() {
                break;
            }
            for steps in plan.pods {
                let own = open.iter().find(|pod| pod.uid == steps.uid);
                let pod = own.map_or_else(
                    || self.runtime.name(&steps.uid),
                    |pod| format!("{}/{}", pod.namespace, pod.name),
                );
                for action in &steps.actions {
                    decisions.push(Decision {
                        pod: pod.clone(),
                        what: describe(action, own),
                    });
                    if *action == Action::Confirm {
                        self.confirmed.insert(steps.uid.clone());
                    }
                    self.runtime.perform(&steps.uid, own, action);
                }
            }
        }
        decisions
    }

    /// What pods refer to. The values of Secrets are blanked in exports; that they are there counts.
    fn configs(&self, pods: &[Value]) -> Configs {
        let mut configs = Configs::default();
        for reference in pods.iter().flat_map(references) {
            let resource = reference.kind.resource();
            let found = self
                .objects
                .get(&resource, &reference.namespace, &reference.name);
            let data = found.map(|entry| {
                let object = entry.object();
                match reference.kind {
                    ConfigKind::ConfigMap | ConfigKind::Token => {
                        config_data(reference.kind, &object)
                    }
                    ConfigKind::Secret => {
                        let fields = object["data"].as_object();
                        let names = fields.into_iter().flat_map(serde_json::Map::keys);
                        names
                            .map(|name| (name.clone(), "(blanked)".into()))
                            .collect()
                    }
                }
            });
            configs.known.insert(reference, data);
        }
        configs
    }
}

fn describe(action: &Action, pod: Option<&DesiredPod>) -> String {
    match action {
        Action::WriteVolumes => "write volumes".to_owned(),
        Action::RunSandbox => "run sandbox".to_owned(),
        Action::Start { container, attempt } => {
            let image = pod
                .and_then(|pod| pod.container(container))
                .map(|found| &found.image);
            let image = image.map(|image| format!(" ({image})")).unwrap_or_default();
            let again = if *attempt > 0 {
                format!(", attempt {attempt}")
            } else {
                String::new()
            };
            format!("start {container}{image}{again}")
        }
        Action::Stop { container, why, .. } => format!("stop {container} ({})", reason(why)),
        Action::RemoveContainer { id } => format!("forget {}", id.0),
        Action::RemovePod { .. } => "remove what is left of it".to_owned(),
        Action::Confirm => "tell that it is gone".to_owned(),
    }
}

fn reason(why: &causeway_edged::plan::StopReason) -> &'static str {
    use causeway_edged::plan::StopReason;
    match why {
        StopReason::Deleted => "its pod is deleted",
        StopReason::Orphan => "its pod is not wanted here",
        StopReason::SpecChanged => "its spec changed",
        StopReason::Unhealthy(_) => "a probe failed",
        StopReason::Unknown => "it is not part of its pod",
        StopReason::PodEnded => "its pod ended",
    }
}

#[cfg(test)]
mod tests;
