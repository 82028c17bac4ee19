//! What an operator may set. The file is read whole, checked whole, and all mistakes are told at
//! once; `deploy/config/cloud-sync.toml` shows every key with its default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use causeway_daemon::config::{ConfigError, Mistakes, Section, format_duration, parse};
use causeway_daemon::store_dir;
use causeway_daemon::telemetry::{Level, LogFormat};
use uuid::Uuid;

/// Settings of the cloud service, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudConfig {
    /// Where the store lives; made when missing.
    pub dir: PathBuf,
    /// Kubernetes API, inspection, health and metrics. Port 0 takes any free one.
    pub api_listen: SocketAddr,
    /// Where edge nodes dial in. Port 0 takes any free one.
    pub sync_listen: SocketAddr,
    /// Bounds of what peers may take.
    pub bounds: Bounds,
    /// How long superseded records stay for time travel and deltas.
    pub history: History,
    /// What the cluster is, and the controllers of the embedded one.
    pub control: Control,
    /// Where the Kubernetes cluster is, when it is one.
    pub kubernetes: Kubernetes,
    /// What is published of devices.
    pub devices: Devices,
    /// How much is said.
    pub log: LogConfig,
}

mod devices;

pub use devices::Devices;

/// What is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// The least important lines shown.
    pub level: Level,
    /// How a line looks.
    pub format: LogFormat,
}

/// Bounds of what peers may take of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Sessions at a time; further nodes are told to come back later.
    pub sessions_max: usize,
    /// Watches at a time on the API.
    pub watchers_max: usize,
    /// Bytes of a request body on the API.
    pub body_bytes_max: usize,
    /// Nodes that metrics name one by one; the others are only summed.
    pub metric_nodes_max: usize,
}

/// The history window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// At least so many of the newest revisions stay.
    pub keep_revisions: u64,
    /// Whatever is newer than this stays.
    pub keep_age: Duration,
    /// Superseded records over so many bytes go, oldest first, even inside the window.
    pub bytes_max: u64,
    /// Of what happened at a node, its events and the readings of its devices, whatever is over so
    /// many bytes goes, oldest first, even inside the window. Zero: no bound.
    pub facts_bytes_max: u64,
}

/// What the cluster is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Plane {
    /// The small control plane in this process.
    #[default]
    Embedded,
    /// A Kubernetes API server.
    Kubernetes,
}

impl FromStr for Plane {
    type Err = UnknownPlane;

    fn from_str(text: &str) -> Result<Self, UnknownPlane> {
        match text {
            "embedded" => Ok(Self::Embedded),
            "kubernetes" => Ok(Self::Kubernetes),
            _ => Err(UnknownPlane),
        }
    }
}

/// A word that is no [`Plane`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of: embedded, kubernetes")]
pub struct UnknownPlane;

/// Where the Kubernetes cluster is, and what is done for its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    /// A kubeconfig file. `None`: `$KUBECONFIG`, `~/.kube/config`, or the service account of the
    /// pod this runs in, whichever is there first.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; `None`: its current one.
    pub context: Option<String>,
    /// The uid of the namespace `kube-system` of the one cluster that may be followed; `None`: any.
    pub cluster: Option<Uuid>,
    /// How often the lease of a node that is here is renewed. The cluster must wait longer than
    /// that before it takes a node for lost.
    pub lease_renewal: Duration,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            cluster: None,
            // As the kubelet does it.
            lease_renewal: Duration::from_secs(10),
        }
    }
}

/// Settings of the controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// What the cluster is. The other settings here are for the embedded one.
    pub plane: Plane,
    /// A node whose session is away for longer shows `Ready` as `Unknown`.
    pub node_grace: Duration,
    /// Kubernetes Events older than this are removed.
    pub event_age: Duration,
    /// Kubernetes Events kept in one namespace.
    pub events_per_namespace_max: usize,
}

impl CloudConfig {
    /// The defaults, with the store in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            api_listen: SocketAddr::from(([127, 0, 0, 1], 10080)),
            sync_listen: SocketAddr::from(([127, 0, 0, 1], 10000)),
            bounds: Bounds {
                sessions_max: 20_000,
                watchers_max: 4096,
                body_bytes_max: causeway_log::limits::BODY_BYTES_MAX,
                metric_nodes_max: 1000,
            },
            history: History {
                keep_revisions: 100_000,
                keep_age: Duration::from_secs(24 * 3600),
                bytes_max: 2 * 1024 * 1024 * 1024,
                facts_bytes_max: store_dir::History::CLOUD.facts_bytes_max,
            },
            control: Control {
                plane: Plane::Embedded,
                node_grace: Duration::from_secs(10),
                event_age: Duration::from_secs(3600),
                events_per_namespace_max: 1000,
            },
            kubernetes: Kubernetes::default(),
            devices: Devices::default(),
            log: LogConfig::default(),
        }
    }

    /// The file that [`CloudConfig::from_toml`] reads as this.
    #[must_use]
    pub fn dump(&self) -> String {
        let Self {
            dir,
            api_listen,
            sync_listen,
            bounds,
            history,
            control,
            kubernetes,
            devices,
            log,
        } = self;
        let Bounds {
            sessions_max,
            watchers_max,
            body_bytes_max,
            metric_nodes_max,
        } = bounds;
        let History {
            keep_revisions,
            keep_age,
            bytes_max,
            facts_bytes_max,
        } = history;
        let Control {
            plane,
            node_grace,
            event_age,
            events_per_namespace_max,
        } = control;
        let (kubernetes, devices) = (kubernetes.dump(), devices.dump());
        let dir = toml::Value::from(dir.display().to_string());
        let [keep_age, node_grace, event_age] =
            [keep_age, node_grace, event_age].map(|duration| format_duration(*duration));
        let (plane, level, format) = (word(plane), word(&log.level), word(&log.format));
        format!(
            "dir = {dir}\napi_listen = \"{api_listen}\"\nsync_listen = \"{sync_listen}\"\n\n\
             [bounds]\nsessions_max = {sessions_max}\nwatchers_max = {watchers_max}\n\
             body_bytes_max = {body_bytes_max}\nmetric_nodes_max = {metric_nodes_max}\n\n\
             [history]\nkeep_revisions = {keep_revisions}\nkeep_age = \"{keep_age}\"\n\
             bytes_max = {bytes_max}\nfacts_bytes_max = {facts_bytes_max}\n\n\
             [control]\nplane = \"{plane}\"\nnode_grace = \"{node_grace}\"\nevent_age = \"{event_age}\"\n\
             events_per_namespace_max = {events_per_namespace_max}\n\n\
             {kubernetes}\n{devices}\n\
             [log]\nlevel = \"{level}\"\nformat = \"{format}\"\n"
        )
    }

    /// Reads the text of a TOML file.
    ///
    /// # Errors
    /// All mistakes found.
    pub fn from_toml(text: &str) -> Result<Self, Mistakes> {
        parse(text, Self::read)
    }

    /// Reads a TOML file.
    ///
    /// # Errors
    /// The file cannot be read, or all mistakes found in it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        causeway_daemon::config::load(path, Self::read)
    }

    fn read(root: &mut Section) -> Self {
        let dir = root.text::<PathBuf>("dir");
        let mut config = Self::new(root.require("dir", dir).unwrap_or_default());
        set(&mut config.api_listen, root.text("api_listen"));
        set(&mut config.sync_listen, root.text("sync_listen"));
        if config.api_listen == config.sync_listen && config.api_listen.port() != 0 {
            root.mistake(
                "sync_listen",
                "is the address of `api_listen` too".to_owned(),
            );
        }
        config.bounds.read(&mut root.section("bounds"));
        config.history.read(&mut root.section("history"));
        config.control.read(&mut root.section("control"));
        config.kubernetes.read(&mut root.section("kubernetes"));
        config.devices.read(&mut root.section("devices"));
        let mut log = root.section("log");
        set(&mut config.log.level, log.text("level"));
        set(&mut config.log.format, log.text("format"));
        drop(log);
        config
    }
}

impl Bounds {
    fn read(&mut self, section: &mut Section) {
        let Self {
            sessions_max,
            watchers_max,
            body_bytes_max,
            metric_nodes_max,
        } = self;
        let body_most = u64::try_from(causeway_log::limits::BODY_BYTES_MAX).unwrap_or(u64::MAX);
        set_count(sessions_max, section.number("sessions_max", 1..=1_000_000));
        set_count(watchers_max, section.number("watchers_max", 1..=1_000_000));
        set_count(
            body_bytes_max,
            section.number("body_bytes_max", 1024..=body_most),
        );
        set_count(
            metric_nodes_max,
            section.number("metric_nodes_max", 0..=1_000_000),
        );
    }
}

impl History {
    fn read(&mut self, section: &mut Section) {
        let Self {
            keep_revisions,
            keep_age,
            bytes_max,
            facts_bytes_max,
        } = self;
        set(
            keep_revisions,
            section.number("keep_revisions", 0..=u64::MAX),
        );
        set(keep_age, section.duration("keep_age"));
        set(bytes_max, section.number("bytes_max", 0..=u64::MAX));
        set(
            facts_bytes_max,
            section.number("facts_bytes_max", 0..=u64::MAX),
        );
    }
}

impl Control {
    fn read(&mut self, section: &mut Section) {
        let Self {
            plane,
            node_grace,
            event_age,
            events_per_namespace_max,
        } = self;
        set(plane, section.text("plane"));
        set(node_grace, section.duration("node_grace"));
        set(event_age, section.duration("event_age"));
        let events = section.number("events_per_namespace_max", 1..=1_000_000);
        set_count(events_per_namespace_max, events);
    }
}

impl Kubernetes {
    fn read(&mut self, section: &mut Section) {
        let Self {
            kubeconfig,
            context,
            cluster,
            lease_renewal,
        } = self;
        let given = |text: &String| !text.is_empty();
        let path: Option<String> = section.text("kubeconfig").filter(given);
        *kubeconfig = path.map(PathBuf::from);
        *context = section.text("context").filter(given);
        *cluster = match section.text::<String>("cluster").filter(given) {
            None => None,
            Some(uid) => Uuid::try_parse(&uid)
                .map_err(|_| section.mistake("cluster", "is not a uid".to_owned()))
                .ok(),
        };
        set(lease_renewal, section.duration("lease_renewal"));
        if lease_renewal.is_zero() {
            section.mistake("lease_renewal", "must not be zero".to_owned());
        }
    }

    fn dump(&self) -> String {
        let Self {
            kubeconfig,
            context,
            cluster,
            lease_renewal,
        } = self;
        let lease_renewal = format_duration(*lease_renewal);
        let path = kubeconfig.as_ref().map(|path| path.display().to_string());
        let [kubeconfig, context, cluster] =
            [path, context.clone(), cluster.map(|uid| uid.to_string())]
                .map(|text| toml::Value::from(text.unwrap_or_default()));
        format!(
            "[kubernetes]\nkubeconfig = {kubeconfig}\ncontext = {context}\ncluster = {cluster}\n\
             lease_renewal = \"{lease_renewal}\"\n"
        )
    }
}

/// The word that stands for an enum value in a file.
fn word(value: &impl serde::Serialize) -> String {
    let word = serde_json::to_value(value).unwrap_or_default();
    word.as_str().unwrap_or_default().to_owned()
}

fn set<T>(into: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *into = given;
    }
}

fn set_count(into: &mut usize, given: Option<u64>) {
    set(into, given.and_then(|count| usize::try_from(count).ok()));
}

#[cfg(test)]
mod tests;
