//! The devices of one node with their twins: a fold of its two streams.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use causeway_log::error::ReadError;
use causeway_log::store::ReadLimit;
use causeway_log::{Direction, Key, NodeName, Op, Revision, Slot, Store, Stored, StreamId};
use serde_json::Value as Json;

mod device;
mod lives;

pub use device::{Device, DeviceName};
use device::{compose, model_of, with_twin};
use lives::{Life, Model, Named, Object};

use super::{DEVICES, Desired, GROUP, MODELS, Reported};

/// Devices, and models, that are gone and remembered: for who asks what went, and against records
/// that come late.
const GONE_MAX: usize = 256;

/// The devices and models of one node. The order of records does not matter, and a record that
/// comes twice changes nothing (PROJ-1).
#[derive(Debug, Default)]
pub struct Twins {
    devices: BTreeMap<DeviceName, Named>,
    models: BTreeMap<DeviceName, Model>,
    changed: BTreeSet<(Revision, DeviceName)>,
    gone: BTreeMap<Revision, DeviceName>,
    revision: Revision,
    floor: Revision,
}

impl Twins {
    /// No devices.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Folds a record in; says whether a device or a model changed by it. Records of other things
    /// are passed over.
    pub fn apply(&mut self, stream: &StreamId, stored: &Stored) -> bool {
        let header = &stored.record.header;
        self.revision = self.revision.max(stored.revision);
        let resource = &header.key.resource;
        if &*resource.group != GROUP {
            return false;
        }
        let StreamId::Node(_, direction) = stream else {
            return false;
        };
        match (&*resource.plural, direction, header.op) {
            (DEVICES, Direction::Down, Op::Put | Op::Delete) => self.absorb(stored, true, |life| {
                let object = Object::of(stored);
                let held = life.object.as_ref();
                let is_newer = held.is_none_or(|held| held.revision < object.revision);
                if is_newer {
                    life.object = Some(object);
                }
                is_newer
            }),
            (DEVICES, Direction::Up, Op::Delete) => self.absorb(stored, false, |life| {
                let is_newer = life.ended < Some(stored.revision);
                life.ended = life.ended.max(Some(stored.revision));
                is_newer
            }),
            (DEVICES, Direction::Down, Op::Twin) => self.absorb(stored, false, |life| {
                let desired = Desired::decode(stored.record.body.bytes()).unwrap_or_default();
                Life::layer(&mut life.desired, stored.revision, Arc::new(desired))
            }),
            (DEVICES, Direction::Up, Op::Twin) => {
                let reported = Reported::decode(stored.record.body.bytes()).unwrap_or_default();
                self.apply_reported(stored, Arc::new(reported))
            }
            (MODELS, Direction::Down, Op::Put | Op::Delete) => self.absorb_model(stored),
            _ => false,
        }
    }

    /// As [`Twins::apply`] with an up `Twin` record whose document is at hand, for who wrote it.
    pub fn apply_reported(&mut self, stored: &Stored, reported: Arc<Reported>) -> bool {
        self.revision = self.revision.max(stored.revision);
        self.absorb(stored, false, |life| {
            Life::layer(&mut life.reported, stored.revision, reported)
        })
    }

    fn absorb(
        &mut self,
        stored: &Stored,
        is_object: bool,
        change: impl FnOnce(&mut Life) -> bool,
    ) -> bool {
        let key = &stored.record.header.key;
        let name = DeviceName::of(key);
        let named = self.devices.entry(name.clone()).or_default();
        if !change(named.life(&key.uid)) {
            return false;
        }
        self.refresh(&name, is_object, key)
    }

    fn absorb_model(&mut self, stored: &Stored) -> bool {
        let key = &stored.record.header.key;
        let name = DeviceName::of(key);
        let model = self.models.entry(name.clone()).or_default();
        if !model.absorb(&key.uid, Object::of(stored)) {
            return false;
        }
        self.bound_models();
        let users: Vec<Key> = self
            .within(&name.namespace)
            .filter(|device| model_of(&device.object) == Some(&*name.name))
            .map(|device| device.key.clone())
            .collect();
        for key in users {
            self.refresh(&DeviceName::of(&key), true, &key);
        }
        true
    }

    fn bound_models(&mut self) {
        let gone = || self.models.iter().filter(|(_, it)| it.served.is_none());
        if gone().count() > GONE_MAX {
            let oldest = gone().min_by_key(|(_, model)| model.changed);
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.map(|oldest| self.models.remove(&oldest));
        }
    }

    /// The devices of a namespace.
    fn within(&self, namespace: &Arc<str>) -> impl Iterator<Item = &Arc<Device>> {
        let from = DeviceName {
            namespace: Arc::clone(namespace),
            name: "".into(),
        };
        self.devices
            .range((Bound::Included(from), Bound::Unbounded))
            .take_while(move |(name, _)| name.namespace == *namespace)
            .filter_map(|(_, named)| named.served.as_ref())
    }

    /// Composes the device of a name anew. Says whether anything can be seen of it.
    fn refresh(&mut self, name: &DeviceName, is_object: bool, key: &Key) -> bool {
        let Some(named) = self.devices.get_mut(name) else {
            return false;
        };
        let before = named.served.take();
        let after = named.alive().map(|(life, object, body)| {
            let same = before
                .as_ref()
                .filter(|it| !is_object && it.key.uid == life.uid);
            Arc::new(match same {
                Some(before) => with_twin(before, life, object.revision, &self.models),
                None => compose(life, object.revision, body, key, &self.models),
            })
        });
        let is_seen = before != after;
        if let Some(before) = &before {
            self.changed.remove(&(before.changed, name.clone()));
        }
        if let Some(gone) = named.gone.take() {
            self.gone.remove(&gone);
        }
        match &after {
            Some(after) => drop(self.changed.insert((after.changed, name.clone()))),
            None => {
                if let Some(went) = named.went() {
                    named.gone = Some(went);
                    self.gone.insert(went, name.clone());
                }
            }
        }
        named.served = after;
        self.bound_gone();
        is_seen
    }

    fn bound_gone(&mut self) {
        while self.gone.len() > GONE_MAX {
            let Some((revision, name)) = self.gone.pop_first() else {
                return;
            };
            self.devices.remove(&name);
            self.floor = self.floor.max(revision);
        }
    }

    /// The device of a name.
    #[must_use]
    pub fn get(&self, name: &DeviceName) -> Option<&Arc<Device>> {
        self.devices.get(name)?.served.as_ref()
    }

    /// All devices, in order of their names.
    pub fn devices(&self) -> impl Iterator<Item = (&DeviceName, &Arc<Device>)> {
        self.devices
            .iter()
            .filter_map(|(name, named)| Some((name, named.served.as_ref()?)))
    }

    /// All models, in order of their names.
    pub fn models(&self) -> impl Iterator<Item = (&DeviceName, &Arc<Json>)> {
        self.models
            .iter()
            .filter_map(|(name, model)| Some((name, model.served.as_ref()?)))
    }

    /// The devices that changed after a revision, in order of their last change. One that came
    /// under a known name with another uid is another device.
    pub fn changed_after(&self, after: Revision) -> impl Iterator<Item = &Arc<Device>> {
        self.changed
            .iter()
            .rev()
            .take_while(move |(revision, _)| *revision > after)
            .filter_map(|(_, name)| self.get(name))
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
    }

    /// The names that lost their device after a revision and have no other, in that order. Not
    /// complete below [`Twins::floor`]: list anew.
    pub fn gone_after(&self, after: Revision) -> impl Iterator<Item = (&DeviceName, Revision)> {
        self.gone
            .range((Bound::Excluded(after), Bound::Unbounded))
            .map(|(revision, name)| (name, *revision))
    }

    /// What went up to here is forgotten.
    #[must_use]
    pub const fn floor(&self) -> Revision {
        self.floor
    }

    /// The revision that the state covers.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// Says that everything durable up to `revision` has been applied.
    pub fn cover(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }
}

/// The twins of `node` from the newest records of its streams: what [`Twins::apply`] of all their
/// records gives.
///
/// # Errors
/// [`ReadError`] when the store cannot be read.
pub fn rebuild_twins(store: &dyn Store, node: &NodeName) -> Result<Twins, ReadError> {
    let mut twins = Twins::new();
    let durable = store.watermarks().durable;
    for stream in [StreamId::down(node.clone()), StreamId::up(node.clone())] {
        if store.stream(&stream)?.is_none() {
            continue;
        }
        let mut last: Option<(Key, Slot)> = None;
        loop {
            let after = last.as_ref().map(|(key, slot)| (key, *slot));
            let page = store.scan_newest(&stream, after, ReadLimit::SCAN)?;
            for stored in &page {
                twins.apply(&stream, stored);
            }
            let header = page.last().map(|stored| &stored.record.header);
            last = header.map(|header| (header.key.clone(), header.op.slot()));
            if last.is_none() {
                break;
            }
        }
    }
    twins.floor = durable;
    twins.cover(durable);
    Ok(twins)
}
