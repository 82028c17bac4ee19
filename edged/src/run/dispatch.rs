//! Who carries out the steps of pods: a bounded number of jobs, one for a pod.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use causeway_log::replication::Moment;
use futures_util::FutureExt as _;
use tokio::sync::oneshot;

use super::agenda::Turn;
use super::lives::Name;
use super::round::{Agent, Done, Scene};
use crate::execute::Job;
use crate::plan::PodPlan;

/// Pods whose steps are carried out at the same time, not counting those of which only the end of
/// containers is waited for: that is no work, and may take long.
const JOBS_MAX: usize = 32;

/// The jobs under way, by the uid of their pod.
#[derive(Default)]
pub(super) struct Jobs {
    running: BTreeMap<String, Running>,
    /// How many of them work.
    working: usize,
}

/// A job under way.
struct Running {
    deletion: Option<Duration>,
    only_stops: bool,
    /// Namespace and name, when its steps may start something.
    starts: Option<Name>,
    /// Dropping it drops the job.
    _abort: oneshot::Sender<()>,
}

impl Jobs {
    pub(super) fn has(&self, uid: &str) -> bool {
        self.running.contains_key(uid)
    }

    /// The name under which a job may start something.
    pub(super) fn starts(&self, uid: &str) -> Option<&Name> {
        self.running.get(uid)?.starts.as_ref()
    }

    /// How many more may work.
    pub(super) const fn free(&self) -> usize {
        JOBS_MAX.saturating_sub(self.working)
    }

    fn insert(&mut self, uid: String, job: Running) {
        self.working += usize::from(!job.only_stops);
        self.running.insert(uid, job);
    }

    pub(super) fn remove(&mut self, uid: &str) {
        if let Some(job) = self.running.remove(uid) {
            self.working -= usize::from(!job.only_stops);
        }
    }
}

impl Agent {
    /// Hands the steps of a pod out, unless some are under way or failed a moment ago.
    pub(super) fn dispatch(&mut self, scene: &Scene, pod: PodPlan, now: Moment) {
        let PodPlan { uid, mut actions } = pod;
        let desired = scene.desired.iter().find(|desired| desired.uid == uid);
        let deletion = desired.map_or(Some(Duration::ZERO), |desired| desired.deletion);
        if let Some(running) = self.jobs.running.get(&uid) {
            let sooner = match (running.deletion, deletion) {
                (None, Some(_)) => true,
                (Some(before), Some(after)) => after < before && desired.is_some(),
                (_, None) => false,
            };
            if !(running.only_stops && sooner) {
                return;
            }
            // Its future ends now; the runtime remembers the stops and shortens their grace.
            self.jobs.remove(&uid);
        }
        if let Some(trouble) = self
            .troubles
            .get(&uid)
            .filter(|trouble| now < trouble.retry_at)
        {
            actions.retain(|action| !trouble.holds(action));
            self.agenda.touch_at(&scene.name, trouble.retry_at);
        }
        if actions.is_empty() {
            return;
        }
        let job = Job {
            pod: Self::pod_name(scene, &uid),
            desired: desired.cloned(),
            actions,
        };
        let only_stops = job.only_stops();
        if !only_stops && self.jobs.free() == 0 {
            self.agenda.wait(Turn::Act, scene.name.clone());
            return;
        }
        let starts = job.starts();
        let (abort, aborted) = oneshot::channel();
        self.jobs.insert(
            uid.clone(),
            Running {
                deletion,
                only_stops,
                starts,
                _abort: abort,
            },
        );
        let executor = Arc::clone(&self.executor);
        self.work.push(
            async move {
                tokio::select! {
                    biased;
                    outcome = executor.execute(&job) => Done::Job(uid, Some(outcome)),
                    _ = aborted => Done::Job(String::new(), None),
                }
            }
            .boxed(),
        );
    }
}
