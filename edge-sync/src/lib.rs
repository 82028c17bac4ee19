//! The edge daemon: the link to the cloud, the store, the projections and the local API.
//!
//! It starts from its disk alone. The cloud is somebody it talks to when it can.

pub mod config;
mod run;

pub use config::EdgeConfig;
pub use run::{RunError, run};
