//! The files by which edged and a shim know of each other. They are the only memory of the process
//! runtime, so a shim of an older version must be readable: fields are only ever added, with
//! defaults.
//!
//! ```text
//! <dir>/run/<pod uid>/
//!     sandbox.json             SandboxConfig and when it was made
//!     root/<container>/        what the container sees as $POD_ROOT: links to its mounts
//!     containers/<name>.<attempt>/
//!         config.json          Launch: written before the container exists, never changed
//!         lock                 held by the shim as long as it lives
//!         state.json           State: written by the shim only, each time whole
//! <dir>/pods/<namespace>_<name>_<uid>/<container>/<attempt>.log
//! ```

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::runtime::{ContainerConfig, Exit, SandboxConfig};

/// A sandbox.
pub(crate) const SANDBOX: &str = "sandbox.json";
/// What to run.
pub(crate) const CONFIG: &str = "config.json";
/// What became of it.
pub(crate) const STATE: &str = "state.json";
/// Whose shim lives.
pub(crate) const LOCK: &str = "lock";

/// The environment variable by which every process of a container can be found. Its value is the
/// directory of the attempt, which no other edged on the host has.
pub(crate) const MARK: &str = "CAUSEWAY_CONTAINER";

/// A file larger than this is none of ours.
const RECORD_BYTES_MAX: u64 = 4 << 20;

/// A sandbox as kept.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    pub(crate) config: SandboxConfig,
    pub(crate) created: Timestamp,
}

/// What a shim is to run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) pod: String,
    pub(crate) config: ContainerConfig,
    /// The program and its arguments; never empty.
    pub(crate) argv: Vec<String>,
    /// The whole environment.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) directory: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) log_bytes_max: u64,
    pub(crate) log_files_max: u32,
}

/// What became of it. Absent: nobody tried yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "lowercase")]
pub(crate) enum State {
    /// About to run the command; from here on it is never started again.
    Starting,
    /// It runs.
    Running(Alive),
    /// It has ended.
    Exited(Exit),
}

/// Names the running process beyond doubt: a process id alone is reused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alive {
    pub(crate) pid: i32,
    /// When the kernel started it, in clock ticks since boot.
    pub(crate) start_ticks: u64,
    /// Of which boot.
    pub(crate) boot: String,
    pub(crate) started: Timestamp,
}

/// Reads a record; `None` when there is none.
///
/// # Errors
/// The host's, or `InvalidData` when it is torn or foreign.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, RECORD_BYTES_MAX), &mut text)?;
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(io::Error::from)
}

/// Replaces a record: afterwards there is the old one or the new one, whole.
///
/// # Errors
/// The host's.
pub(crate) fn write<T: Serialize>(path: &Path, record: &T) -> io::Result<()> {
    let text = serde_json::to_vec(record).map_err(io::Error::from)?;
    let staged = path.with_extension("tmp");
    let mut file = private(&staged)?;
    file.write_all(&text)?;
    // Without it a power cut can leave an empty file under the final name.
    file.sync_data()?;
    fs::rename(&staged, path)
}

/// Opens a new file that only its owner can read: environments hold secrets.
fn private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}
