//! An edge node in one process and on one thread: `edge-sync` and `edged`, which otherwise run as
//! two. It is what a small machine installs: the binary `causeway-edge`, or `causeway edge`.
//!
//! The kubelet talks to the sync daemon as any other kubelet would, through its Unix socket, and
//! ends first: it still has things to say to the local API.

use causeway_daemon::tasks::{Shutdown, Stop, spawn};
use causeway_edge_sync::EdgeConfig;
use causeway_edged::EdgedConfig;

mod options;

pub use causeway_edge_sync::access;
pub use options::{Options, OptionsError};

/// What an edge node runs.
#[derive(Clone, Debug)]
pub struct Edge {
    /// The sync daemon.
    pub sync: EdgeConfig,
    /// The kubelet; `None` runs no pods.
    pub kubelet: Option<EdgedConfig>,
}

/// Why an edge node ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The sync daemon cannot go on.
    #[error("the edge cannot run")]
    Sync(#[source] causeway_edge_sync::RunError),
    /// A broken invariant of the sync daemon; the log has it.
    #[error("the sync daemon panicked")]
    Panicked,
    /// The kubelet cannot go on.
    #[error("the kubelet cannot run")]
    Kubelet(#[source] causeway_edged::RunError),
}

impl Edge {
    /// Runs both until `asked` says stop, or one of them cannot go on.
    ///
    /// # Errors
    /// [`RunError`]; the other one was stopped in order.
    pub async fn run(self, mut asked: Stop) -> Result<(), RunError> {
        let (serving, running) = (Shutdown::new(), Shutdown::new());
        let sync = causeway_edge_sync::run(self.sync, serving.clone());
        let mut sync = Box::pin(spawn("edge-sync", sync).join());
        let mut stop = running.token();
        let mut kubelet = Box::pin(async move {
            match self.kubelet {
                Some(config) => causeway_edged::run(config, stop).await,
                None => {
                    stop.wait().await;
                    Ok(())
                }
            }
        });
        let (mut sync_ended, mut kubelet_ended) = (None, None);
        tokio::select! {
            () = asked.wait() => {}
            result = &mut sync => sync_ended = Some(result),
            result = &mut kubelet => kubelet_ended = Some(result),
        }
        running.begin();
        let kubelet_ended = match kubelet_ended {
            Some(result) => result,
            // Without the local API it would only try in vain to reach it.
            None if sync_ended.is_some() => Ok(()),
            None => kubelet.await,
        };
        serving.begin();
        let sync_ended = match sync_ended {
            Some(result) => result,
            None => sync.await,
        };
        sync_ended
            .ok_or(RunError::Panicked)?
            .map_err(RunError::Sync)?;
        kubelet_ended.map_err(RunError::Kubelet)
    }
}
