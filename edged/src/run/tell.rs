//! What the API is told of pods: their status when it changed, and events about those that wait.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_daemon::telemetry::error_chain;
use causeway_kube_api::client::{ApiError, PODS};
use causeway_log::replication::Moment;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use serde_json::Value;

use super::agenda::Turn;
use super::desk;
use super::round::{Agent, Done, Scene};
use super::trouble::retry_at;
use crate::events::{Note, PodName};
use crate::plan::{ObservedPod, Plan};
use crate::status::pod::{PodView, back_off};
use crate::status::{patch, pod as pod_status};

/// Statuses told at the same time; the status of a pod that waits is made when its turn comes.
pub(super) const TELLING_MAX: usize = 16;

/// What the API was told of a pod.
pub(super) struct Told {
    pub(super) status: Value,
    /// The version that shows it; `None` while it is being told.
    pub(super) version: Option<u64>,
    pub(super) failures: u32,
    pub(super) retry_at: Moment,
}

impl Agent {
    pub(super) fn handle_told(&mut self, pod: &PodName, answer: Result<Value, ApiError>) {
        self.telling = self.telling.saturating_sub(1);
        self.touch(&pod.uid);
        let now = self.clock.now();
        let shown = self.desk.pod(&pod.uid).map_or(0, |pod| pod.version);
        let Some(told) = self.told.get_mut(&pod.uid) else {
            return;
        };
        match answer {
            Ok(object) => {
                let version = desk::version(&object);
                if version <= shown {
                    self.told.remove(&pod.uid);
                } else {
                    (told.version, told.failures) = (Some(version), 0);
                }
            }
            // The pod is gone, or its name has another life: the watch will say so.
            Err(error) if error.is_not_found() || error.is_conflict() => {
                told.failures = told.failures.saturating_add(1);
                told.retry_at = retry_at(now, told.failures);
                told.version = Some(0);
            }
            Err(error) => {
                told.failures = told.failures.saturating_add(1);
                told.retry_at = retry_at(now, told.failures);
                told.version = Some(0);
                tracing::warn!(
                    error = %error_chain(&error),
                    pod = %pod.name,
                    namespace = %pod.namespace,
                    "the status of a pod could not be written"
                );
            }
        }
    }

    /// Events about containers that wait: once for each reason.
    pub(super) fn note_waiting(&mut self, scene: &Scene, plan: &Plan) {
        let mut waiting: BTreeMap<(String, String), (&'static str, String)> = BTreeMap::new();
        for pod in scene
            .desired
            .iter()
            .filter(|pod| pod.deletion.is_none() && !pod.ended)
        {
            if let Err(problem) = &pod.volumes
                && !problem.quiet
            {
                let key = (pod.uid.clone(), String::new());
                waiting.insert(key, ("FailedMount", problem.message.clone()));
            }
            for container in pod.init.iter().chain(&pod.containers) {
                let key = (pod.uid.clone(), container.name.clone());
                if let Some(delay) = plan.backing_off.get(&key) {
                    waiting.insert(key, ("BackOff", back_off(pod, &container.name, *delay)));
                } else if let Err(problem) = &container.config
                    && !problem.quiet
                {
                    waiting.insert(key, ("Failed", format!("Error: {}", problem.message)));
                }
            }
        }
        for (uid, problem) in &scene.refused {
            let key = (uid.clone(), String::new());
            waiting.insert(key, ("InvalidPod", problem.message.clone()));
        }
        for (key, (reason, message)) in &waiting {
            if self.noted.get(key) != Some(message) {
                let (pod, container) = (Self::pod_name(scene, &key.0), key.1.clone());
                let (reason, message) = (*reason, message.clone());
                self.notes.tell(Note {
                    pod,
                    container,
                    warning: true,
                    reason,
                    message,
                });
            }
        }
        for uid in &scene.uids {
            let of_pod = (uid.clone(), String::new())..=(uid.clone(), char::MAX.to_string());
            self.noted.extract_if(of_pod, |_, _| true).for_each(drop);
        }
        let messages = waiting
            .into_iter()
            .map(|(key, (_, message))| (key, message));
        self.noted.extend(messages);
    }

    /// Tells the API of every pod that is not as it last heard.
    pub(super) fn tell_statuses(&mut self, scene: &Scene, plan: &Plan, now: Moment) {
        let (runtime, nothing) = (self.runtime.info(), ObservedPod::default());
        let no_failures = BTreeMap::new();
        for (name, object) in &scene.objects {
            let told = self.told.get(&name.uid);
            if self.confirmed.contains(&name.uid) || told.is_some_and(|told| told.version.is_none())
            {
                continue;
            }
            if let Some(retry_at) = told.map(|told| told.retry_at).filter(|at| now < *at) {
                self.agenda.touch_at(&scene.name, retry_at);
                continue;
            }
            let desired = scene.desired.iter().find(|pod| pod.uid == name.uid);
            let desired = match (desired, scene.refused.get(&name.uid)) {
                (Some(pod), _) => Ok(pod),
                (None, Some(problem)) => Err(problem),
                (None, None) => continue,
            };
            let said = told
                .filter(|told| told.failures == 0)
                .map(|told| &told.status);
            let previous = said.unwrap_or_else(|| &object["status"]);
            let wanted = pod_status::status(&PodView {
                object,
                desired,
                observed: scene.observed.pods.get(&name.uid).unwrap_or(&nothing),
                backing_off: &plan.backing_off,
                failures: self
                    .troubles
                    .get(&name.uid)
                    .map_or(&no_failures, |trouble| &trouble.failures),
                previous,
                node: &self.node,
                runtime: &runtime,
                now: Timestamp::now(),
            });
            let Some(patch) = patch(previous, &wanted, &name.uid) else {
                continue;
            };
            if self.telling < TELLING_MAX {
                self.tell(name.clone(), wanted, patch);
            } else {
                self.agenda.wait(Turn::Tell, scene.name.clone());
            }
        }
    }

    fn tell(&mut self, pod: PodName, status: Value, patch: Value) {
        let failures = self.told.get(&pod.uid).map_or(0, |told| told.failures);
        let told = Told {
            status,
            version: None,
            failures,
            retry_at: Moment::default(),
        };
        self.told.insert(pod.uid.clone(), told);
        self.telling += 1;
        let api = Arc::clone(&self.api);
        self.work.push(
            async move {
                let answer = api
                    .patch_status(&PODS, &pod.namespace, &pod.name, &patch)
                    .await;
                Done::Status(pod, answer)
            }
            .boxed(),
        );
    }
}
