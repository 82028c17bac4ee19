//! Everything that writes to the API server.

use causeway_daemon::tasks::{self, Shutdown, Task};

use super::writeback::{self, Parts};
use super::{autonomy, leases, publish, tokens};

/// Starts all of it.
pub(crate) fn spawn(parts: &Parts, shutdown: &Shutdown) -> Vec<Task> {
    let (parts, stop) = (|| parts.clone(), || shutdown.token());
    vec![
        tasks::spawn("kube-write-back", writeback::run(parts(), stop())),
        tasks::spawn("kube-leases", leases::run(parts(), stop())),
        tasks::spawn("kube-tokens", tokens::run(parts(), stop())),
        tasks::spawn("kube-autonomy", autonomy::run(parts(), stop())),
        tasks::spawn("kube-publish", publish::run(parts(), stop())),
    ]
}
