//! `[dmi]`: where device mappers call this node, and how fast.

use std::path::{Path, PathBuf};
use std::time::Duration;

use causeway_daemon::config::{Section, format_duration};

/// The node's side of the Device Mapper Interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DmiConfig {
    /// Unix socket that mappers call, mode 0600; `None`: no mapper can. KubeEdge's mappers look for
    /// it at `/etc/kubeedge/dmi.sock` unless they are told otherwise.
    pub socket: Option<PathBuf>,
    /// Reports a second that each mapper may make in the long run; who is faster waits.
    pub reports_per_s: u32,
    /// Reports at once after a pause, before the rate counts.
    pub reports_burst: u32,
    /// The state of a device is `unknown` when its mapper neither answered nor reported for so long.
    pub unknown_after: Duration,
}

/// Name of the socket in the directory of a node.
const SOCKET: &str = "dmi.sock";
/// A tenth of what the store makes durable, so that one mapper leaves room for others.
const REPORTS_PER_S: u32 = 1000;
/// All devices of a mapper report at once after a cut of power.
const REPORTS_BURST: u32 = 2000;
/// A mapper may be started anew in this time and nobody sees it.
const UNKNOWN_AFTER: Duration = Duration::from_secs(30);
/// What `socket` says to have none.
const OFF: &str = "off";

impl DmiConfig {
    /// The defaults for a node that keeps its data in `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            socket: Some(dir.join(SOCKET)),
            reports_per_s: REPORTS_PER_S,
            reports_burst: REPORTS_BURST,
            unknown_after: UNKNOWN_AFTER,
        }
    }

    /// A socket at its usual place moves with the directory.
    pub(super) fn moves(&mut self, from: &Path, to: &Path) {
        if self.socket.as_deref() == Some(&*from.join(SOCKET)) {
            self.socket = Some(to.join(SOCKET));
        }
    }

    /// Reads the section.
    pub(super) fn read(mut section: Section, dir: &Path) -> Self {
        let defaults = Self::new(dir);
        let mut number = |key: &str, default: u32| {
            let read = section.number(key, 1..=1_000_000);
            read.and_then(|number| u32::try_from(number).ok())
                .unwrap_or(default)
        };
        let reports_per_s = number("reports_per_s", defaults.reports_per_s);
        let reports_burst = number("reports_burst", defaults.reports_burst);
        let unknown_after = section.duration("unknown_after");
        let socket: Option<PathBuf> = section.text("socket");
        Self {
            socket: match socket {
                Some(path) if path.as_os_str() == OFF => None,
                Some(path) => Some(path),
                None => defaults.socket,
            },
            reports_per_s,
            reports_burst,
            unknown_after: unknown_after.unwrap_or(defaults.unknown_after),
        }
    }

    /// What [`DmiConfig::read`] reads as this.
    pub(super) fn dump(&self) -> toml::Table {
        let Self {
            socket,
            reports_per_s,
            reports_burst,
            unknown_after,
        } = self;
        let socket = socket.as_ref().map(|path| path.display().to_string());
        let mut table = toml::Table::new();
        let socket = socket.unwrap_or_else(|| OFF.to_owned());
        table.insert("socket".to_owned(), socket.into());
        let number = |number: u32| toml::Value::from(i64::from(number));
        table.insert("reports_per_s".to_owned(), number(*reports_per_s));
        table.insert("reports_burst".to_owned(), number(*reports_burst));
        let unknown_after = format_duration(*unknown_after);
        table.insert("unknown_after".to_owned(), unknown_after.into());
        table
    }
}
