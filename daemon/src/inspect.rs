//! The inspection API: what the two streams of a node hold, for people and tools.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use causeway_log::{Revision, Store};
use serde_json::Value;
use tokio::sync::watch;

/// What the inspection routes look at. Cheap to clone.
#[derive(Clone)]
pub struct Inspected {
    /// The store; a node is known when one of its streams is open in it.
    pub store: Arc<dyn Store>,
    /// Moves when the store became durable further; wakes those who follow a log.
    pub durable: watch::Receiver<Revision>,
    /// Gives the status document of the daemon.
    pub status: Arc<dyn Fn() -> Value + Send + Sync>,
}

impl fmt::Debug for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspected")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// The routes below `/causeway/v1`.
pub fn router(inspected: Inspected) -> Router {
    Router::new().with_state(inspected)
}
