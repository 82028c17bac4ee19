//! The loop.
use causeway_daemon::tasks::Stop;

use crate::config::EdgedConfig;

/// edged cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its directory cannot be used.
    #[error("cannot use the directory {}", path.display())]
    Directory {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Runs the pods of this node until `stop`.
///
/// # Errors
/// Only what no retry mends: the directory cannot be used.
pub async fn run(config: EdgedConfig, mut stop: Stop) -> Result<(), RunError> {
    drop(config);
    stop.wait().await;
    Ok(())
}
