//! A world in memory that carries out actions the way the contracts of runtime and API say.

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_log::replication::Moment;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::plan::{
    Action, Health, Observed, ObservedContainer, ObservedPod, Plan, PlanState, StopReason, Timing,
    plan,
};
use crate::pod::{Configs, DesiredPod, NodeFacts, hash_all, resolve};
use crate::runtime::{
    Container, ContainerId, ContainerState, Exit, Sandbox, SandboxConfig, SandboxId,
};

/// Everything there is.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) now: Moment,
    /// What is known of config objects.
    pub(crate) configs: Configs,
    pub(crate) desired: Vec<DesiredPod>,
    pub(crate) observed: Observed,
    pub(crate) state: PlanState,
    pub(crate) timing: Timing,
    /// Uids confirmed to the API.
    pub(crate) confirmed: Vec<String>,
    /// Why containers were stopped.
    pub(crate) stopped: Vec<StopReason>,
}

impl World {
    pub(crate) fn with(pods: &[Value]) -> Self {
        let mut world = Self::default();
        world.want(pods);
        world
    }

    pub(crate) fn want(&mut self, pods: &[Value]) {
        let node = NodeFacts {
            name: "edge-1".to_owned(),
            address: "127.0.0.1".to_owned(),
        };
        let configs = &self.configs;
        let resolve = |pod| resolve(pod, configs, &node).unwrap();
        self.desired = pods.iter().map(resolve).collect();
    }

    pub(crate) fn plan(&mut self) -> Plan {
        plan(
            &self.desired,
            &self.observed,
            self.now,
            &self.timing,
            &mut self.state,
        )
    }

    /// Plans and does, once; says what was done.
    pub(crate) fn step(&mut self) -> Vec<Action> {
        let plan = self.plan();
        let mut done = Vec::new();
        for pod in plan.pods {
            for action in pod.actions {
                self.act(&pod.uid, &action);
                done.push(action);
            }
        }
        done
    }

    /// Steps until nothing is left to do; panics if that never comes.
    pub(crate) fn settle(&mut self) {
        for _ in 0..50 {
            if self.step().is_empty() {
                return;
            }
        }
        panic!("the planner does not come to rest: {:?}", self.plan());
    }

    pub(crate) fn act(&mut self, uid: &str, action: &Action) {
        let desired = self.desired.iter().find(|pod| pod.uid == uid).cloned();
        match action {
            Action::Confirm => {
                if !self.confirmed.contains(&uid.to_owned()) {
                    self.confirmed.push(uid.to_owned());
                }
                self.desired.retain(|pod| pod.uid != uid);
                return;
            }
            Action::RemovePod { .. } => {
                let pod = self.observed.pods.remove(uid);
                let running = pod
                    .iter()
                    .flat_map(|pod| &pod.containers)
                    .any(|one| one.runs());
                assert!(!running, "a pod was removed while it ran");
                return;
            }
            Action::WriteVolumes
            | Action::RunSandbox
            | Action::Start { .. }
            | Action::Stop { .. }
            | Action::RemoveContainer { .. } => {}
        }
        let pod = self.observed.pods.entry(uid.to_owned()).or_default();
        match action {
            Action::WriteVolumes => {
                let volumes = desired.expect("desired").volumes.expect("resolved");
                pod.volumes = Some(hash_all(&volumes));
            }
            Action::RunSandbox => {
                let desired = desired.expect("desired");
                pod.sandbox = Some(sandbox(&desired));
            }
            Action::Start { container, attempt } => {
                let desired = desired.expect("desired");
                assert!(pod.sandbox.is_some(), "started without a sandbox");
                start(pod, &desired, container, *attempt);
            }
            Action::Stop { id, why, .. } => {
                let found = pod
                    .containers
                    .iter_mut()
                    .find(|found| found.container.id == *id);
                if let Some(found) = found.filter(|found| found.runs()) {
                    found.container.state = ContainerState::Exited(exit(137, Duration::ZERO));
                    self.stopped.push(why.clone());
                }
            }
            Action::RemoveContainer { id } => {
                pod.containers.retain(|found| {
                    let it = found.container.id == *id;
                    assert!(!(it && found.runs()), "a running container was removed");
                    !it
                });
            }
            Action::Confirm | Action::RemovePod { .. } => {}
        }
    }

    /// The container ends by itself.
    pub(crate) fn end(&mut self, uid: &str, name: &str, code: i32, ran: Duration) {
        let pod = self.observed.pods.get_mut(uid).expect("pod");
        let running = |found: &&mut ObservedContainer| found.container.name == name && found.runs();
        let found = pod.containers.iter_mut().find(running).expect("running");
        found.container.state = ContainerState::Exited(exit(code, ran));
    }

    pub(crate) fn running(&self, uid: &str) -> Vec<(String, u32)> {
        let pod = self.observed.pods.get(uid);
        let running = pod
            .into_iter()
            .flat_map(|pod| &pod.containers)
            .filter(|found| found.runs());
        running
            .map(|found| (found.container.name.clone(), found.container.attempt))
            .collect()
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = Moment(self.now.0 + time);
    }

    /// No container runs twice, no name has two lives that run.
    pub(crate) fn check(&self) {
        let mut lives: BTreeMap<(String, String), usize> = BTreeMap::new();
        for pod in self.observed.pods.values() {
            let mut names: BTreeMap<&str, usize> = BTreeMap::new();
            for found in pod.containers.iter().filter(|found| found.runs()) {
                *names.entry(&found.container.name).or_default() += 1;
            }
            assert!(
                names.values().all(|copies| *copies == 1),
                "a container runs twice"
            );
            if let (Some(sandbox), false) = (&pod.sandbox, names.is_empty()) {
                let SandboxConfig {
                    namespace, name, ..
                } = &sandbox.config;
                *lives.entry((namespace.clone(), name.clone())).or_default() += 1;
            }
        }
        assert!(
            lives.values().all(|lives| *lives == 1),
            "two lives of a name run"
        );
    }
}

fn sandbox(pod: &DesiredPod) -> Sandbox {
    Sandbox {
        id: SandboxId(pod.uid.clone()),
        config: pod.sandbox_config(),
        ready: true,
        created: Timestamp::UNIX_EPOCH,
    }
}

/// Idempotent, and one start for each attempt.
fn start(pod: &mut ObservedPod, desired: &DesiredPod, name: &str, attempt: u32) {
    let id = ContainerId(format!("{}/{name}.{attempt}", desired.uid));
    let config = desired.container(name).expect("container");
    let running = ContainerState::Running {
        started: Timestamp::UNIX_EPOCH,
    };
    if let Some(found) = pod
        .containers
        .iter_mut()
        .find(|found| found.container.id == id)
    {
        if found.container.state == ContainerState::Created {
            found.container.state = running;
        }
        return;
    }
    let container = Container {
        id,
        pod: desired.uid.clone(),
        name: name.to_owned(),
        attempt,
        spec_hash: config.spec_hash,
        image: config.image.clone(),
        state: running,
    };
    let health = Health {
        started: true,
        ready: true,
        unhealthy: None,
    };
    pod.containers.push(ObservedContainer { container, health });
}

pub(crate) fn exit(code: i32, ran: Duration) -> Exit {
    Exit {
        code,
        signal: None,
        reason: if code == 0 { "Completed" } else { "Error" }.to_owned(),
        message: String::new(),
        started: Some(Timestamp::UNIX_EPOCH),
        finished: Timestamp::UNIX_EPOCH,
        ran: Some(ran),
    }
}

/// A pod object with one container `main`.
pub(crate) fn pod(uid: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "default", "name": name, "uid": uid, "resourceVersion": "1"},
        "spec": {
            "nodeName": "edge-1",
            "restartPolicy": "Always",
            "containers": [{"name": "main", "image": "busybox", "command": ["/bin/true"]}],
        },
    })
}

/// The same pod, marked for deletion.
pub(crate) fn deleted(mut pod: Value, grace: u64) -> Value {
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    pod["metadata"]["deletionGracePeriodSeconds"] = grace.into();
    pod
}
