//! When nobody can say how devices are.

use super::*;

impl World {
    /// What twins are made to say now: each device with a sign. They say it from then on.
    fn doubts(&mut self) -> Vec<String> {
        let doubts = self.desk.doubts(self.now, usize::MAX);
        let said = doubts.iter().map(|doubt| {
            self.desk.shows(&doubt.device, doubt.is_doubted);
            let sign = if doubt.is_doubted { '?' } else { '!' };
            format!("{}{sign}", doubt.device.name)
        });
        said.collect()
    }
}

fn two_devices() -> World {
    let mut world = World::new();
    for device_name in ["a", "b"] {
        world.set(device_name, device(device_name, "modbus", "20"));
    }
    world.set("other", device("other", "opcua", "20"));
    world.start("modbus-1", true);
    world.run(SECOND);
    assert!(world.doubts().is_empty(), "all is known");
    world
}

/// Their mapper has been away for so long that it is lost.
fn two_in_doubt() -> World {
    let mut world = two_devices();
    world.mood("modbus-1", Mood::Absent);
    world.run(ASK_PERIOD + LOST_AFTER);
    assert_eq!(world.doubts(), ["a?", "b?"]);
    world
}

#[test]
fn devices_of_a_mapper_that_is_lost_are_in_doubt_until_it_is_heard() {
    for mood in [Mood::Absent, Mood::Silent] {
        let mut world = two_devices();
        world.mood("modbus-1", mood);
        world.run(ASK_PERIOD);
        assert!(world.doubts().is_empty(), "it may come back");
        world.run(LOST_AFTER);
        assert_eq!(world.doubts(), ["a?", "b?"]);
        assert_eq!(world.desk.counts().unknown, 2);
        world.run(600 * SECOND);
        assert!(world.doubts().is_empty(), "once is enough");
        world.mood("modbus-1", Mood::Well);
        world.run(60 * SECOND);
        assert_eq!(world.doubts(), ["a!", "b!"]);
        assert_eq!(world.desk.counts().unknown, 0);
    }
}

#[test]
fn a_mapper_that_is_started_anew_in_time_leaves_no_doubt() {
    let mut world = two_devices();
    world.mood("modbus-1", Mood::Absent);
    world.run(ASK_PERIOD + LOST_AFTER / 2);
    world.start("modbus-1", true);
    world.run(LOST_AFTER);
    assert!(world.doubts().is_empty());
}

#[test]
fn a_mapper_that_reports_is_heard_whether_it_answers_or_not() {
    let mut world = two_devices();
    world.mood("modbus-1", Mood::Silent);
    for _ in 0..20 {
        world.run(LOST_AFTER / 3);
        world.desk.pace(&name("a"), world.now);
        assert!(world.doubts().is_empty());
    }
    world.run(LOST_AFTER + 60 * SECOND);
    assert_eq!(world.doubts(), ["a?", "b?"]);
    world.desk.pace(&name("b"), world.now);
    assert_eq!(world.doubts(), ["a!", "b!"]);
}

#[test]
fn what_is_said_of_a_device_while_its_mapper_is_lost_stands() {
    let mut world = two_in_doubt();
    world.desk.shows(&name("a"), false);
    world.run(60 * SECOND);
    assert!(world.doubts().is_empty());
    // One that comes meanwhile is in doubt as others are.
    world.set("c", device("c", "modbus", "20"));
    assert_eq!(world.doubts(), ["c?"]);
}

#[test]
fn doubts_outlive_the_daemon() {
    let mut world = two_in_doubt();
    let devices = ["a", "b"].map(|it| (it, device(it, "modbus", "20")));
    let restart = |world: &mut World| {
        world.restart(&devices);
        devices
            .iter()
            .for_each(|(it, _)| world.desk.shows(&name(it), true));
    };
    restart(&mut world);
    world.run(600 * SECOND);
    assert!(world.doubts().is_empty(), "they are in doubt");
    restart(&mut world);
    assert!(world.doubts().is_empty(), "nobody was heard yet");
    world.mood("modbus-1", Mood::Well);
    world.run(SECOND);
    assert_eq!(world.doubts(), ["a!", "b!"]);
}

#[test]
fn a_device_that_moved_is_known_by_its_next_mapper() {
    let mut world = two_in_doubt();
    world.start("modbus-2", true);
    world.run(AWAY_AFTER + 60 * SECOND);
    assert_eq!(world.served("modbus-2"), ["a", "b"]);
    assert_eq!(world.doubts(), ["a!", "b!"]);
}

#[test]
fn what_could_not_be_written_is_decided_again() {
    let mut world = two_devices();
    world.mood("modbus-1", Mood::Absent);
    world.run(ASK_PERIOD + LOST_AFTER);
    let first = world.desk.doubts(world.now, 1);
    assert_eq!(first.len(), 1, "no more than asked for");
    let unwritten = first.into_iter().map(|doubt| doubt.device);
    world.desk.undecided(unwritten);
    assert_eq!(world.doubts(), ["a?", "b?"]);
}
