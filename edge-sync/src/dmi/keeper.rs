//! Keeps the desk: brings it what changes, puts it on disk, makes its calls, writes its doubts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::tasks::Stop;
use causeway_daemon::telemetry::error_chain;
use causeway_dmi::messages::MapperRegisterResponse;
use causeway_dmi::{MapperClient, Status};
use causeway_log::Revision;
use causeway_projections::twin::{Device, DeviceName};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::calls::{CALL_TIMEOUT, Called, call, is_there};
use super::desk::{Described, Desk, Doubt, Errand, Info, MapperId, Outcome};
use super::file::DeskFile;
use super::tally::Tally;
use crate::twins::{DeviceReport, ReportError, TwinsHandle};

/// Between two attempts to write the file.
const SAVE_RETRY: Duration = Duration::from_secs(5);
/// Doubts that are written together.
const DOUBTS_MAX: usize = 256;

/// A mapper comes.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) info: Info,
    pub(super) with_data: bool,
    pub(super) answer: oneshot::Sender<Result<MapperRegisterResponse, Status>>,
}

/// The owner of the desk. Others only look at it.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) desk: Arc<Mutex<Desk>>,
    pub(super) twins: TwinsHandle,
    pub(super) file: DeskFile,
    pub(super) registrations: mpsc::Receiver<Registration>,
    pub(super) tally: Arc<Tally>,
    pub(super) began: Instant,
    work: Work,
}

/// What is under way.
#[derive(Debug, Default)]
struct Work {
    /// The connection to each mapper, and of which of its registrations it is.
    clients: BTreeMap<MapperId, (u64, MapperClient)>,
    errands: JoinSet<(Errand, Called)>,
    /// The twins were looked at up to here; `None`: not at all.
    seen: Option<Revision>,
    /// What is on disk.
    saved: Vec<u8>,
    /// What is to be on disk, and when it is tried again.
    unsaved: Option<(Vec<u8>, Duration)>,
    /// The writing of doubts; it gives those that could not be written.
    doubting: JoinSet<Vec<DeviceName>>,
    /// No doubt is written before.
    doubting_from: Duration,
    random: fastrand::Rng,
}

impl Keeper {
    pub(super) fn new(
        desk: Arc<Mutex<Desk>>,
        twins: TwinsHandle,
        file: DeskFile,
        registrations: mpsc::Receiver<Registration>,
        tally: Arc<Tally>,
        began: Instant,
    ) -> Self {
        Self {
            desk,
            twins,
            file,
            registrations,
            tally,
            began,
            work: Work::default(),
        }
    }

    /// Runs until stopped. Calls under way are given up then: they are made again by the next run.
    pub(super) async fn run(mut self, mut stop: Stop) {
        let mut revisions = self.twins.subscribe();
        loop {
            revisions.borrow_and_update();
            self.look();
            self.save().await;
            self.send();
            self.doubt();
            let wake = self.timeout();
            tokio::select! {
                () = stop.wait() => return,
                registration = self.registrations.recv() => match registration {
                    Some(registration) => self.register(registration).await,
                    None => return,
                },
                Some(ended) = self.work.errands.join_next() => match ended {
                    Ok((errand, called)) => self.answered(errand, called),
                    Err(error) => tracing::error!(%error, "a call to a mapper panicked"),
                },
                Some(ended) = self.work.doubting.join_next() => match ended {
                    Ok(unwritten) => self.doubted(unwritten),
                    Err(error) => tracing::error!(%error, "writing the state of devices panicked"),
                },
                moved = revisions.changed() => if moved.is_err() {
                    return;
                },
                () = sleep_until(wake) => {}
            }
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn timeout(&self) -> Option<Instant> {
        let until = match &self.work.unsaved {
            Some((_, until)) => Some(*until),
            None => self.desk.lock().timeout(self.now()),
        };
        let doubting = self.work.doubting_from;
        let doubting = (doubting > self.now()).then_some(doubting);
        let until = until.into_iter().chain(doubting).min();
        until.map(|until| self.began + until)
    }

    /// Brings the desk what changed since the last look.
    fn look(&mut self) {
        let seen = self.work.seen;
        let (looked, revision) = self.twins.read(|twins| {
            let looked = match seen.filter(|seen| *seen >= twins.floor()) {
                Some(seen) => Looked::Since {
                    devices: twins.changed_after(seen).cloned().collect(),
                    gone: twins
                        .gone_after(seen)
                        .map(|(name, _)| name.clone())
                        .collect(),
                },
                None => Looked::All(
                    twins
                        .devices()
                        .map(|(_, device)| Arc::clone(device))
                        .collect(),
                ),
            };
            (looked, twins.revision())
        });
        self.work.seen = Some(revision);
        let now = self.now();
        let described = |device: &Arc<Device>| (device.name(), Described::of(device));
        let mut desk = self.desk.lock();
        let (devices, faults) = match looked {
            Looked::All(devices) => {
                let faults = desk.list(devices.iter().map(described), now);
                (devices, faults)
            }
            Looked::Since { devices, gone } => {
                gone.iter().for_each(|name| desk.gone(name));
                let told = devices
                    .iter()
                    .map(described)
                    .filter_map(|(name, described)| {
                        let fault = desk.device(&name, described, now).err()?;
                        Some((name, fault))
                    });
                let faults = told.collect();
                (devices, faults)
            }
        };
        for device in &devices {
            desk.shows(&device.name(), device.twin.reported.is_doubted());
        }
        drop(desk);
        for (device, fault) in &faults {
            let error = error_chain(fault);
            warn!(%device, %error, "no mapper can be told of this device");
        }
    }

    /// Writes what changed. Nothing is said to mappers before.
    async fn save(&mut self) {
        if let Some(saved) = self.desk.lock().take_saved() {
            let bytes = saved.encode();
            let is_new = bytes != self.work.saved;
            self.work.unsaved = is_new.then_some((bytes, Duration::ZERO));
        }
        let now = self.now();
        let Some((bytes, until)) = self.work.unsaved.take() else {
            return;
        };
        if now < until {
            self.work.unsaved = Some((bytes, until));
            return;
        }
        let file = self.file.clone();
        let writing = tokio::task::spawn_blocking(move || (file.save(&bytes), bytes));
        match writing.await {
            Ok((Ok(()), bytes)) => self.work.saved = bytes,
            Ok((Err(error), bytes)) => {
                warn!(%error, "what mappers serve cannot be written; they are told later");
                self.work.unsaved = Some((bytes, now + SAVE_RETRY));
            }
            Err(error) => tracing::error!(%error, "writing what mappers serve panicked"),
        }
    }

    async fn register(&mut self, registration: Registration) {
        let Registration {
            info,
            with_data,
            answer,
        } = registration;
        self.tally.registrations.add(1);
        let mut replaced = Vec::new();
        let namesakes = self.desk.lock().namesakes(&info);
        for (id, address) in namesakes {
            if !is_there(Path::new(&address)).await {
                replaced.push(id);
            }
        }
        info!(
            mapper = info.name,
            protocol = info.protocol,
            address = info.address,
            "mapper registered"
        );
        let now = self.now();
        let registered = self.desk.lock().register(info, with_data, &replaced, now);
        self.save().await;
        let told = match registered {
            Err(full) => Err(Status::resource_exhausted(full.to_string())),
            Ok(_) if self.work.unsaved.is_some() => Err(Status::unavailable(
                "the registration cannot be written to disk",
            )),
            Ok(id) if with_data => Ok(self.desk.lock().answer(id)),
            Ok(_) => Ok(MapperRegisterResponse::default()),
        };
        // Who asked may have gone; it will come again.
        let _ = answer.send(told);
    }

    /// Makes the calls that are due.
    fn send(&mut self) {
        if self.work.unsaved.is_some() {
            return;
        }
        let now = self.now();
        loop {
            let mut desk = self.desk.lock();
            let Some(errand) = desk.poll(now) else {
                break;
            };
            let address = desk.info(errand.mapper).map(|info| info.address.clone());
            drop(desk);
            let address = address.unwrap_or_default();
            let client = self.client(&errand, &address);
            self.work.errands.spawn(async move {
                let called = match client {
                    Ok(client) => call(&client, Path::new(&address), &errand.call).await,
                    Err(error) => Called {
                        outcome: Outcome::Absent,
                        why: Some(error),
                    },
                };
                (errand, called)
            });
        }
    }

    /// The connection to a mapper: a new one for each of its registrations.
    fn client(&mut self, errand: &Errand, address: &str) -> Result<MapperClient, String> {
        let known = self.work.clients.get(&errand.mapper);
        if let Some((_, client)) = known.filter(|(of, _)| *of == errand.generation) {
            return Ok(client.clone());
        }
        let client = MapperClient::new(Path::new(address), CALL_TIMEOUT);
        let client = client.map_err(|error| error_chain(&error).to_string())?;
        let entry = (errand.generation, client.clone());
        self.work.clients.insert(errand.mapper, entry);
        let desk = self.desk.lock();
        self.work.clients.retain(|id, _| desk.info(*id).is_some());
        Ok(client)
    }

    /// Has twins say that nobody can say how their devices are, or that somebody can again.
    fn doubt(&mut self) {
        let now = self.now();
        if !self.work.doubting.is_empty() || now < self.work.doubting_from {
            return;
        }
        let doubts = self.desk.lock().doubts(now, DOUBTS_MAX);
        if !doubts.is_empty() {
            let twins = self.twins.clone();
            self.work.doubting.spawn(write_doubts(twins, doubts));
        }
    }

    fn doubted(&mut self, unwritten: Vec<DeviceName>) {
        if !unwritten.is_empty() {
            self.desk.lock().undecided(unwritten);
            self.work.doubting_from = self.now() + SAVE_RETRY;
        }
    }

    fn answered(&mut self, errand: Errand, called: Called) {
        let (now, jitter) = (self.now(), self.work.random.f64());
        let Called { outcome, why } = called;
        self.tally.calls.add(1);
        let (mapper, what) = (errand.mapper, errand.call.to_string());
        let mut desk = self.desk.lock();
        let name = desk.info(mapper).map(|info| info.name.clone());
        let is_first = desk.answered(errand, outcome, now, jitter);
        drop(desk);
        let mapper = name.unwrap_or_default();
        if outcome == Outcome::Done {
            debug!(mapper, call = what, "told a mapper");
            return;
        }
        self.tally.calls_failed.add(1);
        let why = why.unwrap_or_default();
        if is_first {
            warn!(
                mapper,
                call = what,
                why,
                "a mapper was not told; trying again"
            );
        } else {
            debug!(mapper, call = what, why, "a mapper was not told again");
        }
    }
}

/// Writes what twins are to say; gives those that could not be written and may be later.
async fn write_doubts(twins: TwinsHandle, doubts: Vec<Doubt>) -> Vec<DeviceName> {
    let unknown = doubts.iter().filter(|doubt| doubt.is_doubted).count();
    let known = doubts.len() - unknown;
    if unknown > 0 {
        warn!(
            devices = unknown,
            "devices are unknown: their mapper cannot be heard"
        );
    }
    if known > 0 {
        info!(
            devices = known,
            "devices are as they last said: their mapper is heard again"
        );
    }
    let mut handed_in = Vec::with_capacity(doubts.len());
    for Doubt { device, is_doubted } in doubts {
        let report = DeviceReport {
            device: device.clone(),
            doubt: Some(is_doubted),
            ..DeviceReport::default()
        };
        handed_in.push((device, twins.hand_in(report).await));
    }
    let mut unwritten = Vec::new();
    for (device, handed_in) in handed_in {
        let told = match handed_in {
            Ok(handed_in) => handed_in.told().await.map(drop),
            Err(error) => Err(error),
        };
        match told {
            // Without the device there is nothing to be said of it.
            Ok(()) | Err(ReportError::Unknown { .. }) => {}
            Err(error) => {
                warn!(%device, error = %error_chain(&error), "its state cannot be written; trying again");
                unwritten.push(device);
            }
        }
    }
    unwritten
}

/// What a look at the twins found.
enum Looked {
    /// All devices there are.
    All(Vec<Arc<Device>>),
    Since {
        devices: Vec<Arc<Device>>,
        gone: Vec<DeviceName>,
    },
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
