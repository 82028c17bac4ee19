//! The command line of an edge node.

use std::collections::BTreeMap;
use std::path::PathBuf;

use causeway_daemon::telemetry;
use causeway_daemon::ws::SyncUrl;
use causeway_edge_sync::EdgeConfig;
use causeway_edge_sync::config::{ApiAuth, AssembleError, Listen, Overlay};
use causeway_edged::EdgedConfig;
use causeway_edged::config::ApiAddress;
use causeway_log::key::{InvalidName, NodeName};

use crate::Edge;

/// Options of an edge node.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Configuration file of the sync daemon; what stands on the command line wins and need not be
    /// in it
    #[arg(long, value_name = "PATH", required_unless_present_all = ["node", "dir"])]
    config: Option<PathBuf>,
    /// Name of the node
    #[arg(long)]
    node: Option<String>,
    /// Where store, logs and pods live
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Where the cloud is: ws://HOST:PORT
    #[arg(long, value_name = "URL")]
    cloud: Option<SyncUrl>,
    /// Local API on TCP, or "off" [default: 127.0.0.1:10550]
    #[arg(long, value_name = "ADDRESS")]
    api_listen: Option<Listen>,
    /// Who may use it there: "token" (of DIR/api-token), or "none" for everybody [default: token]
    #[arg(long, value_name = "WHO")]
    api_auth: Option<ApiAuth>,
    /// Local API on a Unix socket [default: DIR/edge.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Label of the node, KEY=VALUE; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// End the pods too when asked to stop; otherwise they outlive this process
    #[arg(long)]
    stop_pods_on_exit: bool,
    /// Run no pods: the sync daemon only
    #[arg(long)]
    no_kubelet: bool,
}

/// Options that make no edge node.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// Nothing says which node this is, or where it keeps its state.
    #[error("--node and --dir, or --config, are needed")]
    Missing,
    /// The node's name is none.
    #[error("--node: {0}; a name has lower case letters, digits, - and ., as a Kubernetes node's")]
    Name(InvalidName),
    /// The configuration file is wrong; all its mistakes, in words.
    #[error("{0}")]
    Config(String),
}

impl Options {
    /// What to run.
    ///
    /// # Errors
    /// [`OptionsError`]
    pub fn read(&self) -> Result<Edge, OptionsError> {
        let sync = self.sync()?;
        let kubelet = (!self.no_kubelet).then(|| self.kubelet(&sync));
        Ok(Edge { sync, kubelet })
    }

    fn sync(&self) -> Result<EdgeConfig, OptionsError> {
        let node = self.node.as_deref().map(name).transpose()?;
        let overlay = Overlay {
            node,
            dir: self.dir.clone(),
            cloud: self.cloud.clone(),
            listen: self.api_listen,
            auth: self.api_auth,
            socket: self.socket.clone(),
            log_level: None,
        };
        EdgeConfig::assemble(self.config.as_deref(), overlay).map_err(|error| match error {
            AssembleError::Missing => OptionsError::Missing,
            AssembleError::File(error) => {
                OptionsError::Config(telemetry::error_chain(&error).to_string())
            }
        })
    }

    fn kubelet(&self, sync: &EdgeConfig) -> EdgedConfig {
        let api = ApiAddress::Socket(sync.api.socket.clone());
        let mut config = EdgedConfig::new(sync.node.clone(), api, sync.dir.join("edged"));
        config.labels = self.label.iter().cloned().collect::<BTreeMap<_, _>>();
        config.stop_pods_on_exit = self.stop_pods_on_exit;
        config
    }
}

fn name(text: &str) -> Result<NodeName, OptionsError> {
    NodeName::new(text).map_err(OptionsError::Name)
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("must be KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests;
