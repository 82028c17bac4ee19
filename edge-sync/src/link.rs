//! The link to the cloud: dial, run a session, wait, again, for ever. Nothing here ever blocks the
//! edge from starting or serving.
//!
//! ```text
//!   Connecting ──dialed──▶ Handshake ──established──▶ Connected
//!       ▲  │ failed             │ ended                  │ ended
//!       │  ▼                    ▼                        ▼
//!       └─ Waiting ◀────────────┴────────────────────────┘   (backoff; a network change cuts it short)
//! ```

use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::session_driver::{Control, EndReason, SessionEnd, drive};
use causeway_daemon::tasks::Stop;
use causeway_daemon::telemetry::error_chain;
use causeway_daemon::ws::{DialError, SyncUrl, dial};
use causeway_log::limits::{BACKOFF_MIN, HANDSHAKE_TIMEOUT, KEEPALIVE_IDLE};
use causeway_log::replication::Backoff;
use causeway_log::replication::{CloseCode, Role, SessionConfig};
use causeway_log::wire::Encoder;
use causeway_log::{Epoch, NodeName};
use uuid::Uuid;

use crate::endpoint::EdgeEndpoint;
use crate::network::NetworkWatch;
use crate::status::{LinkBoard, LinkState};

/// What the link needs.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) node: NodeName,
    pub(crate) url: SyncUrl,
    pub(crate) endpoint: Arc<EdgeEndpoint>,
    pub(crate) board: Arc<LinkBoard>,
}

/// How an attempt to be connected ended, as far as the next one cares.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// In words; `None` when there is nothing to complain about.
    pub error: Option<String>,
    /// The other side is alive and wants us: the next pause is a short one.
    pub alive: bool,
    /// The other side asked for a pause.
    pub retry_after: Option<Duration>,
}

impl Link {
    /// Keeps the link until stopped.
    pub(crate) async fn run(self, mut stop: Stop) {
        let incarnation = Uuid::new_v4();
        let encoder = Arc::new(Encoder::default());
        let network = NetworkWatch::open()
            .inspect_err(|error| tracing::info!(%error, "network changes are not watched"))
            .ok();
        let mut backoff = Backoff::new(fastrand::u64(..));
        while !stop.is_set() {
            self.board.enter(LinkState::Connecting, None, None);
            let outcome = tokio::select! {
                () = stop.wait() => break,
                dialed = dial(&self.url, &self.node, HANDSHAKE_TIMEOUT) => match dialed {
                    Ok(transport) => {
                        self.board.enter(LinkState::Handshake, None, None);
                        let config = SessionConfig::new(
                            Role::Edge,
                            self.node.clone(),
                            incarnation,
                            Epoch::new(Uuid::new_v4()),
                        )
                        .with_encoder(Arc::clone(&encoder));
                        let control = Control::from(stop.clone());
                        let endpoint = Arc::clone(&self.endpoint);
                        ended(&Box::pin(drive(config, transport, endpoint, control)).await)
                    }
                    Err(error) => self.unreachable(&error),
                },
            };
            if outcome.alive {
                backoff.reset();
            }
            let pause = backoff.next(outcome.retry_after);
            self.board
                .enter(LinkState::Waiting, outcome.error, Some(pause));
            tokio::select! {
                () = stop.wait() => break,
                () = settled(network.as_ref()) => {
                    tracing::debug!("the network changed; dialing again");
                    backoff.reset();
                }
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.board.enter(LinkState::Off, None, None);
    }

    fn unreachable(&self, error: &DialError) -> Outcome {
        let words = error_chain(error).to_string();
        // Being offline is nothing special: one line when it begins, the status has the rest.
        let first = self.board.count_failure() == 1;
        let refused = matches!(error, DialError::Refused { .. });
        match (first, refused) {
            (true, true) => tracing::warn!(node = %self.node, error = words, "the cloud refuses"),
            (true, false) => {
                tracing::info!(node = %self.node, error = words, "the cloud is not reachable");
            }
            (false, _) => tracing::debug!(node = %self.node, error = words, "still no cloud"),
        }
        let retry_after = match error {
            DialError::Refused { retry_after, .. } => *retry_after,
            DialError::Connect { .. } | DialError::Timeout { .. } | DialError::Handshake { .. } => {
                None
            }
        };
        Outcome {
            error: Some(words),
            alive: false,
            retry_after,
        }
    }
}

/// Judges a session by its end.
#[must_use]
pub fn ended(end: &SessionEnd) -> Outcome {
    let (error, wanted, retry_after) = match &end.reason {
        EndReason::Lost(reason) => (reason.clone(), true, None),
        EndReason::Closed(close) => (
            format!("closed ({:?}): {}", close.code, close.reason),
            matches!(close.code, CloseCode::GoingAway | CloseCode::Timeout),
            close.retry_after,
        ),
    };
    // One that is refused as soon as it stands must not come back at once, for ever.
    let alive = end.established && (wanted || end.lasted >= KEEPALIVE_IDLE);
    Outcome {
        error: Some(error),
        alive,
        retry_after,
    }
}

/// Returns a moment after the network changed: changes come in bursts, and on some machines often.
async fn settled(network: Option<&NetworkWatch>) {
    if let Some(network) = network
        && network.changed().await.is_ok()
    {
        return tokio::time::sleep(BACKOFF_MIN).await;
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests;
