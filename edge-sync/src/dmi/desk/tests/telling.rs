//! What a mapper is told, and when.

use super::*;

#[test]
fn a_model_comes_before_its_devices_and_goes_after_them() {
    let mut world = World::new();
    world.start("modbus-1", false);
    world.set("hall", device("hall", "modbus", "20"));
    world.set("attic", device("attic", "modbus", "15"));
    let told = [
        "modbus-1: CreateDeviceModel default/thermostat",
        "modbus-1: RegisterDevice default/attic",
        "modbus-1: RegisterDevice default/hall",
    ];
    assert_eq!(world.run(SECOND), told);
    world.desk.gone(&name("hall"));
    assert_eq!(world.run(SECOND), ["modbus-1: RemoveDevice default/hall"]);
    world.desk.gone(&name("attic"));
    let last = [
        "modbus-1: RemoveDevice default/attic",
        "modbus-1: RemoveDeviceModel default/thermostat",
    ];
    assert_eq!(world.run(SECOND), last);
    assert_eq!(world.run(3600 * SECOND), [""; 0], "then there is rest");
}

#[test]
fn a_device_waits_for_its_model_and_its_mapper() {
    let mut world = World::new();
    let bare = Described::new(Arc::new(object("hall", "modbus", "20")), None);
    world.set("hall", bare.clone());
    assert_eq!(world.desk.counts().unserved, 1);
    world.start("modbus-1", true);
    assert!(world.run(SECOND).is_empty());
    assert_eq!(world.desk.counts().unready, 1);
    world.set("hall", device("hall", "modbus", "20"));
    assert_eq!(world.run(SECOND).len(), 2);
    assert_eq!(world.served("modbus-1"), ["hall"]);
    // What was told stands when the model goes.
    world.set("hall", bare);
    assert!(world.run(SECOND).is_empty());
    assert_eq!(world.served("modbus-1"), ["hall"]);
}

#[test]
fn a_device_that_names_no_model_needs_none() {
    let mut world = World::new();
    world.start("modbus-1", false);
    let mut object = object("hall", "modbus", "20");
    object["spec"]["deviceModelRef"] = Json::Null;
    world.set("hall", Described::new(Arc::new(object), None));
    assert_eq!(world.run(SECOND), ["modbus-1: RegisterDevice default/hall"]);
}

#[test]
fn only_what_matters_to_a_mapper_is_told() {
    let mut world = World::new();
    world.set("hall", device("hall", "modbus", "20"));
    world.start("modbus-1", true);
    world.set("hall", device("hall", "modbus", "21"));
    assert_eq!(world.run(SECOND), ["modbus-1: UpdateDevice default/hall"]);
    assert_eq!(world.mappers["modbus-1"].devices["hall"], "21");
    let mut labelled = object("hall", "modbus", "21");
    labelled["metadata"]["labels"] = json!({ "floor": "1" });
    world.set("hall", described(labelled));
    assert!(world.run(SECOND).is_empty());
    // Changes while a mapper hangs are told as one.
    world.mood("modbus-1", Mood::Silent);
    for desired in ["22", "23", "24"] {
        world.set("hall", device("hall", "modbus", desired));
        world.run(SECOND);
    }
    world.mood("modbus-1", Mood::Well);
    assert_eq!(
        world.run(60 * SECOND),
        ["modbus-1: UpdateDevice default/hall"]
    );
    assert_eq!(world.mappers["modbus-1"].devices["hall"], "24");
}

#[test]
fn a_model_that_changes_is_told_with_its_devices() {
    let mut world = World::new();
    world.set("hall", device("hall", "modbus", "20"));
    world.start("modbus-1", true);
    let mut wider = (*model()).clone();
    wider["spec"]["properties"][0]["maximum"] = json!("30");
    let object = Arc::new(object("hall", "modbus", "20"));
    world.set("hall", Described::new(object, Some(Arc::new(wider))));
    let told = [
        "modbus-1: UpdateDeviceModel default/thermostat",
        "modbus-1: UpdateDevice default/hall",
    ];
    assert_eq!(world.run(SECOND), told);
}

#[test]
fn a_device_that_is_refused_holds_up_no_other_and_is_tried_again() {
    let mut world = World::new();
    world.start("modbus-1", true);
    world.mood("modbus-1", Mood::Picky);
    world.set("bad", device("bad", "modbus", "20"));
    world.set("hall", device("hall", "modbus", "20"));
    let told = world.run(10 * SECOND);
    let tries = told
        .iter()
        .filter(|it| it.ends_with("default/bad no"))
        .count();
    assert!((3..10).contains(&tries), "{told:?}");
    assert_eq!(world.served("modbus-1"), ["hall"]);
    world.mood("modbus-1", Mood::Well);
    world.run(30 * SECOND);
    assert_eq!(world.served("modbus-1"), ["bad", "hall"]);
}

#[test]
fn a_mapper_that_hangs_holds_up_no_other() {
    let mut world = World::new();
    world.start("modbus-1", true);
    world.start("opcua-1", true);
    world.mood("modbus-1", Mood::Silent);
    world.set("hall", device("hall", "modbus", "20"));
    world.set("pump", device("pump", "opcua", "7"));
    world.run(SECOND);
    assert_eq!(world.served("opcua-1"), ["pump"]);
    assert_eq!(world.desk.counts().unreachable, 1);
    // Who hangs is there: its devices stay its own.
    world.start("modbus-2", true);
    world.run(600 * SECOND);
    assert!(world.served("modbus-2").is_empty());
    world.mood("modbus-1", Mood::Well);
    world.run(30 * SECOND);
    assert_eq!(world.served("modbus-1"), ["hall"]);
}

#[test]
fn a_call_whose_fate_is_unknown_counts_as_obeyed_until_it_is_known() {
    let mut world = World::new();
    world.start("modbus-1", true);
    world.set("hall", device("hall", "modbus", "20"));
    let model = world.desk.poll(world.now).unwrap();
    world.obey(model);
    let errand = world.desk.poll(world.now).unwrap();
    assert!(matches!(errand.call, Call::Register(_)));
    // It was obeyed, and the answer was lost; then the device went.
    world
        .mappers
        .get_mut("modbus-1")
        .unwrap()
        .obey(&errand.call);
    world.desk.answered(errand, Outcome::Silent, world.now, 0.5);
    world.desk.gone(&name("hall"));
    let told = world.run(SECOND);
    assert_eq!(told.last().unwrap(), "modbus-1: RemoveDevice default/hall");
    assert!(world.served("modbus-1").is_empty());
}

#[test]
fn the_daemon_is_started_anew_while_its_mappers_live() {
    let mut world = World::new();
    world.start("modbus-1", true);
    world.start("modbus-2", true);
    let all = ["a", "b", "c", "d"].map(|it| (it, device(it, "modbus", "20")));
    for (name, described) in &all {
        world.set(name, described.clone());
    }
    world.run(SECOND);
    assert_eq!(world.served("modbus-1"), ["a", "c"]);
    assert_eq!(world.served("modbus-2"), ["b", "d"]);
    // Meanwhile one went, and one changed.
    let left = [
        ("a", device("a", "modbus", "25")),
        ("b", device("b", "modbus", "20")),
        ("d", device("d", "modbus", "20")),
    ];
    world.restart(&left);
    world.run(SECOND);
    assert_eq!(world.served("modbus-1"), ["a"]);
    assert_eq!(world.served("modbus-2"), ["b", "d"]);
    assert_eq!(world.mappers["modbus-1"].devices["a"], "25");
    assert!(world.run(3600 * SECOND).is_empty());
}

#[test]
fn an_answer_to_a_registration_of_before_is_passed_over() {
    let mut world = World::new();
    world.start("modbus-1", true);
    world.set("hall", device("hall", "modbus", "20"));
    let model = world.desk.poll(world.now).unwrap();
    world.obey(model);
    let late = world.desk.poll(world.now).unwrap();
    // The process died with the call, and another one registers without asking for data.
    world.start("modbus-1", false);
    world.desk.answered(late, Outcome::Done, world.now, 0.5);
    world.run(SECOND);
    assert_eq!(world.served("modbus-1"), ["hall"]);
}

#[test]
fn a_mapper_that_was_started_anew_in_silence_is_found_out() {
    let mut world = World::new();
    world.start("modbus-1", true);
    world.set("hall", device("hall", "modbus", "20"));
    world.set("attic", device("attic", "modbus", "20"));
    world.run(SECOND);
    let fake = world.mappers.get_mut("modbus-1").unwrap();
    fake.devices.clear();
    fake.models.clear();
    world.run(2 * ASK_PERIOD);
    assert_eq!(world.served("modbus-1"), ["attic", "hall"]);
    assert_eq!(world.mappers["modbus-1"].models.len(), 1);
}

#[test]
fn a_device_that_cannot_be_said_is_named_and_what_was_told_stands() {
    let mut world = World::new();
    world.start("modbus-1", true);
    world.set("hall", device("hall", "modbus", "20"));
    world.run(SECOND);
    let mut nested = object("hall", "modbus", "21");
    nested["spec"]["protocol"]["configData"] = json!({ "slaves": [1, 2] });
    let fault = world
        .desk
        .device(&name("hall"), described(nested), world.now);
    assert!(matches!(fault, Err(DeviceFault::Unsayable(_))));
    assert!(world.run(SECOND).is_empty());
    assert_eq!(world.mappers["modbus-1"].devices["hall"], "20");
}
