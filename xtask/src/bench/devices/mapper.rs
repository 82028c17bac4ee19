//! A mapper on the real DMI socket whose device tells when it is written.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use causeway_mapper::{Config, DeviceSpec, Driver, DriverError, Property, Protocol, State, run};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::bench::site::PATIENCE;

/// The protocol that its device names.
pub(super) const PROTOCOL: &str = "bench";
/// Writes that nobody waited for yet.
const WRITES_MAX: usize = 1024;

/// What a device was told, and when.
type Write = (String, Instant);

/// A mapper that runs.
pub(super) struct Mapper {
    writes: mpsc::Receiver<Write>,
    running: JoinSet<Result<(), causeway_mapper::RunError>>,
}

impl Mapper {
    /// Starts one beside the edge that keeps its data in `dir`.
    pub(super) fn start(dir: &Path) -> Self {
        let (sender, writes) = mpsc::channel(WRITES_MAX);
        let config = Config {
            name: "bench".to_owned(),
            socket: dir.join("bench-mapper.sock"),
            node: dir.join("dmi.sock"),
        };
        let mut running = JoinSet::new();
        running.spawn(run(Told(sender), config, std::future::pending()));
        Self { writes, running }
    }

    /// When this value was written to the device.
    ///
    /// # Errors
    /// When it is not in time, or the mapper ends.
    pub(super) async fn wrote(&mut self, wish: &str) -> Result<Instant> {
        let wrote = async {
            loop {
                tokio::select! {
                    write = self.writes.recv() => {
                        let (value, at) = write.context("the mapper is gone")?;
                        if value == wish {
                            return Ok(at);
                        }
                    }
                    Some(ended) = self.running.join_next() => ended.context("the mapper panicked")??,
                }
            }
        };
        tokio::time::timeout(PATIENCE, wrote)
            .await
            .with_context(|| format!("no mapper was told {wish}"))?
    }
}

#[derive(Debug)]
struct Told(mpsc::Sender<Write>);

#[derive(Debug)]
struct Device(mpsc::Sender<Write>);

impl Protocol for Told {
    type Driver = Device;

    fn name(&self) -> &'static str {
        PROTOCOL
    }

    async fn open(&self, _: &DeviceSpec) -> Result<Device, DriverError> {
        Ok(Device(self.0.clone()))
    }
}

impl Driver for Device {
    async fn read(&mut self, _: &Property) -> Result<String, DriverError> {
        Ok("0".to_owned())
    }

    async fn write(&mut self, _: &Property, value: &str) -> Result<(), DriverError> {
        let write = (value.to_owned(), Instant::now());
        // Fails only when the measurement is over.
        let _ = self.0.send(write).await;
        Ok(())
    }

    async fn state(&mut self) -> State {
        State::Online
    }
}
