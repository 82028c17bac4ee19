//! One look at the world and what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::telemetry::error_chain;
use causeway_kube_api::client::{ApiError, CONFIGMAPS, Reflected, SECRETS, SERVICE_ACCOUNT_TOKENS};
use causeway_log::replication::Moment;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::desk::Desk;
use super::observe::observe;
use super::tell::Told;
use super::trouble::{RETRY, Trouble, retry_at};
use super::{Clock, Interruptions};
use crate::api::Api;
use crate::events::{Note, Notes, PodName};
use crate::execute::{Executor, Job, Outcome};
use crate::plan::{Observed, PlanState, PodPlan, Timing, plan};
use crate::pod::{ConfigKind, ConfigRef, DesiredPod, NodeFacts, Problem, resolve};
use crate::probes::{ProbeKind, Probes, Question, ask};
use crate::runtime::{ContainerId, ContainerState, Runtime, RuntimeError};
use crate::volumes::Volumes;

/// Pods whose steps are carried out at the same time.
const JOBS_MAX: usize = 32;

/// Everything the loop remembers.
pub(super) struct Agent {
    pub(super) node: NodeFacts,
    pub(super) timing: Timing,
    pub(super) clock: Clock,
    pub(super) api: Arc<dyn Api>,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) executor: Arc<Executor>,
    pub(super) notes: Notes,
    pub(super) desk: Desk,
    pub(super) planner: PlanState,
    pub(super) probes: Probes,
    /// Work under way; everything that takes time.
    pub(super) work: FuturesUnordered<BoxFuture<'static, Done>>,
    pub(super) jobs: BTreeMap<String, Running>,
    pub(super) troubles: BTreeMap<String, Trouble>,
    /// Pods whose end the API was told of and has not shown yet.
    pub(super) confirmed: BTreeSet<String>,
    pub(super) told: BTreeMap<String, Told>,
    pub(super) asked: BTreeSet<ConfigRef>,
    /// What was noted last of containers that wait, so that it is noted once.
    pub(super) noted: BTreeMap<(String, String), String>,
    pub(super) wake: Option<Moment>,
    pub(super) interruptions: Interruptions,
}

/// A job under way.
pub(super) struct Running {
    deletion: Option<Duration>,
    only_stops: bool,
    /// Namespace and name, when its steps may start something.
    starts: Option<(String, String)>,
    /// Dropping it drops the job.
    _abort: oneshot::Sender<()>,
}

/// Something has been done.
pub(super) enum Done {
    Job(String, Option<Outcome>),
    Status(PodName, Result<Value, ApiError>),
    Config(ConfigRef, Result<Option<Value>, ApiError>),
    Retry(ConfigRef),
    Probe(ContainerId, ProbeKind, Result<(), String>),
}

/// What one round works with.
pub(super) struct Scene {
    pub(super) objects: Vec<(PodName, Value)>,
    pub(super) desired: Vec<DesiredPod>,
    pub(super) refused: BTreeMap<String, Problem>,
    pub(super) observed: Observed,
}

impl Agent {
    pub(super) fn new(
        node: NodeFacts,
        timing: Timing,
        api: Arc<dyn Api>,
        runtime: Arc<dyn Runtime>,
        volumes: Volumes,
        notes: Notes,
    ) -> Self {
        let executor = Executor {
            runtime: Arc::clone(&runtime),
            api: Arc::clone(&api),
            volumes,
            notes: notes.clone(),
        };
        Self {
            node,
            timing,
            clock: Clock {
                began: Instant::now(),
            },
            api,
            runtime,
            executor: Arc::new(executor),
            notes,
            desk: Desk::default(),
            planner: PlanState::default(),
            probes: Probes::default(),
            work: FuturesUnordered::new(),
            jobs: BTreeMap::new(),
            troubles: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            told: BTreeMap::new(),
            asked: BTreeSet::new(),
            noted: BTreeMap::new(),
            wake: None,
            interruptions: Interruptions::default(),
        }
    }

    pub(super) fn node_name(&self) -> &str {
        &self.node.name
    }

    /// When to look again though nothing happened.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.wake.map(|moment| self.clock.instant(moment))
    }

    /// The next thing done; never, while nothing is under way. Cancel-safe.
    pub(super) async fn next_done(&mut self) -> Done {
        match self.work.next().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }

    pub(super) fn handle_pods(&mut self, told: Reflected) {
        self.interruptions.note("pods", &told);
        if matches!(told, Reflected::Replace(_)) {
            // What was confirmed and is still there was not heard.
            self.confirmed.clear();
        }
        for uid in self.desk.handle_pods(told) {
            // Gone as expected, or shown once more: it may be confirmed again.
            self.confirmed.remove(&uid);
            let version = self.desk.pod(&uid).map_or(0, |pod| pod.version);
            // From here on the object itself shows what was told.
            if self
                .told
                .get(&uid)
                .is_some_and(|told| told.version.is_some_and(|at| at <= version))
            {
                self.told.remove(&uid);
            }
        }
    }

    pub(super) fn handle_configs(&mut self, kind: ConfigKind, told: Reflected) {
        let what = match kind {
            ConfigKind::ConfigMap => "configmaps",
            ConfigKind::Secret => "secrets",
            ConfigKind::Token => "serviceaccounttokens",
        };
        self.interruptions.note(what, &told);
        self.desk.handle_configs(kind, &told);
    }

    pub(super) fn handle_done(&mut self, done: Done) {
        match done {
            Done::Job(uid, outcome) => self.handle_outcome(uid, outcome),
            Done::Status(pod, answer) => self.handle_told(&pod, answer),
            Done::Config(reference, Ok(object)) => {
                self.asked.remove(&reference);
                self.desk.handle_found(reference, object.as_ref());
            }
            Done::Config(reference, Err(error)) => {
                tracing::debug!(error = %error_chain(&error), "a config object cannot be read");
                self.work.push(
                    async {
                        tokio::time::sleep(RETRY.0).await;
                        Done::Retry(reference)
                    }
                    .boxed(),
                );
            }
            Done::Retry(reference) => {
                self.asked.remove(&reference);
            }
            Done::Probe(container, kind, answer) => self.handle_probe(&container, kind, answer),
        }
    }

    fn handle_outcome(&mut self, uid: String, outcome: Option<Outcome>) {
        self.jobs.remove(&uid);
        // Dropped in favour of other steps.
        let Some(outcome) = outcome else { return };
        if outcome.confirmed {
            self.confirmed.insert(uid.clone());
        }
        if outcome.failures.is_empty() {
            self.troubles.remove(&uid);
            return;
        }
        let now = self.clock.now();
        let trouble = self.troubles.entry(uid).or_default();
        trouble.times = trouble.times.saturating_add(1);
        trouble.failures = outcome.failures;
        trouble.retry_at = retry_at(now, trouble.times);
    }

    fn handle_probe(
        &mut self,
        container: &ContainerId,
        kind: ProbeKind,
        answer: Result<(), String>,
    ) {
        let message = answer.clone().err().unwrap_or_default();
        let verdict = self
            .probes
            .handle_answer(container, kind, answer, self.clock.now());
        if !verdict.failed {
            return;
        }
        let Some((uid, attempt)) = container.0.split_once('/') else {
            return;
        };
        let Some(pod) = self.desk.pod(uid).map(|pod| pod.name.clone()) else {
            return;
        };
        let name = attempt
            .rsplit_once('.')
            .map_or(attempt, |(name, _)| name)
            .to_owned();
        let message = format!("{} probe failed: {message}", kind.word());
        let reason = "Unhealthy";
        self.notes.tell(Note {
            pod,
            container: name,
            warning: true,
            reason,
            message,
        });
    }

    /// Looks at everything and sees to what follows.
    pub(super) async fn round(&mut self) {
        self.wake = None;
        // Before the API said what there is, everything that runs would look unwanted.
        if self.desk.pods.is_none() {
            return;
        }
        let mut scene = match self.look().await {
            Ok(scene) => scene,
            Err(error) => {
                tracing::warn!(error = %error_chain(&error), "the runtime cannot be listed");
                let now = self.clock.now();
                self.wake_at(retry_at(now, 1));
                return;
            }
        };
        self.follow_health(&mut scene);
        let now = self.clock.now();
        let plan = plan(
            &scene.desired,
            &scene.observed,
            now,
            &self.timing,
            &mut self.planner,
        );
        if let Some(moment) = plan.wake {
            self.wake_at(moment);
        }
        self.note_waiting(&scene, &plan);
        self.tell_statuses(&scene, &plan, now);
        for pod in plan.pods {
            self.dispatch(&scene, pod, now);
        }
        self.ask_probes();
        self.forget(&scene);
    }

    async fn look(&mut self) -> Result<Scene, RuntimeError> {
        let mut observed = observe(&*self.runtime, &self.executor.volumes, &self.probes).await?;
        let jobs = self.jobs.iter();
        observed.starting = jobs
            .filter_map(|(uid, job)| Some((uid.clone(), job.starts.clone()?)))
            .collect();
        let stored = self.desk.pods.iter().flat_map(BTreeMap::values);
        let objects: Vec<(PodName, Value)> =
            stored.map(|pod| (pod.name.clone(), pod.object())).collect();
        for unknown in self.desk.unknown(objects.iter().map(|(_, object)| object)) {
            self.ask_config(unknown);
        }
        let (mut desired, mut refused) = (Vec::new(), BTreeMap::new());
        for (name, object) in &objects {
            match resolve(object, &self.desk.configs, &self.node) {
                Ok(pod) => desired.push(pod),
                Err(problem) => {
                    refused.insert(name.uid.clone(), problem);
                }
            }
        }
        desired.retain(|pod| !self.confirmed.contains(&pod.uid));
        Ok(Scene {
            objects,
            desired,
            refused,
            observed,
        })
    }

    /// Probes what runs, and nothing else.
    fn follow_health(&mut self, scene: &mut Scene) {
        let now = self.clock.now();
        let mut running = BTreeSet::new();
        for (uid, pod) in &mut scene.observed.pods {
            let desired = scene.desired.iter().find(|pod| pod.uid == *uid);
            for found in &mut pod.containers {
                if !matches!(found.container.state, ContainerState::Running { .. }) {
                    continue;
                }
                let spec = desired.and_then(|pod| pod.container(&found.container.name));
                if let Some(spec) = spec {
                    self.probes.follow(&found.container.id, &spec.probes, now);
                    found.health = self.probes.health(&found.container.id);
                    running.insert(found.container.id.clone());
                }
            }
        }
        self.probes.retain(|container| running.contains(container));
    }

    fn ask_probes(&mut self) {
        for Question {
            container,
            kind,
            probe,
        } in self.probes.poll_due(self.clock.now())
        {
            let (runtime, address) = (Arc::clone(&self.runtime), self.node.address.clone());
            self.work.push(
                async move {
                    let answer = ask(&*runtime, &container, &probe, &address).await;
                    Done::Probe(container, kind, answer)
                }
                .boxed(),
            );
        }
        if let Some(moment) = self.probes.poll_timeout() {
            self.wake_at(moment);
        }
    }

    fn ask_config(&mut self, reference: ConfigRef) {
        if !self.asked.insert(reference.clone()) {
            return;
        }
        let api = Arc::clone(&self.api);
        self.work.push(
            async move {
                let kind = match reference.kind {
                    ConfigKind::ConfigMap => CONFIGMAPS,
                    ConfigKind::Secret => SECRETS,
                    ConfigKind::Token => SERVICE_ACCOUNT_TOKENS,
                };
                let found = api.find(&kind, &reference.namespace, &reference.name).await;
                Done::Config(reference, found)
            }
            .boxed(),
        );
    }

    /// Hands the steps of a pod out, unless some are under way or failed a moment ago.
    fn dispatch(&mut self, scene: &Scene, pod: PodPlan, now: Moment) {
        let PodPlan { uid, mut actions } = pod;
        let desired = scene
            .desired
            .iter()
            .find(|desired| desired.uid == uid)
            .cloned();
        let deletion = desired
            .as_ref()
            .map_or(Some(Duration::ZERO), |desired| desired.deletion);
        if let Some(running) = self.jobs.get(&uid) {
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
            let retry_at = trouble.retry_at;
            self.wake_at(retry_at);
        }
        if actions.is_empty() || self.jobs.len() >= JOBS_MAX {
            return;
        }
        let name = self.pod_name(scene, &uid);
        let job = Job {
            pod: name,
            desired,
            actions,
        };
        let (abort, aborted) = oneshot::channel();
        let only_stops = job.only_stops();
        let starts = job.starts();
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

    pub(super) fn pod_name(&self, scene: &Scene, uid: &str) -> PodName {
        let known = scene.objects.iter().find(|(name, _)| name.uid == uid);
        if let Some((name, _)) = known {
            return name.clone();
        }
        let sandbox = scene
            .observed
            .pods
            .get(uid)
            .and_then(|pod| pod.sandbox.as_ref());
        sandbox.map_or_else(PodName::default, |sandbox| PodName {
            namespace: sandbox.config.namespace.clone(),
            name: sandbox.config.name.clone(),
            uid: uid.to_owned(),
        })
    }

    pub(super) fn wake_at(&mut self, moment: Moment) {
        self.wake = Some(self.wake.map_or(moment, |earlier| earlier.min(moment)));
    }

    /// Forgets what was remembered of pods that are gone.
    fn forget(&mut self, scene: &Scene) {
        let known = |uid: &String| scene.objects.iter().any(|(name, _)| name.uid == *uid);
        self.told.retain(|uid, _| known(uid));
        self.confirmed.retain(known);
        self.troubles
            .retain(|uid, _| known(uid) || scene.observed.pods.contains_key(uid));
    }
}
