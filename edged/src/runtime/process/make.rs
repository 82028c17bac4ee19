//! Makes what a sandbox and a container consist of. What is made is synced, so that takes as long as
//! the disk does: not on the thread that everything else waits for.

use std::fs;
use std::sync::Arc;

use jiff::Timestamp;

use super::files::host_error;
use super::launch;
use super::layout::{Layout, component};
use super::record::{self, CONFIG, Launch, SANDBOX, SandboxRecord};
use crate::config::ProcessConfig;
use crate::runtime::{ContainerConfig, ContainerId, RuntimeError, SandboxConfig, SandboxId};

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Maker {
    pub(super) layout: Layout,
    pub(super) settings: Arc<ProcessConfig>,
}

impl Maker {
    pub(super) fn sandbox_record(
        &self,
        id: &SandboxId,
    ) -> Result<Option<SandboxRecord>, RuntimeError> {
        let path = self.layout.sandbox(id).join(SANDBOX);
        record::read(&path).map_err(host_error("read", &path))
    }

    pub(super) fn sandbox(&self, config: &SandboxConfig) -> Result<SandboxId, RuntimeError> {
        component("pod uid", &config.uid)?;
        component("pod name", &config.name)?;
        component("namespace", &config.namespace)?;
        let id = SandboxId(config.uid.clone());
        if self.sandbox_record(&id).is_ok_and(|found| found.is_some()) {
            return Ok(id);
        }
        let (dir, logs) = (self.layout.sandbox(&id), self.layout.logs(config));
        for path in [&dir, &logs] {
            fs::create_dir_all(path).map_err(host_error("create", path))?;
        }
        let record = SandboxRecord {
            config: config.clone(),
            created: Timestamp::now(),
        };
        let path = dir.join(SANDBOX);
        record::write(&path, &record).map_err(host_error("write", &path))?;
        Ok(id)
    }

    pub(super) fn container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
    ) -> Result<ContainerId, RuntimeError> {
        component("container", &config.name)?;
        let Some(SandboxRecord { config: pod, .. }) = self.sandbox_record(sandbox)? else {
            let id = sandbox.0.clone();
            return Err(RuntimeError::State {
                what: "sandbox",
                id,
                needed: "there",
            });
        };
        let attempt = format!("{}.{}", config.name, config.attempt);
        let id = ContainerId(format!("{}/{attempt}", sandbox.0));
        let dir = self.layout.containers(sandbox).join(attempt);
        let logs = self.layout.logs(&pod).join(&config.name);
        if record::read::<Launch>(&dir.join(CONFIG)).is_ok_and(|found| found.is_some()) {
            return Ok(id);
        }
        let launch = launch::launch(
            launch::Attempt {
                mark: dir.to_string_lossy().into_owned(),
                pod: &pod,
                config,
                root: self.layout.root(sandbox, &config.name),
                log: logs.join(format!("{}.log", config.attempt)),
            },
            &self.settings,
        )?;
        for path in [&dir, &logs] {
            fs::create_dir_all(path).map_err(host_error("create", path))?;
        }
        launch::furnish(&self.layout.root(sandbox, &config.name), &config.mounts)?;
        launch::ensure_directory(&launch.directory)?;
        let path = dir.join(CONFIG);
        record::write(&path, &launch).map_err(host_error("write", &path))?;
        Ok(id)
    }
}
