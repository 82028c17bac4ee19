//! What edged is told at its start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use causeway_log::key::NodeName;

use crate::plan::Timing;

/// The whole configuration, checked. One small struct a part.
#[derive(Clone, Debug)]
pub struct EdgedConfig {
    /// The node this edged is.
    pub node: NodeName,
    /// Where the local API answers.
    pub api: ApiAddress,
    /// Everything edged keeps: logs, volumes, the state of containers.
    pub dir: PathBuf,
    /// Labels of the node besides the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// The address pods and node report (`hostIP`, `InternalIP`).
    pub address: String,
    /// What runs the containers.
    pub runtime: RuntimeConfig,
    /// Backoff and grace of the planner.
    pub timing: Timing,
    /// Stops every pod when edged itself is asked to stop. Off, containers outlive edged, which is
    /// what an upgrade wants; `causeway up` turns it on so that Ctrl-C leaves nothing behind.
    pub stop_pods_on_exit: bool,
}

/// Where the local API answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiAddress {
    /// A Unix socket.
    Socket(PathBuf),
    /// `http://host:port`.
    Url(String),
}

/// What runs the containers.
#[derive(Clone, Debug)]
pub enum RuntimeConfig {
    /// Host processes: development only.
    Process(ProcessConfig),
}

/// Settings of the process runtime.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// The command that hosts a container; its last argument will be the container's directory.
    pub shim: Vec<String>,
    /// A log file is rotated at this size.
    pub log_bytes_max: u64,
    /// Log files kept of one attempt, the current one included.
    pub log_files_max: u32,
}

impl Default for ProcessConfig {
    fn default() -> Self {
        Self {
            // The running binary itself, even when its file was replaced by an upgrade.
            shim: vec!["/proc/self/exe".to_owned(), "shim".to_owned()],
            log_bytes_max: 10 << 20,
            log_files_max: 3,
        }
    }
}

impl EdgedConfig {
    /// A configuration with every default: process runtime, loopback address, no extra labels.
    #[must_use]
    pub fn new(node: NodeName, api: ApiAddress, dir: PathBuf) -> Self {
        Self {
            node,
            api,
            dir,
            labels: BTreeMap::new(),
            address: "127.0.0.1".to_owned(),
            runtime: RuntimeConfig::Process(ProcessConfig::default()),
            timing: Timing::default(),
            stop_pods_on_exit: false,
        }
    }
}

/// Grace of a pod that says nothing about it.
pub(crate) const GRACE_DEFAULT: Duration = Duration::from_secs(30);
