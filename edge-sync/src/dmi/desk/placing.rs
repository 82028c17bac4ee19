//! Whose a device is: mappers come, go and lose their devices.

use std::collections::BTreeSet;
use std::time::Duration;

use causeway_projections::twin::DeviceName;

use super::info::{Described, Info};
use super::mapper::Mapper;
use super::{Desk, Full, MAPPERS_MAX, MapperId, Placed};

impl Desk {
    /// A mapper comes. `is_new`: it knows nothing yet; [`Desk::answer`] tells it everything.
    /// `replaced`: mappers whose place it takes.
    ///
    /// # Errors
    /// [`Full`]
    pub(in crate::dmi) fn register(
        &mut self,
        info: Info,
        is_new: bool,
        replaced: &[MapperId],
        now: Duration,
    ) -> Result<MapperId, Full> {
        let here = self
            .mappers
            .iter()
            .find(|(_, it)| it.info.address == info.address);
        let here = here.map(|(id, it)| (*id, it.info.name == info.name));
        let same = here.filter(|(_, is_same)| *is_same).map(|(id, _)| id);
        let id = match same {
            Some(id) => id,
            None => {
                // At one address there is one mapper.
                let gone = here.iter().map(|(id, _)| id).chain(replaced);
                let homeless: Vec<_> = gone.flat_map(|id| self.remove(*id)).collect();
                self.make_room()?;
                let id = self.add(info.clone(), now);
                self.is_changed = true;
                self.inherit(homeless, id, &info);
                id
            }
        };
        let mapper = self.mappers.get_mut(&id).expect("it is there or was added");
        if mapper.info != info {
            mapper.info = info;
            self.is_changed = true;
        }
        let mapper = self.mappers.get_mut(&id).expect("it is there or was added");
        self.is_changed |= is_new && mapper.told.len() != mapper.devices.len();
        mapper.begin(is_new, now);
        self.replace(now);
        self.touch_all(id);
        Ok(id)
    }

    /// Devices of mappers that are gone go to the one that took their place.
    fn inherit(&mut self, devices: Vec<DeviceName>, heir: MapperId, info: &Info) {
        for name in devices {
            let placed = self.devices.get_mut(&name);
            if let Some(placed) = placed.filter(|placed| placed.described.is_for(info)) {
                placed.mapper = Some(heir);
                self.moved(&name, None, Some(heir));
            }
        }
    }

    /// Forgets a mapper; gives the devices that it had.
    fn remove(&mut self, id: MapperId) -> BTreeSet<DeviceName> {
        let Some(mapper) = self.mappers.remove(&id) else {
            return BTreeSet::new();
        };
        self.is_changed = true;
        for name in &mapper.devices {
            if let Some(placed) = self.devices.get_mut(name) {
                placed.mapper = None;
            }
        }
        mapper.devices
    }

    /// When there are as many mappers as there may be, one that cannot be reached is forgotten.
    fn make_room(&mut self) -> Result<(), Full> {
        if self.mappers.len() < MAPPERS_MAX {
            return Ok(());
        }
        let mut all = self.mappers.iter();
        let (id, _) = all.find(|(_, it)| it.is_failing()).ok_or(Full)?;
        self.remove(*id);
        Ok(())
    }

    /// Finds mappers for devices that have none they can stay with.
    pub(super) fn replace(&mut self, now: Duration) {
        let stays = |placed: &Placed| {
            let mapper = placed.mapper.and_then(|id| self.mappers.get(&id));
            mapper.is_some_and(|it| placed.described.is_for(&it.info) && !it.is_away(now))
        };
        let restless = self.devices.iter().filter(|(_, placed)| !stays(placed));
        let restless: Vec<_> = restless.map(|(name, _)| name.clone()).collect();
        for name in restless {
            let Some(placed) = self.devices.get(&name) else {
                continue;
            };
            let before = placed.mapper;
            let is_possible = before.is_some_and(|id| {
                let mapper = self.mappers.get(&id);
                mapper.is_some_and(|it| placed.described.is_for(&it.info))
            });
            // It does not go from one that is away to another such.
            let after = self.choose(&placed.described, now).filter(|id| {
                let mapper = self.mappers.get(id);
                !is_possible || mapper.is_some_and(|it| !it.is_away(now))
            });
            let after = after.or_else(|| before.filter(|_| is_possible));
            if let Some(placed) = self.devices.get_mut(&name) {
                placed.mapper = after;
            }
            self.moved(&name, before, after);
        }
    }

    /// The mapper for a device that has none: of those that are there, the one with the fewest
    /// devices, and of these the first.
    pub(super) fn choose(&self, described: &Described, now: Duration) -> Option<MapperId> {
        let fitting = self
            .mappers
            .iter()
            .filter(|(_, it)| described.is_for(&it.info));
        let first = |(id, it): &(&MapperId, &Mapper)| (it.is_away(now), it.devices.len(), **id);
        let (id, _) = fitting.min_by_key(first)?;
        Some(*id)
    }

    /// A device went from one mapper to another.
    pub(super) fn moved(
        &mut self,
        name: &DeviceName,
        before: Option<MapperId>,
        after: Option<MapperId>,
    ) {
        if before == after {
            return;
        }
        self.is_changed = true;
        let placed = self.devices.get(name);
        let model = placed.and_then(|placed| placed.described.model_name(name));
        if let Some(mapper) = before.and_then(|id| self.mappers.get_mut(&id)) {
            mapper.devices.remove(name);
            mapper.touch(name.clone(), None);
        }
        if let Some(mapper) = after.and_then(|id| self.mappers.get_mut(&id)) {
            mapper.devices.insert(name.clone());
            mapper.touch(name.clone(), model);
            self.doubtful.insert(name.clone());
        }
    }

    /// The mappers of the same name and protocol at other addresses, and where: one of them may be
    /// the same one, moved.
    pub(in crate::dmi) fn namesakes(&self, info: &Info) -> Vec<(MapperId, String)> {
        let same = self.mappers.iter().filter(|(_, it)| {
            (&it.info.name, &it.info.protocol) == (&info.name, &info.protocol)
                && it.info.address != info.address
        });
        same.map(|(id, it)| (*id, it.info.address.clone()))
            .collect()
    }
}
