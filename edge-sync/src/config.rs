//! What an edge is told at its start.

mod dmi;
mod mqtt;
mod overlay;
mod twins;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use causeway_daemon::config::{ConfigError, Mistakes, Section, format_duration, load, parse};
use causeway_daemon::store_dir::History;
use causeway_daemon::telemetry::{Level, LogFormat};
use causeway_daemon::ws::SyncUrl;
use causeway_log::NodeName;

pub use dmi::DmiConfig;
pub use mqtt::{InvalidUrl, MqttConfig, MqttMode, MqttUrl, UnknownMode};
pub use overlay::{AssembleError, Listen, Overlay};
pub use twins::TwinsConfig;

/// The configuration of an edge, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeConfig {
    /// Whose log this is: the name of the Kubernetes node.
    pub node: NodeName,
    /// Where everything is kept; made with mode 0700 when missing.
    pub dir: PathBuf,
    /// Where the cloud is; `None` runs without one.
    pub cloud: Option<SyncUrl>,
    /// The local API.
    pub api: ApiConfig,
    /// How much of the past is kept.
    pub history: History,
    /// What is kept of devices' readings.
    pub twins: TwinsConfig,
    /// Devices that speak MQTT.
    pub mqtt: MqttConfig,
    /// Device mappers.
    pub dmi: DmiConfig,
    /// How much is said.
    pub log: LogConfig,
}

/// The listeners of the local API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiConfig {
    /// TCP listener. It speaks plain HTTP, so it should be a loopback address; `None`: no TCP
    /// listener.
    pub listen: Option<SocketAddr>,
    /// Who may use the TCP listener.
    pub auth: ApiAuth,
    /// Unix socket, mode 0600: whoever may open it may do anything.
    pub socket: PathBuf,
    /// Watches at a time.
    pub watchers_max: usize,
    /// Connections at a time, on each listener.
    pub connections_max: usize,
}

/// Who may use the local API over TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApiAuth {
    /// Who shows the token of the node's directory.
    #[default]
    Token,
    /// Everybody who reaches it: every user of the machine, and every container in its network.
    Open,
}

impl ApiAuth {
    /// As configuration and command lines name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Open => "none",
        }
    }
}

/// Text that names no [`ApiAuth`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be \"token\" or \"none\"")]
pub struct UnknownAuth;

impl FromStr for ApiAuth {
    type Err = UnknownAuth;

    fn from_str(text: &str) -> Result<Self, UnknownAuth> {
        [Self::Token, Self::Open]
            .into_iter()
            .find(|auth| auth.as_str() == text)
            .ok_or(UnknownAuth)
    }
}

/// What is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// The least important lines shown.
    pub level: Level,
    /// How a line looks.
    pub format: LogFormat,
}

/// The port of KubeEdge's MetaServer: tools made for it find the local API.
const API_PORT: u16 = 10550;
/// An edge serves a kubelet, a few agents and a person.
const WATCHERS_MAX: usize = 256;
/// Watches and a few requests each.
const CONNECTIONS_MAX: usize = 512;
/// Name of the Unix socket in the directory of a node.
const SOCKET: &str = "edge.sock";
/// Where a packaged edge keeps its data.
const DIR: &str = "/var/lib/causeway/edge";

impl EdgeConfig {
    /// The defaults for a node that keeps its data in `dir`.
    #[must_use]
    pub fn new(node: NodeName, dir: PathBuf, cloud: Option<SyncUrl>) -> Self {
        Self {
            api: ApiConfig {
                listen: Some(SocketAddr::from(([127, 0, 0, 1], API_PORT))),
                auth: ApiAuth::default(),
                socket: dir.join(SOCKET),
                watchers_max: WATCHERS_MAX,
                connections_max: CONNECTIONS_MAX,
            },
            dmi: DmiConfig::new(&dir),
            node,
            dir,
            cloud,
            history: History::EDGE,
            twins: TwinsConfig::default(),
            mqtt: MqttConfig::default(),
            log: LogConfig::default(),
        }
    }

    /// Reads a file. It may leave the name of the node out when that is known from elsewhere.
    ///
    /// # Errors
    /// [`ConfigError`], with all mistakes of the file.
    fn load(path: &Path, node: Option<&NodeName>) -> Result<Self, ConfigError> {
        let config = load(path, |root| read(root, node))?;
        Ok(config.expect("a file without mistakes has a node"))
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// All mistakes.
    pub fn parse(text: &str) -> Result<Self, Mistakes> {
        let config = parse(text, |root| read(root, None))?;
        Ok(config.expect("a file without mistakes has a node"))
    }

    /// The file that [`EdgeConfig::parse`] reads as this.
    #[must_use]
    pub fn dump(&self) -> String {
        let Self {
            node,
            dir,
            cloud,
            api,
            history,
            twins,
            mqtt,
            dmi,
            log,
        } = self;
        let mut root = toml::Table::new();
        let mut put = |key: &str, value: toml::Value| root.insert(key.to_owned(), value);
        put("node", node.as_str().into());
        put("dir", dir.display().to_string().into());
        if let Some(cloud) = cloud {
            put("cloud", cloud.to_string().into());
        }
        let number = |value: u64| toml::Value::from(i64::try_from(value).unwrap_or(i64::MAX));
        let ApiConfig {
            listen,
            auth,
            socket,
            watchers_max,
            connections_max,
        } = api;
        let mut table = toml::Table::new();
        let listen = listen.map_or_else(|| "off".to_owned(), |listen| listen.to_string());
        table.insert("listen".to_owned(), listen.into());
        table.insert("auth".to_owned(), auth.as_str().into());
        table.insert("socket".to_owned(), socket.display().to_string().into());
        table.insert("watchers_max".to_owned(), number(*watchers_max as u64));
        table.insert(
            "connections_max".to_owned(),
            number(*connections_max as u64),
        );
        put("api", table.into());
        let History {
            revisions,
            age,
            bytes_max,
            facts_max,
            facts_bytes_max: _,
        } = history;
        let mut table = toml::Table::new();
        table.insert("revisions".to_owned(), number(*revisions));
        table.insert("age".to_owned(), format_duration(*age).into());
        table.insert("bytes_max".to_owned(), number(*bytes_max));
        table.insert("facts_max".to_owned(), number(*facts_max));
        put("history", table.into());
        put("twins", twins.dump().into());
        put("mqtt", mqtt.dump().into());
        put("dmi", dmi.dump().into());
        let LogConfig { level, format } = log;
        let mut table = toml::Table::new();
        table.insert("level".to_owned(), level.as_str().into());
        table.insert("format".to_owned(), format.as_str().into());
        put("log", table.into());
        root.to_string()
    }
}

/// `None` only when the node is wrong, or nothing names it, which is a mistake.
fn read(root: &mut Section, node: Option<&NodeName>) -> Option<EdgeConfig> {
    let named = root.text_with("node", NodeName::new);
    let node = root.require("node", named.or_else(|| node.cloned()));
    let dir: PathBuf = root.text("dir").unwrap_or_else(|| DIR.into());
    let cloud = root.text("cloud");
    let mut api = root.section("api");
    let listen: Option<Listen> = api.text("listen");
    let auth = api.text("auth");
    let socket = api.text("socket");
    let watchers_max = bounded(&mut api, "watchers_max", 1..=100_000);
    let connections_max = bounded(&mut api, "connections_max", 1..=100_000);
    drop(api);
    let history = read_history(root.section("history"), History::EDGE);
    let twins = TwinsConfig::read(root.section("twins"));
    let mqtt = MqttConfig::read(root.section("mqtt"));
    let dmi = DmiConfig::read(root.section("dmi"), &dir);
    let mut log = root.section("log");
    let log = LogConfig {
        level: log.text("level").unwrap_or_default(),
        format: log.text("format").unwrap_or_default(),
    };
    let defaults = EdgeConfig::new(node?, dir, cloud);
    let api = ApiConfig {
        listen: listen.map_or(defaults.api.listen, |Listen(address)| address),
        auth: auth.unwrap_or(defaults.api.auth),
        socket: socket.unwrap_or(defaults.api.socket),
        watchers_max: watchers_max.unwrap_or(defaults.api.watchers_max),
        connections_max: connections_max.unwrap_or(defaults.api.connections_max),
    };
    Some(EdgeConfig {
        api,
        history,
        twins,
        mqtt,
        dmi,
        log,
        ..defaults
    })
}

fn bounded(
    section: &mut Section,
    key: &str,
    bounds: std::ops::RangeInclusive<u64>,
) -> Option<usize> {
    section
        .number(key, bounds)
        .and_then(|number| usize::try_from(number).ok())
}

fn read_history(mut section: Section, defaults: History) -> History {
    History {
        revisions: section
            .number("revisions", 0..=u64::MAX)
            .unwrap_or(defaults.revisions),
        age: section.duration("age").unwrap_or(defaults.age),
        bytes_max: section
            .number("bytes_max", 0..=u64::MAX)
            .unwrap_or(defaults.bytes_max),
        facts_max: section
            .number("facts_max", 1..=u64::MAX)
            .unwrap_or(defaults.facts_max),
        // Nothing that happens comes down.
        facts_bytes_max: defaults.facts_bytes_max,
    }
}

#[cfg(test)]
mod tests;
