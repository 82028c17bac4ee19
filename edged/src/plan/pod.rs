//! The steps of one pod.

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_log::replication::Moment;

use super::backoff::End;
use super::{Action, ObservedContainer, ObservedPod, Plan, PlanState, StopReason, Timing};
use crate::pod::{DesiredContainer, DesiredPod, RestartPolicy, hash_all};
use crate::runtime::{ContainerState, Exit};

/// Ended attempts kept of a container besides the newest: the last one tells `lastState`.
const ATTEMPTS_KEPT: usize = 1;

impl ObservedContainer {
    /// Whether a process of it may live.
    pub(crate) const fn runs(&self) -> bool {
        matches!(self.container.state, ContainerState::Running { .. })
    }

    pub(crate) const fn exit(&self) -> Option<&Exit> {
        match &self.container.state {
            ContainerState::Exited(exit) => Some(exit),
            ContainerState::Created | ContainerState::Running { .. } => None,
        }
    }
}

impl ObservedPod {
    /// How the attempt before this one ended, and of which spec it was.
    fn end_before(&self, name: &str, attempt: u32) -> Option<(u64, &Exit)> {
        let of_name = self.containers.iter().map(|found| &found.container);
        let before = of_name
            .filter(|one| one.name == name && one.attempt < attempt)
            .max_by_key(|one| one.attempt)?;
        match &before.state {
            ContainerState::Exited(exit) => Some((before.spec_hash, exit)),
            ContainerState::Created | ContainerState::Running { .. } => None,
        }
    }

    /// The newest attempt of a container.
    #[must_use]
    pub fn newest(&self, name: &str) -> Option<&ObservedContainer> {
        self.containers
            .iter()
            .filter(|found| found.container.name == name)
            .max_by_key(|found| found.container.attempt)
    }

    /// Whether anything was found of it.
    pub(crate) fn exists(&self) -> bool {
        self.sandbox.is_some() || !self.containers.is_empty() || self.volumes.is_some()
    }
}

/// The end of a pod: stop what runs, then take away what is left.
pub(super) fn end(found: &ObservedPod, grace: Duration, why: &StopReason) -> Vec<Action> {
    let running: Vec<Action> = found
        .containers
        .iter()
        .filter(|container| container.runs())
        .map(|container| stop(container, grace, why.clone()))
        .collect();
    if !running.is_empty() {
        return running;
    }
    if !found.exists() {
        return Vec::new();
    }
    vec![Action::RemovePod {
        sandbox: found.sandbox.as_ref().map(|sandbox| sandbox.id.clone()),
    }]
}

fn stop(found: &ObservedContainer, grace: Duration, why: StopReason) -> Action {
    let (id, container) = (found.container.id.clone(), found.container.name.clone());
    Action::Stop {
        id,
        container,
        grace,
        why,
    }
}

/// Where a container stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It runs as it should.
    Running,
    /// It ended and stays so.
    Done { success: bool },
    /// It is being started, stopped or waited for.
    Changing,
}

pub(super) struct PodPlanner<'a> {
    pub(super) pod: &'a DesiredPod,
    pub(super) found: &'a ObservedPod,
    pub(super) now: Moment,
    pub(super) timing: &'a Timing,
    pub(super) state: &'a mut PlanState,
    pub(super) plan: &'a mut Plan,
}

impl PodPlanner<'_> {
    pub(super) fn plan(&mut self, held: bool) -> Vec<Action> {
        if let Some(grace) = self.pod.deletion {
            let steps = end(self.found, grace, &StopReason::Deleted);
            return if steps.is_empty() {
                vec![Action::Confirm]
            } else {
                steps
            };
        }
        let mut steps = self.tidy();
        if self.pod.ended {
            steps.extend(self.stop_all(&StopReason::PodEnded));
            return steps;
        }
        let Ok(volumes) = &self.pod.volumes else {
            return steps;
        };
        if held {
            return steps;
        }
        let hash = (!volumes.is_empty()).then(|| hash_all(volumes));
        if hash.is_some() && self.found.volumes != hash {
            steps.push(Action::WriteVolumes);
        }
        let has_sandbox = self
            .found
            .sandbox
            .as_ref()
            .is_some_and(|sandbox| sandbox.ready);
        if !has_sandbox {
            steps.push(Action::RunSandbox);
        }
        self.containers(&mut steps);
        steps
    }

    /// Ends what is no part of the pod and forgets what is too old to matter.
    fn tidy(&self) -> Vec<Action> {
        let mut steps = Vec::new();
        let mut attempts: BTreeMap<&str, Vec<&ObservedContainer>> = BTreeMap::new();
        for found in &self.found.containers {
            attempts
                .entry(&found.container.name)
                .or_default()
                .push(found);
        }
        for (name, mut attempts) in attempts {
            let known = self.all().any(|container| container.name == name);
            attempts.sort_by_key(|found| std::cmp::Reverse(found.container.attempt));
            let newest = usize::from(known);
            for (age, found) in attempts.into_iter().enumerate().skip(newest) {
                if found.runs() {
                    steps.push(stop(found, self.pod.grace, StopReason::Unknown));
                } else if !known || age > ATTEMPTS_KEPT {
                    steps.push(Action::RemoveContainer {
                        id: found.container.id.clone(),
                    });
                }
            }
        }
        steps
    }

    fn all(&self) -> impl Iterator<Item = &DesiredContainer> {
        self.pod.init.iter().chain(&self.pod.containers)
    }

    fn stop_all(&self, why: &StopReason) -> Vec<Action> {
        let running = self
            .found
            .containers
            .iter()
            .filter(|container| container.runs());
        running
            .map(|found| stop(found, self.pod.grace, why.clone()))
            .collect()
    }

    /// Init containers one after the other, then the others together.
    fn containers(&mut self, steps: &mut Vec<Action>) {
        let pod = self.pod;
        // An old init container may have been forgotten; that its pod went on proves its success.
        let went_on = pod
            .containers
            .iter()
            .any(|one| self.found.newest(&one.name).is_some());
        for container in &pod.init {
            if went_on && !container.sidecar {
                continue;
            }
            match self.container(container, steps) {
                Standing::Done { success: true } => {}
                Standing::Running if container.sidecar && self.has_started(container) => {}
                Standing::Done { success: false } if container.sidecar || went_on => {}
                Standing::Changing if went_on => {}
                Standing::Running | Standing::Changing | Standing::Done { .. } => return,
            }
        }
        let mut all_done = true;
        for container in &pod.containers {
            all_done &= matches!(self.container(container, steps), Standing::Done { .. });
        }
        if all_done {
            steps.retain(|step| !matches!(step, Action::Start { .. }));
            steps.extend(self.stop_all(&StopReason::PodEnded));
        }
    }

    fn has_started(&self, container: &DesiredContainer) -> bool {
        self.found
            .newest(&container.name)
            .is_some_and(|found| found.health.started)
    }

    /// Adds the next step of one container.
    fn container(&mut self, container: &DesiredContainer, steps: &mut Vec<Action>) -> Standing {
        let Some(newest) = self.found.newest(&container.name) else {
            return start(container, 0, steps);
        };
        let changed = newest.container.spec_hash != container.spec_hash;
        let attempt = newest.container.attempt;
        let exit = match &newest.container.state {
            ContainerState::Created if changed => {
                return start(container, attempt.saturating_add(1), steps);
            }
            ContainerState::Created => return start(container, attempt, steps),
            ContainerState::Running { .. }
                if causeway_log::mutant::is_on("planner-starts-twice") =>
            {
                return start(container, attempt.saturating_add(1), steps);
            }
            ContainerState::Running { .. } => {
                let why = if changed {
                    StopReason::SpecChanged
                } else if let Some(failure) = &newest.health.unhealthy {
                    StopReason::Unhealthy(failure.clone())
                } else {
                    return Standing::Running;
                };
                steps.push(stop(newest, self.pod.grace, why));
                return Standing::Changing;
            }
            ContainerState::Exited(exit) => exit,
        };
        let is_init = self.pod.init.iter().any(|init| init.name == container.name);
        // What was changed has not run as it should yet; but an init container runs only once.
        if changed && !is_init {
            return start(container, attempt.saturating_add(1), steps);
        }
        let success = exit.code == 0;
        let again = match self.pod.restart {
            _ if container.sidecar => true,
            RestartPolicy::Always => !(is_init && success),
            RestartPolicy::OnFailure => !success,
            RestartPolicy::Never => false,
        };
        if !again {
            return Standing::Done { success };
        }
        let (uid, name) = (&self.pod.uid, &container.name);
        let end = End {
            attempt,
            spec_hash: newest.container.spec_hash,
            exit,
            before: self.found.end_before(name, attempt),
        };
        let delay = self.state.ended(uid, name, &end, self.now, self.timing);
        if self.now < delay.not_before {
            self.plan
                .backing_off
                .insert((uid.clone(), name.clone()), delay.length);
            self.plan.wake_at(delay.not_before);
            return Standing::Changing;
        }
        start(container, attempt.saturating_add(1), steps)
    }
}

/// A container whose config is missing waits; it is planned again when the config appears.
fn start(container: &DesiredContainer, attempt: u32, steps: &mut Vec<Action>) -> Standing {
    if container.config.is_ok() {
        steps.push(Action::Start {
            container: container.name.clone(),
            attempt,
        });
    }
    Standing::Changing
}
