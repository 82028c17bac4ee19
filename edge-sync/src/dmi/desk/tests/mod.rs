//! The desk, with mappers that are no more than what they were told.

mod chance;
mod doubt;
mod input;
mod mappers;
mod telling;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use causeway_projections::twin::DeviceName;
use serde_json::{Value as Json, json};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const RATE: Rate = Rate {
    per_second: 10,
    burst: 3,
};

const LOST_AFTER: Duration = Duration::from_secs(30);

/// How a mapper behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    Absent,
    Silent,
    /// Refuses devices whose names begin with `bad`.
    Picky,
}

/// A mapper that obeys.
#[derive(Debug)]
struct Fake {
    mood: Mood,
    /// What it serves: the desired value of each device.
    devices: BTreeMap<String, String>,
    models: BTreeMap<String, Json>,
}

/// A desk and its mappers.
struct World {
    desk: Desk,
    mappers: BTreeMap<String, Fake>,
    now: Duration,
    /// Calls that were obeyed or refused, since last looked at.
    calls: Vec<String>,
}

impl World {
    fn new() -> Self {
        Self {
            desk: Desk::restore(Saved::empty(), RATE, LOST_AFTER, Duration::ZERO),
            mappers: BTreeMap::new(),
            now: Duration::ZERO,
            calls: Vec::new(),
        }
    }

    /// The daemon is started anew with what is on disk.
    fn restart(&mut self, devices: &[(&str, Described)]) {
        let saved = Saved::decode(&self.desk.save().encode()).unwrap();
        self.desk = Desk::restore(saved, RATE, LOST_AFTER, self.now);
        let devices = devices
            .iter()
            .map(|(device, described)| (name(device), described.clone()));
        assert!(self.desk.list(devices, self.now).is_empty());
    }

    /// A new process of a mapper registers.
    fn start(&mut self, mapper: &str, with_data: bool) -> MapperId {
        self.mappers.insert(
            mapper.to_owned(),
            Fake {
                mood: Mood::Well,
                devices: BTreeMap::new(),
                models: BTreeMap::new(),
            },
        );
        self.register(mapper, with_data)
    }

    fn register(&mut self, mapper: &str, with_data: bool) -> MapperId {
        let id = self.desk.register(info(mapper), with_data, &[], self.now);
        let id = id.unwrap();
        if with_data {
            let answer = self.desk.answer(id);
            let fake = self.mappers.get_mut(mapper).unwrap();
            let served = answer
                .device_list
                .iter()
                .map(|it| (it.name.clone(), wish(it)));
            fake.devices = served.collect();
            let models = answer.model_list.iter();
            fake.models = models.map(|it| (it.name.clone(), Json::Null)).collect();
        }
        id
    }

    fn mood(&mut self, mapper: &str, mood: Mood) {
        self.mappers.get_mut(mapper).unwrap().mood = mood;
    }

    fn set(&mut self, device: &str, described: Described) {
        self.desk
            .device(&name(device), described, self.now)
            .unwrap();
    }

    /// Lets time pass, and all calls in it be made.
    fn run(&mut self, time: Duration) -> Vec<String> {
        let end = self.now + time;
        loop {
            while let Some(errand) = self.desk.poll(self.now) {
                self.obey(errand);
            }
            match self.desk.timeout(self.now).filter(|next| *next <= end) {
                Some(next) => {
                    assert!(next > self.now, "it would never rest");
                    self.now = next;
                }
                None => break,
            }
        }
        self.now = end;
        std::mem::take(&mut self.calls)
    }

    fn obey(&mut self, errand: Errand) {
        let mapper = self.desk.info(errand.mapper).unwrap().name.clone();
        let fake = self.mappers.get_mut(&mapper).unwrap();
        let outcome = match fake.mood {
            Mood::Absent => Outcome::Absent,
            Mood::Silent => Outcome::Silent,
            Mood::Well | Mood::Picky => fake.obey(&errand.call),
        };
        let is_ask = matches!(errand.call, Call::Ask(_));
        if matches!(fake.mood, Mood::Well | Mood::Picky) && !is_ask {
            let no = if outcome == Outcome::Done { "" } else { " no" };
            self.calls.push(format!("{mapper}: {}{no}", errand.call));
        }
        self.desk.answered(errand, outcome, self.now, 0.5);
    }

    /// Which devices a mapper serves.
    fn served(&self, mapper: &str) -> Vec<&str> {
        self.mappers[mapper]
            .devices
            .keys()
            .map(String::as_str)
            .collect()
    }
}

impl Fake {
    fn obey(&mut self, call: &Call) -> Outcome {
        let refused = Outcome::Refused;
        match call {
            Call::CreateModel(model) | Call::UpdateModel(model) => {
                let name = model["metadata"]["name"].as_str().unwrap().to_owned();
                self.models.insert(name, (**model).clone());
            }
            Call::RemoveModel(name) => drop(self.models.remove(&*name.name)),
            Call::Register(described) | Call::Update(described) => {
                let message = described.message().unwrap();
                if self.mood == Mood::Picky && message.name.starts_with("bad") {
                    return refused(Refusal::Other);
                }
                let is_there = self.devices.contains_key(&message.name);
                let is_new = matches!(call, Call::Register(_));
                if is_new == is_there {
                    let why = if is_new {
                        Refusal::Exists
                    } else {
                        Refusal::Missing
                    };
                    return refused(why);
                }
                self.devices.insert(message.name.clone(), wish(&message));
            }
            Call::Remove(name) => {
                if self.devices.remove(&*name.name).is_none() {
                    return refused(Refusal::Missing);
                }
            }
            Call::Ask(Some(name)) if !self.devices.contains_key(&*name.name) => {
                return refused(Refusal::Missing);
            }
            Call::Ask(_) => {}
        }
        Outcome::Done
    }
}

/// What is desired of the first property of a device.
fn wish(device: &causeway_dmi::messages::Device) -> String {
    let spec = device.spec.as_ref().unwrap();
    let desired = spec.properties.first().and_then(|it| it.desired.clone());
    desired.unwrap_or_default().value
}

fn name(device: &str) -> DeviceName {
    DeviceName::new("default", device)
}

/// A mapper called by its protocol, a dash, and what tells it apart.
fn info(mapper: &str) -> Info {
    Info {
        name: mapper.to_owned(),
        protocol: mapper.split('-').next().unwrap().to_owned(),
        address: format!("/run/{mapper}.sock"),
        version: "1".to_owned(),
    }
}

fn object(device: &str, protocol: &str, desired: &str) -> Json {
    json!({
        "metadata": { "name": device, "namespace": "default" },
        "spec": {
            "deviceModelRef": { "name": "thermostat" },
            "protocol": { "protocolName": protocol },
            "properties": [{ "name": "target", "desired": { "value": desired } }],
        },
    })
}

fn model() -> Arc<Json> {
    Arc::new(json!({
        "metadata": { "name": "thermostat", "namespace": "default" },
        "spec": { "properties": [{ "name": "target", "type": "FLOAT" }] },
    }))
}

/// A device of a protocol.
fn device(device: &str, protocol: &str, desired: &str) -> Described {
    described(object(device, protocol, desired))
}

fn described(object: Json) -> Described {
    Described::new(Arc::new(object), Some(model()))
}
