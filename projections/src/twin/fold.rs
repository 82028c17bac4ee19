//! The devices of one node with their twins: a fold of its two streams.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use causeway_log::error::ReadError;
use causeway_log::store::ReadLimit;
use causeway_log::{Direction, Key, NodeName, Op, Revision, Slot, Store, Stored, StreamId, Uid};
use serde_json::Value as Json;

use super::history::{HISTORY_ANNOTATION, Policies, PolicyError};
use super::{Desired, GROUP, Reported, Rules, Twin};

/// Devices, and models, that are gone and remembered: for who asks what went, and against records
/// that come late.
const GONE_MAX: usize = 256;
/// Lives of one name that are remembered.
const LIVES_MAX: usize = 8;

/// Names a device on its node.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceName {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name there.
    pub name: Arc<str>,
}

impl DeviceName {
    /// The device `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The name that a key has, of whatever kind.
    #[must_use]
    pub fn of(key: &Key) -> Self {
        Self {
            namespace: Arc::clone(&key.namespace),
            name: Arc::clone(&key.name),
        }
    }
}

impl fmt::Display for DeviceName {
    /// `namespace/name`, which is how KubeEdge's topics name a device.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A device as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Key of the Device object, in this life.
    pub key: Key,
    /// The Device as the cloud wants it; null when its body is no JSON.
    pub object: Arc<Json>,
    /// The DeviceModel that it names, once there is one.
    pub model: Option<Arc<Json>>,
    /// What both say of its properties.
    pub rules: Arc<Rules>,
    /// Which of its readings are kept. None when the annotation says nothing, or nonsense.
    pub policies: Arc<Policies>,
    /// What is wrong with the annotation.
    pub policy_error: Option<PolicyError>,
    /// Both sides of its twin.
    pub twin: Twin,
    /// When anything of this last changed.
    pub changed: Revision,
}

impl Device {
    /// How the device is called on its node.
    #[must_use]
    pub fn name(&self) -> DeviceName {
        DeviceName::of(&self.key)
    }
}

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

/// All lives of the name of a device.
#[derive(Debug, Default)]
struct Named {
    lives: Vec<Life>,
    served: Option<Arc<Device>>,
    /// Where the name stands among those that are gone.
    gone: Option<Revision>,
}

#[derive(Debug, Default)]
struct Life {
    uid: Uid,
    object: Option<Object>,
    desired: Option<(Revision, Arc<Desired>)>,
    reported: Option<(Revision, Arc<Reported>)>,
    /// The node ended its report.
    ended: Option<Revision>,
}

/// What the cloud last said of an object.
#[derive(Clone, Debug)]
struct Object {
    revision: Revision,
    since: Revision,
    /// `None`: it is gone.
    body: Option<Arc<Json>>,
}

#[derive(Debug, Default)]
struct Model {
    lives: Vec<(Uid, Object)>,
    served: Option<Arc<Json>>,
    changed: Revision,
}

impl Object {
    fn of(stored: &Stored) -> Self {
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
    fn rank(&self) -> Option<Revision> {
        (self.body.is_some() || self.since < self.revision).then_some(self.since)
    }
}

impl Life {
    fn reported(&self) -> Option<&(Revision, Arc<Reported>)> {
        let reported = self.reported.as_ref()?;
        self.ended
            .is_none_or(|ended| ended < reported.0)
            .then_some(reported)
    }

    /// Takes a layer over when it is newer than the one held.
    fn layer<T>(held: &mut Option<(Revision, T)>, revision: Revision, new: T) -> bool {
        let is_newer = held.as_ref().is_none_or(|(held, _)| *held < revision);
        if is_newer {
            *held = Some((revision, new));
        }
        is_newer
    }
}

impl Named {
    fn life(&mut self, uid: &Uid) -> &mut Life {
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
    fn alive(&self) -> Option<(&Life, &Object, &Arc<Json>)> {
        let objects = self.lives.iter().filter_map(|life| {
            let object = life.object.as_ref()?;
            Some((object.rank()?, life, object))
        });
        let (_, life, object) = objects.max_by_key(|(rank, ..)| *rank)?;
        Some((life, object, object.body.as_ref()?))
    }

    /// When the last object of the name went.
    fn went(&self) -> Option<Revision> {
        let objects = self.lives.iter().filter_map(|life| life.object.as_ref());
        let gone = objects.filter(|object| object.body.is_none());
        gone.map(|object| object.revision).max()
    }
}

impl Model {
    fn absorb(&mut self, uid: &Uid, object: Object) -> bool {
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
            ("devices", Direction::Down, Op::Put | Op::Delete) => {
                self.absorb(stored, true, |life| {
                    let object = Object::of(stored);
                    let held = life.object.as_ref();
                    let is_newer = held.is_none_or(|held| held.revision < object.revision);
                    if is_newer {
                        life.object = Some(object);
                    }
                    is_newer
                })
            }
            ("devices", Direction::Up, Op::Delete) => self.absorb(stored, false, |life| {
                let is_newer = life.ended < Some(stored.revision);
                life.ended = life.ended.max(Some(stored.revision));
                is_newer
            }),
            ("devices", Direction::Down, Op::Twin) => self.absorb(stored, false, |life| {
                let desired = Desired::decode(stored.record.body.bytes()).unwrap_or_default();
                Life::layer(&mut life.desired, stored.revision, Arc::new(desired))
            }),
            ("devices", Direction::Up, Op::Twin) => {
                let reported = Reported::decode(stored.record.body.bytes()).unwrap_or_default();
                self.apply_reported(stored, Arc::new(reported))
            }
            ("devicemodels", Direction::Down, Op::Put | Op::Delete) => self.absorb_model(stored),
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

/// The model that a device names.
fn model_of(device: &Json) -> Option<&str> {
    device["spec"]["deviceModelRef"]["name"].as_str()
}

fn twin_of(life: &Life) -> Twin {
    let desired = life
        .desired
        .as_ref()
        .map(|(_, desired)| Arc::clone(desired));
    let reported = life.reported().map(|(_, reported)| Arc::clone(reported));
    Twin {
        desired: desired.unwrap_or_default(),
        reported: reported.unwrap_or_default(),
    }
}

/// When the layers of a life last changed.
fn changed(life: &Life, object: Revision, model: Option<&Model>) -> Revision {
    let layers = [
        Some(object),
        life.desired.as_ref().map(|(revision, _)| *revision),
        life.reported.as_ref().map(|(revision, _)| *revision),
        life.ended,
        model.map(|model| model.changed),
    ];
    layers.into_iter().flatten().max().unwrap_or_default()
}

fn model_at<'a>(
    models: &'a BTreeMap<DeviceName, Model>,
    key: &Key,
    device: &Json,
) -> Option<&'a Model> {
    let name = DeviceName {
        namespace: Arc::clone(&key.namespace),
        name: model_of(device)?.into(),
    };
    models.get(&name)
}

/// The same device with its twin as it is now.
fn with_twin(
    before: &Device,
    life: &Life,
    object: Revision,
    models: &BTreeMap<DeviceName, Model>,
) -> Device {
    let model = model_at(models, &before.key, &before.object);
    Device {
        twin: twin_of(life),
        changed: changed(life, object, model),
        ..before.clone()
    }
}

fn compose(
    life: &Life,
    object: Revision,
    body: &Arc<Json>,
    key: &Key,
    models: &BTreeMap<DeviceName, Model>,
) -> Device {
    let model = model_at(models, key, body);
    let annotation = &body["metadata"]["annotations"][HISTORY_ANNOTATION];
    let policies = Policies::parse(annotation.as_str().unwrap_or_default());
    let (policies, policy_error) = match policies {
        Ok(policies) => (policies, None),
        Err(error) => (Policies::default(), Some(error)),
    };
    let served = model.and_then(|model| model.served.as_ref());
    Device {
        key: Key {
            uid: life.uid.clone(),
            ..key.clone()
        },
        object: Arc::clone(body),
        model: served.cloned(),
        rules: Arc::new(Rules::of(body, served.map(|model| &**model))),
        policies: Arc::new(policies),
        policy_error,
        twin: twin_of(life),
        changed: changed(life, object, model),
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
