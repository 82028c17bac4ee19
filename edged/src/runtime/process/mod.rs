//! Host processes as containers. **For development only**: nothing isolates them from the host or
//! from each other, images are names and nothing more, limits and security contexts (but for
//! `runAsUser` and `runAsGroup`) are not enforced. Node, log and events say so.
//!
//! What a manifest can rely on:
//!
//! - `command` (which must be given) and `args` run on the host, in a session and process group of
//!   their own, beside a shim ([`crate::shim`]) that survives edged.
//! - There is no mount namespace. Each container has a directory, **`$POD_ROOT`**, that stands for
//!   its root: a mount at `/etc/hello` is found at `$POD_ROOT/etc/hello`. It is also where the
//!   command starts, so that the *relative* path `etc/hello` works here and, since the working
//!   directory of most images is `/`, in real containers too. So does `${POD_ROOT}/etc/hello` in a
//!   shell, where an unset variable is empty, and `$(POD_ROOT)` in `args` works only here.
//! - `workingDir: /app` is `$POD_ROOT/app`, made if need be.
//! - All containers share the host's network: podIP is the node's address, ports are the host's.
//! - `readOnly` mounts and `subPath` are links like others; a mount below a mount is refused.

mod files;
pub(crate) mod host;
mod inspect;
mod launch;
mod layout;
mod make;
pub(crate) mod record;
mod watcher;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use rustix::process::Signal;
use tokio::time::Instant;

use self::files::{gone, host_error, names, private};
use self::inspect::{Found, signal};
use self::layout::{Layout, component};
use self::make::Maker;
use self::record::{CONFIG, Launch, SandboxRecord};
use self::watcher::Watcher;
use super::{
    Answer, Container, ContainerConfig, ContainerId, ContainerState, ExecOutcome, Runtime,
    RuntimeError, RuntimeInfo, Sandbox, SandboxConfig, SandboxId, Whose,
};
use crate::blocking::blocking;
use crate::config::ProcessConfig;

/// The runtime's name.
pub const NAME: &str = "process";

/// What is killed is gone within this time, or the host is in trouble.
const KILL_WAIT: Duration = Duration::from_secs(10);

/// Runs containers as processes of the host.
#[derive(Debug)]
pub struct ProcessRuntime {
    layout: Layout,
    maker: Maker,
    watcher: Watcher,
    stops: Mutex<BTreeMap<ContainerId, Instant>>,
}

impl ProcessRuntime {
    /// A runtime that keeps everything in `dir`, and finds what it kept there.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(dir: &Path, settings: ProcessConfig) -> io::Result<Self> {
        let layout = Layout::new(&std::path::absolute(dir)?);
        fs::create_dir_all(layout.sandboxes())?;
        private(&layout.sandboxes())?;
        tracing::warn!(
            "pods run as plain processes of this host, without isolation: for development only"
        );
        let maker = Maker {
            layout: layout.clone(),
            settings: Arc::new(settings),
        };
        Ok(Self {
            layout,
            maker,
            watcher: Watcher::default(),
            stops: Mutex::default(),
        })
    }

    async fn start(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let dir = self.dir_of(id)?;
        match self.inspect(id, &dir)? {
            Found::Created => {}
            Found::Running(_) => return Ok(()),
            Found::Exited(exit) if exit.reason == "StartError" => {
                return Err(RuntimeError::Start {
                    message: exit.message,
                });
            }
            Found::Exited(_) => return Ok(()),
        }
        let answer = self
            .watcher
            .start(&self.maker.settings.shim, id, &dir)
            .await
            .map_err(host_error("start the shim of", &dir))?;
        match answer.trim_end() {
            crate::shim::STARTED => Ok(()),
            "" => Err(RuntimeError::Start {
                message: "its shim said nothing".to_owned(),
            }),
            failed => Err(RuntimeError::Start {
                message: failed.strip_prefix("failed: ").unwrap_or(failed).to_owned(),
            }),
        }
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        let Some(dir) = self.layout.container(id) else {
            return Ok(());
        };
        let Found::Running(alive) = self.inspect(id, &dir)? else {
            return Ok(());
        };
        let exited = self
            .watcher
            .watch(id, &dir)
            .map_err(host_error("watch", &dir))?;
        let (deadline, first) = {
            let mut stops = self.stops.lock();
            let wanted = Instant::now() + grace;
            let first = !stops.contains_key(id);
            let deadline = stops.entry(id.clone()).or_insert(wanted);
            *deadline = wanted.min(*deadline);
            (*deadline, first)
        };
        if first && !grace.is_zero() {
            signal(alive.as_ref(), Signal::TERM).map_err(host_error("signal", &dir))?;
        }
        if tokio::time::timeout_at(deadline, exited.clone())
            .await
            .is_err()
        {
            signal(alive.as_ref(), Signal::KILL).map_err(host_error("kill", &dir))?;
            if tokio::time::timeout(KILL_WAIT, exited).await.is_err() {
                let id = id.0.clone();
                return Err(RuntimeError::State {
                    what: "container",
                    id,
                    needed: "gone yet",
                });
            }
        }
        // A shim that was killed leaves its container to us: this ends what is left of it.
        self.inspect(id, &dir)?;
        self.stops.lock().remove(id);
        Ok(())
    }

    fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let Some(dir) = self.layout.container(id) else {
            return Ok(());
        };
        let launch = record::read::<Launch>(&dir.join(CONFIG)).ok().flatten();
        if let Found::Running(_) = self.inspect(id, &dir)? {
            let id = id.0.clone();
            return Err(RuntimeError::State {
                what: "container",
                id,
                needed: "stopped",
            });
        }
        if let Some(launch) = launch {
            for age in 0..=launch.log_files_max {
                let mut name = launch.log.clone().into_os_string();
                if age > 0 {
                    name.push(format!(".{age}"));
                }
                gone(fs::remove_file(&name)).map_err(host_error("remove", Path::new(&name)))?;
            }
        }
        self.watcher.forget(id);
        gone(fs::remove_dir_all(&dir)).map_err(host_error("remove", &dir))
    }

    fn remove_all(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        component("sandbox", &id.0)?;
        for container in self.containers_of(id)? {
            self.remove(&container.id)?;
        }
        if let Some(record) = self.maker.sandbox_record(id)? {
            let logs = self.layout.logs(&record.config);
            gone(fs::remove_dir_all(&logs)).map_err(host_error("remove", &logs))?;
        }
        let dir = self.layout.sandbox(id);
        gone(fs::remove_dir_all(&dir)).map_err(host_error("remove", &dir))
    }

    /// The names of sandboxes, whether or not they were made to the end.
    fn ids(&self, whose: Whose<'_>) -> Result<Vec<SandboxId>, RuntimeError> {
        Ok(match whose {
            Whose::All => names(&self.layout.sandboxes())?
                .into_iter()
                .map(SandboxId)
                .collect(),
            Whose::Pod(uid) => component("pod uid", uid)
                .map(|uid| SandboxId(uid.to_owned()))
                .into_iter()
                .collect(),
        })
    }

    fn sandboxes(&self, whose: Whose<'_>) -> Result<Vec<Sandbox>, RuntimeError> {
        let mut found = Vec::new();
        for id in self.ids(whose)? {
            match self.maker.sandbox_record(&id) {
                Ok(Some(SandboxRecord { config, created })) => {
                    found.push(Sandbox {
                        id,
                        config,
                        ready: true,
                        created,
                    });
                }
                // Made halfway or torn: nothing was started in it, or it cannot be named.
                Ok(None) => {}
                Err(error) => tracing::warn!(
                    error = %causeway_daemon::telemetry::error_chain(&error),
                    "a sandbox cannot be read"
                ),
            }
        }
        Ok(found)
    }

    fn containers_of(&self, sandbox: &SandboxId) -> Result<Vec<Container>, RuntimeError> {
        let mut found = Vec::new();
        for attempt in names(&self.layout.containers(sandbox))? {
            let id = ContainerId(format!("{}/{attempt}", sandbox.0));
            let dir = self.dir_of(&id)?;
            let path = dir.join(CONFIG);
            let launch = record::read::<Launch>(&path).map_err(host_error("read", &path))?;
            // No configuration: its creation was not finished, so nothing was started.
            let Some(Launch { pod, config, .. }) = launch else {
                continue;
            };
            let state = match self.inspect(&id, &dir)? {
                Found::Created => ContainerState::Created,
                Found::Running(alive) => {
                    // Adoption: its end must be noticed, whoever started it.
                    let _ended = self
                        .watcher
                        .watch(&id, &dir)
                        .map_err(host_error("watch", &dir))?;
                    // Without a process yet, nobody can say that it runs.
                    alive.map_or(ContainerState::Created, |alive| ContainerState::Running {
                        started: alive.started,
                    })
                }
                Found::Exited(exit) => ContainerState::Exited(exit),
            };
            let ContainerConfig {
                name,
                attempt,
                spec_hash,
                image,
                ..
            } = config;
            found.push(Container {
                id,
                pod,
                name,
                attempt,
                spec_hash,
                image,
                state,
            });
        }
        Ok(found)
    }

    fn dir_of(&self, id: &ContainerId) -> Result<PathBuf, RuntimeError> {
        self.layout
            .container(id)
            .ok_or_else(|| RuntimeError::State {
                what: "container",
                id: id.0.clone(),
                needed: "there",
            })
    }
}

impl Runtime for ProcessRuntime {
    fn info(&self) -> RuntimeInfo {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        RuntimeInfo {
            name: NAME,
            version,
            development_only: true,
        }
    }

    fn run_sandbox<'a>(&'a self, config: &'a SandboxConfig) -> Answer<'a, SandboxId> {
        let (maker, config) = (self.maker.clone(), config.clone());
        blocking(move || maker.sandbox(&config)).boxed()
    }

    fn stop_sandbox<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, ()> {
        async {
            for container in self.containers_of(id)? {
                self.stop(&container.id, Duration::ZERO).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn remove_sandbox<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, ()> {
        async { self.remove_all(id) }.boxed()
    }

    fn create_container<'a>(
        &'a self,
        sandbox: &'a SandboxId,
        config: &'a ContainerConfig,
    ) -> Answer<'a, ContainerId> {
        let (maker, sandbox, config) = (self.maker.clone(), sandbox.clone(), config.clone());
        blocking(move || maker.container(&sandbox, &config)).boxed()
    }

    fn start_container<'a>(&'a self, id: &'a ContainerId) -> Answer<'a, ()> {
        self.start(id).boxed()
    }

    fn stop_container<'a>(&'a self, id: &'a ContainerId, grace: Duration) -> Answer<'a, ()> {
        self.stop(id, grace).boxed()
    }

    fn remove_container<'a>(&'a self, id: &'a ContainerId) -> Answer<'a, ()> {
        async { self.remove(id) }.boxed()
    }

    fn list_sandboxes<'a>(&'a self, whose: Whose<'a>) -> Answer<'a, Vec<Sandbox>> {
        async move { self.sandboxes(whose) }.boxed()
    }

    fn list_containers<'a>(&'a self, whose: Whose<'a>) -> Answer<'a, Vec<Container>> {
        async move {
            let mut all = Vec::new();
            for sandbox in self.ids(whose)? {
                all.extend(self.containers_of(&sandbox)?);
            }
            Ok(all)
        }
        .boxed()
    }

    fn image_status<'a>(&'a self, image: &'a str) -> Answer<'a, Option<String>> {
        async move { Ok(Some(image.to_owned())) }.boxed()
    }

    fn pull_image<'a>(&'a self, image: &'a str) -> Answer<'a, String> {
        async move { Ok(image.to_owned()) }.boxed()
    }

    fn exec<'a>(
        &'a self,
        id: &'a ContainerId,
        command: &'a [String],
        limit: Duration,
    ) -> Answer<'a, ExecOutcome> {
        async move {
            let dir = self.dir_of(id)?;
            let path = dir.join(CONFIG);
            let launch = record::read::<Launch>(&path).map_err(host_error("read", &path))?;
            let Some(launch) = launch else {
                let id = id.0.clone();
                return Err(RuntimeError::State {
                    what: "container",
                    id,
                    needed: "there",
                });
            };
            watcher::exec(&launch, command, limit)
                .await
                .map_err(|error| RuntimeError::Start {
                    message: error.to_string(),
                })
        }
        .boxed()
    }

    fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.watcher.changes()
    }

    fn take_changed(&self) -> BTreeSet<String> {
        self.watcher.take_changed()
    }
}
