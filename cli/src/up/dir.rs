//! The directory of one `up`: who holds it, and the files others find it by.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use causeway_edge::access::{ApiToken, kubeconfig};
use rustix::fs::{FlockOperation, flock};

use crate::exit::Coded;
use crate::locate::UpFile;

/// Longest path of a Unix socket that every system takes.
const SOCKET_PATH_BYTES_MAX: usize = 100;

/// A claimed directory. The claim ends with the process, however it ends.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes the directory when missing and claims it.
    ///
    /// # Errors
    /// When another `up` holds it, or it cannot be written.
    pub(super) fn claim(path: &Path) -> Result<Self> {
        let make = || format!("cannot make {}", path.display());
        std::fs::create_dir_all(path).with_context(make)?;
        let path = path.canonicalize().with_context(make)?;
        let lock_path = path.join("up.lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&lock_path)
            .with_context(|| format!("cannot open {}", lock_path.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            let _ = lock.read_to_string(&mut holder);
            let what = format!("{} is in use by process {}", path.display(), holder.trim());
            let hint = "stop that `causeway up`, or choose another directory with --dir";
            return Err(Coded::failed(what).hint(hint).into());
        }
        lock.set_len(0)?;
        write!(lock, "{}", std::process::id())?;
        let directory = Self { path, _lock: lock };
        let socket = directory.node("edge-00").join("edge.sock");
        if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            let what = format!(
                "the path {} is too long for Unix sockets",
                directory.path.display()
            );
            return Err(Coded::config(what)
                .hint("choose a shorter one with --dir")
                .into());
        }
        Ok(directory)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The control socket.
    pub(super) fn control(&self) -> PathBuf {
        self.path.join("up.sock")
    }

    /// The directory of the cloud.
    pub(super) fn cloud(&self) -> PathBuf {
        self.path.join("cloud")
    }

    /// The directory of a node.
    pub(super) fn node(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where a process writes what it says.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{name}.log"))
    }

    /// The kubeconfig of the cloud or of a node.
    pub(super) fn kubeconfig(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.kubeconfig"))
    }

    /// Writes what others find the system by.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn write(&self, up: &UpFile) -> Result<()> {
        // That of a Kubernetes cluster is its owner's.
        if up.cloud.kubeconfig == self.kubeconfig("cloud") {
            let cloud = kubeconfig("cloud", up.cloud.api, None);
            write(&up.cloud.kubeconfig, &cloud)?;
        }
        for node in &up.nodes {
            let token = ApiToken::of(&node.dir).context("a node has no token")?;
            let local = kubeconfig(&node.name, node.api, Some(&token));
            write(&node.kubeconfig, &local)?;
        }
        write(
            &UpFile::path(&self.path),
            &serde_json::to_string_pretty(up)?,
        )
    }

    /// Says that nothing runs here any more.
    pub(super) fn release(&self) {
        for path in [UpFile::path(&self.path), self.control()] {
            // It may never have been written.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Replaces a file in one step: a reader sees the old or the new one. It may hold a token, so only
/// its owner reads it.
fn write(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("new");
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| std::fs::rename(&fresh, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
