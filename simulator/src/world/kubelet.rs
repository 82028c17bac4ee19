//! A kubelet: the real planner and the real words about pods, on a simulated runtime.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use causeway_edge_sync::machine::Request;
use causeway_edged::plan::{Action, PlanState, PodPlan, Timing, plan};
use causeway_edged::pod::{Configs, DesiredPod, Problem, config_data, references, resolve};
use causeway_edged::status::patch;
use causeway_edged::status::pod::{PodView, status};
use causeway_kube_api::{Change, Expected, Write, WriteError, Written};
use causeway_log::replication::Moment;
use causeway_log::{Key, Resource, Revision, Uid};
use causeway_projections::Objects;
use serde_json::Value;
use tokio::sync::oneshot;

use super::queue::Event;
use super::{World, runtime};

/// What failed is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);
/// A step of a job takes up to so many milliseconds.
const STEP_MILLIS_MAX: u64 = 100;

/// What a kubelet remembers; lost when it dies.
#[derive(Debug)]
pub(super) struct Kubelet {
    pub(super) life: u64,
    planner: PlanState,
    /// As the local API said last; `None` until it said what there is.
    pub(super) pods: Option<Vec<Value>>,
    configs: Configs,
    jobs: BTreeMap<String, Job>,
    /// Writes of statuses under way, by uid.
    pub(super) telling: BTreeMap<String, Answer>,
    /// Pods whose end is being told.
    confirming: BTreeMap<String, Answer>,
    due: Option<Duration>,
    /// A write failed: the next ones wait until then.
    pub(super) holds_until: Duration,
    pub(super) is_registered: bool,
}

pub(super) type Answer = oneshot::Receiver<Result<Written, WriteError>>;

#[derive(Debug)]
struct Job {
    desired: Option<DesiredPod>,
    actions: VecDeque<Action>,
    /// Goes on when this process has ended.
    waits_for: Option<String>,
}

impl Job {
    /// Namespace and name of its pod, when a container may be started.
    fn starts(&self) -> Option<(String, String)> {
        let starts = |action: &Action| matches!(action, Action::Start { .. });
        let pod = self.desired.as_ref()?;
        self.actions
            .iter()
            .any(starts)
            .then(|| (pod.namespace.clone(), pod.name.clone()))
    }
}

impl Kubelet {
    pub(super) fn new(life: u64) -> Self {
        Self {
            life,
            planner: PlanState::default(),
            pods: None,
            configs: Configs::default(),
            jobs: BTreeMap::new(),
            telling: BTreeMap::new(),
            confirming: BTreeMap::new(),
            due: None,
            holds_until: Duration::ZERO,
            is_registered: false,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.telling.is_empty() && self.confirming.is_empty()
    }
}

impl World {
    /// A kubelet looks at the world, at the latest at `at`.
    pub(super) fn look_at(&mut self, n: usize, at: Duration) {
        let Some(kubelet) = &mut self.nodes[n].kubelet else {
            return;
        };
        if kubelet.due.is_none_or(|due| at < due) {
            kubelet.due = Some(at);
            self.queue.push(at, Event::Look { node: n, at });
        }
    }

    pub(super) fn look(&mut self, n: usize, at: Duration) {
        let Some(mut kubelet) = self.nodes[n].kubelet.take() else {
            return;
        };
        if kubelet.due == Some(at) {
            kubelet.due = None;
            self.refresh(n, &mut kubelet);
            self.hear(&mut kubelet);
            self.tell_node(n, &mut kubelet);
            let wake = self.plan(n, &mut kubelet);
            let held = Some(kubelet.holds_until).filter(|until| *until > self.now);
            self.nodes[n].kubelet = Some(kubelet);
            for at in [wake, held].into_iter().flatten() {
                self.look_at(n, at);
            }
        } else {
            self.nodes[n].kubelet = Some(kubelet);
        }
    }

    /// Reads pods and what they refer to, when they are served.
    fn refresh(&mut self, n: usize, kubelet: &mut Kubelet) {
        let node = &self.nodes[n];
        let Some(edge) = node.edge.as_ref().filter(|edge| edge.first_sync.is_done()) else {
            return;
        };
        let (pods, configs) = edge.view.read(|objects| {
            let pods: Vec<Value> = objects
                .list(&Resource::core("pods"), None, None)
                .map(|entry| entry.object())
                .filter(|pod| pod["spec"]["nodeName"] == node.name.as_str())
                .collect();
            let configs = configs_of(objects, &pods);
            (pods, configs)
        });
        kubelet.pods = Some(pods);
        kubelet.configs = configs;
    }

    /// Takes the answers of the local API.
    fn hear(&self, kubelet: &mut Kubelet) {
        let mut retry = false;
        kubelet.telling.retain(|_, answer| match answer.try_recv() {
            Ok(Ok(_)) => false,
            Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) => {
                retry = true;
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
        });
        let jobs = &mut kubelet.jobs;
        kubelet.confirming.retain(|uid, answer| {
            match answer.try_recv() {
                // What is served shows it already.
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) => retry = true,
                Err(oneshot::error::TryRecvError::Empty) => return true,
            }
            jobs.remove(uid);
            false
        });
        if retry {
            kubelet.holds_until = self.now + RETRY;
        }
    }

    /// Hands a write to the local API. `None`: it is not there, or refuses at once.
    pub(super) fn write_local(&mut self, n: usize, write: Write) -> Option<Answer> {
        self.nodes[n].edge.as_ref()?;
        let (done, answer) = oneshot::channel();
        self.ask_edge(
            n,
            Request::Local {
                write: Box::new(write),
                done,
            },
        );
        Some(answer)
    }

    /// Plans, tells, and hands out the steps. Says when to look again.
    fn plan(&mut self, n: usize, kubelet: &mut Kubelet) -> Option<Duration> {
        let pods = kubelet.pods.as_ref()?;
        let mut observed = self.nodes[n].runtime.observe();
        observed.starting = kubelet
            .jobs
            .iter()
            .filter_map(|(uid, job)| Some((uid.clone(), job.starts()?)))
            .collect();
        let resolved: Vec<(&Value, Result<DesiredPod, Problem>)> = pods
            .iter()
            .map(|pod| (pod, resolve(pod, &kubelet.configs, &self.nodes[n].facts)))
            .collect();
        let desired: Vec<DesiredPod> = resolved
            .iter()
            .filter_map(|(_, pod)| pod.clone().ok())
            .collect();
        let now = Moment(self.now);
        let plan = plan(
            &desired,
            &observed,
            now,
            &Timing::default(),
            &mut kubelet.planner,
        );
        let nothing = causeway_edged::plan::ObservedPod::default();
        let mut told = Vec::new();
        for (object, pod) in &resolved {
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
            let waits = kubelet.telling.contains_key(uid) || self.now < kubelet.holds_until;
            if waits {
                continue;
            }
            let previous = &object["status"];
            let wanted = status(&PodView {
                object,
                desired: pod.as_ref(),
                observed: observed.pods.get(uid).unwrap_or(&nothing),
                backing_off: &plan.backing_off,
                failures: &BTreeMap::new(),
                previous,
                node: &self.nodes[n].facts,
                runtime: &runtime::info(),
                now: self.nodes[n].clock.timestamp(),
            });
            if patch(previous, &wanted, uid).is_some() {
                let mut object = (*object).clone();
                object["status"] = wanted;
                told.push((uid.to_owned(), object));
            }
        }
        let wake = plan.wake.map(|moment| moment.0.max(self.now));
        let plans: Vec<(PodPlan, Option<DesiredPod>)> = plan
            .pods
            .into_iter()
            .map(|pod| {
                let own = desired.iter().find(|one| one.uid == pod.uid).cloned();
                (pod, own)
            })
            .collect();
        for (uid, object) in told {
            if let Some(answer) = self.tell_status(n, object) {
                kubelet.telling.insert(uid, answer);
            }
        }
        for (pod, desired) in plans {
            self.dispatch(n, kubelet, pod, desired);
        }
        wake
    }

    fn tell_status(&mut self, n: usize, object: Value) -> Option<Answer> {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let uid = Uid::Uuid(text("uid").parse().ok()?);
        let version: u64 = text("resourceVersion").parse().ok()?;
        let key = Key::new(Resource::core("pods"), text("namespace"), text("name"), uid).ok()?;
        let write = Write {
            key,
            expected: Expected::At(Revision::new(version)),
            change: Change::Status(object),
        };
        self.write_local(n, write)
    }

    fn dispatch(
        &mut self,
        n: usize,
        kubelet: &mut Kubelet,
        pod: PodPlan,
        desired: Option<DesiredPod>,
    ) {
        let PodPlan { uid, actions } = pod;
        let tells = actions.contains(&Action::Confirm);
        if kubelet.jobs.contains_key(&uid) || tells && self.now < kubelet.holds_until {
            return;
        }
        let job = Job {
            desired,
            actions: actions.into(),
            waits_for: None,
        };
        kubelet.jobs.insert(uid.clone(), job);
        self.step_later(n, kubelet.life, uid);
    }

    fn step_later(&mut self, n: usize, life: u64, uid: String) {
        let millis = self.chance.process.u64(1..=STEP_MILLIS_MAX);
        let at = self.now + Duration::from_millis(millis);
        self.queue.push(at, Event::Step { node: n, life, uid });
    }

    pub(super) fn step(&mut self, n: usize, life: u64, uid: String) {
        let Some(mut kubelet) = self.nodes[n].kubelet.take() else {
            return;
        };
        if kubelet.life == life
            && let Some(mut job) = kubelet.jobs.remove(&uid)
            && let Some(action) = job.actions.pop_front()
            && self.perform(n, &mut kubelet, &uid, &mut job, &action)
        {
            kubelet.jobs.insert(uid, job);
        }
        self.nodes[n].kubelet = Some(kubelet);
        self.look_at(n, self.now);
    }

    /// Does one step; says whether the job goes on.
    fn perform(
        &mut self,
        n: usize,
        kubelet: &mut Kubelet,
        uid: &str,
        job: &mut Job,
        action: &Action,
    ) -> bool {
        let (at, now) = (self.now, self.nodes[n].clock.timestamp());
        let who = self.nodes[n].name.clone();
        self.trace
            .event(at, "step", who.as_str(), format_args!("{uid} {action:?}"));
        match action {
            Action::WriteVolumes => {
                let volumes = job
                    .desired
                    .as_ref()
                    .and_then(|pod| pod.volumes.as_ref().ok());
                if let Some(volumes) = volumes {
                    self.nodes[n].runtime.write_volumes(uid, volumes);
                }
            }
            Action::RunSandbox => {
                if let Some(pod) = &job.desired {
                    self.nodes[n].runtime.run_sandbox(pod, now);
                }
            }
            Action::Start { container, attempt } => {
                if let Some(pod) = &job.desired {
                    self.start_container(n, pod, container, *attempt);
                }
            }
            Action::Stop { id, grace, why, .. } => {
                self.check_stop(n, uid, why);
                let longest = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                let millis = self.chance.process.u64(0..=longest.min(60_000));
                self.exit_later(n, id.0.clone(), Duration::from_millis(millis), 137);
                job.waits_for = Some(id.0.clone());
                return true;
            }
            Action::RemoveContainer { id } => self.nodes[n].runtime.remove_container(id),
            Action::RemovePod { .. } => self.nodes[n].runtime.remove_pod(uid),
            Action::Confirm => return self.confirm(n, kubelet, uid),
        }
        self.step_later(n, kubelet.life, uid.to_owned());
        true
    }

    fn start_container(&mut self, n: usize, pod: &DesiredPod, name: &str, attempt: u32) {
        let Some(Ok(config)) = pod.container(name).map(|one| one.config.clone()) else {
            return;
        };
        let crashes = [&*config.command, &*config.args]
            .concat()
            .contains(&"crash".to_owned());
        let config = causeway_edged::runtime::ContainerConfig { attempt, ..config };
        let now = (self.now, self.nodes[n].clock.timestamp());
        match self.nodes[n].runtime.start(pod, config, now) {
            Ok(Some(id)) if crashes => {
                let lives = Duration::from_millis(self.chance.process.u64(10..=5000));
                self.exit_later(n, id, lives, 1);
            }
            Ok(_) => {}
            Err(doubled) => self.violate(super::Invariant::OneCopy, doubled.0),
        }
    }

    fn exit_later(&mut self, n: usize, container: String, after: Duration, code: i32) {
        let event = Event::Exit {
            node: n,
            boot: self.nodes[n].boot,
            container,
            code,
        };
        self.queue.push(self.now + after, event);
    }

    pub(super) fn exit(&mut self, n: usize, container: &str, code: i32) {
        let (at, now) = (self.now, self.nodes[n].clock.timestamp());
        self.nodes[n].runtime.exit(container, code, at, now);
        let mut next = None;
        if let Some(kubelet) = &mut self.nodes[n].kubelet {
            for (uid, job) in &mut kubelet.jobs {
                if job.waits_for.as_deref() == Some(container) {
                    job.waits_for = None;
                    next = Some((kubelet.life, uid.clone()));
                }
            }
        }
        if let Some((life, uid)) = next {
            self.step_later(n, life, uid);
        }
        self.look_at(n, at);
    }

    /// The node has finished with a pod. Says whether an answer is waited for.
    fn confirm(&mut self, n: usize, kubelet: &mut Kubelet, uid: &str) -> bool {
        let pods = kubelet.pods.iter().flatten();
        let Some(pod) = pods.into_iter().find(|pod| pod["metadata"]["uid"] == uid) else {
            return false;
        };
        let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
        let (namespace, name) = (text("namespace").to_owned(), text("name").to_owned());
        let pods = Resource::core("pods");
        let entry = self.nodes[n].edge.as_ref().and_then(|edge| {
            let found = |objects: &Objects| objects.get(&pods, &namespace, &name).cloned();
            edge.view.read(found)
        });
        let entry = entry.filter(|entry| entry.key().uid.to_string() == uid);
        let write = entry.map(|entry| Write {
            key: entry.key().clone(),
            expected: Expected::At(entry.modified()),
            change: Change::Delete {
                grace_period_seconds: Some(0),
                confirm: true,
            },
        });
        match write.and_then(|write| self.write_local(n, write)) {
            Some(answer) => {
                kubelet.confirming.insert(uid.to_owned(), answer);
                true
            }
            None => {
                kubelet.holds_until = self.now + RETRY;
                false
            }
        }
    }
}

/// What pods refer to.
pub(super) fn configs_of(objects: &Objects, pods: &[Value]) -> Configs {
    let mut configs = Configs::default();
    for reference in pods.iter().flat_map(references) {
        let resource = reference.kind.resource();
        let found = objects.get(&resource, &reference.namespace, &reference.name);
        let data = found.map(|entry| config_data(reference.kind, &entry.object()));
        configs.known.insert(reference, data);
    }
    configs
}
