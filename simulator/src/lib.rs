//! The simulator: a whole system in virtual time, and live fault scenarios on real processes.
//!
//! - [`world`]: one cloud and its edges, the real code on virtual links and disks; one seed rules.
//! - [`workload`], [`run`]: what users and faults do to a world, drawn from a seed as data; one run,
//!   many runs, and the shortest schedule that still fails.
//! - [`errors`]: no ERROR event goes unseen.
//! - [`rng`], [`trace`]: where its chances come from, and what happened.
//! - [`scenario`]: a user's manifests, what happens to the system, and what must be so.
//! - [`report`]: what such a run showed: for people, for CI, for programs.
//! - [`replay`]: a node's recorded history through the same folds and planner.
//! - [`proxy`]: a TCP link that can be cut (silently or with a reset), slowed, made to flap, and
//!   that counts the bytes it carries. `causeway up` puts one between each edge and the cloud;
//!   end-to-end tests and benchmarks steer it.
//! - [`live`]: scenarios on real daemons, sockets and disks.
//! - [`daemons`]: how several daemons are started on one machine, and what they leave running.
//! - [`process`]: real processes that can be killed at any instant.
//! - [`mqtt`]: devices of live runs and benchmarks, through an MQTT client of others.
//! - [`http`]: a small HTTP/1.1 client over TCP or a Unix socket, for probes and the command line.
//! - [`wait`]: waiting for a condition with a deadline.

pub mod daemons;
pub mod errors;
pub mod http;
pub mod live;
pub mod mqtt;
pub mod process;
pub mod proxy;
pub mod replay;
pub mod report;
pub mod rng;
pub mod run;
pub mod scenario;
pub mod trace;
pub mod wait;
pub mod workload;
pub mod world;
