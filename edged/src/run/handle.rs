//! What has happened, and which pods it may mean something for.

use std::sync::Arc;

use causeway_daemon::telemetry::error_chain;
use causeway_kube_api::client::{CONFIGMAPS, Reflected, SECRETS, SERVICE_ACCOUNT_TOKENS};
use futures_util::FutureExt as _;

use super::lives::{Name, found_name};
use super::round::{Agent, Done};
use super::trouble::{RETRY, retry_at};
use crate::events::{Note, PodName};
use crate::execute::Outcome;
use crate::pod::{ConfigKind, ConfigRef};
use crate::probes::Question;

impl Agent {
    pub(super) fn handle_pods(&mut self, told: Reflected) {
        self.interruptions.note("pods", &told);
        if matches!(told, Reflected::Replace(_)) {
            // What was confirmed and is still there was not heard.
            self.confirmed.clear();
        }
        for PodName {
            namespace,
            name,
            uid,
        } in self.desk.handle_pods(told)
        {
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
            let name = (namespace, name);
            self.lives.put(&uid, &name);
            self.agenda.touch(name);
        }
    }

    pub(super) fn handle_configs(&mut self, kind: ConfigKind, told: Reflected) {
        let what = match kind {
            ConfigKind::ConfigMap => "configmaps",
            ConfigKind::Secret => "secrets",
            ConfigKind::Token => "serviceaccounttokens",
        };
        self.interruptions.note(what, &told);
        let concerned = self.desk.handle_configs(kind, &told);
        self.touch_all(concerned);
    }

    pub(super) fn touch_all(&mut self, names: impl IntoIterator<Item = Name>) {
        for name in names {
            self.agenda.touch(name);
        }
    }

    /// Something about this life may have changed.
    pub(super) fn touch(&mut self, uid: &str) {
        let name = self.desk.name(uid).or_else(|| self.lives.name(uid));
        let name = name.cloned().unwrap_or_else(|| found_name(uid, None));
        self.lives.put(uid, &name);
        self.agenda.touch(name);
    }

    pub(super) fn handle_done(&mut self, done: Done) {
        match done {
            Done::Job(uid, outcome) => self.handle_outcome(uid, outcome),
            Done::Status(pod, answer) => self.handle_told(&pod, answer),
            Done::Config(reference, Ok(object)) => {
                self.asked.remove(&reference);
                let concerned = self.desk.handle_found(reference, object.as_ref());
                self.touch_all(concerned);
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
                self.desk.ask_again(reference);
            }
            Done::Probe(question, answer) => self.handle_probe(&question, answer),
        }
    }

    fn handle_outcome(&mut self, uid: String, outcome: Option<Outcome>) {
        // Dropped in favour of other steps.
        let Some(outcome) = outcome else { return };
        self.jobs.remove(&uid);
        self.touch(&uid);
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

    fn handle_probe(&mut self, question: &Question, answer: Result<(), String>) {
        let Question {
            pod,
            container,
            kind,
            ..
        } = question;
        let message = answer.clone().err().unwrap_or_default();
        let now = self.clock.now();
        let verdict = self.probes.handle_answer(container, *kind, answer, now);
        if verdict.changed {
            self.touch(pod);
        }
        let Some(pod) = self.desk.pod(pod).filter(|_| verdict.failed) else {
            return;
        };
        let attempt = container
            .0
            .split_once('/')
            .map_or("", |(_, attempt)| attempt);
        let name = attempt
            .rsplit_once('.')
            .map_or(attempt, |(name, _)| name)
            .to_owned();
        let message = format!("{} probe failed: {message}", kind.word());
        let reason = "Unhealthy";
        self.notes.tell(Note {
            pod: pod.name.clone(),
            container: name,
            warning: true,
            reason,
            message,
        });
    }

    pub(super) fn ask_config(&mut self, reference: ConfigRef) {
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
}
