//! Which mapper serves a device.

use super::*;

fn pinned(device: &str, mapper: &str) -> Described {
    let mut object = object(device, "modbus", "20");
    object["metadata"]["annotations"] = json!({ "causeway.dev/mapper": mapper });
    described(object)
}

#[test]
fn two_mappers_of_one_protocol_share_devices_and_each_keeps_its_own() {
    let mut world = World::new();
    world.start("modbus-1", true);
    world.set("a", device("a", "modbus", "20"));
    world.set("b", device("b", "modbus", "20"));
    world.run(SECOND);
    world.start("modbus-2", true);
    assert!(world.run(SECOND).is_empty(), "nothing moves");
    world.set("c", device("c", "modbus", "20"));
    world.set("d", device("d", "modbus", "20"));
    world.set("e", device("e", "opcua", "20"));
    world.run(SECOND);
    assert_eq!(world.served("modbus-1"), ["a", "b"]);
    assert_eq!(world.served("modbus-2"), ["c", "d"]);
    let counts = world.desk.counts();
    assert_eq!((counts.served, counts.unserved, counts.untold), (4, 1, 0));
}

#[test]
fn a_device_may_name_its_mapper() {
    let mut world = World::new();
    world.set("a", pinned("a", "modbus-2"));
    world.start("modbus-1", true);
    world.run(SECOND);
    assert!(world.served("modbus-1").is_empty());
    world.start("modbus-2", true);
    assert_eq!(world.served("modbus-2"), ["a"]);
    // Named anew, it moves: the old one lets go first.
    world.set("a", pinned("a", "modbus-1"));
    let told = [
        "modbus-2: RemoveDevice default/a",
        "modbus-1: CreateDeviceModel default/thermostat",
        "modbus-1: RegisterDevice default/a",
    ];
    let mut calls = world.run(SECOND);
    calls.retain(|it| !it.contains("RemoveDeviceModel"));
    calls.sort_by_key(|it| it.contains("modbus-1"));
    assert_eq!(calls, told);
}

#[test]
fn the_next_mapper_waits_until_the_last_one_let_go() {
    let mut world = World::new();
    world.start("modbus-1", true);
    world.start("modbus-2", true);
    world.set("a", pinned("a", "modbus-2"));
    world.run(SECOND);
    world.set("a", pinned("a", "modbus-1"));
    // The removal is under way.
    let mut removal = None;
    while let Some(errand) = world.desk.poll(world.now) {
        if matches!(errand.call, Call::Remove(_)) {
            removal = Some(errand);
        } else {
            world.obey(errand);
        }
    }
    assert!(world.served("modbus-1").is_empty());
    world.obey(removal.unwrap());
    world.run(SECOND);
    assert_eq!(world.served("modbus-1"), ["a"]);
    assert!(world.served("modbus-2").is_empty());
}

#[test]
fn devices_of_a_mapper_that_is_gone_go_to_another_and_stay() {
    let mut world = World::new();
    world.start("modbus-1", true);
    world.set("a", device("a", "modbus", "20"));
    world.run(SECOND);
    world.mood("modbus-1", Mood::Absent);
    world.run(600 * SECOND);
    world.start("modbus-2", true);
    assert_eq!(world.served("modbus-2"), ["a"]);
    // It comes back with what it had, and is told otherwise.
    world.mood("modbus-1", Mood::Well);
    world.run(60 * SECOND);
    assert!(world.served("modbus-1").is_empty());
    assert_eq!(world.served("modbus-2"), ["a"]);
}

#[test]
fn a_short_absence_and_one_of_all_move_nothing() {
    let mut world = World::new();
    world.start("modbus-1", true);
    world.start("modbus-2", true);
    world.set("a", device("a", "modbus", "20"));
    world.run(SECOND);
    world.mood("modbus-1", Mood::Absent);
    world.run(AWAY_AFTER);
    world.mood("modbus-1", Mood::Well);
    world.run(60 * SECOND);
    assert_eq!(world.served("modbus-1"), ["a"]);
    world.mood("modbus-1", Mood::Absent);
    world.mood("modbus-2", Mood::Absent);
    world.run(3600 * SECOND);
    world.mood("modbus-1", Mood::Well);
    world.run(60 * SECOND);
    assert_eq!(world.served("modbus-1"), ["a"]);
}

#[test]
fn registering_twice_makes_no_second_mapper() {
    let mut world = World::new();
    world.set("a", device("a", "modbus", "20"));
    let first = world.start("modbus-1", true);
    assert_eq!(world.register("modbus-1", true), first);
    assert_eq!(world.register("modbus-1", false), first);
    assert_eq!(world.desk.counts().mappers, 1);
    // Without data nobody knows what it holds: it is told, and changes nothing.
    let told = [
        "modbus-1: CreateDeviceModel default/thermostat",
        "modbus-1: RegisterDevice default/a no",
        "modbus-1: UpdateDevice default/a",
    ];
    assert_eq!(world.run(SECOND), told);
    assert_eq!(world.served("modbus-1"), ["a"]);
}

#[test]
fn who_takes_an_address_takes_the_devices() {
    let mut world = World::new();
    world.start("modbus-1", true);
    world.set("a", device("a", "modbus", "20"));
    world.run(SECOND);
    let other = Info {
        address: "/run/modbus-1.sock".to_owned(),
        ..info("modbus-2")
    };
    let id = world.desk.register(other, true, &[], world.now).unwrap();
    assert_eq!(world.desk.counts().mappers, 1);
    assert_eq!(world.desk.answer(id).device_list.len(), 1);
}

#[test]
fn a_mapper_that_moved_takes_its_devices_along() {
    let mut world = World::new();
    let first = world.start("modbus-1", true);
    world.start("modbus-2", true);
    world.set("a", device("a", "modbus", "20"));
    world.run(SECOND);
    let moved = Info {
        address: "/run/elsewhere.sock".to_owned(),
        ..info("modbus-1")
    };
    let namesakes = world.desk.namesakes(&moved);
    assert_eq!(namesakes, [(first, "/run/modbus-1.sock".to_owned())]);
    let id = world
        .desk
        .register(moved, true, &[first], world.now)
        .unwrap();
    assert_eq!(world.desk.answer(id).device_list.len(), 1);
    assert_eq!(world.desk.counts().mappers, 2);
    assert!(world.desk.info(first).is_none());
}

#[test]
fn a_mapper_may_come_back_for_another_protocol() {
    let mut world = World::new();
    world.start("modbus-1", true);
    world.start("modbus-2", true);
    world.set("a", device("a", "modbus", "20"));
    world.run(SECOND);
    assert_eq!(world.served("modbus-1"), ["a"]);
    let other = Info {
        protocol: "opcua".to_owned(),
        ..info("modbus-1")
    };
    world.desk.register(other, false, &[], world.now).unwrap();
    world.run(SECOND);
    assert!(world.served("modbus-1").is_empty());
    assert_eq!(world.served("modbus-2"), ["a"]);
}

#[test]
fn there_is_room_for_so_many_and_those_that_are_gone_make_room() {
    let mut world = World::new();
    for number in 0..MAPPERS_MAX {
        world.start(&format!("modbus-{number}"), true);
    }
    let more = world.desk.register(info("opcua-1"), true, &[], world.now);
    assert_eq!(more, Err(Full));
    world.mood("modbus-7", Mood::Absent);
    world.run(2 * ASK_PERIOD);
    world.start("opcua-1", true);
    let counts = world.desk.counts();
    assert_eq!((counts.mappers, counts.unreachable), (MAPPERS_MAX, 0));
}

#[test]
fn devices_beyond_the_bound_have_no_mapper() {
    let mut world = World::new();
    for number in 0..DEVICES_MAX {
        let name = format!("d{number}");
        world.set(&name, device(&name, "modbus", "20"));
    }
    let more = device("more", "modbus", "20");
    let more = world.desk.device(&name("more"), more, world.now);
    assert_eq!(more, Err(DeviceFault::TooMany));
    // The answer to a registration is bounded, too; the rest is told one by one.
    let id = world.start("modbus-1", true);
    assert_eq!(world.desk.info(id).unwrap().name, "modbus-1");
    world.run(SECOND);
    assert_eq!(world.served("modbus-1").len(), DEVICES_MAX);
}
