//! The kit both daemons share: everything between the pure machines and the operating system that
//! is the same at the edge and in the cloud.
//!
//! - [`tasks`]: named, supervised tasks and the stop token.
//! - [`telemetry`], [`metrics`], [`admin`], [`inspect`]: what a daemon says about itself.
//! - [`config`]: TOML files, all mistakes at once.
//! - [`http`]: bounded HTTP/1.1 listeners over TCP and Unix sockets.
//! - [`ws`], [`session_driver`]: a replication session over a WebSocket.
//! - [`store_dir`]: the store of a daemon, opened, trimmed, watched.

pub mod admin;
pub mod config;
pub mod http;
pub mod inspect;
pub mod metrics;
pub mod session_driver;
pub mod store_dir;
pub mod tasks;
mod tcp;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod ws;
