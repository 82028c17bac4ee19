//! The physics of a room.

use std::time::Duration;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn spec() -> RoomSpec {
    RoomSpec::of(&crate::Settings::default()).unwrap()
}

#[test]
fn a_room_reaches_its_target_and_stays_in_its_band() {
    let mut room = Room::new(spec());
    room.aim(21.0);
    room.pass(10 * MINUTE);
    for _ in 0..600 {
        room.pass(Duration::from_secs(1));
        let off = (room.temperature() - 21.0).abs();
        // The heater moves at most power / inertia degrees a second past the band's edge.
        assert!(off <= 0.25 + 0.5, "{}", room.temperature());
    }
}

#[test]
fn without_a_heater_it_cools_to_the_outside() {
    let mut room = Room::new(spec());
    room.aim(-100.0);
    room.pass(MINUTE);
    // One inertia: 37 % of the difference is left.
    let left = (room.temperature() - 5.0) / 13.0;
    assert!((left - (-1.0_f64).exp()).abs() < 1e-6, "{left}");
    room.pass(100 * MINUTE);
    assert!((room.temperature() - 5.0).abs() < 1e-6);
    assert!(!room.is_heating());
}

#[test]
fn the_steps_in_which_time_passes_do_not_matter() {
    let mut fine = Room::new(spec());
    let mut coarse = Room::new(spec());
    for room in [&mut fine, &mut coarse] {
        room.aim(100.0);
    }
    (0..120).for_each(|_| fine.pass(Duration::from_millis(500)));
    coarse.pass(MINUTE);
    assert!((fine.temperature() - coarse.temperature()).abs() < 1e-9);
}

#[test]
fn a_heater_can_only_do_so_much() {
    let mut room = Room::new(spec());
    room.aim(1000.0);
    room.pass(Duration::MAX);
    assert!((room.temperature() - 35.0).abs() < 1e-6);
    assert!(room.is_heating());
}
