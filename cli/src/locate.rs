//! Finding the system a command is about: `up.json` of a directory, or addresses given.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use causeway_simulator::http::{Endpoint, Http};
use serde::{Deserialize, Serialize};

use crate::exit::Coded;

/// Which system.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Target {
    /// Directory of a running `causeway up`
    #[arg(
        long,
        default_value = ".causeway",
        env = "CAUSEWAY_DIR",
        value_name = "PATH"
    )]
    pub(crate) dir: PathBuf,
    /// API of the cloud, instead of looking into --dir (host:port, or unix:/path)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) cloud: Option<String>,
    /// Local API of the edge node, instead of looking into --dir (unix:/path of its socket, or
    /// host:port with --token-file)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) edge: Option<String>,
    /// File with the token that a host:port of --edge asks for: `api-token` in the node's directory
    #[arg(
        long,
        requires = "edge",
        env = "CAUSEWAY_TOKEN_FILE",
        value_name = "PATH"
    )]
    pub(crate) token_file: Option<PathBuf>,
}

/// Longest token file that is read.
const TOKEN_BYTES_MAX: u64 = 4096;

/// What `up` writes down about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct UpFile {
    /// Process id of `up`.
    pub(crate) pid: u32,
    /// Its control socket.
    pub(crate) control: PathBuf,
    /// The cloud.
    pub(crate) cloud: CloudEntry,
    /// The edge nodes.
    pub(crate) nodes: Vec<NodeEntry>,
}

/// Where the cloud is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CloudEntry {
    /// Kubernetes API, inspection, health, metrics.
    pub(crate) api: SocketAddr,
    /// Where edges dial.
    pub(crate) sync: SocketAddr,
    /// Its store.
    pub(crate) dir: PathBuf,
    /// For `kubectl --kubeconfig`.
    pub(crate) kubeconfig: PathBuf,
    /// What it says.
    pub(crate) log: PathBuf,
}

/// Where an edge node is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeEntry {
    /// Node name.
    pub(crate) name: String,
    /// Local API, inspection, health, metrics.
    pub(crate) api: SocketAddr,
    /// The link it dials through.
    pub(crate) link: SocketAddr,
    /// Its store and its pods.
    pub(crate) dir: PathBuf,
    /// For `kubectl --kubeconfig`.
    pub(crate) kubeconfig: PathBuf,
    /// What it says.
    pub(crate) log: PathBuf,
}

impl UpFile {
    /// Where it lies in a directory.
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join("up.json")
    }

    /// The node of that name.
    pub(crate) fn node(&self, name: &str) -> Result<&NodeEntry> {
        self.nodes
            .iter()
            .find(|node| node.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = self.nodes.iter().map(|node| node.name.as_str()).collect();
                let known = names.join(", ");
                Coded::usage(format!("there is no node {name:?}"))
                    .hint(format!("nodes: {known}"))
                    .into()
            })
    }
}

impl NodeEntry {
    /// Its local API, through the socket that asks nobody who they are.
    pub(crate) fn http(&self) -> Http {
        Http::new(Endpoint::Unix(self.dir.join("edge.sock")))
    }
}

impl Target {
    /// What `up` of the directory wrote down.
    ///
    /// # Errors
    /// When nothing runs there.
    pub(crate) fn up(&self) -> Result<UpFile> {
        let path = UpFile::path(&self.dir);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let what = format!("nothing runs in {}", self.dir.display());
                let hint = "start `causeway up`, or say where with --dir, --cloud or --edge";
                return Err(Coded::unavailable(what).hint(hint).into());
            }
            Err(error) => return Err(error).context(format!("cannot read {}", path.display())),
        };
        serde_json::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))
    }

    /// The API of the cloud.
    pub(crate) fn cloud(&self) -> Result<Http> {
        match &self.cloud {
            Some(address) => Ok(Http::new(Endpoint::parse(address))),
            None => Ok(Http::tcp(self.up()?.cloud.api)),
        }
    }

    /// The local API of an edge node.
    pub(crate) fn edge(&self, node: &str) -> Result<Http> {
        let Some(address) = &self.edge else {
            return Ok(self.up()?.node(node)?.http());
        };
        let http = Http::new(Endpoint::parse(address));
        match &self.token_file {
            Some(path) => Ok(http.with_token(&token(path)?)),
            None => Ok(http),
        }
    }

    /// The control socket of `up`.
    pub(crate) fn control(&self) -> Result<Http> {
        Ok(Http::new(Endpoint::Unix(self.up()?.control)))
    }
}

/// The token in a file.
fn token(path: &Path) -> Result<String> {
    let cannot = || format!("cannot read the token in {}", path.display());
    let file = std::fs::File::open(path).with_context(cannot)?;
    let mut text = String::new();
    file.take(TOKEN_BYTES_MAX)
        .read_to_string(&mut text)
        .with_context(cannot)?;
    let token = text.trim();
    let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.is_empty() || !is_plain {
        let what = format!("{} holds no token", path.display());
        let hint = "an edge keeps it in the file api-token of its directory";
        return Err(Coded::usage(what).hint(hint).into());
    }
    Ok(token.to_owned())
}
