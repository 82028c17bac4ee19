//! One look at what may have changed, and what follows from it.
//!
//! A round looks at names: at all lives that go by one, wanted or found. What nothing happened to is
//! not looked at, so that a change costs as much on a node with a thousand pods as on one with ten.
//! Now and then there is a survey of everything, for what nobody announced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::telemetry::error_chain;
use causeway_kube_api::client::ApiError;
use causeway_log::replication::Moment;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::Value;
use tokio::time::Instant;

use super::agenda::{Agenda, Turn};
use super::desk::Desk;
use super::dispatch::Jobs;
use super::lives::{Lives, Name, found_name};
use super::observe::{observe, survey};
use super::tell::{TELLING_MAX, Told};
use super::trouble::{Trouble, retry_at};
use super::{Clock, Interruptions};
use crate::api::Api;
use crate::events::{Notes, PodName};
use crate::execute::{Executor, Outcome};
use crate::plan::{Observed, PlanState, Timing, plan_names};
use crate::pod::{ConfigRef, DesiredPod, NodeFacts, Problem, resolve};
use crate::probes::{Probes, Question, ask};
use crate::runtime::{ContainerState, Runtime, RuntimeError};
use crate::volumes::Volumes;

/// Names looked at in one round; then comes what has happened meanwhile.
const NAMES_AT_ONCE_MAX: usize = 64;
/// Everything is looked at again this often.
const SURVEY_INTERVAL: Duration = Duration::from_secs(60);

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
    pub(super) jobs: Jobs,
    /// What is to be looked at.
    pub(super) agenda: Agenda,
    pub(super) lives: Lives,
    /// Whether everything was looked at once.
    is_surveyed: bool,
    /// When everything is looked at.
    survey_at: Moment,
    pub(super) troubles: BTreeMap<String, Trouble>,
    /// Pods whose end the API was told of and has not shown yet.
    pub(super) confirmed: BTreeSet<String>,
    pub(super) told: BTreeMap<String, Told>,
    /// Statuses that are being told.
    pub(super) telling: usize,
    pub(super) asked: BTreeSet<ConfigRef>,
    /// What was noted last of containers that wait, so that it is noted once.
    pub(super) noted: BTreeMap<(String, String), String>,
    pub(super) interruptions: Interruptions,
}

/// Something has been done.
pub(super) enum Done {
    Job(String, Option<Outcome>),
    Status(PodName, Result<Value, ApiError>),
    Config(ConfigRef, Result<Option<Value>, ApiError>),
    Retry(ConfigRef),
    Probe(Question, Result<(), String>),
}

/// All there is to one name.
pub(super) struct Scene {
    pub(super) name: Name,
    /// Every life that was, is or may be.
    pub(super) uids: Vec<String>,
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
            jobs: Jobs::default(),
            agenda: Agenda::default(),
            lives: Lives::default(),
            is_surveyed: false,
            survey_at: Moment::default(),
            troubles: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            told: BTreeMap::new(),
            telling: 0,
            asked: BTreeSet::new(),
            noted: BTreeMap::new(),
            interruptions: Interruptions::default(),
        }
    }

    pub(super) fn node_name(&self) -> &str {
        &self.node.name
    }

    /// When to look again though nothing happened.
    pub(super) fn wake(&self) -> Option<Instant> {
        if !self.desk.is_told() {
            return None;
        }
        let now = self.clock.now();
        let turns = [Turn::Act, Turn::Tell].into_iter();
        let mut may_go_on =
            turns.filter(|turn| self.agenda.is_waited(*turn) && self.free(*turn) > 0);
        let mut moments = vec![Some(self.survey_at)];
        if self.is_surveyed {
            moments.extend([
                self.agenda.wake(now),
                may_go_on.next().map(|_| now),
                self.probes.poll_timeout(),
            ]);
        }
        let earliest = moments.into_iter().flatten().min()?;
        Some(self.clock.instant(earliest))
    }

    /// How much more may be under way.
    const fn free(&self, turn: Turn) -> usize {
        match turn {
            Turn::Act => self.jobs.free(),
            Turn::Tell => TELLING_MAX.saturating_sub(self.telling),
        }
    }

    /// The next thing done; never, while nothing is under way. Cancel-safe.
    pub(super) async fn next_done(&mut self) -> Done {
        match self.work.next().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }

    /// Looks at what may have changed and sees to what follows.
    pub(super) async fn round(&mut self) {
        for uid in self.runtime.take_changed() {
            self.touch(&uid);
        }
        // Before the API said what there is, everything that runs would look unwanted.
        if !self.desk.is_told() {
            return;
        }
        let now = self.clock.now();
        if self.survey_at <= now {
            self.survey(now).await;
        }
        // Before it is known what runs, a name could get a second life.
        if !self.is_surveyed {
            return;
        }
        for unknown in self.desk.take_unknown() {
            self.ask_config(unknown);
        }
        for turn in [Turn::Act, Turn::Tell] {
            self.agenda.release(turn, self.free(turn));
        }
        for name in self.agenda.take(now, NAMES_AT_ONCE_MAX) {
            self.see_to(name).await;
        }
        self.ask_probes();
    }

    /// Finds out what there is to look at.
    async fn survey(&mut self, now: Moment) {
        let found = match survey(&*self.runtime, &self.executor.volumes).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(error = %error_chain(&error), "the runtime cannot be listed");
                self.survey_at = retry_at(now, 1);
                return;
            }
        };
        for (uid, name) in found {
            let name = self.desk.name(&uid).cloned().unwrap_or(name);
            self.lives.put(&uid, &name);
        }
        let names: BTreeSet<Name> = self.lives.all().chain(self.desk.names()).cloned().collect();
        self.touch_all(names);
        self.is_surveyed = true;
        self.survey_at = Moment(now.0.saturating_add(SURVEY_INTERVAL));
    }

    async fn see_to(&mut self, name: Name) {
        let mut scene = match self.look(&name).await {
            Ok(scene) => scene,
            Err(error) => {
                tracing::warn!(
                    error = %error_chain(&error),
                    namespace = %name.0,
                    pod = %name.1,
                    "the runtime cannot be asked about a pod"
                );
                let now = self.clock.now();
                self.agenda.touch_at(&name, retry_at(now, 1));
                return;
            }
        };
        self.follow_health(&mut scene);
        let now = self.clock.now();
        let plan = plan_names(
            &scene.desired,
            &scene.observed,
            now,
            &self.timing,
            &mut self.planner,
        );
        if let Some(moment) = plan.wake {
            self.agenda.touch_at(&scene.name, moment);
        }
        self.note_waiting(&scene, &plan);
        self.tell_statuses(&scene, &plan, now);
        for pod in plan.pods {
            self.dispatch(&scene, pod, now);
        }
        self.forget(&scene);
    }

    async fn look(&mut self, name: &Name) -> Result<Scene, RuntimeError> {
        if let Some(pod) = self.desk.named(name) {
            self.lives.put(&pod.name.uid, name);
        }
        let uids = self.lives.of(name);
        let mut observed = Observed::default();
        for uid in &uids {
            let found = observe(&*self.runtime, &self.executor.volumes, &self.probes, uid).await?;
            if let Some(starts) = self.jobs.starts(uid) {
                observed.starting.insert(uid.clone(), starts.clone());
            }
            if !found.exists() {
                continue;
            }
            if found.sandbox.is_some() && self.desk.name(uid).is_none() {
                let own = found_name(uid, found.sandbox.as_ref());
                if own != *name {
                    self.lives.put(uid, &own);
                    self.agenda.touch(own);
                    continue;
                }
            }
            observed.pods.insert(uid.clone(), found);
        }
        let stored = self.desk.named(name).into_iter();
        let objects: Vec<(PodName, Value)> =
            stored.map(|pod| (pod.name.clone(), pod.object())).collect();
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
            name: name.clone(),
            uids,
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
                    let id = &found.container.id;
                    self.probes.follow(uid, id, &spec.probes, now);
                    found.health = self.probes.health(id);
                    running.insert(id.clone());
                }
            }
        }
        for uid in &scene.uids {
            self.probes
                .retain(uid, |container| running.contains(container));
        }
    }

    fn ask_probes(&mut self) {
        for question in self.probes.poll_due(self.clock.now()) {
            let (runtime, address) = (Arc::clone(&self.runtime), self.node.address.clone());
            self.work.push(
                async move {
                    let Question {
                        container, probe, ..
                    } = &question;
                    let answer = ask(&*runtime, container, probe, &address).await;
                    Done::Probe(question, answer)
                }
                .boxed(),
            );
        }
    }

    pub(super) fn pod_name(scene: &Scene, uid: &str) -> PodName {
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

    /// Forgets what was remembered of lives that are gone.
    fn forget(&mut self, scene: &Scene) {
        for uid in &scene.uids {
            let is_wanted = self.desk.name(uid).is_some();
            let is_found = scene.observed.pods.contains_key(uid);
            if !is_wanted {
                self.told.remove(uid);
                self.confirmed.remove(uid);
            }
            if !is_found {
                self.planner.forget(uid);
            }
            if !is_wanted && !is_found {
                self.troubles.remove(uid);
            }
            // What moved to another name is not forgotten under this one.
            let is_here = self.lives.name(uid) == Some(&scene.name);
            if !is_wanted && !is_found && is_here && !self.jobs.has(uid) {
                self.lives.remove(uid);
            }
        }
    }
}
