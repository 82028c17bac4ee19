//! Puts the parts together, and takes them apart again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::http::{HttpLimits, bind_unix, serve_tcp, serve_unix};
use causeway_daemon::inspect::Inspected;
use causeway_daemon::metrics::{Metrics, StoreCollector, TrafficTotals};
use causeway_daemon::store_dir::{self, StoreDirError};
use causeway_daemon::tasks::{self, Shutdown, Task};
use causeway_daemon::ws::SyncUrl;
use causeway_kube_api::source::system_clock;
use causeway_kube_api::{ServerConfig, View};
use causeway_log::error::ReadError;
use causeway_log::store::fjall::FjallConfig;
use causeway_log::writer::{Writer, WriterHandle, WriterPanicked};
use causeway_log::{Epoch, NodeName, Offset, Store, StreamId};
use causeway_projections::rebuild::rebuild;
use causeway_projections::twin::rebuild_twins;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use uuid::Uuid;

use crate::agent::{self, Pulse};
use crate::api::access::{ApiToken, TokenError, guarded, write_kubeconfig};
use crate::api::{EdgeSource, router};
use crate::bus;
use crate::config::{ApiAuth, EdgeConfig};
#[cfg(feature = "dmi")]
use crate::dmi::Dmi;
use crate::endpoint::EdgeEndpoint;
use crate::first_sync::FirstSync;
use crate::link::Link;
use crate::machine::{BeginError, EdgeMachine, Request, begin};
use crate::registration::Registration;
use crate::status::{EdgeStatus, LinkBoard};
use crate::twins::{TwinsHandle, TwinsView};

/// The parts get this long to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The daemon cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No store.
    #[error("cannot open the store")]
    Store(#[from] StoreDirError),
    /// The store is there but cannot be read.
    #[error("cannot read the store")]
    Read(#[from] ReadError),
    /// The log of this node cannot begin.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// A listener cannot be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address or socket path.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The local API has no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The writer ended by itself.
    #[error("the writer of the store failed")]
    Writer(#[source] WriterPanicked),
}

/// Runs the edge until `shutdown` begins. Starts and serves from the disk alone; the cloud may be
/// unreachable for as long as it likes.
///
/// # Errors
/// [`RunError`], before anything is served, or when the writer fails.
pub async fn run(config: EdgeConfig, shutdown: Shutdown) -> Result<(), RunError> {
    let store = store_dir::open(&config.dir, FjallConfig::edge())?;
    run_on(store, config, shutdown).await
}

/// [`run`] on a store that is open already.
///
/// # Errors
/// [`RunError`]
pub async fn run_on(
    store: Arc<dyn Store>,
    config: EdgeConfig,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let listeners = Listeners::bind(&config).await?;
    let (edge, writer) = Edge::start(store, &config)?;
    let tasks = edge.serve(listeners, &config, &shutdown);
    tracing::info!(
        node = %config.node,
        api = config.api.listen.map(|address| address.to_string()),
        socket = %config.api.socket.display(),
        cloud = config.cloud.as_ref().map(ToString::to_string),
        "edge is up"
    );
    let mut stop = shutdown.token();
    tokio::select! {
        () = stop.wait() => {}
        () = edge.writer.closed() => tracing::error!("the writer ended; stopping"),
    }
    shutdown.begin();
    for task in tasks {
        task.join_within(DRAIN_TIMEOUT).await;
    }
    drop(edge);
    join(writer).await
}

struct Listeners {
    tcp: Option<Tcp>,
    unix: UnixListener,
    #[cfg(feature = "dmi")]
    dmi: Option<Dmi>,
}

/// The local API on TCP.
struct Tcp {
    listener: TcpListener,
    /// Who may use it; `None`: everybody.
    token: Option<ApiToken>,
}

impl Listeners {
    async fn bind(config: &EdgeConfig) -> Result<Self, RunError> {
        let api = &config.api;
        let tcp = match api.listen {
            Some(address) => Some(Tcp::bind(address, config).await?),
            None => None,
        };
        let unix = bind_unix(&api.socket).map_err(|source| RunError::Listen {
            address: api.socket.display().to_string(),
            source,
        })?;
        #[cfg(feature = "dmi")]
        let dmi = Dmi::bind(&config.dmi).map_err(|source| {
            let socket = config.dmi.socket.as_ref();
            RunError::Listen {
                address: socket.map_or_else(String::new, |path| path.display().to_string()),
                source,
            }
        })?;
        Ok(Self {
            tcp,
            unix,
            #[cfg(feature = "dmi")]
            dmi,
        })
    }
}

impl Tcp {
    async fn bind(address: SocketAddr, config: &EdgeConfig) -> Result<Self, RunError> {
        let refused = |source| RunError::Listen {
            address: address.to_string(),
            source,
        };
        let token = match config.api.auth {
            ApiAuth::Token => Some(ApiToken::of(&config.dir)?),
            ApiAuth::Open => None,
        };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let bound = listener.local_addr().map_err(refused)?;
        let name = config.node.as_str();
        if let Err(error) = write_kubeconfig(&config.dir, name, bound, token.as_ref()) {
            // Only who wants to read it misses it.
            tracing::warn!(%error, "the kubeconfig of the local API could not be written");
        }
        if token.is_none() {
            tracing::warn!(address = %bound, "whoever reaches the local API may write");
        } else if !bound.ip().is_loopback() {
            tracing::warn!(address = %bound, "the local API is plain HTTP: others can read along");
        }
        Ok(Self { listener, token })
    }
}

/// The running parts.
struct Edge {
    node: NodeName,
    store: Arc<dyn Store>,
    view: View,
    up_head: watch::Receiver<Offset>,
    first_sync: FirstSync,
    writer: WriterHandle<Request>,
    /// For who speaks with devices.
    twins: TwinsHandle,
    board: Arc<LinkBoard>,
}

impl Edge {
    /// Rebuilds what is served from the store, and starts the writer.
    fn start(store: Arc<dyn Store>, config: &EdgeConfig) -> Result<(Self, Writer), RunError> {
        let node = config.node.clone();
        let head = begin(&*store, &node, Epoch::new(Uuid::new_v4()))?;
        let streams = [StreamId::down(node.clone()), StreamId::up(node.clone())];
        let view = View::new(rebuild(&*store, &streams)?);
        let first_sync = FirstSync::read(&*store, &node)?;
        let (head_sender, up_head) = watch::channel(head);
        let machine = EdgeMachine::new(
            node.clone(),
            Arc::clone(&store),
            view.clone(),
            head_sender,
            first_sync.clone(),
            system_clock(),
        );
        let twins = TwinsView::new(rebuild_twins(&*store, &node)?);
        let machine = machine.with_twins(twins.clone(), config.twins)?;
        let (thread, writer) = Writer::spawn("edge-writer", Arc::clone(&store), machine);
        let twins = TwinsHandle::new(twins, view.clone(), writer.clone());
        let board = Arc::new(LinkBoard::new(
            config.cloud.as_ref().map(ToString::to_string),
        ));
        Ok((
            Self {
                node,
                store,
                view,
                up_head,
                first_sync,
                writer,
                twins,
                board,
            },
            thread,
        ))
    }

    fn serve(&self, listeners: Listeners, config: &EdgeConfig, shutdown: &Shutdown) -> Vec<Task> {
        let EdgeConfig {
            node: _,
            dir,
            cloud,
            api,
            history,
            twins: _,
            mqtt,
            dmi: _,
            log: _,
        } = config;
        let status = EdgeStatus {
            node: self.node.clone(),
            dir: dir.clone(),
            store: Arc::clone(&self.store),
            board: Arc::clone(&self.board),
        };
        let (metrics, traffic) = (Metrics::new(), Arc::new(TrafficTotals::new()));
        metrics.register(|registry| {
            registry.register_collector(Box::new(Arc::clone(&traffic)));
            registry.register_collector(StoreCollector::new(Arc::clone(&self.store)));
            registry.register_collector(Box::new(status.clone()));
        });
        let inspected = Inspected {
            store: Arc::clone(&self.store),
            durable: self.view.subscribe(),
            status: Arc::new(move || status.show()),
        };
        let source = EdgeSource {
            node: self.node.clone(),
            view: self.view.clone(),
            writer: self.writer.clone(),
            first_sync: cloud.is_some().then(|| self.first_sync.clone()),
            pulse: Pulse::default(),
        };
        let registrar = source.clone();
        let server = ServerConfig {
            watchers_max: api.watchers_max,
            ..ServerConfig::default()
        };
        let bus = bus::start(mqtt, &self.node, &self.twins, &metrics, shutdown);
        let router = router(source, server, inspected, metrics.clone());
        let limits = HttpLimits {
            connections_max: api.connections_max,
            ..HttpLimits::default()
        };
        let mut tasks = vec![
            store_dir::maintain(Arc::clone(&self.store), *history, shutdown.token()),
            serve_unix(listeners.unix, router.clone(), limits, shutdown.token()),
        ];
        if let Some(Tcp { listener, token }) = listeners.tcp {
            let router = match token {
                Some(token) => guarded(router, token),
                None => router,
            };
            tasks.push(serve_tcp(listener, router, limits, shutdown.token()));
        }
        if let Some(url) = cloud {
            tasks.extend(self.link(url, registrar, traffic, shutdown));
        }
        #[cfg(feature = "dmi")]
        if let Some(dmi) = listeners.dmi {
            tasks.extend(dmi.serve(self.twins.clone(), dir, &metrics, shutdown));
        }
        tasks.push(self.twins.start(&metrics, shutdown.token()));
        tasks.extend(bus);
        tasks
    }

    /// The link, who joins again over it, and who tells it that the agent is silent.
    fn link(
        &self,
        url: &SyncUrl,
        source: EdgeSource,
        traffic: Arc<TrafficTotals>,
        shutdown: &Shutdown,
    ) -> [Task; 3] {
        let agent = agent::watch(source.clone(), shutdown.token());
        let (caught_up, session) = watch::channel(false);
        let registration = Registration { source, session };
        let endpoint = EdgeEndpoint {
            store: Arc::clone(&self.store),
            writer: self.writer.clone(),
            up_head: self.up_head.clone(),
            board: Arc::clone(&self.board),
            traffic,
            caught_up,
        };
        let link = Link {
            node: self.node.clone(),
            url: url.clone(),
            endpoint: Arc::new(endpoint),
            board: Arc::clone(&self.board),
        };
        [
            tasks::spawn("agent", agent),
            tasks::spawn("registration", registration.run(shutdown.token())),
            tasks::spawn("link", link.run(shutdown.token())),
        ]
    }
}

/// All handles are gone, so the writer ends after what it is doing.
async fn join(writer: Writer) -> Result<(), RunError> {
    let joined = tokio::task::spawn_blocking(move || writer.join());
    match tokio::time::timeout(DRAIN_TIMEOUT, joined).await {
        Ok(Ok(joined)) => joined.map_err(RunError::Writer),
        Ok(Err(_)) | Err(_) => {
            tracing::warn!("the writer did not end in time");
            Ok(())
        }
    }
}
