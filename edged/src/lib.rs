//! The light kubelet: makes the pods bound to this node run, and says how they are.
//!
//! It talks only to the edge's local API (list, watch, status writes), so it works the same whether
//! the cloud can be reached or not. The road of one change:
//!
//! ```text
//! local API ── watch ──► desired ─┐
//!                                 ├─► plan (pure) ──► actions ──► execute ──► runtime
//! runtime ──── list ───► observed ┘                                            │
//!                            ▲──────────────── changed ────────────────────────┘
//!                            └─► status (pure) ── patch, only when it differs ──► local API
//! ```
//!
//! Nothing that decides keeps time, reads files or awaits: [`plan`] and [`status`] are functions of
//! what is desired and observed. Whatever was running before this process started is found again
//! through the runtime and adopted, so edged may be stopped, killed and replaced at any moment.

pub mod api;
pub mod args;
mod blocking;
pub mod config;
pub mod events;
pub mod execute;
mod hash;
pub mod plan;
pub mod pod;
pub mod probes;
mod run;
pub mod runtime;
pub mod shim;
pub mod status;
pub mod volumes;

pub use config::EdgedConfig;
pub use run::{RunError, run, run_with};
