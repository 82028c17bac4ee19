//! What to do next: pure.
//!
//! [`plan`] compares what should run with what does, and says the next steps for every pod, in
//! order. It is level-based: it never waits for the outcome of a step it said before, so steps may
//! fail, be repeated, or be lost with the process, and the next look at the world makes up for it.
//!
//! ```text
//! one container:   (none) ──start──► running ──ends──► exited ─┬─ policy says leave it
//!                     ▲                 │                      ├─ backing off: wait until …
//!                     │           spec changed,                │
//!                     │           probe failed: stop           │
//!                     └────────── next attempt ◄───────────────┘
//!
//! a pod that goes: stop containers ─► nothing runs ─► (status is told) ─► remove ─► confirm
//! ```
//!
//! # Invariants
//! - PLAN-1: a converged pod yields no action.
//! - PLAN-2: every action is idempotent; doing one twice is doing it once.
//! - One life of a name at a time: a pod starts nothing while another uid of its name runs, or
//!   may be started by steps that were handed out before it was unwanted.
//! - An attempt is started only when no earlier attempt of the container runs.

mod backoff;
mod names;
mod pod;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use causeway_log::replication::Moment;

pub use self::backoff::PlanState;

use crate::pod::DesiredPod;
use crate::runtime::{Container, ContainerId, Sandbox, SandboxId};

/// Delays of the planner. A struct so that tests and demonstrations can shrink them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Delay before the second restart of a container that keeps ending; it doubles each time.
    /// The first restart is immediate.
    pub backoff_first: Duration,
    /// The delay never grows beyond this.
    pub backoff_max: Duration,
    /// A container that ran this long begins again without delay.
    pub backoff_reset: Duration,
}

impl Default for Timing {
    /// What kubelet does: 10 s, doubling to 300 s, forgotten after 10 min of running.
    fn default() -> Self {
        Self {
            backoff_first: Duration::from_secs(10),
            backoff_max: Duration::from_secs(300),
            backoff_reset: Duration::from_secs(600),
        }
    }
}

/// Everything found on this node, by pod uid.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The pods.
    pub pods: BTreeMap<String, ObservedPod>,
    /// Lives whose steps under way may yet start something: namespace and name.
    pub starting: BTreeMap<String, (String, String)>,
}

/// What was found of one life of a pod.
#[derive(Clone, Debug, Default)]
pub struct ObservedPod {
    /// Its sandbox.
    pub sandbox: Option<Sandbox>,
    /// Its containers, all attempts.
    pub containers: Vec<ObservedContainer>,
    /// Which content its volumes have; `None` when there are none on disk.
    pub volumes: Option<u64>,
}

/// What was found of one attempt.
#[derive(Clone, Debug)]
pub struct ObservedContainer {
    /// As the runtime has it.
    pub container: Container,
    /// As its probes have it.
    pub health: Health,
}

/// What the probes of a container say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Its startup probe succeeded, or it has none.
    pub started: bool,
    /// Its readiness probe succeeds, or it has none.
    pub ready: bool,
    /// Why it must be restarted: its liveness or startup probe failed too often.
    pub unhealthy: Option<String>,
}

/// One step. All are idempotent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make what the volumes should hold so.
    WriteVolumes,
    /// Make the sandbox exist and be ready.
    RunSandbox,
    /// Create this attempt and start it.
    Start {
        /// The container's name.
        container: String,
        /// Which attempt.
        attempt: u32,
    },
    /// Stop a container and wait until it is gone.
    Stop {
        /// Which.
        id: ContainerId,
        /// The container's name.
        container: String,
        /// How long it may take to end by itself.
        grace: Duration,
        /// Why, for people.
        why: StopReason,
    },
    /// Forget an attempt that has ended.
    RemoveContainer {
        /// Which.
        id: ContainerId,
    },
    /// Take away what is left of the pod: sandbox, if there is one, and volumes.
    RemovePod {
        /// Its sandbox.
        sandbox: Option<SandboxId>,
    },
    /// Tell the API that this life of the pod is over here.
    Confirm,
}

/// Why a container is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Its pod is deleted.
    Deleted,
    /// Its pod is not wanted here, or another life of its name is.
    Orphan,
    /// Its part of the spec changed.
    SpecChanged,
    /// A probe failed.
    Unhealthy(String),
    /// It is not part of its pod, or a newer attempt exists.
    Unknown,
    /// All containers it serves have ended.
    PodEnded,
}

/// The steps of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPlan {
    /// Its uid.
    pub uid: String,
    /// In order; each one only if those before succeeded.
    pub actions: Vec<Action>,
}

/// What to do, and what is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Pods with something to do.
    pub pods: Vec<PodPlan>,
    /// Containers whose next start is delayed: (pod uid, container) and for how long in total.
    pub backing_off: BTreeMap<(String, String), Duration>,
    /// When to plan again though nothing changed.
    pub wake: Option<Moment>,
}

/// Says the next steps of all pods.
#[must_use]
pub fn plan(
    desired: &[DesiredPod],
    observed: &Observed,
    now: Moment,
    timing: &Timing,
    state: &mut PlanState,
) -> Plan {
    let plan = plan_names(desired, observed, now, timing, state);
    state.retain(|uid| observed.pods.contains_key(uid));
    plan
}

/// Says the next steps of the pods of some names: of each, everything desired and observed is there.
/// What goes by other names plays no part, so planning name by name says what [`plan`] says.
#[must_use]
pub fn plan_names(
    desired: &[DesiredPod],
    observed: &Observed,
    now: Moment,
    timing: &Timing,
    state: &mut PlanState,
) -> Plan {
    let mut plan = Plan::default();
    let nothing = ObservedPod::default();
    let names = names::Names::of(desired, observed);
    for pod in desired {
        let found = observed.pods.get(&pod.uid).unwrap_or(&nothing);
        let mut planner = pod::PodPlanner {
            pod,
            found,
            now,
            timing,
            state,
            plan: &mut plan,
        };
        let actions = planner.plan(names.is_held(pod));
        plan.add(&pod.uid, actions);
    }
    let wanted: BTreeSet<&str> = desired.iter().map(|pod| pod.uid.as_str()).collect();
    for (uid, found) in &observed.pods {
        let is_left = causeway_log::mutant::is_on("planner-leaves-orphans");
        if !wanted.contains(uid.as_str()) && !is_left {
            let grace = found
                .sandbox
                .as_ref()
                .map_or(Duration::ZERO, |found| found.config.grace);
            plan.add(uid, pod::end(found, grace, &StopReason::Orphan));
        }
    }
    plan
}

impl Plan {
    fn add(&mut self, uid: &str, actions: Vec<Action>) {
        if !actions.is_empty() {
            self.pods.push(PodPlan {
                uid: uid.to_owned(),
                actions,
            });
        }
    }

    fn wake_at(&mut self, moment: Moment) {
        self.wake = Some(self.wake.map_or(moment, |earlier| earlier.min(moment)));
    }
}

#[cfg(test)]
pub(crate) mod tests;
