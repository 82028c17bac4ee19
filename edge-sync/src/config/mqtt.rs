//! The section `[mqtt]`: where devices meet the edge.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use causeway_daemon::config::Section;

use super::bounded;

/// The port of KubeEdge's internal broker.
const INTERNAL_PORT: u16 = 1884;
/// What one message may take; a twin with many properties is a few kilobytes.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Far above what a device has to say, far below what an edge can take.
const RATE: usize = 1000;
/// What a broker keeps of one topic while the edge is away comes at once.
const BURST: usize = 10_000;
/// Messages kept for a client of the embedded broker that is away.
const SESSION_QUEUE: usize = 1000;
/// Clients of the embedded broker.
const CLIENTS_MAX: usize = 1024;

/// How devices reach the edge by MQTT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttConfig {
    /// Which brokers.
    pub mode: MqttMode,
    /// Where the embedded broker listens.
    pub listen: SocketAddr,
    /// The external broker.
    pub server: Option<MqttUrl>,
    /// What the external broker knows this edge by; `None`: `causeway-` and the name of the node.
    pub client_id: Option<String>,
    /// Name for the external broker. The embedded one admits nobody else.
    pub username: Option<String>,
    /// File with the password that belongs to it.
    pub password_file: Option<PathBuf>,
    /// File with the certificates that the external broker's must be signed by; `None`: those of
    /// the system.
    pub ca_file: Option<PathBuf>,
    /// File with this edge's certificate for the external broker.
    pub cert_file: Option<PathBuf>,
    /// File with the key that belongs to it.
    pub key_file: Option<PathBuf>,
    /// How sure the delivery of what the edge publishes is: 0 or 1.
    pub qos: u8,
    /// Whether brokers keep what the edge publishes for who subscribes later.
    pub retain: bool,
    /// Longest message that is taken.
    pub message_bytes_max: usize,
    /// Messages a second of one topic in the long run.
    pub rate: usize,
    /// Messages of one topic at once.
    pub burst: usize,
    /// Messages that the embedded broker keeps for a client that is away or slow.
    pub session_queue: usize,
    /// Clients of the embedded broker at a time.
    pub clients_max: usize,
}

impl Default for MqttConfig {
    fn default() -> Self {
        Self {
            mode: MqttMode::default(),
            listen: SocketAddr::from(([127, 0, 0, 1], INTERNAL_PORT)),
            server: None,
            client_id: None,
            username: None,
            password_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            qos: 1,
            retain: false,
            message_bytes_max: MESSAGE_BYTES_MAX,
            rate: RATE,
            burst: BURST,
            session_queue: SESSION_QUEUE,
            clients_max: CLIENTS_MAX,
        }
    }
}

/// Which brokers the edge uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MqttMode {
    /// The external one when `server` names one; else the embedded one, which listens once the
    /// node has a device.
    #[default]
    Auto,
    /// The embedded one, from the start. KubeEdge's mode 0.
    Internal,
    /// Both. KubeEdge's mode 1.
    Both,
    /// The external one. KubeEdge's mode 2.
    External,
    /// None.
    Off,
}

impl MqttMode {
    /// As configuration names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Internal => "internal",
            Self::Both => "both",
            Self::External => "external",
            Self::Off => "off",
        }
    }
}

/// Text that names no [`MqttMode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be \"auto\", \"internal\", \"both\", \"external\" or \"off\" (\"0\", \"1\" and \"2\" are KubeEdge's)"
)]
pub struct UnknownMode;

impl FromStr for MqttMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        match text {
            "auto" => Ok(Self::Auto),
            "internal" | "0" => Ok(Self::Internal),
            "both" | "1" => Ok(Self::Both),
            "external" | "2" => Ok(Self::External),
            "off" => Ok(Self::Off),
            _ => Err(UnknownMode),
        }
    }
}

/// Where an external broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttUrl {
    /// Whether over TLS.
    pub tls: bool,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Default for MqttUrl {
    /// KubeEdge's default.
    fn default() -> Self {
        Self {
            tls: false,
            host: "127.0.0.1".to_owned(),
            port: 1883,
        }
    }
}

impl std::fmt::Display for MqttUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "tls" } else { "tcp" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// Text that is no address of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be tcp://HOST:PORT, or tls://HOST:PORT")]
pub struct InvalidUrl;

impl FromStr for MqttUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidUrl)?;
        let (tls, port) = match scheme {
            "tcp" | "mqtt" => (false, 1883),
            "tls" | "ssl" | "mqtts" => (true, 8883),
            _ => return Err(InvalidUrl),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| InvalidUrl)?)
            }
            Some(_) | None => (rest, port),
        };
        let inner = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let is_named = |host: &str| {
            let fits = |it: u8| it.is_ascii_alphanumeric() || b".-_".contains(&it);
            host.bytes().all(fits)
        };
        let is_host = inner.is_some_and(|it| it.parse::<std::net::Ipv6Addr>().is_ok())
            || (!host.is_empty() && host.len() <= 253 && is_named(host));
        if !is_host || port == 0 {
            return Err(InvalidUrl);
        }
        Ok(Self {
            tls,
            host: inner.unwrap_or(host).to_owned(),
            port,
        })
    }
}

impl MqttConfig {
    /// The external broker, when one is used.
    #[must_use]
    pub fn external(&self) -> Option<MqttUrl> {
        match self.mode {
            MqttMode::Auto => self.server.clone(),
            MqttMode::Both | MqttMode::External => Some(self.server.clone().unwrap_or_default()),
            MqttMode::Internal | MqttMode::Off => None,
        }
    }

    /// Whether the embedded broker is used.
    #[must_use]
    pub const fn is_internal(&self) -> bool {
        match self.mode {
            MqttMode::Auto => self.server.is_none(),
            MqttMode::Internal | MqttMode::Both => true,
            MqttMode::External | MqttMode::Off => false,
        }
    }

    pub(super) fn read(mut section: Section) -> Self {
        let defaults = Self::default();
        let config = Self {
            mode: section.text("mode").unwrap_or(defaults.mode),
            listen: section.text("listen").unwrap_or(defaults.listen),
            server: section.text("server"),
            client_id: section.text_with("client_id", client_id),
            username: section.text("username"),
            password_file: section.text("password_file"),
            ca_file: section.text("ca_file"),
            cert_file: section.text("cert_file"),
            key_file: section.text("key_file"),
            qos: section
                .number("qos", 0..=1)
                .map_or(defaults.qos, |qos| u8::from(qos == 1)),
            retain: section.flag("retain").unwrap_or(defaults.retain),
            message_bytes_max: bounded(&mut section, "message_bytes_max", 1024..=16 * 1024 * 1024)
                .unwrap_or(defaults.message_bytes_max),
            rate: bounded(&mut section, "rate", 1..=1_000_000).unwrap_or(defaults.rate),
            burst: bounded(&mut section, "burst", 1..=10_000_000).unwrap_or(defaults.burst),
            session_queue: bounded(&mut section, "session_queue", 1..=100_000)
                .unwrap_or(defaults.session_queue),
            clients_max: bounded(&mut section, "clients_max", 1..=10_000)
                .unwrap_or(defaults.clients_max),
        };
        if config.password_file.is_some() && config.username.is_none() {
            section.mistake("password_file", "needs a username".to_owned());
        }
        if config.cert_file.is_some() != config.key_file.is_some() {
            section.mistake("cert_file", "needs key_file, and that needs it".to_owned());
        }
        config
    }

    pub(super) fn dump(&self) -> toml::Table {
        let Self {
            mode,
            listen,
            server,
            client_id,
            username,
            password_file,
            ca_file,
            cert_file,
            key_file,
            qos,
            retain,
            message_bytes_max,
            rate,
            burst,
            session_queue,
            clients_max,
        } = self;
        let mut table = toml::Table::new();
        let mut put = |key: &str, value: toml::Value| table.insert(key.to_owned(), value);
        put("mode", mode.as_str().into());
        put("listen", listen.to_string().into());
        put("qos", i64::from(*qos).into());
        put("retain", (*retain).into());
        let server = server.as_ref().map(ToString::to_string);
        let path = |path: &Option<PathBuf>| path.as_ref().map(|it| it.display().to_string());
        let texts = [
            ("server", server),
            ("client_id", client_id.clone()),
            ("username", username.clone()),
            ("password_file", path(password_file)),
            ("ca_file", path(ca_file)),
            ("cert_file", path(cert_file)),
            ("key_file", path(key_file)),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                put(key, text.into());
            }
        }
        let numbers = [
            ("message_bytes_max", message_bytes_max),
            ("rate", rate),
            ("burst", burst),
            ("session_queue", session_queue),
            ("clients_max", clients_max),
        ];
        for (key, number) in numbers {
            put(key, i64::try_from(*number).unwrap_or(i64::MAX).into());
        }
        table
    }
}

/// Brokers need not take more than 23 characters, and those that devices meet take these.
fn client_id(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
        return Err("must be 1 to 256 characters");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
