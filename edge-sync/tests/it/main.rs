//! The edge daemon in this process, on real sockets and a real disk.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod alone;
mod killed;
mod linked;
#[cfg(feature = "dmi")]
mod mappers;
mod mosquitto;
#[cfg(feature = "dmi")]
mod python;
mod rumqtt;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::tasks::{Shutdown, Task, spawn};
use causeway_edge_sync::{EdgeConfig, RunError, run, run_on};
use causeway_kube_api::client::Client;
use causeway_log::{NodeName, Store};

/// Nothing here takes long; a test that hangs should say where.
const DEADLINE: Duration = Duration::from_secs(20);

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen in time"),
    }
}

/// A running edge.
struct Edge {
    client: Client,
    shutdown: Shutdown,
    task: Task<Result<(), RunError>>,
}

fn config(dir: &Path) -> EdgeConfig {
    // A cloud that nobody can reach: the discard port of this machine.
    let cloud = "ws://127.0.0.1:9".parse().unwrap();
    let node = NodeName::new("edge-1").unwrap();
    let mut config = EdgeConfig::new(node, dir.to_owned(), Some(cloud));
    config.api.listen = None;
    config
}

impl Edge {
    async fn start(dir: &Path) -> Self {
        Self::start_with(config(dir)).await
    }

    async fn start_with(config: EdgeConfig) -> Self {
        let (shutdown, dir) = (Shutdown::new(), config.dir.clone());
        let task = spawn("edge", run(config, shutdown.clone()));
        Self::up(&dir, shutdown, task).await
    }

    async fn start_on(store: Arc<dyn Store>, dir: &Path) -> Self {
        let (shutdown, config) = (Shutdown::new(), config(dir));
        let task = spawn("edge", run_on(store, config, shutdown.clone()));
        Self::up(dir, shutdown, task).await
    }

    async fn up(dir: &Path, shutdown: Shutdown, task: Task<Result<(), RunError>>) -> Self {
        let client = Client::unix(dir.join("edge.sock"));
        let serving = async {
            while client.get_path("/causeway/v1/status").await.is_err() {
                assert!(!task.is_finished(), "the edge did not start");
                tokio::task::yield_now().await;
            }
        };
        within("the start", serving).await;
        Self {
            client,
            shutdown,
            task,
        }
    }

    async fn stop(self) {
        self.shutdown.begin();
        within("the stop", self.task.join()).await.unwrap().unwrap();
    }
}
