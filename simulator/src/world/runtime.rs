//! What runs on a machine. It outlives the kubelet, as processes do; a reboot ends it.

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_edged::plan::{Health, Observed, ObservedContainer, ObservedPod};
use causeway_edged::pod::{DesiredPod, Volume, VolumeSource, hash_all};
use causeway_edged::runtime::{
    Container, ContainerConfig, ContainerId, ContainerState as State, Exit, RuntimeInfo, Sandbox,
    SandboxId,
};
use jiff::Timestamp;

use super::state::{ContainerState, PodState};

/// See the [module documentation](self).
#[derive(Debug, Default)]
pub(super) struct Runtime {
    pods: BTreeMap<String, Held>,
}

/// What there is of one life of a pod.
#[derive(Debug, Default)]
pub(super) struct Held {
    sandbox: Option<Sandbox>,
    containers: Vec<Process>,
    volumes: Option<u64>,
    files: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Process {
    container: Container,
    config: ContainerConfig,
    started: Duration,
}

/// PLAN-3 would be broken.
pub(super) struct Doubled(pub(super) String);

impl Held {
    fn runs(&self) -> bool {
        self.containers.iter().any(Process::runs)
    }
}

impl Process {
    const fn runs(&self) -> bool {
        matches!(self.container.state, State::Running { .. })
    }
}

/// What volumes show, by volume and file.
pub(super) fn files_of(volumes: &[Volume]) -> BTreeMap<String, String> {
    let mut shown = BTreeMap::new();
    for volume in volumes {
        let VolumeSource::Files(files) = &volume.source else {
            continue;
        };
        shown.extend(files.iter().map(|(path, file)| {
            let content = String::from_utf8_lossy(&file.content).into_owned();
            (format!("{}/{path}", volume.name), content)
        }));
    }
    shown
}

pub(super) fn info() -> RuntimeInfo {
    RuntimeInfo {
        name: "simulated",
        version: "1".to_owned(),
        development_only: true,
    }
}

impl Runtime {
    pub(super) fn observe(&self) -> Observed {
        let health = Health {
            started: true,
            ready: true,
            unhealthy: None,
        };
        let observed = |held: &Held| ObservedPod {
            sandbox: held.sandbox.clone(),
            containers: held
                .containers
                .iter()
                .map(|process| ObservedContainer {
                    container: process.container.clone(),
                    health: health.clone(),
                })
                .collect(),
            volumes: held.volumes,
        };
        let pods = self.pods.iter();
        Observed {
            pods: pods
                .map(|(uid, held)| (uid.clone(), observed(held)))
                .collect(),
            ..Observed::default()
        }
    }

    pub(super) fn write_volumes(&mut self, uid: &str, volumes: &[Volume]) {
        let held = self.pods.entry(uid.to_owned()).or_default();
        held.volumes = Some(hash_all(volumes));
        held.files = files_of(volumes);
    }

    pub(super) fn run_sandbox(&mut self, pod: &DesiredPod, now: Timestamp) {
        let held = self.pods.entry(pod.uid.clone()).or_default();
        held.sandbox = Some(Sandbox {
            id: SandboxId(pod.uid.clone()),
            config: pod.sandbox_config(),
            ready: true,
            created: now,
        });
    }

    /// Starts an attempt, once. Gives its id when it began to run.
    pub(super) fn start(
        &mut self,
        pod: &DesiredPod,
        config: ContainerConfig,
        (at, now): (Duration, Timestamp),
    ) -> Result<Option<String>, Doubled> {
        let id = format!("{}/{}.{}", pod.uid, config.name, config.attempt);
        for (uid, held) in &self.pods {
            let same_name = held.sandbox.as_ref().is_some_and(|sandbox| {
                sandbox.config.namespace == pod.namespace && sandbox.config.name == pod.name
            });
            if *uid != pod.uid && same_name && held.runs() {
                return Err(Doubled(format!(
                    "{id} starts while {uid} of the same name runs"
                )));
            }
        }
        let held = self.pods.entry(pod.uid.clone()).or_default();
        if held.containers.iter().any(|one| one.container.id.0 == id) {
            return Ok(None);
        }
        let other = held
            .containers
            .iter()
            .find(|one| one.container.name == config.name && one.runs());
        if let Some(other) = other {
            let other = &other.container.id;
            return Err(Doubled(format!("{id} starts while {other} runs")));
        }
        held.containers.push(Process {
            container: Container {
                id: ContainerId(id.clone()),
                pod: pod.uid.clone(),
                name: config.name.clone(),
                attempt: config.attempt,
                spec_hash: config.spec_hash,
                image: config.image.clone(),
                state: State::Running { started: now },
            },
            config,
            started: at,
        });
        Ok(Some(id))
    }

    /// A process ends; `false`: it had ended.
    pub(super) fn exit(&mut self, id: &str, code: i32, at: Duration, now: Timestamp) -> bool {
        let mut all = self.pods.values_mut().flat_map(|held| &mut held.containers);
        let Some(process) = all.find(|one| one.container.id.0 == id && one.runs()) else {
            return false;
        };
        let State::Running { started } = process.container.state else {
            return false;
        };
        process.container.state = State::Exited(Exit {
            code,
            signal: None,
            reason: if code == 0 { "Completed" } else { "Error" }.to_owned(),
            message: String::new(),
            started: Some(started),
            finished: now,
            ran: Some(at.saturating_sub(process.started)),
        });
        true
    }

    pub(super) fn remove_container(&mut self, id: &ContainerId) {
        for held in self.pods.values_mut() {
            held.containers
                .retain(|one| one.container.id != *id || one.runs());
        }
    }

    pub(super) fn remove_pod(&mut self, uid: &str) {
        self.pods.remove(uid);
    }

    /// The power goes: all processes end, nobody sees how.
    pub(super) fn power_off(&mut self, now: Timestamp) {
        for held in self.pods.values_mut() {
            if let Some(sandbox) = &mut held.sandbox {
                sandbox.ready = false;
            }
            for process in held.containers.iter_mut().filter(|one| one.runs()) {
                process.container.state = State::Exited(Exit {
                    code: 255,
                    signal: None,
                    reason: "ContainerStatusUnknown".to_owned(),
                    message: String::new(),
                    started: None,
                    finished: now,
                    ran: None,
                });
            }
        }
    }

    pub(super) fn wipe(&mut self) {
        self.pods.clear();
    }

    pub(super) fn show(&self) -> Vec<PodState> {
        let mut shown: Vec<PodState> = self.pods.iter().map(|(uid, held)| held.show(uid)).collect();
        shown.sort_by(|a, b| {
            let key = |pod: &PodState| (pod.namespace.clone(), pod.name.clone(), pod.uid.clone());
            key(a).cmp(&key(b))
        });
        shown
    }
}

impl Held {
    fn show(&self, uid: &str) -> PodState {
        let mut newest: BTreeMap<&str, &Process> = BTreeMap::new();
        for process in &self.containers {
            let best = newest.entry(&process.container.name).or_insert(process);
            if process.container.attempt > best.container.attempt {
                *best = process;
            }
        }
        let copies = |name: &str| {
            let own = self
                .containers
                .iter()
                .filter(|one| one.container.name == name);
            own.filter(|one| one.runs()).count()
        };
        let config = self.sandbox.as_ref().map(|sandbox| &sandbox.config);
        PodState {
            namespace: config
                .map(|config| config.namespace.clone())
                .unwrap_or_default(),
            name: config.map(|config| config.name.clone()).unwrap_or_default(),
            uid: uid.to_owned(),
            running: !newest.is_empty() && newest.values().all(|one| one.runs()),
            containers: newest
                .into_iter()
                .map(|(name, process)| ContainerState {
                    name: name.to_owned(),
                    image: process.config.image.clone(),
                    command: [&*process.config.command, &*process.config.args].concat(),
                    env: process.config.env.clone(),
                    copies: copies(name),
                    restarts: process.container.attempt,
                })
                .collect(),
            files: self.files.clone(),
        }
    }
}
