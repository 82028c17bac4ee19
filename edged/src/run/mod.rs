//! The loop: takes all that is ready, looks at the world, plans, hands out the steps, tells what
//! changed. Runs in one task; whatever takes time is a future it polls or a task it owns.

mod agenda;
mod desk;
mod dispatch;
mod handle;
mod lives;
mod node;
mod observe;
mod round;
mod tell;
mod trouble;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::tasks::{self, Stop};
use causeway_daemon::telemetry::error_chain;
use causeway_kube_api::client::{CONFIGMAPS, PODS, Reflected, SECRETS, SERVICE_ACCOUNT_TOKENS};
use causeway_log::replication::Moment;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;

#[cfg(test)]
pub(crate) use self::lives::found_name;
use self::round::Agent;
use crate::api::{self, Api};
use crate::config::{EdgedConfig, RuntimeConfig};
use crate::events::{self, Notes};
use crate::pod::{ConfigKind, NodeFacts};
use crate::runtime::process::ProcessRuntime;
use crate::runtime::{Runtime, SandboxId, Whose};
use crate::volumes::Volumes;

/// Changes that come together are planned for together: at most so many are taken at once.
const TAKEN_AT_ONCE_MAX: usize = 256;
/// How long pods get in all when they end with edged.
const STOP_ALL_MAX: Duration = Duration::from_secs(35);

/// An API that is away for longer is worth a warning.
const PATIENCE: Duration = Duration::from_secs(5);
/// An API that is away is worth a warning this often.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// The directory is tried so often, at this interval, before it is taken to be in use.
const LOCK_TRIES: u32 = 20;
/// See [`LOCK_TRIES`].
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

/// edged cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its directory cannot be used.
    #[error("cannot use the directory {}", path.display())]
    Directory {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The token of the local API cannot be had.
    #[error("cannot read the token in {}", path.display())]
    Token {
        /// Its file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another edged uses it.
    #[error("the directory {} is in use by another edged", path.display())]
    InUse {
        /// Which.
        path: std::path::PathBuf,
    },
}

/// Runs the pods of this node until `stop`. The API may come and go meanwhile. What runs goes on
/// running afterwards, unless the configuration says otherwise.
///
/// # Errors
/// Only what no retry mends: the directory cannot be used.
pub async fn run(config: EdgedConfig, stop: Stop) -> Result<(), RunError> {
    let token_file = config.api_token_file.as_deref();
    let api = api::connect(&config.api, token_file).map_err(|source| RunError::Token {
        path: token_file.map(Path::to_owned).unwrap_or_default(),
        source,
    })?;
    let api = Arc::new(api);
    let RuntimeConfig::Process(process) = config.runtime.clone();
    let refused = |source| RunError::Directory {
        path: config.dir.clone(),
        source,
    };
    std::fs::create_dir_all(&config.dir).map_err(refused)?;
    let runtime = ProcessRuntime::new(&config.dir, process).map_err(refused)?;
    run_with(config, api, Arc::new(runtime), stop).await
}

/// [`run`] with another API or runtime.
///
/// # Errors
/// See [`run`].
pub async fn run_with(
    config: EdgedConfig,
    api: Arc<dyn Api>,
    runtime: Arc<dyn Runtime>,
    stop: Stop,
) -> Result<(), RunError> {
    let refused = |source| RunError::Directory {
        path: config.dir.clone(),
        source,
    };
    std::fs::create_dir_all(&config.dir).map_err(refused)?;
    let _lock = lock(&config.dir).await?;
    let volumes = Volumes::new(&config.dir).map_err(refused)?;
    let node = NodeFacts {
        name: config.node.as_str().to_owned(),
        address: config.address.clone(),
    };
    tracing::info!(node = %node.name, dir = %config.dir.display(), "edged starts");
    let (notes, queue) = Notes::channel();
    let _events = tasks::spawn(
        "events",
        events::write(Arc::clone(&api), node.name.clone(), queue),
    );
    let _node = tasks::spawn(
        "node",
        node::maintain(
            Arc::clone(&api),
            node.clone(),
            config.clone(),
            runtime.info(),
        ),
    );
    let stop_pods = config.stop_pods_on_exit;
    let agent = Agent::new(
        node,
        config.timing,
        Arc::clone(&api),
        Arc::clone(&runtime),
        volumes,
        notes,
    );
    follow(agent, &*api, &*runtime, stop).await;
    if stop_pods {
        stop_all(&*runtime).await;
    }
    tracing::info!("edged stops");
    Ok(())
}

/// The loop itself, until `stop`.
async fn follow(mut agent: Agent, api: &dyn Api, runtime: &dyn Runtime, mut stop: Stop) {
    let mut pods = api
        .follow(PODS, &format!("spec.nodeName={}", agent.node_name()))
        .fuse();
    let mut config_maps = api.follow(CONFIGMAPS, "").fuse();
    let mut secrets = api.follow(SECRETS, "").fuse();
    let mut tokens = api.follow(SERVICE_ACCOUNT_TOKENS, "").fuse();
    let mut changes = runtime.changes();
    loop {
        let wake = agent.wake();
        // Stopping comes first, then what has been done, then what is new; the timer is last, as a
        // round looks at everything that is due anyway.
        tokio::select! {
            biased;
            () = stop.wait() => return,
            done = agent.next_done() => agent.handle_done(done),
            _ = changes.changed() => {}
            Some(told) = pods.next() => agent.handle_pods(told),
            Some(told) = config_maps.next() => {
                agent.handle_configs(ConfigKind::ConfigMap, told);
            }
            Some(told) = secrets.next() => agent.handle_configs(ConfigKind::Secret, told),
            Some(told) = tokens.next() => agent.handle_configs(ConfigKind::Token, told),
            () = sleep_until(wake) => {}
        }
        for _ in 0..TAKEN_AT_ONCE_MAX {
            if let Some(done) = agent.next_done().now_or_never() {
                agent.handle_done(done);
            } else if let Some(Some(told)) = pods.next().now_or_never() {
                agent.handle_pods(told);
            } else if let Some(Some(told)) = config_maps.next().now_or_never() {
                agent.handle_configs(ConfigKind::ConfigMap, told);
            } else if let Some(Some(told)) = secrets.next().now_or_never() {
                agent.handle_configs(ConfigKind::Secret, told);
            } else if let Some(Some(told)) = tokens.next().now_or_never() {
                agent.handle_configs(ConfigKind::Token, told);
            } else {
                break;
            }
        }
        changes.mark_unchanged();
        agent.round().await;
        // The thread is not edged's alone, and what it looks at seldom waits for anything.
        tokio::task::yield_now().await;
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Holds the directory for this process. A predecessor that was killed a moment ago may hold it
/// still, through a child it was about to start, so one refusal is not believed.
async fn lock(dir: &Path) -> Result<std::fs::File, RunError> {
    let path = dir.join("edged.lock");
    let file = std::fs::File::create(&path).map_err(|source| RunError::Directory {
        path: path.clone(),
        source,
    })?;
    let mut tries = tokio::time::interval(LOCK_INTERVAL);
    for _ in 0..LOCK_TRIES {
        tries.tick().await;
        let held = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
        if held.is_ok() {
            return Ok(file);
        }
    }
    Err(RunError::InUse {
        path: dir.to_owned(),
    })
}

/// Ends every container, each with the grace of its pod.
async fn stop_all(runtime: &dyn Runtime) {
    let (Ok(sandboxes), Ok(containers)) = (
        runtime.list_sandboxes(Whose::All).await,
        runtime.list_containers(Whose::All).await,
    ) else {
        return;
    };
    let stops = containers.iter().map(async |container| {
        let pod = SandboxId(container.pod.clone());
        let sandbox = sandboxes.iter().find(|sandbox| sandbox.config.uid == pod.0);
        let grace = sandbox.map_or(Duration::ZERO, |sandbox| sandbox.config.grace);
        if let Err(error) = runtime.stop_container(&container.id, grace).await {
            tracing::warn!(error = %error_chain(&error), "a container could not be stopped");
        }
    });
    let all = futures_util::future::join_all(stops);
    if tokio::time::timeout(STOP_ALL_MAX, all).await.is_err() {
        tracing::warn!("some containers take too long to end; they go on without edged");
    }
}

/// Says why the API cannot be followed, when that lasts: one warning in a while, however many lists
/// there are.
#[derive(Debug, Default)]
struct Interruptions {
    /// What cannot be followed, and since when.
    since: BTreeMap<&'static str, Instant>,
    warned: Option<Instant>,
}

impl Interruptions {
    fn note(&mut self, what: &'static str, told: &Reflected) {
        let Reflected::Interrupted { error, retry_in } = told else {
            self.since.remove(what);
            return;
        };
        let (error, retry_in_ms) = (error_chain(error), retry_in.as_millis());
        let now = Instant::now();
        // At its start, and before the node came for the first time, it takes a moment.
        let lasts = now >= *self.since.entry(what).or_insert(now) + PATIENCE;
        let is_new = self
            .warned
            .is_none_or(|warned| now >= warned + WARN_INTERVAL);
        if lasts && is_new {
            self.warned = Some(now);
            tracing::warn!(%error, what, retry_in_ms, "the local API cannot be followed");
        } else {
            tracing::debug!(%error, what, retry_in_ms, "the local API cannot be followed");
        }
    }
}

/// Turns the driver's time into the planner's and back.
#[derive(Clone, Copy, Debug)]
struct Clock {
    began: Instant,
}

impl Clock {
    fn now(self) -> Moment {
        Moment(self.began.elapsed())
    }

    fn instant(self, moment: Moment) -> Instant {
        self.began + moment.0
    }
}
