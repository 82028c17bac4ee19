//! Puts the parts together, and takes them apart again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use causeway_daemon::admin::{self, Readiness};
use causeway_daemon::http::{HttpLimits, serve_tcp};
use causeway_daemon::inspect::{self, Inspected};
use causeway_daemon::metrics::Metrics;
use causeway_daemon::store_dir::{self, StoreDirError};
use causeway_daemon::tasks::{self, Shutdown, Task};
use causeway_kube_api::source::system_clock;
use causeway_kube_api::{Clock, ServerConfig, View, router};
use causeway_log::store::fjall::FjallConfig;
use causeway_log::wire::Encoder;
use causeway_log::writer::{Writer, WriterPanicked};
use causeway_log::{Revision, Store};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cluster::{Cluster, ClusterMachine, Mirror, Request, Requests, StartError, is_complete};
use crate::config::{self, Bounds, CloudConfig, Control, History, Kubernetes, Plane};
use crate::controllers::{self, Controllers};
use crate::devices::{self, Changed, DeviceStats, Embedded, Publisher, Target};
use crate::hub::Hub;
use crate::kube::writeback::WriteStats;
use crate::kube::{self, Access, ApiServer, Health, Kube, SourceCollector};
use crate::metrics::{CloudCollector, Totals, register};
use crate::serve::{Starting, Sync, sessions, sync_router};
use crate::status::Status;
use crate::writeback::{self, Outcomes};

/// The parts get this long to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Acknowledgements wait this long at most for a batch to travel with.
const ACKS_INTERVAL: Duration = Duration::from_secs(5);
/// API connections beyond those of watches.
const CONNECTIONS_SPARE: usize = 1024;
/// Connections to the sync endpoint that are not upgraded yet; sessions are counted by the hub.
const HANDSHAKES_MAX: usize = 1024;
/// What the encoder remembers of bodies it encoded, for the next node that needs them.
const ENCODER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The service cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No store.
    #[error("cannot open the store")]
    Store(#[from] StoreDirError),
    /// The store is there but the cluster in it cannot be started.
    #[error("cannot start the cluster")]
    Start(#[from] StartError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The writer ended by itself.
    #[error("the writer of the store failed")]
    Writer(#[source] WriterPanicked),
}

/// A running cloud service.
#[derive(Debug)]
pub struct Cloud {
    api_address: SocketAddr,
    sync_address: SocketAddr,
    shutdown: Shutdown,
    writer: Requests,
    thread: Writer,
    tasks: Vec<Task>,
}

impl Cloud {
    /// Where the API listens.
    #[must_use]
    pub const fn api_address(&self) -> SocketAddr {
        self.api_address
    }

    /// Where edge nodes dial in.
    #[must_use]
    pub const fn sync_address(&self) -> SocketAddr {
        self.sync_address
    }

    /// Returns when the service was asked to stop, or failed, and has stopped.
    ///
    /// # Errors
    /// [`RunError::Writer`]
    pub async fn finished(self) -> Result<(), RunError> {
        let Self {
            shutdown,
            writer,
            thread,
            tasks,
            ..
        } = self;
        let mut stop = shutdown.token();
        tokio::select! {
            () = stop.wait() => {}
            () = writer.closed() => tracing::error!("the writer ended; stopping"),
        }
        shutdown.begin();
        for task in tasks {
            task.join_within(DRAIN_TIMEOUT).await;
        }
        drop(writer);
        // All handles are gone, so the writer ends after what it is doing.
        let joined = tokio::task::spawn_blocking(move || thread.join());
        match tokio::time::timeout(DRAIN_TIMEOUT, joined).await {
            Ok(Ok(joined)) => joined.map_err(RunError::Writer),
            Ok(Err(_)) | Err(_) => {
                tracing::warn!("the writer did not end in time");
                Ok(())
            }
        }
    }
}

/// Runs the service until `shutdown` begins.
///
/// # Errors
/// [`RunError`], before anything is served, or when the writer fails.
pub async fn run(config: CloudConfig, shutdown: Shutdown) -> Result<(), RunError> {
    start(config, shutdown).await?.finished().await
}

/// Starts the service: returns when it listens.
///
/// # Errors
/// [`RunError`]; nothing runs then.
pub async fn start(config: CloudConfig, shutdown: Shutdown) -> Result<Cloud, RunError> {
    let store = store_dir::open(&config.dir, FjallConfig::cloud())?;
    start_on(store, config, shutdown).await
}

/// [`start`] on a store that is open already.
///
/// # Errors
/// [`RunError`]
pub async fn start_on(
    store: Arc<dyn Store>,
    config: CloudConfig,
    shutdown: Shutdown,
) -> Result<Cloud, RunError> {
    let api = bind(config.api_listen).await?;
    let sync = bind(config.sync_listen).await?;
    let (api_address, sync_address) = (api.1, sync.1);
    let (parts, thread) = Parts::start(store, &config)?;
    let tasks = parts.serve(api.0, sync.0, &config, &shutdown);
    tracing::info!(
        api = %api_address,
        sync = %sync_address,
        dir = %config.dir.display(),
        "cloud is up"
    );
    Ok(Cloud {
        api_address,
        sync_address,
        shutdown,
        writer: parts.writer,
        thread,
        tasks,
    })
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), RunError> {
    let failed = |source| RunError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// What everything else is made of.
struct Parts {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    hub: Arc<Hub>,
    outcomes: Arc<Outcomes>,
    writes: Arc<WriteStats>,
    view: View,
    durable: watch::Receiver<Revision>,
    changed_devices: Arc<Changed>,
    device_stats: Arc<DeviceStats>,
    writer: Requests,
    /// What the machine tells of the Kubernetes cluster that it mirrors.
    mirror: Option<Arc<Mirror>>,
    /// How following that cluster is doing.
    health: Arc<Health>,
}

impl Parts {
    fn start(store: Arc<dyn Store>, config: &CloudConfig) -> Result<(Self, Writer), RunError> {
        let clock = system_clock();
        let hub = Hub::new(config.bounds.sessions_max);
        let outcomes = Arc::new(Outcomes::default());
        let start = match config.control.plane {
            Plane::Embedded => ClusterMachine::start,
            Plane::Kubernetes => ClusterMachine::start_mirror,
        };
        let machine = start(
            Arc::clone(&store),
            Arc::clone(&clock),
            Arc::clone(&hub),
            Arc::clone(&outcomes),
        )?;
        let (view, durable, depths) = (machine.view(), machine.durable(), machine.depths());
        let (mirror, changed_devices) = (machine.mirror(), machine.changed_devices());
        let (thread, writer) = Writer::spawn("cloud-writer", Arc::clone(&store), machine);
        let writer = Requests::new(writer, depths);
        Ok((
            Self {
                store,
                clock,
                hub,
                outcomes,
                writes: Arc::default(),
                view,
                durable,
                changed_devices,
                device_stats: Arc::default(),
                writer,
                mirror,
                health: Arc::default(),
            },
            thread,
        ))
    }

    fn serve(
        &self,
        api: TcpListener,
        sync: TcpListener,
        config: &CloudConfig,
        shutdown: &Shutdown,
    ) -> Vec<Task> {
        let CloudConfig {
            dir: _,
            api_listen: _,
            sync_listen: _,
            bounds,
            history,
            control,
            kubernetes,
            devices,
            log: _,
        } = config;
        let totals = Arc::new(Totals::default());
        let (starting, sessions_task) = sessions(bounds.sessions_max, shutdown.token());
        let sync_routes = sync_router(self.sync(starting, &totals, shutdown));
        let admin = self.admin_routes(&totals, config);
        let (api_routes, plane) = match &self.mirror {
            None => self.embedded(admin, bounds, control, devices, shutdown),
            Some(mirror) => (
                admin,
                self.kubernetes(mirror, kubernetes, devices, shutdown),
            ),
        };
        let api_limits = HttpLimits {
            connections_max: bounds.watchers_max + CONNECTIONS_SPARE,
            ..HttpLimits::default()
        };
        let sync_limits = HttpLimits {
            connections_max: HANDSHAKES_MAX,
            ..HttpLimits::default()
        };
        let mut tasks = vec![
            serve_tcp(sync, sync_routes, sync_limits, shutdown.token()),
            serve_tcp(api, api_routes, api_limits, shutdown.token()),
            sessions_task,
        ];
        tasks.extend(plane);
        tasks.extend([
            tasks::spawn("acks", flush_acks(self.writer.clone(), shutdown.token())),
            store_dir::maintain(Arc::clone(&self.store), window(history), shutdown.token()),
        ]);
        tasks
    }

    /// The control plane in this process: its API, its controllers, and the write-back to it.
    fn embedded(
        &self,
        admin: Router,
        bounds: &Bounds,
        control: &Control,
        publishing: &config::Devices,
        shutdown: &Shutdown,
    ) -> (Router, Vec<Task>) {
        let cluster = Arc::new(Cluster::new(self.view.clone(), self.writer.clone()));
        let server = ServerConfig {
            body_bytes_max: bounds.body_bytes_max,
            watchers_max: bounds.watchers_max,
            clock: Arc::clone(&self.clock),
            warn_uncontrolled: true,
            ..ServerConfig::default()
        };
        let routes = admin.fallback_service(router(Arc::clone(&cluster), server));
        let statuses = Embedded::new(Arc::clone(&cluster), Arc::clone(&self.clock));
        let devices = self.devices(publishing, Arc::new(statuses), shutdown);
        let controllers = Controllers {
            cluster,
            hub: Arc::clone(&self.hub),
            store: Arc::clone(&self.store),
            writer: self.writer.clone(),
            clock: Arc::clone(&self.clock),
            control: control.clone(),
        };
        let writeback = writeback::run(
            Arc::clone(&self.hub),
            Arc::clone(&self.store),
            self.writer.clone(),
            shutdown.token(),
        );
        let mut tasks = vec![
            tasks::spawn(
                "controllers",
                controllers::run(controllers, shutdown.token()),
            ),
            tasks::spawn("write-back", writeback),
        ];
        tasks.extend(devices);
        (routes, tasks)
    }

    /// What connects this to a Kubernetes cluster.
    fn kubernetes(
        &self,
        mirror: &Arc<Mirror>,
        settings: &Kubernetes,
        publishing: &config::Devices,
        shutdown: &Shutdown,
    ) -> Vec<Task> {
        let Kubernetes {
            kubeconfig,
            context,
            cluster: pinned,
            lease_renewal,
        } = settings.clone();
        let kube = Kube {
            api: ApiServer::new(Access {
                kubeconfig,
                context,
            }),
            pinned,
            lease_renewal,
            health: Arc::clone(&self.health),
            mirror: Arc::clone(mirror),
            view: self.view.clone(),
            store: Arc::clone(&self.store),
            hub: Arc::clone(&self.hub),
            writer: self.writer.clone(),
            clock: Arc::clone(&self.clock),
            writes: Arc::clone(&self.writes),
        };
        let statuses = Arc::new(kube.statuses());
        let mut tasks = kube::run(&kube, shutdown);
        tasks.extend(self.devices(publishing, statuses, shutdown));
        tasks
    }

    /// What shows the cluster what devices report, and what is wrong with them.
    fn devices(
        &self,
        settings: &config::Devices,
        target: Arc<dyn Target>,
        shutdown: &Shutdown,
    ) -> [Task; 2] {
        let publisher = Publisher {
            view: self.view.clone(),
            store: Arc::clone(&self.store),
            changed: Arc::clone(&self.changed_devices),
            settings: settings.clone(),
            stats: Arc::clone(&self.device_stats),
            target: Arc::clone(&target),
        };
        let faults = devices::watch(self.view.clone(), target, shutdown.token());
        [
            tasks::spawn("devices", devices::run(publisher, shutdown.token())),
            tasks::spawn("device-faults", faults),
        ]
    }

    fn sync(&self, starting: Starting, totals: &Arc<Totals>, shutdown: &Shutdown) -> Sync {
        Sync {
            hub: Arc::clone(&self.hub),
            store: Arc::clone(&self.store),
            writer: self.writer.clone(),
            clock: Arc::clone(&self.clock),
            totals: Arc::clone(totals),
            encoder: Arc::new(Encoder::new(ENCODER_BYTES_MAX)),
            incarnation: self.clock.uid(),
            mirror: self.mirror.as_ref().map(|_| self.view.clone()),
            starting,
            stop: shutdown.token(),
        }
    }

    /// Health, metrics and inspection.
    fn admin_routes(&self, totals: &Totals, config: &CloudConfig) -> Router {
        let metrics = Metrics::new();
        let collector = CloudCollector {
            store: Arc::clone(&self.store),
            hub: Arc::clone(&self.hub),
            outcomes: Arc::clone(&self.outcomes),
            depths: Arc::clone(self.writer.depths()),
            clock: Arc::clone(&self.clock),
            nodes_max: config.bounds.metric_nodes_max,
        };
        register(&metrics, totals, collector);
        metrics.register(|registry| self.device_stats.register(registry));
        if let Some(mirror) = &self.mirror {
            let collector = SourceCollector {
                health: Arc::clone(&self.health),
                mirror: Arc::clone(mirror),
            };
            metrics.register(|registry| {
                self.writes.register(registry);
                registry.register_collector(Box::new(collector));
            });
        }
        let status = Status {
            store: Arc::clone(&self.store),
            hub: Arc::clone(&self.hub),
            outcomes: Arc::clone(&self.outcomes),
            clock: Arc::clone(&self.clock),
            kubernetes: (self.mirror.as_ref())
                .map(|mirror| (Arc::clone(&self.health), Arc::clone(mirror))),
        };
        let inspected = Inspected {
            store: Arc::clone(&self.store),
            durable: self.durable.clone(),
            status: Arc::new(move || status.document()),
        };
        admin::router(metrics, self.readiness()).merge(inspect::router(inspected))
    }

    /// Nodes can be served. A cluster that is out of reach does not change that once it was seen
    /// whole; whether it is, the status document and the metrics say.
    fn readiness(&self) -> Readiness {
        let (writer, store) = (self.writer.clone(), Arc::clone(&self.store));
        let mirrored = self.mirror.as_ref();
        let mirrored = mirrored.map(|_| (self.view.clone(), Arc::clone(&self.health)));
        let health = Arc::clone(&self.health);
        Readiness::new(move || {
            if writer.is_closed() {
                return Err("the writer has ended".to_owned());
            }
            if let Some((view, health)) = &mirrored
                && !is_complete(view)
            {
                return Err(format!(
                    "the cluster was never seen whole: {}",
                    health.in_words()
                ));
            }
            store_dir::takes_writes(&*store)
        })
        .with_remark(move || health.trouble().map(|_| health.in_words()))
    }
}

const fn window(history: &History) -> store_dir::History {
    let History {
        keep_revisions,
        keep_age,
        bytes_max,
        facts_bytes_max,
    } = history;
    store_dir::History {
        revisions: *keep_revisions,
        age: *keep_age,
        bytes_max: *bytes_max,
        facts_bytes_max: *facts_bytes_max,
        ..store_dir::History::CLOUD
    }
}

/// Acknowledgements that found no batch to travel with are written now and then.
async fn flush_acks(writer: Requests, mut stop: tasks::Stop) {
    loop {
        tokio::select! {
            biased;
            () = stop.wait() => return,
            () = tokio::time::sleep(ACKS_INTERVAL) => {}
        }
        if writer.send(Request::FlushAcks).await.is_err() {
            return;
        }
    }
}
