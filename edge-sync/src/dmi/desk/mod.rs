//! Which mapper serves which device, and what each is to be told next: pure. The keeper makes the
//! calls and says how they went.
//!
//! # Guarantees
//! - A device belongs to one mapper at a time: one that serves its protocol and, when the Device
//!   has the annotation `causeway.dev/mapper`, has that name. It stays there while that mapper is
//!   registered and somebody listens at its address now and then, even when others of the protocol
//!   come. A device without a mapper goes to the one with the fewest devices.
//! - It moves when its Device says so, when its mapper registers for another protocol, and when
//!   nobody has listened at its mapper's address for [`AWAY_AFTER`] while another mapper is there.
//!   Its next mapper is told after the last one let go, unless that one cannot be reached.
//! - Telling is level-triggered: what a mapper was told is compared with what is. A call that failed
//!   is made again with growing waits, with what is right by then; a device that a mapper refuses
//!   does not hold up others, and a mapper that hangs does not hold up others.
//! - A model is told before its devices, and a device only once its model is there.
//! - No mapper is told of a device before it is on disk that the mapper may have it.
//! - While a mapper neither answers nor reports for long, the twins of its devices are in doubt; when
//!   it is heard again, they are not.

mod doubt;
mod info;
mod mapper;
mod pace;
mod placing;
mod saved;
mod telling;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use causeway_dmi::convert::{self, ConvertError};
use causeway_dmi::messages::MapperRegisterResponse;
use causeway_projections::twin::DeviceName;
use serde_json::Value as Json;

pub(super) use doubt::Doubt;
pub(super) use info::{Described, Info};
use mapper::{Item, Mapper, Told};
use pace::Pace;
pub(super) use pace::Rate;
use saved::SavedMapper;
pub(super) use saved::{FILE_BYTES_MAX, Saved, SavedError};

/// Mappers of one node.
pub(super) const MAPPERS_MAX: usize = 64;
/// Devices that mappers are told of; further ones have none.
pub(super) const DEVICES_MAX: usize = 8192;
/// A mapper at whose address nobody has listened for so long loses its devices to others.
pub(super) const AWAY_AFTER: Duration = Duration::from_secs(60);
/// How often a mapper that has nothing to be told is asked whether it lives.
pub(super) const ASK_PERIOD: Duration = Duration::from_secs(30);
/// Bytes of devices in the answer to a registration: clients in Go take 4 MiB. The rest is told
/// one by one.
const ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A registration of this run of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MapperId(u64);

/// What to call.
#[derive(Clone, Debug)]
pub(super) enum Call {
    CreateModel(Arc<Json>),
    UpdateModel(Arc<Json>),
    RemoveModel(DeviceName),
    Register(Described),
    Update(Described),
    Remove(DeviceName),
    /// Whether it lives, and still has this device.
    Ask(Option<DeviceName>),
}

/// A call to be made.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    pub(super) mapper: MapperId,
    pub(super) generation: u64,
    pub(super) call: Call,
    item: Option<Item>,
}

/// How a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// Nobody listens.
    Absent,
    /// Somebody listens, and did not answer.
    Silent,
    /// It answered no.
    Refused(Refusal),
}

/// Why a mapper said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It has it already.
    Exists,
    /// It does not have it.
    Missing,
    /// It has no such call.
    Unimplemented,
    /// For a reason of its own.
    Other,
}

/// A mapper cannot be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAPPERS_MAX} mappers are registered already")]
pub(super) struct Full;

/// No mapper can be told of a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DeviceFault {
    /// It has a setting that messages cannot carry.
    #[error("it has a setting that mappers cannot be told")]
    Unsayable(#[source] ConvertError),
    /// There are too many.
    #[error("mappers are told of at most {DEVICES_MAX} devices")]
    TooMany,
}

/// How things are, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) mappers: usize,
    /// Mappers that the last call did not reach.
    pub(super) unreachable: usize,
    /// Devices with a mapper.
    pub(super) served: usize,
    /// Devices for which there is no mapper.
    pub(super) unserved: usize,
    /// Devices whose model is missing, or that cannot be said in messages.
    pub(super) unready: usize,
    /// Devices that wait for a call.
    pub(super) untold: usize,
    /// Devices whose mapper cannot be heard, so that nobody can say how they are.
    pub(super) unknown: usize,
}

/// What a step for an item comes to.
enum Decision {
    /// Nothing is to be said.
    Settled,
    /// Something else comes first.
    Wait,
    Call(Call),
}

/// A device, and whose it is.
#[derive(Debug)]
struct Placed {
    described: Described,
    mapper: Option<MapperId>,
    /// A mapper can be told.
    is_ready: bool,
    /// Its twin says that nobody can say how it is.
    is_doubted: bool,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Desk {
    mappers: BTreeMap<MapperId, Mapper>,
    devices: BTreeMap<DeviceName, Placed>,
    /// Whose a device was before the daemon was started anew.
    homes: BTreeMap<DeviceName, MapperId>,
    next: u64,
    /// Devices whose twins may have to say whether it is in doubt how they are.
    doubtful: BTreeSet<DeviceName>,
    /// A mapper that was not heard for so long is lost.
    lost_after: Duration,
    rate: Rate,
    /// Of reports on devices that are nobody's.
    pace: Pace,
    is_changed: bool,
}

impl Desk {
    /// The desk as an earlier run left it. No mapper is told anything before [`Desk::list`].
    pub(super) fn restore(saved: Saved, rate: Rate, lost_after: Duration, now: Duration) -> Self {
        let mut desk = Self {
            mappers: BTreeMap::new(),
            devices: BTreeMap::new(),
            homes: BTreeMap::new(),
            next: 0,
            doubtful: BTreeSet::new(),
            lost_after,
            rate,
            pace: Pace::default(),
            is_changed: false,
        };
        for SavedMapper {
            mapper,
            devices,
            leaving,
        } in saved.mappers
        {
            let id = desk.add(mapper, now);
            let names = |texts: &BTreeSet<String>| -> Vec<_> {
                texts
                    .iter()
                    .filter_map(|text| saved::device(text))
                    .collect()
            };
            let held = desk.mappers.get_mut(&id).expect("it was just added");
            held.ask_at_once(now);
            for name in names(&devices).into_iter().chain(names(&leaving)) {
                held.told.insert(name, Told::Unsure);
            }
            let homes = names(&devices).into_iter().map(|name| (name, id));
            desk.homes.extend(homes);
        }
        desk
    }

    fn add(&mut self, info: Info, now: Duration) -> MapperId {
        let id = MapperId(self.next);
        self.next += 1;
        let mapper = Mapper::new(info, self.lost_after, now);
        self.mappers.insert(id, mapper);
        id
    }

    /// What is to be on disk, when that changed since it was last asked for.
    pub(super) fn take_saved(&mut self) -> Option<Saved> {
        std::mem::take(&mut self.is_changed).then(|| self.save())
    }

    fn save(&self) -> Saved {
        let mut room = DEVICES_MAX;
        let mapper = |it: &Mapper| {
            let leaving = it.told.keys().filter(|name| !it.devices.contains(*name));
            let leaving: BTreeSet<_> = leaving.take(room).map(ToString::to_string).collect();
            room -= leaving.len();
            SavedMapper {
                mapper: it.info.clone(),
                devices: it.devices.iter().map(ToString::to_string).collect(),
                leaving,
            }
        };
        Saved::new(self.mappers.values().map(mapper).collect())
    }

    /// These are all devices of the node; those that are not listed are gone.
    pub(super) fn list(
        &mut self,
        devices: impl IntoIterator<Item = (DeviceName, Described)>,
        now: Duration,
    ) -> Vec<(DeviceName, DeviceFault)> {
        let mut left: BTreeSet<_> = self.devices.keys().cloned().collect();
        let mut faults = Vec::new();
        for (name, described) in devices {
            left.remove(&name);
            let fault = self.device(&name, described, now).err();
            faults.extend(fault.map(|fault| (name, fault)));
        }
        left.iter().for_each(|name| self.gone(name));
        if !std::mem::take(&mut self.homes).is_empty() {
            self.is_changed = true;
        }
        let mappers: Vec<_> = self.mappers.keys().copied().collect();
        mappers.into_iter().for_each(|id| self.touch_all(id));
        faults
    }

    /// All that a mapper holds or is to hold may have to be said.
    fn touch_all(&mut self, id: MapperId) {
        let Some(mapper) = self.mappers.get_mut(&id) else {
            return;
        };
        let known: BTreeSet<_> = mapper.told.keys().chain(&mapper.devices).cloned().collect();
        for name in known {
            let placed = self.devices.get(&name);
            let model = placed.and_then(|placed| placed.described.model_name(&name));
            mapper.touch(name, model);
        }
    }

    /// A device is there, as it is described.
    ///
    /// # Errors
    /// [`DeviceFault`] when no mapper can be told so; what one was told before stands.
    pub(super) fn device(
        &mut self,
        name: &DeviceName,
        described: Described,
        now: Duration,
    ) -> Result<(), DeviceFault> {
        let known = self.devices.get(name);
        if known.is_some_and(|known| known.described.is(&described)) {
            return Ok(());
        }
        if known.is_none() && self.devices.len() >= DEVICES_MAX {
            return Err(DeviceFault::TooMany);
        }
        let fault = described.message().err();
        let is_doubted = known.is_some_and(|known| known.is_doubted);
        let home = known.map_or_else(|| self.homes.get(name).copied(), |known| known.mapper);
        let kept = home.filter(|id| {
            let mapper = self.mappers.get(id);
            mapper.is_some_and(|mapper| described.is_for(&mapper.info))
        });
        let mapper = kept.or_else(|| self.choose(&described, now));
        let model = described.model_name(name);
        let is_ready = fault.is_none() && described.is_whole();
        let placed = Placed {
            described,
            mapper,
            is_ready,
            is_doubted,
        };
        let old = self.devices.insert(name.clone(), placed);
        let before = old.and_then(|old| old.mapper);
        self.moved(name, before, mapper);
        if let Some(mapper) = mapper.and_then(|id| self.mappers.get_mut(&id)) {
            mapper.touch(name.clone(), model);
        }
        fault.map_or(Ok(()), |fault| Err(DeviceFault::Unsayable(fault)))
    }

    /// A device is gone.
    pub(super) fn gone(&mut self, name: &DeviceName) {
        if let Some(placed) = self.devices.remove(name) {
            self.moved(name, placed.mapper, None);
        }
    }

    /// Where a mapper listens.
    pub(super) fn info(&self, id: MapperId) -> Option<&Info> {
        self.mappers.get(&id).map(|mapper| &mapper.info)
    }

    /// Everything that a mapper is to know, as the answer to its registration.
    pub(super) fn answer(&mut self, id: MapperId) -> MapperRegisterResponse {
        let mut answer = MapperRegisterResponse::default();
        let mut bytes = 0;
        let names = self.mappers.get(&id).map(|it| it.devices.clone());
        for name in names.unwrap_or_default() {
            let Some(placed) = self.devices.get(&name).filter(|placed| placed.is_ready) else {
                continue;
            };
            if self.is_held_elsewhere(id, &name) {
                continue;
            }
            let described = placed.described.clone();
            let Ok(message) = described.message() else {
                continue;
            };
            bytes += prost::Message::encoded_len(&message);
            let Some(mapper) = self.mappers.get_mut(&id) else {
                break;
            };
            if let (Some(model), Some(of)) = (described.model_name(&name), described.model())
                && mapper.models.insert(model, Arc::clone(of)).is_none()
            {
                let message = convert::model(of);
                bytes += prost::Message::encoded_len(&message);
                answer.model_list.push(message);
            }
            mapper.told.insert(name, Told::Said(described));
            answer.device_list.push(message);
            if bytes >= ANSWER_BYTES_MAX {
                break;
            }
        }
        answer
    }

    /// How long a report on a device has to wait.
    pub(super) fn pace(&mut self, device: &DeviceName, now: Duration) -> Duration {
        let mapper = self.devices.get(device).and_then(|placed| placed.mapper);
        let pace = match mapper.and_then(|id| self.mappers.get_mut(&id)) {
            Some(mapper) => {
                // Whose device reports lives.
                mapper.hear();
                &mut mapper.pace
            }
            None => &mut self.pace,
        };
        pace.take(now, self.rate)
    }

    /// See [`Counts`].
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts {
            mappers: self.mappers.len(),
            ..Counts::default()
        };
        for placed in self.devices.values() {
            counts.unready += usize::from(!placed.is_ready);
            counts.unknown += usize::from(placed.is_doubted);
            match placed.mapper {
                Some(_) => counts.served += 1,
                None => counts.unserved += 1,
            }
        }
        for mapper in self.mappers.values() {
            counts.unreachable += usize::from(mapper.is_failing());
            let is_device = |item: &&Item| matches!(item, Item::Device(_));
            counts.untold += mapper.due.keys().filter(is_device).count();
        }
        counts
    }
}
