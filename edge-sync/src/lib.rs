//! The edge daemon: the link to the cloud, the store, the projections and the local API.
//!
//! It starts from its disk alone. The cloud is somebody it talks to when it can.
//!
//! ```text
//!             ┌───────────┐  SessionWrite  ┌─────────┐  batch  ┌───────┐
//!   cloud ◀──▶│ link      │───────────────▶│ machine │────────▶│ store │
//!             └───────────┘                │ (writer │         └───────┘
//!             ┌───────────┐  Write         │ thread) │──▶ view ──▶ local API, watches
//!   apps  ◀──▶│ local API │───────────────▶└─────────┘──▶ own head ──▶ link
//!             └───────────┘
//! ```

pub mod config;
pub mod first_sync;
#[cfg(feature = "testing")]
pub mod fuzz;
pub mod machine;
pub mod twins;

mod agent;
mod api;
mod bus;
#[cfg(feature = "dmi")]
mod dmi;
mod endpoint;
mod link;
mod network;
mod registration;
mod run;
mod status;

pub use api::access;
pub use config::EdgeConfig;
pub use link::{Outcome, ended};
pub use run::{RunError, run, run_on};
