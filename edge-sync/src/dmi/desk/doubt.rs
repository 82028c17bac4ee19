//! How devices are while their mapper cannot be heard: nobody can say.

use std::time::Duration;

use causeway_projections::twin::DeviceName;

use super::Desk;
use super::mapper::Hearing;

/// What a device's twin is to say: whether it is in doubt how the device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dmi) struct Doubt {
    pub(in crate::dmi) device: DeviceName,
    pub(in crate::dmi) is_doubted: bool,
}

impl Desk {
    /// A device's twin says that it is in doubt how the device is, or does not.
    pub(in crate::dmi) fn shows(&mut self, device: &DeviceName, is_doubted: bool) {
        if let Some(placed) = self.devices.get_mut(device)
            && placed.is_doubted != is_doubted
        {
            placed.is_doubted = is_doubted;
            self.doubtful.insert(device.clone());
        }
    }

    /// Twins that are to say something else, at most so many. What became of them is told by
    /// [`Desk::shows`], or by [`Desk::undecided`] when it could not be written.
    pub(in crate::dmi) fn doubts(&mut self, now: Duration, limit: usize) -> Vec<Doubt> {
        for mapper in self.mappers.values_mut() {
            if mapper.listen(now) {
                self.doubtful.extend(mapper.devices.iter().cloned());
            }
        }
        let mut doubts = Vec::new();
        while doubts.len() < limit
            && let Some(device) = self.doubtful.pop_first()
        {
            if let Some(is_doubted) = self.decide_doubt(&device) {
                doubts.push(Doubt { device, is_doubted });
            }
        }
        doubts
    }

    fn decide_doubt(&mut self, device: &DeviceName) -> Option<bool> {
        let placed = self.devices.get(device)?;
        let mapper = self.mappers.get_mut(&placed.mapper?)?;
        match mapper.heard? {
            Hearing::Well => placed.is_doubted.then_some(false),
            // Once in each silence: what somebody else says of the device meanwhile stands.
            Hearing::Lost => {
                (!placed.is_doubted && mapper.doubted.insert(device.clone())).then_some(true)
            }
        }
    }

    /// These could not be written: they are to be decided again.
    pub(in crate::dmi) fn undecided(&mut self, devices: impl IntoIterator<Item = DeviceName>) {
        for device in devices {
            let placed = self.devices.get(&device);
            let mapper = placed.and_then(|placed| placed.mapper);
            if let Some(mapper) = mapper.and_then(|id| self.mappers.get_mut(&id)) {
                mapper.doubted.remove(&device);
            }
            self.doubtful.insert(device);
        }
    }
}
