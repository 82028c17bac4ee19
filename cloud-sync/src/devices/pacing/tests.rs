use std::collections::BTreeMap;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn pacing(per_second: u32) -> Pacing {
    Pacing::new(Pace {
        per_second,
        under_way_max: 4,
    })
}

fn name(name: &str) -> DeviceName {
    DeviceName::new("shop", name)
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

#[test]
fn a_device_rests_for_its_interval_and_what_happens_meanwhile_is_one_write() {
    let mut pacing = pacing(1000);
    let oven = name("oven");
    for _ in 0..3 {
        pacing.mark(oven.clone());
    }
    assert_eq!(pacing.start(Duration::ZERO), Some(oven.clone()));
    assert_eq!(pacing.start(Duration::ZERO), None, "under way");
    // Marked while it is under way.
    pacing.mark(oven.clone());
    pacing.finish(
        &oven,
        Some(node("n1")),
        Ending::Written(10 * SECOND),
        SECOND,
    );
    assert_eq!(pacing.wake(), Some(11 * SECOND));
    assert_eq!(pacing.start(10 * SECOND), None);
    assert_eq!(pacing.start(11 * SECOND), Some(oven.clone()));
    pacing.finish(&oven, Some(node("n1")), Ending::Same, 11 * SECOND);
    assert_eq!((pacing.wake(), pacing.waiting()), (None, 0));
}

#[test]
fn nothing_is_looked_at_again_unless_it_is_marked_or_was_to_be() {
    let mut pacing = pacing(1000);
    let oven = name("oven");
    pacing.mark(oven.clone());
    pacing.start(Duration::ZERO).unwrap();
    pacing.finish(&oven, None, Ending::Later(60 * SECOND), Duration::ZERO);
    assert_eq!(pacing.start(59 * SECOND), None);
    pacing.mark(oven.clone());
    assert_eq!(
        pacing.start(SECOND),
        Some(oven.clone()),
        "a mark counts at once"
    );
    pacing.finish(&oven, None, Ending::Later(60 * SECOND), SECOND);
    assert_eq!(pacing.start(60 * SECOND), Some(oven));
}

#[test]
fn a_failure_is_tried_again_and_what_is_gone_is_forgotten() {
    let mut pacing = pacing(1000);
    let oven = name("oven");
    pacing.mark(oven.clone());
    pacing.start(Duration::ZERO).unwrap();
    pacing.finish(&oven, None, Ending::Failed(5 * SECOND), Duration::ZERO);
    assert_eq!(pacing.start(4 * SECOND), None);
    assert_eq!(pacing.start(5 * SECOND), Some(oven.clone()));
    pacing.finish(&oven, None, Ending::Gone, 5 * SECOND);
    assert!(pacing.devices.is_empty() && pacing.waiting.is_empty());
    // One that came back while it was looked at is looked at again.
    pacing.mark(oven.clone());
    pacing.start(6 * SECOND).unwrap();
    pacing.mark(oven.clone());
    pacing.finish(&oven, None, Ending::Gone, 6 * SECOND);
    assert_eq!(pacing.start(6 * SECOND), Some(oven));
}

#[test]
fn all_devices_together_have_a_rate() {
    let mut pacing = pacing(2);
    for n in 0..100 {
        pacing.mark(name(&format!("d{n}")));
    }
    let mut written = 0;
    for millis in (0..10_000).step_by(10) {
        let now = Duration::from_millis(millis);
        while let Some(name) = pacing.start(now) {
            pacing.finish(&name, Some(node("n1")), Ending::Written(SECOND), now);
            written += 1;
        }
    }
    assert_eq!(written, 20);
}

/// A hundred devices with three reports a second each, looked at all the time: the bound that is
/// promised holds for every minute, whatever the luck.
#[test]
fn a_hundred_noisy_devices_are_six_hundred_writes_a_minute_at_most() {
    let mut pacing = pacing(50);
    let devices: Vec<DeviceName> = (0..100).map(|n| name(&format!("d{n}"))).collect();
    let mut minutes: BTreeMap<u64, u32> = BTreeMap::new();
    for tick in 0..3000_u64 {
        let now = Duration::from_millis(tick * 100);
        for device in &devices {
            pacing.mark(device.clone());
        }
        while let Some(name) = pacing.start(now) {
            // Intervals are only ever drawn out.
            let jitter = (tick % 11) * 100;
            let interval = 10 * SECOND + Duration::from_millis(jitter);
            pacing.finish(&name, Some(node("n1")), Ending::Written(interval), now);
            *minutes.entry(now.as_secs() / 60).or_default() += 1;
        }
    }
    assert!(minutes.values().all(|writes| *writes <= 600), "{minutes:?}");
    assert!(minutes.values().all(|writes| *writes >= 500), "{minutes:?}");
}

#[test]
fn a_noisy_node_delays_another_by_one_turn() {
    let mut pacing = pacing(1000);
    let noisy: Vec<DeviceName> = (0..50).map(|n| name(&format!("noisy{n}"))).collect();
    let quiet = name("quiet");
    for (name, on) in noisy.iter().map(|it| (it, "n1")).chain([(&quiet, "n2")]) {
        pacing.mark(name.clone());
        let started = pacing.start(SECOND).unwrap();
        pacing.finish(&started, Some(node(on)), Ending::Same, SECOND);
    }
    for name in &noisy {
        pacing.mark(name.clone());
    }
    let now = 2 * SECOND;
    let first = pacing.start(now).unwrap();
    pacing.finish(&first, Some(node("n1")), Ending::Same, now);
    pacing.mark(quiet.clone());
    assert_eq!(pacing.start(now), Some(quiet));
}
