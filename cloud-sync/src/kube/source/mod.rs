//! The cluster as the source: lists and watches of an API server, taken into the mirror.
//!
//! ```text
//!   watcher (one a kind) ─┐ asks what its follower says
//!   fetcher ──────────────┼──▶ feed ──▶ Request::Mirror ──▶ machine ──▶ what is wanted ──▶ fetcher
//!   coordinator ──────────┘ custom kinds, and when the mirror is complete
//! ```
//!
//! What is kept is decided by the machine: everything that is seen passes by it, and what no node
//! needs is dropped. Nothing is kept here but how far each kind was followed.

mod asker;
mod coordinator;
mod feed;
mod fetcher;
pub mod follower;
mod head;
pub mod health;
mod identity;
pub mod kinds;
mod leavers;
mod lines;
mod metrics;
mod needs;
mod watcher;

pub(crate) use coordinator::{Source, follow};
pub use health::Health;
pub(crate) use leavers::Leavers;
pub(crate) use metrics::SourceCollector;

/// Time that never goes back, for what is measured here.
#[expect(
    clippy::disallowed_methods,
    reason = "this is a shell: it talks to a server"
)]
pub(super) fn monotonic() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Between 0 and 1.
fn luck() -> f64 {
    fastrand::f64()
}
