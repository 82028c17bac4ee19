//! Whether containers are well: what to ask, and what the answers mean. Pure; `run` does the asking.

mod ask;
mod spec;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use causeway_log::replication::Moment;

pub use self::ask::ask;
pub use self::spec::{Check, Probe, ProbeSpec};

use crate::plan::Health;
use crate::runtime::ContainerId;

/// Which of a container's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Until it succeeds, the others wait.
    Startup,
    /// While it fails too often, the container is not ready.
    Readiness,
    /// When it fails too often, the container is restarted.
    Liveness,
}

impl ProbeKind {
    /// As events call it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// A question to ask.
#[derive(Clone, Debug)]
pub struct Question {
    /// Of which pod, by uid.
    pub pod: String,
    /// Of which of its containers.
    pub container: ContainerId,
    /// Which probe.
    pub kind: ProbeKind,
    /// The probe.
    pub probe: Probe,
}

/// What an answer changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The health of the container is another than before.
    pub changed: bool,
    /// The probe failed: worth an event.
    pub failed: bool,
}

/// The probes of all running containers.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    containers: BTreeMap<ContainerId, Probed>,
    /// Which containers of a pod are followed.
    pods: BTreeMap<String, BTreeSet<ContainerId>>,
    /// What is asked next, and when: nothing that awaits its answer.
    due: BTreeSet<Due>,
}

type Due = (Moment, ContainerId, ProbeKind);

#[derive(Clone, Debug)]
struct Probed {
    /// Its pod's uid.
    pod: String,
    spec: ProbeSpec,
    tracks: BTreeMap<ProbeKind, Track>,
    health: Health,
}

#[derive(Clone, Copy, Debug)]
struct Track {
    next: Moment,
    /// An answer is awaited.
    asked: bool,
    successes: u32,
    failures: u32,
}

impl Probes {
    /// Takes note of a running container of a pod; those known already stay as they are.
    pub fn follow(&mut self, pod: &str, container: &ContainerId, spec: &ProbeSpec, now: Moment) {
        if self.containers.contains_key(container) {
            return;
        }
        let tracks = spec
            .iter()
            .map(|(kind, probe)| (kind, Track::new(now, probe.initial_delay)));
        let health = Health {
            started: spec.startup.is_none(),
            ready: spec.readiness.is_none() && spec.startup.is_none(),
            unhealthy: None,
        };
        let probed = Probed {
            pod: pod.to_owned(),
            tracks: tracks.collect(),
            spec: spec.clone(),
            health,
        };
        self.due.extend(probed.questions(container));
        self.containers.insert(container.clone(), probed);
        let of_pod = self.pods.entry(pod.to_owned()).or_default();
        of_pod.insert(container.clone());
    }

    /// Forgets all other containers of a pod.
    pub fn retain(&mut self, pod: &str, keep: impl Fn(&ContainerId) -> bool) {
        let Some(of_pod) = self.pods.get_mut(pod) else {
            return;
        };
        for gone in of_pod.extract_if(.., |container| !keep(container)) {
            if let Some(probed) = self.containers.remove(&gone) {
                for question in probed.questions(&gone) {
                    self.due.remove(&question);
                }
            }
        }
        if of_pod.is_empty() {
            self.pods.remove(pod);
        }
    }

    /// What is known of a container's health.
    #[must_use]
    pub fn health(&self, container: &ContainerId) -> Health {
        self.containers
            .get(container)
            .map(|probed| probed.health.clone())
            .unwrap_or_default()
    }

    /// Questions that are due; each is handed out once and then awaits its answer.
    pub fn poll_due(&mut self, now: Moment) -> Vec<Question> {
        let mut due = Vec::new();
        while self.due.first().is_some_and(|(moment, ..)| *moment <= now)
            && let Some((_, container, kind)) = self.due.pop_first()
        {
            let Some(probed) = self.containers.get_mut(&container) else {
                continue;
            };
            let (Some(probe), Some(track)) = (probed.spec.get(kind), probed.tracks.get_mut(&kind))
            else {
                continue;
            };
            track.asked = true;
            due.push(Question {
                pod: probed.pod.clone(),
                container,
                kind,
                probe: probe.clone(),
            });
        }
        due
    }

    /// When the next question is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.due.first().map(|(moment, ..)| *moment)
    }

    /// Takes an answer: `Err` says what is wrong.
    pub fn handle_answer(
        &mut self,
        container: &ContainerId,
        kind: ProbeKind,
        answer: Result<(), String>,
        now: Moment,
    ) -> Verdict {
        let Some(probed) = self.containers.get_mut(container) else {
            return Verdict::default();
        };
        for question in probed.questions(container) {
            self.due.remove(&question);
        }
        let verdict = probed.take(kind, answer, now);
        self.due.extend(probed.questions(container));
        verdict
    }
}

impl Probed {
    /// What it is to be asked: the startup probe until it succeeded, the others from then on.
    fn questions(&self, container: &ContainerId) -> impl Iterator<Item = Due> {
        let asked = self.tracks.iter().filter(|(kind, track)| {
            let is_startup = **kind == ProbeKind::Startup;
            !track.asked && is_startup != self.health.started
        });
        asked.map(|(kind, track)| (track.next, container.clone(), *kind))
    }

    fn take(&mut self, kind: ProbeKind, answer: Result<(), String>, now: Moment) -> Verdict {
        let Self {
            pod: _,
            spec,
            tracks,
            health,
        } = self;
        let (Some(probe), Some(track)) = (spec.get(kind), tracks.get_mut(&kind)) else {
            return Verdict::default();
        };
        let before = health.clone();
        track.note(now, probe, answer.is_ok());
        let enough = match &answer {
            Ok(()) => track.successes >= probe.successes_needed,
            Err(_) => track.failures >= probe.failures_allowed,
        };
        match (kind, &answer) {
            _ if !enough => {}
            (ProbeKind::Startup, Ok(())) => {
                health.started = true;
                health.ready = spec.readiness.is_none();
                let now = Moment(now.0);
                for track in tracks.values_mut() {
                    track.next = track.next.max(now);
                }
            }
            (ProbeKind::Readiness, answer) => health.ready = answer.is_ok(),
            (ProbeKind::Liveness, Ok(())) => {}
            (ProbeKind::Startup | ProbeKind::Liveness, Err(message)) => {
                let what = kind.word();
                health.unhealthy = Some(format!("failed {} probe: {message}", what.to_lowercase()));
                health.ready = false;
            }
        }
        Verdict {
            changed: *health != before,
            failed: answer.is_err(),
        }
    }
}

impl Track {
    const fn new(now: Moment, delay: Duration) -> Self {
        let next = Moment(now.0.saturating_add(delay));
        Self {
            next,
            asked: false,
            successes: 0,
            failures: 0,
        }
    }

    fn note(&mut self, now: Moment, probe: &Probe, success: bool) {
        self.asked = false;
        self.next = Moment(now.0.saturating_add(probe.period));
        if success {
            (self.successes, self.failures) = (self.successes.saturating_add(1), 0);
        } else {
            (self.successes, self.failures) = (0, self.failures.saturating_add(1));
        }
    }
}

#[cfg(test)]
mod tests;
