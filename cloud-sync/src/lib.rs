//! The cloud service of Causeway with its embedded control plane.
//!
//! ```text
//!  kubectl ──▶ kube-api ──┐                                 ┌──▶ View ──▶ get, list, watch
//!  edge ─────▶ hub ───────┤ requests    ┌─────────────────┐ │
//!  controllers ───────────┼────────────▶│ cluster machine │─┼──▶ answers
//!  write-back ────────────┘             │  + interest     │ │
//!                                       └─────────────────┘ └──▶ down heads ──▶ sessions
//!                                     one batch, one fsync a round
//! ```
//!
//! One writer thread runs the [`cluster`] machine: whatever changes the cluster is a request to it,
//! and a cluster record, the `down` records it causes and the cursors go to disk in one batch.

pub mod cluster;
pub mod config;
pub mod controllers;
pub mod devices;
pub mod hub;
pub mod interest;
pub mod kube;
pub mod metrics;
pub mod writeback;

#[cfg(test)]
mod rig;
mod run;
mod serve;
mod status;

pub use config::CloudConfig;
pub use run::{Cloud, RunError, run, start, start_on};
