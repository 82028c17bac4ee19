//! What mappers call.

use std::sync::Arc;

use causeway_daemon::store_dir::wall_time;
use causeway_dmi::messages::{
    DeviceStatus, MapperRegisterRequest, MapperRegisterResponse, ReportDeviceStatesRequest,
    ReportDeviceStatusRequest,
};
use causeway_dmi::{DeviceManager, Status};
use causeway_projections::twin::{DeviceName, Refused};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::desk::{Desk, Info};
use super::keeper::Registration;
use super::report::{self, Understood};
use super::tally::Tally;
use crate::twins::{DeviceReport, ReportError, Told, TwinsHandle};

/// How often a report is understood anew because values moved under it.
const ATTEMPTS_MAX: usize = 8;

/// The node's side of DMI.
#[derive(Debug)]
pub(super) struct Manager {
    pub(super) twins: TwinsHandle,
    pub(super) desk: Arc<Mutex<Desk>>,
    pub(super) registrations: mpsc::Sender<Registration>,
    pub(super) tally: Arc<Tally>,
    pub(super) began: Instant,
}

impl Manager {
    /// Who reports faster than it may waits here; its further calls then wait in its connection.
    async fn pace(&self, device: &DeviceName) {
        let now = self.began.elapsed();
        let wait = self.desk.lock().pace(device, now);
        if !wait.is_zero() {
            self.tally.delayed.add(1);
            tokio::time::sleep(wait).await;
        }
    }

    async fn report(&self, report: DeviceReport) -> Result<Told, Status> {
        let told = self.twins.report(report).await;
        if told.is_err() {
            self.tally.refused.add(1);
        }
        told.map_err(|error| report::refusal(&error))
    }

    fn understand(&self, device: &DeviceName, said: &DeviceStatus) -> Result<Understood, Status> {
        let known = self.twins.read(|twins| twins.get(device).cloned());
        let known = known.ok_or_else(|| {
            let device = device.clone();
            report::refusal(&ReportError::Unknown { device })
        });
        known
            .and_then(|known| report::values(&known, said, wall_time()))
            .inspect_err(|_| self.tally.refused.add(1))
    }

    async fn take(&self, device: &DeviceName, said: &DeviceStatus) -> Result<Told, Status> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let Understood { report, seen_only } = self.understand(device, said)?;
            let told = self.report(report).await?;
            let has_moved = told.properties.iter().any(|(name, took)| {
                matches!(took, Err(Refused::Stale { .. })) && seen_only.contains(name)
            });
            if !has_moved || attempts == ATTEMPTS_MAX {
                return Ok(told);
            }
        }
    }

    /// The answer to a report that was taken, counted.
    fn conclude(&self, told: &Told) -> Result<(), Status> {
        self.tally.reports.add(1);
        let refused = told.properties.iter().filter(|(_, took)| took.is_err());
        let refused = refused.count() + usize::from(matches!(told.state, Some(Err(_))));
        self.tally.refused.add(refused as u64);
        report::verdict(told)
    }
}

impl DeviceManager for Manager {
    async fn mapper_register(
        &self,
        request: MapperRegisterRequest,
    ) -> Result<MapperRegisterResponse, Status> {
        let info = Info::of(request.mapper.as_ref());
        let info = info.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let stopping = || Status::unavailable("the edge is stopping");
        let (answer, answered) = oneshot::channel();
        let registration = Registration {
            info,
            with_data: request.with_data,
            answer,
        };
        let sent = self.registrations.send(registration).await;
        sent.map_err(|_| stopping())?;
        answered.await.unwrap_or_else(|_| Err(stopping()))
    }

    async fn report_device_status(&self, request: ReportDeviceStatusRequest) -> Result<(), Status> {
        let device = report::device(&request.device_namespace, &request.device_name)?;
        let said = request
            .reported_device
            .ok_or_else(|| Status::invalid_argument("there is no reportedDevice in the request"))?;
        self.pace(&device).await;
        let told = self.take(&device, &said).await?;
        self.conclude(&told)
    }

    async fn report_device_states(&self, request: ReportDeviceStatesRequest) -> Result<(), Status> {
        let device = report::device(&request.device_namespace, &request.device_name)?;
        self.pace(&device).await;
        let report = DeviceReport {
            device,
            properties: Vec::new(),
            // Mappers write it in several ways.
            state: Some(request.state.to_ascii_lowercase().into()),
            doubt: None,
            all_or_nothing: false,
        };
        let told = self.report(report).await?;
        self.conclude(&told)
    }
}
