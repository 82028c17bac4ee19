//! A runtime on which every step succeeds at once.

use std::collections::BTreeMap;

use causeway_edged::plan::{Action, Health, Observed, ObservedContainer, ObservedPod};
use causeway_edged::pod::{DesiredPod, hash_all};
use causeway_edged::runtime::{Container, ContainerId, ContainerState, Exit, Sandbox, SandboxId};
use jiff::Timestamp;

/// What runs.
#[derive(Debug, Default)]
pub(super) struct Runtime(BTreeMap<String, ObservedPod>);

impl Runtime {
    pub(super) fn observe(&self) -> Observed {
        Observed {
            pods: self.0.clone(),
            ..Observed::default()
        }
    }

    /// Namespace and name of a pod that is no longer wanted.
    pub(super) fn name(&self, uid: &str) -> String {
        let sandbox = self.0.get(uid).and_then(|pod| pod.sandbox.as_ref());
        sandbox.map_or_else(
            || uid.to_owned(),
            |sandbox| format!("{}/{}", sandbox.config.namespace, sandbox.config.name),
        )
    }

    pub(super) fn running(&self) -> Vec<(String, Vec<String>)> {
        let running = self.0.iter().filter_map(|(uid, pod)| {
            let containers = pod.containers.iter().filter(|found| runs(&found.container));
            let images: Vec<String> = containers
                .map(|found| found.container.image.clone())
                .collect();
            (!images.is_empty()).then(|| (self.name(uid), images))
        });
        let mut running: Vec<_> = running.collect();
        running.sort();
        running
    }

    pub(super) fn perform(&mut self, uid: &str, pod: Option<&DesiredPod>, action: &Action) {
        match action {
            Action::Confirm => return,
            Action::RemovePod { .. } => {
                self.0.remove(uid);
                return;
            }
            Action::WriteVolumes
            | Action::RunSandbox
            | Action::Start { .. }
            | Action::Stop { .. }
            | Action::RemoveContainer { .. } => {}
        }
        let found = self.0.entry(uid.to_owned()).or_default();
        match action {
            Action::WriteVolumes => {
                let volumes = pod.and_then(|pod| pod.volumes.as_ref().ok());
                found.volumes = volumes.map(|volumes| hash_all(volumes));
            }
            Action::RunSandbox => found.sandbox = pod.map(sandbox),
            Action::Start { container, attempt } => {
                let wanted = pod.and_then(|pod| pod.container(container));
                found
                    .containers
                    .extend(wanted.map(|wanted| ObservedContainer {
                        container: Container {
                            id: ContainerId(format!("{uid}/{container}.{attempt}")),
                            pod: uid.to_owned(),
                            name: container.clone(),
                            attempt: *attempt,
                            spec_hash: wanted.spec_hash,
                            image: wanted.image.clone(),
                            state: ContainerState::Running {
                                started: Timestamp::UNIX_EPOCH,
                            },
                        },
                        health: Health {
                            started: true,
                            ready: true,
                            unhealthy: None,
                        },
                    }));
            }
            Action::Stop { id, .. } => {
                for found in &mut found.containers {
                    if found.container.id == *id {
                        found.container.state = ContainerState::Exited(ended());
                    }
                }
            }
            Action::RemoveContainer { id } => {
                found.containers.retain(|found| found.container.id != *id);
            }
            Action::RemovePod { .. } | Action::Confirm => {}
        }
    }
}

const fn runs(container: &Container) -> bool {
    matches!(container.state, ContainerState::Running { .. })
}

fn sandbox(pod: &DesiredPod) -> Sandbox {
    Sandbox {
        id: SandboxId(pod.uid.clone()),
        config: pod.sandbox_config(),
        ready: true,
        created: Timestamp::UNIX_EPOCH,
    }
}

fn ended() -> Exit {
    Exit {
        code: 0,
        signal: None,
        reason: "Completed".to_owned(),
        message: String::new(),
        started: Some(Timestamp::UNIX_EPOCH),
        finished: Timestamp::UNIX_EPOCH,
        ran: None,
    }
}
