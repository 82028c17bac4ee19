//! All lives of a name: of Devices and of DeviceModels.

use std::sync::Arc;

use causeway_log::{Op, Revision, Stored, Uid};
use serde_json::Value as Json;

use super::device::Device;
use crate::twin::{Desired, Reported};

/// Lives of one name that are remembered.
const LIVES_MAX: usize = 8;

/// All lives of the name of a device.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) lives: Vec<Life>,
    pub(super) served: Option<Arc<Device>>,
    /// Where the name stands among those that are gone.
    pub(super) gone: Option<Revision>,
}

#[derive(Debug, Default)]
pub(super) struct Life {
    pub(super) uid: Uid,
    pub(super) object: Option<Object>,
    pub(super) desired: Option<(Revision, Arc<Desired>)>,
    pub(super) reported: Option<(Revision, Arc<Reported>)>,
    /// The node ended its report.
    pub(super) ended: Option<Revision>,
}

/// What the cloud last said of an object.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) revision: Revision,
    pub(super) since: Revision,
    /// `None`: it is gone.
    pub(super) body: Option<Arc<Json>>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) lives: Vec<(Uid, Object)>,
    pub(super) served: Option<Arc<Json>>,
    pub(super) changed: Revision,
}

impl Object {
    pub(super) fn of(stored: &Stored) -> Self {
        let Stored {
            revision,
            since,
            record,
        } = stored;
        let body = (record.header.op == Op::Put).then(|| {
            let object = serde_json::from_slice(record.body.bytes());
            Arc::new(object.unwrap_or_default())
        });
        Self {
            revision: *revision,
            since: *since,
            body,
        }
    }

    /// Of several lives the one that began last counts. One that is gone counts only when it was
    /// there.
    pub(super) fn rank(&self) -> Option<Revision> {
        (self.body.is_some() || self.since < self.revision).then_some(self.since)
    }
}

impl Life {
    pub(super) fn reported(&self) -> Option<&(Revision, Arc<Reported>)> {
        let reported = self.reported.as_ref()?;
        self.ended
            .is_none_or(|ended| ended < reported.0)
            .then_some(reported)
    }

    /// Takes a layer over when it is newer than the one held.
    pub(super) fn layer<T>(held: &mut Option<(Revision, T)>, revision: Revision, new: T) -> bool {
        let is_newer = held.as_ref().is_none_or(|(held, _)| *held < revision);
        if is_newer {
            *held = Some((revision, new));
        }
        is_newer
    }
}

impl Named {
    pub(super) fn life(&mut self, uid: &Uid) -> &mut Life {
        let index = self.lives.iter().position(|life| life.uid == *uid);
        let index = index.unwrap_or_else(|| {
            if self.lives.len() >= LIVES_MAX {
                let rank = |life: &Life| life.object.as_ref().and_then(Object::rank);
                let oldest = self.lives.iter().enumerate();
                let oldest = oldest.min_by_key(|(_, life)| rank(life));
                if let Some(oldest) = oldest.map(|(at, _)| at) {
                    self.lives.swap_remove(oldest);
                }
            }
            self.lives.push(Life {
                uid: uid.clone(),
                ..Life::default()
            });
            self.lives.len() - 1
        });
        &mut self.lives[index]
    }

    /// The life that counts, with its object, when there is one.
    pub(super) fn alive(&self) -> Option<(&Life, &Object, &Arc<Json>)> {
        let objects = self.lives.iter().filter_map(|life| {
            let object = life.object.as_ref()?;
            Some((object.rank()?, life, object))
        });
        let (_, life, object) = objects.max_by_key(|(rank, ..)| *rank)?;
        Some((life, object, object.body.as_ref()?))
    }

    /// When the last object of the name went.
    pub(super) fn went(&self) -> Option<Revision> {
        let objects = self.lives.iter().filter_map(|life| life.object.as_ref());
        let gone = objects.filter(|object| object.body.is_none());
        gone.map(|object| object.revision).max()
    }
}

impl Model {
    pub(super) fn absorb(&mut self, uid: &Uid, object: Object) -> bool {
        self.changed = self.changed.max(object.revision);
        match self.lives.iter_mut().find(|(known, _)| known == uid) {
            Some((_, held)) if held.revision >= object.revision => return false,
            Some((_, held)) => *held = object,
            None => self.lives.push((uid.clone(), object)),
        }
        let newest = self
            .lives
            .iter()
            .filter_map(|(_, it)| Some((it.rank()?, it)));
        self.served = newest
            .max_by_key(|(rank, _)| *rank)
            .and_then(|(_, object)| object.body.clone());
        if self.lives.len() > LIVES_MAX {
            let oldest = self.lives.iter().enumerate();
            let oldest = oldest.min_by_key(|(_, (_, it))| (it.body.is_some(), it.revision));
            if let Some(oldest) = oldest.map(|(at, _)| at) {
                self.lives.swap_remove(oldest);
            }
        }
        true
    }
}
