//! Where things are.

use std::path::{Path, PathBuf};

use crate::runtime::{ContainerId, RuntimeError, SandboxConfig, SandboxId};

/// The directories of the process runtime.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    dir: PathBuf,
}

impl Layout {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    pub(super) fn sandboxes(&self) -> PathBuf {
        self.dir.join("run")
    }

    pub(super) fn sandbox(&self, id: &SandboxId) -> PathBuf {
        self.sandboxes().join(&id.0)
    }

    pub(super) fn containers(&self, sandbox: &SandboxId) -> PathBuf {
        self.sandbox(sandbox).join("containers")
    }

    /// What a container sees as its file system root.
    pub(super) fn root(&self, sandbox: &SandboxId, container: &str) -> PathBuf {
        self.sandbox(sandbox).join("root").join(container)
    }

    /// The directory of an attempt, if the id is one of ours.
    pub(super) fn container(&self, id: &ContainerId) -> Option<PathBuf> {
        let (sandbox, attempt) = id.0.split_once('/')?;
        let sandbox = SandboxId(component("pod uid", sandbox).ok()?.to_owned());
        Some(
            self.containers(&sandbox)
                .join(component("container", attempt).ok()?),
        )
    }

    /// Logs of a pod, named as the kubelet names them.
    pub(super) fn logs(&self, pod: &SandboxConfig) -> PathBuf {
        self.dir
            .join("pods")
            .join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid))
    }
}

/// A name that came from outside, if it can be one component of a path.
pub(super) fn component<'a>(what: &'static str, text: &'a str) -> Result<&'a str, RuntimeError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let fits = !text.is_empty() && text.len() <= 200 && text.bytes().all(plain);
    if fits && text != "." && text != ".." {
        Ok(text)
    } else {
        Err(RuntimeError::State {
            what,
            id: text.to_owned(),
            needed: "a plain name",
        })
    }
}
