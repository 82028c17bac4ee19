//! Probes as a pod names them.

use std::time::Duration;

use serde_json::Value;

use super::ProbeKind;

/// The probes of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeSpec {
    /// Until it succeeds, the others wait.
    pub startup: Option<Probe>,
    /// Decides whether the container is ready.
    pub readiness: Option<Probe>,
    /// Decides whether the container is restarted.
    pub liveness: Option<Probe>,
}

/// One probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What to ask.
    pub check: Check,
    /// From the start of the container to the first question.
    pub initial_delay: Duration,
    /// From one question to the next.
    pub period: Duration,
    /// An answer that takes longer is a failure.
    pub timeout: Duration,
    /// So many successes in a row count.
    pub successes_needed: u32,
    /// So many failures in a row count.
    pub failures_allowed: u32,
}

/// What to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// A command that exits with 0.
    Exec(Vec<String>),
    /// An HTTP GET answered with 200 to 399.
    Http {
        /// Host to connect to, empty for the node.
        host: String,
        /// Port to connect to.
        port: u16,
        /// Path and query.
        path: String,
        /// Further header lines.
        headers: Vec<(String, String)>,
    },
    /// A port that accepts connections.
    Tcp {
        /// Host to connect to, empty for the node.
        host: String,
        /// Port to connect to.
        port: u16,
    },
    /// One this node cannot ask; it always fails, saying so.
    Unsupported(&'static str),
}

impl ProbeSpec {
    /// Reads the probes of a container.
    #[must_use]
    pub fn read(container: &Value) -> Self {
        let probe = |field: &str| {
            container
                .get(field)
                .map(|probe| Probe::read(probe, container))
        };
        Self {
            startup: probe("startupProbe"),
            readiness: probe("readinessProbe"),
            liveness: probe("livenessProbe"),
        }
    }

    /// One of them.
    #[must_use]
    pub const fn get(&self, kind: ProbeKind) -> Option<&Probe> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref(),
            ProbeKind::Readiness => self.readiness.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
        }
    }

    /// Those there are.
    pub fn iter(&self) -> impl Iterator<Item = (ProbeKind, &Probe)> {
        [
            ProbeKind::Startup,
            ProbeKind::Readiness,
            ProbeKind::Liveness,
        ]
        .into_iter()
        .filter_map(|kind| Some((kind, self.get(kind)?)))
    }
}

impl Probe {
    fn read(probe: &Value, container: &Value) -> Self {
        let number =
            |field: &str, default: u64| probe.get(field).and_then(Value::as_u64).unwrap_or(default);
        let count = |field: &str, default| {
            u32::try_from(number(field, default))
                .unwrap_or(u32::MAX)
                .max(1)
        };
        Self {
            check: Check::read(probe, container),
            initial_delay: Duration::from_secs(number("initialDelaySeconds", 0)),
            period: Duration::from_secs(number("periodSeconds", 10).max(1)),
            timeout: Duration::from_secs(number("timeoutSeconds", 1).max(1)),
            successes_needed: count("successThreshold", 1),
            failures_allowed: count("failureThreshold", 3),
        }
    }
}

impl Check {
    fn read(probe: &Value, container: &Value) -> Self {
        let text = |pointer: &str| {
            probe
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        if let Some(command) = probe.pointer("/exec/command").and_then(Value::as_array) {
            return Self::Exec(
                command
                    .iter()
                    .filter_map(Value::as_str)
                    .map(ToOwned::to_owned)
                    .collect(),
            );
        }
        if let Some(http) = probe.get("httpGet") {
            if text("/httpGet/scheme").eq_ignore_ascii_case("https") {
                return Self::Unsupported("HTTPS probes are not supported");
            }
            let Some(port) = port(http, container) else {
                return Self::Unsupported(NO_PORT);
            };
            let path = text("/httpGet/path");
            let headers = http.get("httpHeaders").and_then(Value::as_array);
            return Self::Http {
                host: text("/httpGet/host"),
                port,
                path: if path.is_empty() {
                    "/".to_owned()
                } else {
                    path
                },
                headers: headers.into_iter().flatten().filter_map(header).collect(),
            };
        }
        if let Some(tcp) = probe.get("tcpSocket") {
            let Some(port) = port(tcp, container) else {
                return Self::Unsupported(NO_PORT);
            };
            return Self::Tcp {
                host: text("/tcpSocket/host"),
                port,
            };
        }
        Self::Unsupported("gRPC probes are not supported")
    }
}

const NO_PORT: &str = "the port is neither a number nor the name of a container port";

/// A port by number or by the name the container gives it.
fn port(target: &Value, container: &Value) -> Option<u16> {
    let port = target.get("port")?;
    let number = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
    let Some(name) = port.as_str() else {
        return number(port);
    };
    let named = container
        .get("ports")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find(|port| port.get("name").and_then(Value::as_str) == Some(name));
    match named {
        Some(found) => found.get("containerPort").and_then(number),
        None => name.parse().ok(),
    }
}

fn header(header: &Value) -> Option<(String, String)> {
    let text = |field: &str| {
        header
            .get(field)
            .and_then(Value::as_str)
            .map(ToOwned::to_owned)
    };
    let (name, value) = (text("name")?, text("value")?);
    // What could end the line could add requests of its own.
    let plain = |text: &str| !text.contains(|letter: char| letter.is_control());
    (plain(&name) && plain(&value)).then_some((name, value))
}
