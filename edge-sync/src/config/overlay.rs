//! What a command line says over a configuration file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use causeway_daemon::config::ConfigError;
use causeway_daemon::telemetry::Level;
use causeway_daemon::ws::SyncUrl;
use causeway_log::NodeName;

use super::{ApiAuth, EdgeConfig, SOCKET};

/// What a command line says; `None` leaves what the file says, or the default.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    /// Name of the node.
    pub node: Option<NodeName>,
    /// Where everything is kept. A socket at its usual place moves with it; one that the file named
    /// somewhere else stays there.
    pub dir: Option<PathBuf>,
    /// Where the cloud is.
    pub cloud: Option<SyncUrl>,
    /// Where the local API listens on TCP.
    pub listen: Option<Listen>,
    /// Who may use it there.
    pub auth: Option<ApiAuth>,
    /// Where its Unix socket is.
    pub socket: Option<PathBuf>,
    /// The least important log lines shown.
    pub log_level: Option<Level>,
}

/// Where the local API listens on TCP: an address, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

impl FromStr for Listen {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self(None)),
            address => Ok(Self(Some(address.parse()?))),
        }
    }
}

/// File and command line make no configuration.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// Nothing says which node this is, or where it keeps its state.
    #[error("--node and --dir, or --config, must be given")]
    Missing,
    /// The file is wrong.
    #[error(transparent)]
    File(#[from] ConfigError),
}

impl EdgeConfig {
    /// The configuration of a file, if one is named, and of what a command line says over it. The
    /// file may leave out whatever the command line says.
    ///
    /// # Errors
    /// [`AssembleError`]
    pub fn assemble(file: Option<&Path>, overlay: Overlay) -> Result<Self, AssembleError> {
        let base = match (file, &overlay.node, &overlay.dir) {
            (Some(path), node, _) => Self::load(path, node.as_ref())?,
            (None, Some(node), Some(dir)) => Self::new(node.clone(), dir.clone(), None),
            (None, _, _) => return Err(AssembleError::Missing),
        };
        Ok(base.overlaid(overlay))
    }

    fn overlaid(mut self, overlay: Overlay) -> Self {
        let Overlay {
            node,
            dir,
            cloud,
            listen,
            auth,
            socket,
            log_level,
        } = overlay;
        self.node = node.unwrap_or(self.node);
        if let Some(dir) = dir {
            if self.api.socket == self.dir.join(SOCKET) {
                self.api.socket = dir.join(SOCKET);
            }
            self.dmi.moves(&self.dir, &dir);
            self.dir = dir;
        }
        self.cloud = cloud.or(self.cloud);
        self.api.listen = listen.map_or(self.api.listen, |Listen(address)| address);
        self.api.auth = auth.unwrap_or(self.api.auth);
        self.api.socket = socket.unwrap_or(self.api.socket);
        self.log.level = log_level.unwrap_or(self.log.level);
        self
    }
}
