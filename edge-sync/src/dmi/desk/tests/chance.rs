//! Histories by chance: when all is calm again, every mapper serves exactly its devices as they are,
//! and every device that can be served is served once, and none that is served is in doubt.

use super::*;

const DEVICES: [&str; 6] = ["a", "b", "c", "d", "bad-1", "bad-2"];
const MAPPERS: [&str; 4] = ["modbus-1", "modbus-2", "modbus-3", "opcua-1"];
const MOODS: [Mood; 4] = [Mood::Well, Mood::Absent, Mood::Silent, Mood::Picky];

struct History {
    world: World,
    random: fastrand::Rng,
    /// What there is.
    devices: BTreeMap<&'static str, Described>,
    /// What their twins say: that they are in doubt.
    doubted: BTreeMap<DeviceName, bool>,
}

impl History {
    fn new(seed: u64) -> Self {
        Self {
            world: World::new(),
            random: fastrand::Rng::with_seed(seed),
            devices: BTreeMap::new(),
            doubted: BTreeMap::new(),
        }
    }

    /// Twins say what they are to say.
    fn doubt(&mut self) {
        for doubt in self.world.desk.doubts(self.world.now, 2) {
            self.world.desk.shows(&doubt.device, doubt.is_doubted);
            self.doubted.insert(doubt.device, doubt.is_doubted);
        }
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.random.usize(..all.len())]
    }

    fn step(&mut self) {
        let (device, mapper) = (self.one_of(&DEVICES), self.one_of(&MAPPERS));
        match self.random.u8(..10) {
            0..=3 => {
                let protocol = self.one_of(&["modbus", "modbus", "opcua"]);
                let desired = self.random.u8(..100).to_string();
                let mut object = object(device, protocol, &desired);
                if self.random.u8(..5) == 0 {
                    let annotations = json!({ "causeway.dev/mapper": mapper });
                    object["metadata"]["annotations"] = annotations;
                }
                let model = (self.random.u8(..5) > 0).then(model);
                let described = Described::new(Arc::new(object), model);
                self.devices.insert(device, described.clone());
                self.world.set(device, described);
            }
            4 => {
                self.devices.remove(device);
                self.doubted.remove(&name(device));
                self.world.desk.gone(&name(device));
            }
            5 => drop(self.world.start(mapper, self.random.bool())),
            6 => {
                if self.world.mappers.contains_key(mapper) {
                    let mood = self.one_of(&MOODS);
                    self.world.mood(mapper, mood);
                }
            }
            7 => {
                let devices: Vec<_> = self.devices.clone().into_iter().collect();
                self.world.restart(&devices);
                for (device, is_doubted) in &self.doubted {
                    self.world.desk.shows(device, *is_doubted);
                }
            }
            _ => {
                let time = SECOND * u32::from(self.random.u8(..100));
                self.world.run(time);
                self.doubt();
            }
        }
    }

    /// All is well again, for long enough.
    fn calm(&mut self) {
        for fake in self.world.mappers.values_mut() {
            fake.mood = Mood::Well;
        }
        self.world.run(600 * SECOND);
        (0..DEVICES.len()).for_each(|_| self.doubt());
        assert!(self.world.run(600 * SECOND).is_empty(), "it rests");
    }

    fn check(&self) {
        for (device, described) in &self.devices {
            let holders: Vec<_> = self
                .world
                .mappers
                .iter()
                .filter(|(_, fake)| fake.devices.contains_key(*device))
                .collect();
            let fits = |mapper: &&&str| described.is_for(&info(mapper));
            let is_registered = |mapper: &&&str| self.world.mappers.contains_key(**mapper);
            let can_be = MAPPERS.iter().filter(is_registered).any(|it| fits(&it));
            assert!(holders.len() <= 1, "{device} is served by {holders:?}");
            if can_be && described.is_whole() {
                let (mapper, fake) = holders.first().expect("it can be served");
                assert!(described.is_for(&info(mapper)), "{device}: {mapper}");
                let wanted = wish(&described.message().unwrap());
                assert_eq!(fake.devices[*device], wanted, "{device} at {mapper}");
                let is_doubted = self.doubted.get(&name(device)).copied();
                assert!(!is_doubted.unwrap_or_default(), "{device} is served");
            }
        }
        for (mapper, fake) in &self.world.mappers {
            let unknown = fake
                .devices
                .keys()
                .find(|it| !self.devices.contains_key(it.as_str()));
            assert_eq!(unknown, None, "{mapper} serves what is gone");
        }
    }
}

#[test]
fn in_the_end_every_mapper_serves_exactly_its_devices() {
    for seed in 0..200 {
        let told = std::panic::catch_unwind(|| {
            let mut history = History::new(seed);
            for _ in 0..60 {
                history.step();
            }
            history.calm();
            history.check();
        });
        assert!(told.is_ok(), "seed {seed}");
    }
}
