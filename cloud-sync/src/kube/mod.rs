//! The cluster is a Kubernetes API server: what is read of it and what is written to it.
//!
//! ```text
//!   API server ──lists, watches──▶ kube ──Request::Mirror──▶ cluster machine ──▶ down streams
//!              ◀──────────────── write-back ◀── up streams
//! ```
//!
//! This is the only place that names the Kubernetes client crate.

pub mod autonomy;
pub mod client;
pub(crate) mod devices;
pub mod leases;
pub mod publish;
mod run;
pub mod source;
pub mod tokens;
pub mod writeback;
mod writers;

pub use client::{Access, ApiError, ApiServer, Call, Class, PatchFormat};
pub(crate) use run::{Kube, run};
pub use source::Health;
pub(crate) use source::SourceCollector;
