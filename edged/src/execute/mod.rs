//! Carries out the steps of one pod, in order. Knows no policy: what to do next is the planner's
//! business, and every step may be repeated.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use causeway_daemon::telemetry::error_chain;
use causeway_kube_api::client::{ApiError, PODS};

use crate::api::Api;
use crate::blocking::blocking;
use crate::events::{Note, Notes, PodName};
use crate::plan::{Action, StopReason};
use crate::pod::{DesiredContainer, DesiredPod};
use crate::runtime::{ContainerConfig, Runtime, RuntimeError, SandboxId, Whose};
use crate::volumes::Volumes;

/// What steps are carried out with.
#[derive(Clone)]
pub struct Executor {
    /// Runs containers.
    pub runtime: Arc<dyn Runtime>,
    /// Is told when a pod is over.
    pub api: Arc<dyn Api>,
    /// Holds volumes.
    pub volumes: Volumes,
    /// Takes events.
    pub notes: Notes,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor")
            .field("volumes", &self.volumes)
            .finish_non_exhaustive()
    }
}

/// The steps of one pod and what they need.
#[derive(Debug)]
pub struct Job {
    /// Which pod.
    pub pod: PodName,
    /// What it should be; `None` for one that is not wanted.
    pub desired: Option<DesiredPod>,
    /// The steps.
    pub actions: Vec<Action>,
}

/// What became of a job.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What went wrong, by container, as (reason, message); the empty name stands for the pod.
    pub failures: BTreeMap<String, (String, String)>,
    /// The API knows that the pod is over here.
    pub confirmed: bool,
}

/// A step failed.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("cannot write the volumes")]
    Volumes(#[source] io::Error),
    #[error("cannot run the sandbox")]
    Sandbox(#[source] RuntimeError),
    #[error("cannot bring the image here")]
    Image(#[source] RuntimeError),
    #[error("cannot create the container")]
    Create(#[source] RuntimeError),
    #[error("cannot mount the volumes")]
    Mount(#[source] io::Error),
    #[error("cannot start the container")]
    Start(#[source] RuntimeError),
    #[error("cannot stop the container")]
    Stop(#[source] RuntimeError),
    #[error("cannot remove what is left")]
    Remove(#[source] RuntimeError),
    #[error("cannot tell the API that the pod is over")]
    Confirm(#[source] ApiError),
    #[error("the pod is not what the plan was made for")]
    Stale,
}

impl StepError {
    /// One word, as in a container's waiting state.
    const fn reason(&self) -> &'static str {
        match self {
            Self::Volumes(_) | Self::Mount(_) => "FailedMount",
            Self::Sandbox(_) => "CreatePodSandboxError",
            Self::Image(_) => "ErrImagePull",
            Self::Create(_) => "CreateContainerError",
            Self::Start(_) => "RunContainerError",
            Self::Stop(_) | Self::Remove(_) => "FailedKillPod",
            Self::Confirm(_) => "FailedDelete",
            Self::Stale => "Stale",
        }
    }
}

impl Executor {
    /// Does the steps. A container that cannot be started does not hold up the others; any other
    /// failure ends the job.
    pub async fn execute(&self, job: &Job) -> Outcome {
        let mut outcome = Outcome::default();
        for action in &job.actions {
            let (container, done) = if let Action::Start { container, attempt } = action {
                (
                    container.as_str(),
                    self.start(job, container, *attempt).await,
                )
            } else {
                ("", self.step(job, action, &mut outcome).await)
            };
            let Err(error) = done else { continue };
            let message = error_chain(&error).to_string();
            self.note(job, container, true, event_reason(&error), message.clone());
            // The attempt ended before it began: the planner sees it and backs off by itself.
            if !matches!(error, StepError::Start(RuntimeError::Start { .. })) {
                let failure = (error.reason().to_owned(), message);
                outcome.failures.insert(container.to_owned(), failure);
            }
            if container.is_empty() {
                break;
            }
        }
        outcome
    }

    async fn step(
        &self,
        job: &Job,
        action: &Action,
        outcome: &mut Outcome,
    ) -> Result<(), StepError> {
        match action {
            // Done by `start`, whose failures do not end the job.
            Action::Start { .. } => Ok(()),
            Action::WriteVolumes => {
                let wanted = job.volumes()?.to_vec();
                let (volumes, uid) = (self.volumes.clone(), job.pod.uid.clone());
                blocking(move || volumes.write(&uid, &wanted))
                    .await
                    .map_err(StepError::Volumes)
            }
            Action::RunSandbox => {
                let config = job
                    .desired
                    .as_ref()
                    .ok_or(StepError::Stale)?
                    .sandbox_config();
                self.runtime
                    .run_sandbox(&config)
                    .await
                    .map(drop)
                    .map_err(StepError::Sandbox)
            }
            Action::Stop {
                id,
                container,
                grace,
                why,
            } => {
                let message = killing(container, why);
                self.note(job, container, false, "Killing", message);
                self.runtime
                    .stop_container(id, *grace)
                    .await
                    .map_err(StepError::Stop)
            }
            Action::RemoveContainer { id } => self
                .runtime
                .remove_container(id)
                .await
                .map_err(StepError::Remove),
            Action::RemovePod { sandbox } => self.remove(job, sandbox.as_ref()).await,
            Action::Confirm => {
                let PodName {
                    namespace,
                    name,
                    uid,
                } = &job.pod;
                match self.api.remove(&PODS, namespace, name, uid).await {
                    // Gone already, or another life has its name.
                    Err(error) if !error.is_not_found() && !error.is_conflict() => {
                        Err(StepError::Confirm(error))
                    }
                    _ => {
                        outcome.confirmed = true;
                        Ok(())
                    }
                }
            }
        }
    }

    async fn remove(&self, job: &Job, sandbox: Option<&SandboxId>) -> Result<(), StepError> {
        if let Some(sandbox) = sandbox {
            self.runtime
                .stop_sandbox(sandbox)
                .await
                .map_err(StepError::Remove)?;
            self.runtime
                .remove_sandbox(sandbox)
                .await
                .map_err(StepError::Remove)?;
        }
        self.volumes
            .remove(&job.pod.uid)
            .map_err(StepError::Volumes)
    }

    async fn start(&self, job: &Job, name: &str, attempt: u32) -> Result<(), StepError> {
        let pod = job.desired.as_ref().ok_or(StepError::Stale)?;
        let container = pod.container(name).ok_or(StepError::Stale)?;
        let config = self.container_config(job, container, attempt)?;
        self.bring_image(job, &config).await?;
        let sandbox = SandboxId(pod.uid.clone());
        let sandbox = self.sandbox_of(pod).await?.unwrap_or(sandbox);
        let id = self
            .runtime
            .create_container(&sandbox, &config)
            .await
            .map_err(StepError::Create)?;
        self.note(
            job,
            name,
            false,
            "Created",
            format!("Created container {name}"),
        );
        self.runtime
            .start_container(&id)
            .await
            .map_err(StepError::Start)?;
        self.note(
            job,
            name,
            false,
            "Started",
            format!("Started container {name}"),
        );
        Ok(())
    }

    async fn sandbox_of(&self, pod: &DesiredPod) -> Result<Option<SandboxId>, StepError> {
        let all = self
            .runtime
            .list_sandboxes(Whose::Pod(&pod.uid))
            .await
            .map_err(StepError::Sandbox)?;
        let own = all
            .into_iter()
            .find(|found| found.config.uid == pod.uid && found.ready);
        Ok(own.map(|found| found.id))
    }

    fn container_config(
        &self,
        job: &Job,
        container: &DesiredContainer,
        attempt: u32,
    ) -> Result<ContainerConfig, StepError> {
        let config = container.config.as_ref().map_err(|_| StepError::Stale)?;
        let mounts = self
            .volumes
            .mounts(&job.pod.uid, job.volumes()?, &container.mounts)
            .map_err(StepError::Mount)?;
        Ok(ContainerConfig {
            attempt,
            mounts,
            ..config.clone()
        })
    }

    async fn bring_image(&self, job: &Job, config: &ContainerConfig) -> Result<(), StepError> {
        let ContainerConfig { image, name, .. } = config;
        if self
            .runtime
            .image_status(image)
            .await
            .map_err(StepError::Image)?
            .is_some()
        {
            return Ok(());
        }
        self.note(
            job,
            name,
            false,
            "Pulling",
            format!("Pulling image \"{image}\""),
        );
        self.runtime
            .pull_image(image)
            .await
            .map_err(StepError::Image)?;
        self.note(
            job,
            name,
            false,
            "Pulled",
            format!("Successfully pulled image \"{image}\""),
        );
        Ok(())
    }

    fn note(
        &self,
        job: &Job,
        container: &str,
        warning: bool,
        reason: &'static str,
        message: String,
    ) {
        let (pod, container) = (job.pod.clone(), container.to_owned());
        self.notes.tell(Note {
            pod,
            container,
            warning,
            reason,
            message,
        });
    }
}

impl Job {
    fn volumes(&self) -> Result<&[crate::pod::Volume], StepError> {
        let pod = self.desired.as_ref().ok_or(StepError::Stale)?;
        pod.volumes.as_deref().map_err(|_| StepError::Stale)
    }

    /// Whether nothing but the end of containers is waited for, so that it may be dropped.
    pub(crate) fn only_stops(&self) -> bool {
        self.actions
            .iter()
            .all(|action| matches!(action, Action::Stop { .. }))
    }

    /// The pod's namespace and name, when a container may be started.
    pub(crate) fn starts(&self) -> Option<(String, String)> {
        let starts = |action: &Action| matches!(action, Action::Start { .. });
        self.actions
            .iter()
            .any(starts)
            .then(|| (self.pod.namespace.clone(), self.pod.name.clone()))
    }
}

fn event_reason(error: &StepError) -> &'static str {
    let about_container = matches!(
        error,
        StepError::Create(_) | StepError::Start(_) | StepError::Image(_)
    );
    if about_container {
        "Failed"
    } else {
        error.reason()
    }
}

fn killing(container: &str, why: &StopReason) -> String {
    match why {
        StopReason::Deleted | StopReason::Orphan => format!("Stopping container {container}"),
        StopReason::SpecChanged => {
            format!("Container {container} definition changed, will be restarted")
        }
        StopReason::Unhealthy(what) => format!("Container {container} {what}, will be restarted"),
        StopReason::Unknown => {
            format!("Stopping container {container}, which is not part of the pod")
        }
        StopReason::PodEnded => format!("Stopping container {container}: the pod has ended"),
    }
}
