//! DMI at the node: mappers come, are told of devices, and report.
//!
//! ```text
//!   mapper ──MapperRegister──▶ manager ──▶ keeper ──▶ desk (pure) ──▶ mappers.json
//!          ──Report…─────────▶ manager ──▶ twins        │ errands
//!          ◀──RegisterDevice, UpdateDevice, …── keeper ◀┘
//!   twins ──changed, gone──▶ keeper
//! ```
//!
//! [`desk`] decides who serves which device and what is to be said; the keeper makes it so. A
//! report is answered when it is durable.

mod calls;
mod desk;
mod file;
mod keeper;
mod manager;
mod report;
mod tally;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::metrics::Metrics;
use causeway_daemon::tasks::{self, Shutdown, Task};
use causeway_daemon::telemetry::error_chain;
use causeway_dmi::{Door, serve_manager};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::desk::{Desk, Rate, Saved};
use self::file::DeskFile;
use self::keeper::Keeper;
use self::manager::Manager;
use self::tally::{Scrape, Tally};
use crate::config::DmiConfig;
use crate::twins::TwinsHandle;

/// Registrations that wait for the keeper; further ones wait in their connections.
const REGISTRATIONS_MAX: usize = 16;

/// The socket that mappers call, open and not yet served.
#[derive(Debug)]
pub(crate) struct Dmi {
    door: Door,
    rate: Rate,
    unknown_after: Duration,
}

impl Dmi {
    /// Listens where the configuration says; `None` when it says nowhere.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub(crate) fn bind(config: &DmiConfig) -> io::Result<Option<Self>> {
        let DmiConfig {
            socket,
            reports_per_s,
            reports_burst,
            unknown_after,
        } = config;
        let door = socket.as_deref().map(Door::open).transpose()?;
        let rate = Rate {
            per_second: *reports_per_s,
            burst: *reports_burst,
        };
        let unknown_after = *unknown_after;
        Ok(door.map(|door| Self {
            door,
            rate,
            unknown_after,
        }))
    }

    /// Serves mappers until `shutdown` begins. What they serve is remembered in `dir`.
    pub(crate) fn serve(
        self,
        twins: TwinsHandle,
        dir: &Path,
        metrics: &Metrics,
        shutdown: &Shutdown,
    ) -> [Task; 2] {
        let Self {
            door,
            rate,
            unknown_after,
        } = self;
        let file = DeskFile::in_dir(dir);
        let saved = file.load().unwrap_or_else(|error| {
            let error = error_chain(&error).to_string();
            tracing::error!(
                error,
                "registered mappers are forgotten; they must register again"
            );
            Saved::empty()
        });
        let (began, tally) = (Instant::now(), Arc::new(Tally::default()));
        let desk = Desk::restore(saved, rate, unknown_after, Duration::ZERO);
        let desk = Arc::new(Mutex::new(desk));
        metrics.register(|registry| {
            registry.register_collector(Box::new(Scrape {
                tally: Arc::clone(&tally),
                desk: Arc::clone(&desk),
            }));
        });
        let (sender, registrations) = mpsc::channel(REGISTRATIONS_MAX);
        let manager = Manager {
            twins: twins.clone(),
            desk: Arc::clone(&desk),
            registrations: sender,
            tally: Arc::clone(&tally),
            began,
        };
        let keeper = Keeper::new(desk, twins, file, registrations, tally, began);
        let mut stop = shutdown.token();
        let serving = async move {
            let served = serve_manager(door, Arc::new(manager), async move { stop.wait().await });
            if let Err(error) = served.await {
                tracing::error!(error = %error_chain(&error), "mappers can no longer call");
            }
        };
        [
            tasks::spawn("dmi", serving),
            tasks::spawn("dmi-keeper", keeper.run(shutdown.token())),
        ]
    }
}
