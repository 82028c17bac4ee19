//! Everything that runs on behalf of a Kubernetes cluster.

use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::tasks::{self, Shutdown, Task};
use causeway_kube_api::{Clock, View};
use causeway_log::Store;
use uuid::Uuid;

use super::ApiServer;
use super::devices::Applied;
use super::source::{Health, Leavers, Source, follow};
use super::writeback::{Parts, WriteStats};
use crate::cluster::{Mirror, Requests};
use crate::hub::Hub;

/// What it works with.
#[derive(Clone, Debug)]
pub(crate) struct Kube {
    /// The cluster.
    pub(crate) api: ApiServer,
    /// The uid of the one cluster that may be followed.
    pub(crate) pinned: Option<Uuid>,
    /// How following it is doing.
    pub(crate) health: Arc<Health>,
    /// What the machine tells of the mirror.
    pub(crate) mirror: Arc<Mirror>,
    /// The mirror as it is durable.
    pub(crate) view: View,
    /// What nodes sent and were sent.
    pub(crate) store: Arc<dyn Store>,
    /// Who is here.
    pub(crate) hub: Arc<Hub>,
    /// The machine.
    pub(crate) writer: Requests,
    /// Times in objects.
    pub(crate) clock: Arc<dyn Clock>,
    /// How often leases of nodes are renewed.
    pub(crate) lease_renewal: Duration,
    /// Counters of what is written to the API server.
    pub(crate) writes: Arc<WriteStats>,
}

impl Kube {
    /// Where DeviceStatuses are written.
    pub(crate) fn statuses(&self) -> Applied {
        let api = Arc::new(self.api.clone());
        Applied::new(api, Arc::clone(&self.writes), Arc::clone(&self.clock))
    }
}

/// Starts all of it.
pub(crate) fn run(kube: &Kube, shutdown: &Shutdown) -> Vec<Task> {
    let parts = Parts {
        api: Arc::new(kube.api.clone()),
        view: kube.view.clone(),
        store: Arc::clone(&kube.store),
        hub: Arc::clone(&kube.hub),
        requests: kube.writer.clone(),
        clock: Arc::clone(&kube.clock),
        lease_renewal: kube.lease_renewal,
        stats: Arc::clone(&kube.writes),
    };
    let source = Source {
        api: kube.api.clone(),
        pinned: kube.pinned,
        mirror: Arc::clone(&kube.mirror),
        view: kube.view.clone(),
        writer: kube.writer.clone(),
        clock: Arc::clone(&kube.clock),
        health: Arc::clone(&kube.health),
    };
    let leavers = Leavers {
        view: kube.view.clone(),
        store: Arc::clone(&kube.store),
        hub: Arc::clone(&kube.hub),
        writer: kube.writer.clone(),
    };
    let mut tasks = vec![
        tasks::spawn("mirror", follow(source, shutdown.token())),
        tasks::spawn("mirror-leavers", leavers.run(shutdown.token())),
    ];
    tasks.extend(super::writers::spawn(&parts, shutdown));
    tasks
}
