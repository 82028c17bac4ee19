//! What comes from outside: who mappers say they are, what is in the file, how fast they report.

use causeway_dmi::messages::MapperInfo;

use super::super::info::InvalidInfo;
use super::*;

fn message(change: impl FnOnce(&mut MapperInfo)) -> Result<Info, InvalidInfo> {
    let mut message = MapperInfo {
        name: "rooms".to_owned(),
        version: "1".to_owned(),
        api_version: "v1.0.0".to_owned(),
        protocol: "modbus".to_owned(),
        address: b"/run/rooms.sock".to_vec(),
        state: "ok".to_owned(),
    };
    change(&mut message);
    Info::of(Some(&message))
}

#[test]
fn a_mapper_says_who_it_is_or_hears_what_is_missing() {
    let info = message(|it| it.address = b"unix:///run/rooms.sock".to_vec()).unwrap();
    assert_eq!(info.address, "/run/rooms.sock");
    assert_eq!(Info::of(None), Err(InvalidInfo::Missing));
    let cases: [(Result<Info, InvalidInfo>, &str); 7] = [
        (message(|it| it.name.clear()), "mapper.name is empty"),
        (
            message(|it| it.protocol.clear()),
            "mapper.protocol is empty",
        ),
        (message(|it| it.address.clear()), "mapper.address is empty"),
        (
            message(|it| it.address = b"rooms.sock".to_vec()),
            "mapper.address is not the absolute path of a Unix socket",
        ),
        (
            message(|it| it.address = vec![b'/'; 108]),
            "mapper.address is longer than 107 bytes",
        ),
        (
            message(|it| it.name = "x".repeat(254)),
            "mapper.name is longer than 253 bytes",
        ),
        (
            message(|it| it.address = vec![b'/', 0xff]),
            "mapper.address has control characters, or is no UTF-8",
        ),
    ];
    for (read, what) in cases {
        assert_eq!(read.unwrap_err().to_string(), what);
    }
}

#[test]
fn the_file_is_read_as_it_was_written_or_not_at_all() {
    let mut world = World::new();
    world.start("modbus-1", true);
    world.set("a", device("a", "modbus", "20"));
    world.run(SECOND);
    world.desk.gone(&name("a"));
    let saved = world.desk.save();
    let bytes = saved.encode();
    assert_eq!(Saved::decode(&bytes).unwrap(), saved);
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.contains("default/a"), "what is to be removed: {text}");

    for length in 0..bytes.len() - 2 {
        assert!(Saved::decode(&bytes[..length]).is_err(), "cut at {length}");
    }
    let future = text.replace("\"version\": 1,", "\"version\": 2,");
    assert!(matches!(
        Saved::decode(future.as_bytes()),
        Err(SavedError::Version { found: 2 })
    ));
    let nowhere = text.replace("/run/modbus-1.sock", "modbus-1.sock");
    assert!(matches!(
        Saved::decode(nowhere.as_bytes()),
        Err(SavedError::Mapper(InvalidInfo::Address))
    ));
    let long = vec![b' '; FILE_BYTES_MAX + 1];
    assert!(matches!(
        Saved::decode(&long),
        Err(SavedError::TooLong { .. })
    ));
}

#[test]
fn only_what_changed_is_to_be_written() {
    let mut world = World::new();
    world.desk.list([], world.now);
    assert!(world.desk.take_saved().is_none());
    world.start("modbus-1", true);
    world.set("a", device("a", "modbus", "20"));
    assert!(world.desk.take_saved().is_some());
    world.run(SECOND);
    assert!(world.desk.take_saved().is_none(), "telling writes nothing");
    world.set("a", device("a", "modbus", "21"));
    world.run(SECOND);
    assert!(world.desk.take_saved().is_none(), "nor do values");
    world.desk.gone(&name("a"));
    assert!(world.desk.take_saved().is_some());
    world.run(SECOND);
    assert!(world.desk.take_saved().is_some(), "it let go");
}

#[test]
fn who_reports_too_fast_waits_and_others_do_not() {
    let mut world = World::new();
    world.set("a", device("a", "modbus", "20"));
    world.set("b", device("b", "opcua", "20"));
    world.start("modbus-1", true);
    world.start("opcua-1", true);
    let mut take = |device: &str, at| world.desk.pace(&name(device), at);
    let tenth = SECOND / 10;
    let waits: Vec<_> = (0..5).map(|_| take("a", SECOND)).collect();
    let zero = Duration::ZERO;
    assert_eq!(waits, [zero, zero, zero, tenth, 2 * tenth]);
    assert_eq!(take("b", SECOND), zero);
    assert_eq!(take("nobody's", SECOND), zero);
    // After a pause the burst is there again, and not more.
    let waits: Vec<_> = (0..4).map(|_| take("a", 100 * SECOND)).collect();
    assert_eq!(waits, [zero, zero, zero, tenth]);
}
