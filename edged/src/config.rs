//! What edged is told at its start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use causeway_daemon::config::{self, ConfigError, Mistakes, Section};
use causeway_daemon::telemetry::{Level, LogFormat};
use causeway_log::key::NodeName;

use crate::plan::Timing;

/// The whole configuration, checked. One small struct a part.
#[derive(Clone, Debug)]
pub struct EdgedConfig {
    /// The node this edged is.
    pub node: NodeName,
    /// Where the local API answers.
    pub api: ApiAddress,
    /// The file with its token; a Unix socket needs none.
    pub api_token_file: Option<PathBuf>,
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
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines there are.
    pub log_level: Level,
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
            api_token_file: None,
            dir,
            labels: BTreeMap::new(),
            address: "127.0.0.1".to_owned(),
            runtime: RuntimeConfig::Process(ProcessConfig::default()),
            timing: Timing::default(),
            stop_pods_on_exit: false,
            log_format: LogFormat::default(),
            log_level: Level::default(),
        }
    }

    /// Reads a configuration file; see `deploy/config/edged.toml` for what it can say.
    ///
    /// # Errors
    /// When it cannot be read, or with everything that is wrong in it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        config::load(path, read)
    }

    /// Reads the text of a configuration file.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn parse(text: &str) -> Result<Self, Mistakes> {
        config::parse(text, read)
    }
}

/// Takes everything out of the file. What is missing or wrong is noted there, so the stand-ins
/// used here are never seen.
fn read(root: &mut Section) -> EdgedConfig {
    let node = root.text_with("node", NodeName::new);
    let node = root.require("node", node).unwrap_or_else(stand_in);
    let dir: PathBuf = root
        .text("dir")
        .unwrap_or_else(|| "/var/lib/causeway/edged".into());
    let api = root.text_with("api", address);
    let api = root
        .require("api", api)
        .unwrap_or(ApiAddress::Url(String::new()));
    let mut config = EdgedConfig::new(node, api, dir);
    config.api_token_file = root.text("api_token_file");
    config.address = root.text("address").unwrap_or(config.address);
    config.stop_pods_on_exit = root.flag("stop_pods_on_exit").unwrap_or(false);
    for label in root.texts("labels") {
        match label.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                config.labels.insert(key.to_owned(), value.to_owned());
            }
            _ => root.mistake("labels", format!("{label:?} is not key=value")),
        }
    }
    let mut log = root.section("log");
    config.log_format = log.text("format").unwrap_or_default();
    config.log_level = log.text("level").unwrap_or_default();
    let RuntimeConfig::Process(process) = &mut config.runtime;
    let mut runtime = root.section("runtime");
    runtime.text_with("kind", |kind| match kind {
        "process" => Ok(()),
        _ => Err("must be \"process\", the only runtime there is so far"),
    });
    if let Some(bytes) = runtime.number("log_bytes_max", 4 << 10..=1 << 40) {
        process.log_bytes_max = bytes;
    }
    if let Some(files) = runtime.number("log_files_max", 1..=100) {
        process.log_files_max = u32::try_from(files).unwrap_or(process.log_files_max);
    }
    let mut restart = root.section("restart");
    let timing = &mut config.timing;
    timing.backoff_first = restart
        .duration("backoff_first")
        .unwrap_or(timing.backoff_first);
    timing.backoff_max = restart
        .duration("backoff_max")
        .unwrap_or(timing.backoff_max);
    timing.backoff_reset = restart
        .duration("backoff_reset")
        .unwrap_or(timing.backoff_reset);
    if timing.backoff_first > timing.backoff_max {
        restart.mistake(
            "backoff_first",
            "must not be longer than backoff_max".to_owned(),
        );
    }
    config
}

fn stand_in() -> NodeName {
    NodeName::new("unnamed").expect("a plain word is a node name")
}

/// `unix:/path`, an absolute path, or `http://host:port`.
fn address(text: &str) -> Result<ApiAddress, &'static str> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(ApiAddress::Socket(path.into()));
    }
    if text.starts_with('/') {
        return Ok(ApiAddress::Socket(text.into()));
    }
    match text.strip_prefix("http://") {
        Some(host) if host.contains(':') => Ok(ApiAddress::Url(text.to_owned())),
        _ => Err("must be unix:/path/of/socket or http://host:port"),
    }
}

/// Grace of a pod that says nothing about it.
pub(crate) const GRACE_DEFAULT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
