//! A whole mapper: its registration, its door, its devices.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use causeway_dmi::messages::{MapperInfo, MapperRegisterRequest};
use causeway_dmi::{Backoff, DialError, Door, ManagerClient, serve_mapper};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::device::Shared;
use crate::registry::{Command, Desk, Registry};
use crate::{NODE_TIMEOUT, Protocol};

/// Commands of the node that wait for the owner of the devices.
const COMMANDS_MAX: usize = 64;

/// Where a mapper is, and where its node is.
#[derive(Clone, Debug)]
pub struct Config {
    /// The mapper's name: with the protocol its identity on the node.
    pub name: String,
    /// The socket to listen on. A socket that a mapper left behind is replaced.
    pub socket: PathBuf,
    /// The node's DMI socket.
    pub node: PathBuf,
}

/// A mapper cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its socket cannot be made.
    #[error("cannot listen on {}", path.display())]
    Listen {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The node cannot be named.
    #[error(transparent)]
    Node(#[from] DialError),
    /// Serving broke.
    #[error("the socket failed")]
    Serve(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Serves the devices of `protocol` that the node names, until `stop` is ready.
///
/// A node that is not there is waited for; one that went away and came back is told again who
/// serves its devices.
///
/// # Errors
/// [`RunError`] when the mapper cannot listen.
pub async fn run<P: Protocol>(
    protocol: P,
    config: Config,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let door = Door::open(&config.socket).map_err(|source| RunError::Listen {
        path: config.socket.clone(),
        source,
    })?;
    let mapper = MapperInfo {
        name: config.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api_version: "v1beta1".to_owned(),
        protocol: protocol.name().to_owned(),
        address: config.socket.as_os_str().as_encoded_bytes().to_vec(),
        state: "ok".to_owned(),
    };
    let shared = Arc::new(Shared {
        protocol,
        node: ManagerClient::new(&config.node, NODE_TIMEOUT)?,
        began: Instant::now(),
    });
    let (sender, commands) = mpsc::channel(COMMANDS_MAX);
    let desk = Desk(sender);
    let devices = Registry::new(Arc::clone(&shared)).run(commands);
    let registration = register(&shared, &mapper, desk.clone());
    info!(
        mapper = config.name,
        protocol = mapper.protocol,
        "mapper started"
    );
    tokio::select! {
        served = serve_mapper(door, Arc::new(desk), stop) => {
            served.map_err(|error| RunError::Serve(error.into()))
        }
        () = devices => unreachable!("the desks outlive the devices"),
        () = registration => unreachable!("registration goes on for ever"),
    }
}

/// Registers, and again with each new connection: a node that was started anew may have forgotten
/// the mapper, and may name other devices.
async fn register<P: Protocol>(shared: &Shared<P>, mapper: &MapperInfo, desk: Desk) {
    let mut random = fastrand::Rng::new();
    let mut connections = shared.node.connections();
    loop {
        let mut backoff = Backoff::default();
        // The call itself may make a connection; only then it is repeated for nothing.
        connections.borrow_and_update();
        loop {
            let request = MapperRegisterRequest {
                with_data: true,
                mapper: Some(mapper.clone()),
            };
            match shared.node.mapper_register(request).await {
                Ok(told) => {
                    let (devices, models) = (told.device_list, told.model_list);
                    debug!(devices = devices.len(), "registered with the node");
                    // Fails only while everything stops.
                    let _ = desk.tell(Command::All(devices, models)).await;
                    break;
                }
                Err(status) => {
                    let now = shared.began.elapsed();
                    backoff.fail(now, random.f64());
                    let wait = backoff.until().saturating_sub(now);
                    warn!(%status, ?wait, "the node does not take the registration");
                }
            }
            tokio::time::sleep_until(shared.began + backoff.until()).await;
        }
        if connections.changed().await.is_err() {
            // Nobody is left who could make one.
            return std::future::pending().await;
        }
    }
}
