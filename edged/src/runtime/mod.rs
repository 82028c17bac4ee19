//! What edged asks of whatever runs containers.
//!
//! The model is that of the Kubernetes Container Runtime Interface: a *sandbox* for each life of a
//! pod, *containers* in it, each start of a container being a new *attempt*. The methods map one to
//! one onto CRI calls, so that a CRI client is a second implementation and nothing above changes.

pub mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Runs containers.
///
/// # Guarantees asked of an implementation
/// - **Idempotent.** Repeating a call that succeeded succeeds and changes nothing: running a
///   sandbox that runs, creating a container whose sandbox, name and attempt exist, starting one
///   that was started (whether or not it has exited since), stopping or removing what is gone.
/// - **At most one start.** A container is started at most once in its life, whatever dies in
///   between; another start is another attempt.
/// - **Everything is found again.** `list_sandboxes` and `list_containers` are complete after a
///   restart of edged, with all metadata given at creation: pod uid, namespace and name, container
///   name, attempt, spec hash. They are the only memory edged has of what runs.
/// - **Stop waits.** When `stop_container` resolves, no process of the container is left. Dropping
///   the future abandons the wait, not the stop; a later call may shorten the grace, never
///   lengthen it.
/// - **Changes are announced.** After any change that edged did not ask for (a container exits),
///   the receiver of `changes` is marked changed, and `take_changed` names the pod. Announcements
///   coalesce and may be spurious.
/// - **A pod is found at a pod's price.** What `list_sandboxes` and `list_containers` cost for one
///   pod does not grow with the number of pods.
///
/// # Assumptions
/// One edged at a time uses a runtime; calls for one pod do not overlap, except for queries.
pub trait Runtime: Send + Sync + 'static {
    /// What this is, for node status and people.
    fn info(&self) -> RuntimeInfo;

    /// Makes the pod's surroundings exist and be ready.
    fn run_sandbox<'a>(&'a self, config: &'a SandboxConfig) -> Answer<'a, SandboxId>;

    /// Stops what is left in the sandbox and takes its resources away.
    fn stop_sandbox<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, ()>;

    /// Forgets a stopped sandbox and its containers. Logs go too.
    fn remove_sandbox<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, ()>;

    /// Prepares one attempt of a container.
    fn create_container<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        config: &'a ContainerConfig,
    ) -> Answer<'a, ContainerId>;

    /// Starts a created container. A command that cannot be run is an error *and* leaves the
    /// container [`ContainerState::Exited`] with code 128 and reason `StartError`.
    fn start_container<'a>(&'a self, id: &'a ContainerId) -> Answer<'a, ()>;

    /// Asks the container to end, and ends it after `grace`.
    fn stop_container<'a>(&'a self, id: &'a ContainerId, grace: Duration) -> Answer<'a, ()>;

    /// Forgets a container that does not run, with its logs.
    fn remove_container<'a>(&'a self, id: &'a ContainerId) -> Answer<'a, ()>;

    /// Sandboxes.
    fn list_sandboxes<'a>(&'a self, whose: Whose<'a>) -> Answer<'a, Vec<Sandbox>>;

    /// Containers, in no particular order.
    fn list_containers<'a>(&'a self, whose: Whose<'a>) -> Answer<'a, Vec<Container>>;

    /// Whether the image is here; its id when it is.
    fn image_status<'a>(&'a self, image: &'a str) -> Answer<'a, Option<String>>;

    /// Brings the image here; its id.
    fn pull_image<'a>(&'a self, image: &'a str) -> Answer<'a, String>;

    /// Runs a command in a running container and waits for it, at most `limit`.
    fn exec<'a>(
        &'a self,
        id: &'a ContainerId,
        command: &'a [String],
        limit: Duration,
    ) -> Answer<'a, ExecOutcome>;

    /// Marked changed whenever the lists may differ.
    fn changes(&self) -> tokio::sync::watch::Receiver<u64>;

    /// The uids of pods whose lists may differ since this was asked last. For one asker.
    fn take_changed(&self) -> BTreeSet<String>;
}

/// Which sandboxes or containers are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose<'a> {
    /// All there are.
    All,
    /// Those of the pod with this uid.
    Pod(&'a str),
}

/// What every call resolves to.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, RuntimeError>>;

/// What a runtime is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// Its name: the scheme of container ids (`process://…`).
    pub name: &'static str,
    /// Its version.
    pub version: String,
    /// Set when nothing isolates the containers from the host: not for production.
    pub development_only: bool,
}

/// Names a sandbox to its runtime.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SandboxId(pub String);

/// Names a container to its runtime; never used twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContainerId(pub String);

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One life of a pod, as its sandbox is labelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxConfig {
    /// The pod's uid: tells this life from another of the same name.
    pub uid: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// Grace of an orphan, when nobody is left to say another one.
    pub grace: Duration,
    /// The pod's labels.
    pub labels: BTreeMap<String, String>,
}

/// One attempt of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// The container's name in the pod.
    pub name: String,
    /// Counts its starts in this life of the pod, from zero.
    pub attempt: u32,
    /// Identifies the part of the pod's spec it was made from.
    pub spec_hash: u64,
    /// The image, as the pod names it.
    pub image: String,
    /// Instead of the image's entry point.
    pub command: Vec<String>,
    /// Instead of the image's arguments.
    pub args: Vec<String>,
    /// Environment, in order of definition, expanded.
    pub env: Vec<(String, String)>,
    /// Directory to start in, inside the container.
    pub working_dir: Option<String>,
    /// Directories and files shown inside.
    pub mounts: Vec<Mount>,
    /// User and group to run as, where the pod asks for one.
    pub run_as: RunAs,
}

/// Whom to run as; unset means as the runtime does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAs {
    /// Numeric user.
    pub user: Option<u32>,
    /// Numeric group.
    pub group: Option<u32>,
}

/// Something of the host shown inside a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it appears: an absolute path inside.
    pub container_path: String,
    /// What appears.
    pub host_path: PathBuf,
    /// The container must not write to it.
    pub read_only: bool,
}

/// A sandbox as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Its id.
    pub id: SandboxId,
    /// Whose it is.
    pub config: SandboxConfig,
    /// Ready to hold containers; a sandbox that is not must be run again.
    pub ready: bool,
    /// When it was made, for people.
    pub created: Timestamp,
}

/// A container as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: ContainerId,
    /// The pod's uid.
    pub pod: String,
    /// The container's name in the pod.
    pub name: String,
    /// Which start of it.
    pub attempt: u32,
    /// The part of the spec it was made from.
    pub spec_hash: u64,
    /// The image, as it was named.
    pub image: String,
    /// What it does.
    pub state: ContainerState,
}

/// What a container does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Prepared, never started.
    Created,
    /// Started, not ended.
    Running {
        /// When, for people.
        started: Timestamp,
    },
    /// Ended, for ever.
    Exited(Exit),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The code a shell would see: 128 + signal when a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// One word: `Completed`, `Error`, `StartError`, `ContainerStatusUnknown`.
    pub reason: String,
    /// A sentence for people, may be empty.
    pub message: String,
    /// When it started, for people.
    pub started: Option<Timestamp>,
    /// When it ended, for people.
    pub finished: Timestamp,
    /// How long it ran, on a steady clock; `None` when nobody saw.
    pub ran: Option<Duration>,
}

/// What a command in a container did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutcome {
    /// Its exit code; `None` when it ran into the limit.
    pub code: Option<i32>,
    /// The beginning of what it said, for people.
    pub output: String,
}

/// Why the runtime did not do it.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The host refused something.
    #[error("cannot {doing} {}", path.display())]
    Host {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the host said.
        source: std::io::Error,
    },
    /// The container's command cannot be run.
    #[error("cannot start the container: {message}")]
    Start {
        /// What is wrong with it.
        message: String,
    },
    /// The runtime cannot do what the pod asks for.
    #[error("{what} is not supported by the {runtime} runtime")]
    Unsupported {
        /// The runtime's name.
        runtime: &'static str,
        /// What was asked.
        what: String,
    },
    /// The named sandbox or container is not there, or not in the state the call needs.
    #[error("{what} {id} is not {needed}")]
    State {
        /// Sandbox or container.
        what: &'static str,
        /// Which.
        id: String,
        /// What it would have to be.
        needed: &'static str,
    },
}
