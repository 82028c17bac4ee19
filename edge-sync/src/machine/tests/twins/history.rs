//! Kept readings until the cloud has them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn config(bytes: u64, delay: Duration) -> TwinsConfig {
    TwinsConfig {
        history_bytes_max: bytes,
        history_delay: delay,
    }
}

/// What the cloud has of a device's temperatures: the values, and how many are missing before each.
fn arrived(bench: &Bench, device: &str) -> (Vec<u64>, u64) {
    let (mut next, mut dropped) = (Vec::new(), 0);
    for (key, chunk) in bench.chunks() {
        if &*key.name != device {
            continue;
        }
        dropped += chunk.dropped();
        for (_, readings) in chunk.series() {
            next.extend(readings.iter().map(|it| it.value.parse::<u64>().unwrap()));
        }
    }
    (next, dropped)
}

fn temperature(bench: &mut Bench, value: u64) -> Result<Told, ReportError> {
    bench.report(report_of("d", &[("temperature", says(&value.to_string()))]))
}

#[test]
fn readings_wait_for_each_other_and_travel_together() {
    let mut bench = Bench::with_device("d");
    bench.restart(config(1 << 20, Duration::from_secs(3600)));
    for value in 0..100 {
        temperature(&mut bench, value).unwrap();
    }
    assert!(bench.chunks().is_empty(), "it is not time yet");
    let due = *bench.twins.due().borrow();
    assert!(
        due.is_some_and(|due| due >= Duration::from_secs(3600)),
        "{due:?}"
    );
    bench.drain();
    assert!(bench.chunks().is_empty(), "nor is it because somebody asks");
    assert!(bench.metric("twin_history_waiting_bytes") > 0);

    bench.restart(config(1 << 20, Duration::ZERO));
    bench.drain();
    let chunks = bench.chunks();
    assert_eq!((chunks.len(), chunks[0].1.len()), (1, 100));
    assert_eq!(chunks[0].0.uid, device_key("d", 1).uid);
    assert_eq!(arrived(&bench, "d"), ((0..100).collect(), 0));
    assert_eq!(*bench.twins.due().borrow(), None);
    assert_eq!(bench.metric("twin_history_waiting_bytes"), 0);
    bench.restart(AT_ONCE);
    bench.drain();
    assert_eq!(bench.chunks().len(), 1, "once");
}

/// A store that takes no writes shows as gone what the round that failed would have removed: who
/// asked for readings meanwhile, forgot them until the next start.
#[test]
fn readings_outlive_a_disk_that_fails_as_they_are_sent_on() {
    let mut bench = Bench::with_device("d");
    bench.restart(config(1 << 20, Duration::from_secs(60)));
    temperature(&mut bench, 1).unwrap();
    bench.clock.0.store(100, Ordering::Relaxed);
    bench.store.disk().set_fault(Fault::SyncFails);
    bench.drain();
    assert!(bench.store.stats().read_only);
    bench.drain();
    assert!(temperature(&mut bench, 2).is_err(), "nothing is promised");
    assert!(bench.twins.due().borrow().is_some(), "what waits is due");
    bench.store.disk().heal();
    bench.store.try_recover().unwrap();
    temperature(&mut bench, 3).unwrap();
    bench.drain();
    assert_eq!(arrived(&bench, "d"), (vec![1, 3], 0));
    assert_eq!(bench.metric("twin_history_waiting_bytes"), 0);
    assert_eq!(*bench.twins.due().borrow(), None);
}

/// A count that only the process knows outlives a round that failed.
#[test]
fn a_count_outlives_a_disk_that_fails() {
    let mut bench = Bench::with_device("d");
    temperature(&mut bench, 7).unwrap();
    bench.restart(config(1, Duration::ZERO));
    for _ in 0..3 {
        temperature(&mut bench, 7).unwrap();
    }
    bench.store.disk().set_fault(Fault::SyncFails);
    assert!(temperature(&mut bench, 8).is_err());
    bench.store.disk().heal();
    bench.store.try_recover().unwrap();
    temperature(&mut bench, 9).unwrap();
    bench.restart(config(1 << 20, Duration::ZERO));
    temperature(&mut bench, 10).unwrap();
    assert_eq!(arrived(&bench, "d"), (vec![7, 10], 4));
}

/// However long the link is away, state that comes then waits behind a window of readings only.
#[test]
fn the_up_stream_holds_no_more_readings_than_the_window_until_they_are_acknowledged() {
    let mut bench = Bench::with_device("d");
    bench.restart(config(64 << 20, Duration::ZERO));
    let long = |number: u64| format!("{number}{}", "0".repeat(3000));
    let requests = (0..400).map(|number| {
        let report = [("temperature", says(&long(number + 1)))];
        reporting(report_of("d", &report)).0
    });
    for request in requests {
        assert!(bench.round([request]).is_none());
    }
    let unacked = |bench: &Bench| -> usize {
        let acked = bench.info(&up()).acked;
        let records = bench.up_records().into_iter();
        let facts = records.filter(|it| it.record.header.op == Op::Fact);
        let facts = facts.filter(|it| it.record.header.offset > acked);
        facts.map(|it| it.record.body.len()).sum()
    };
    assert!(
        unacked(&bench) <= 64 * 1024 + 20 * 1024,
        "{}",
        unacked(&bench)
    );
    let mut rounds = 0;
    loop {
        bench.ack();
        let readings: usize = bench.chunks().iter().map(|(_, chunk)| chunk.len()).sum();
        if readings == 400 {
            break;
        }
        rounds += 1;
        assert!(rounds < 20, "each acknowledgement makes room: {readings}");
    }
    let chunks = bench.chunks();
    let values = chunks.iter().flat_map(|(_, chunk)| chunk.series());
    let values = values
        .flat_map(|(_, readings)| readings)
        .map(|it| it.value.to_string());
    let expected = (0..400).map(|number| long(number + 1));
    assert!(values.eq(expected), "in order");
    assert_eq!(bench.metric("twin_readings_dropped"), 0);
}

#[test]
fn what_finds_no_room_is_counted_and_the_count_stands_where_it_is_missing() {
    let small = config(1000, Duration::from_secs(3600));
    let mut bench = Bench::with_device("d");
    bench.restart(small);
    for value in 0..100 {
        temperature(&mut bench, value).unwrap();
    }
    let dropped = bench.metric("twin_readings_dropped");
    assert!(dropped > 50 && dropped < 100, "{dropped}");
    assert_eq!(bench.metric("twin_readings_kept") + dropped, 100);
    let latest = bench.device("d").unwrap();
    let latest = latest
        .twin
        .reported
        .properties
        .value("temperature")
        .unwrap();
    assert_eq!(&*latest.value, "99", "the state is never given up");

    // The count survives a restart, as it was written with the reports.
    bench.restart(config(1000, Duration::ZERO));
    bench.drain();
    bench.ack();
    temperature(&mut bench, 100).unwrap();
    let (values, told) = arrived(&bench, "d");
    assert_eq!(told, dropped);
    let kept = 100 - dropped;
    assert_eq!(values, (0..kept).chain([100]).collect::<Vec<_>>());
    let counts: Vec<_> = bench
        .chunks()
        .iter()
        .map(|(_, it)| (it.len(), it.dropped()))
        .collect();
    let kept = usize::try_from(kept).unwrap();
    assert_eq!(counts, [(kept, 0), (0, dropped), (1, 0)]);
}

#[test]
fn what_was_given_up_is_told_though_nothing_comes_after() {
    let mut bench = Bench::with_device("d");
    bench.restart(config(1000, Duration::ZERO));
    bench.say("d", "target", says("20")).unwrap();
    while bench.metric("twin_readings_dropped") < 7 {
        temperature(&mut bench, 1).unwrap();
    }
    bench.ack();
    bench.drain();
    assert_eq!(arrived(&bench, "d").1, 7);
}

#[test]
fn readings_of_a_device_that_is_gone_still_arrive() {
    let mut bench = Bench::with_device("d");
    bench.restart(config(1 << 20, Duration::from_secs(3600)));
    temperature(&mut bench, 1).unwrap();
    bench.desire(&device_key("d", 1), Op::Delete, &Value::Null, None);
    bench.restart(AT_ONCE);
    bench.drain();
    assert_eq!(arrived(&bench, "d"), (vec![1], 0));
}

#[derive(Clone, Debug)]
enum Step {
    Report(usize, usize),
    FailedReport(usize),
    Ack,
    Drain,
    Restart(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2_usize, 1..20_usize).prop_map(|(device, count)| Step::Report(device, count)),
        1 => (0..2_usize).prop_map(Step::FailedReport),
        2 => Just(Step::Ack),
        2 => Just(Step::Drain),
        1 => any::<bool>().prop_map(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Through restarts, failed rounds and a bound that is too small: every reading that was
    /// answered arrives once and in order, or is counted where it is missing.
    #[test]
    fn every_reading_arrives_once_or_is_counted(
        steps in prop::collection::vec(step(), 0..60),
        bytes in 500_u64..4000,
    ) {
        let delays = [Duration::ZERO, Duration::from_secs(3600)];
        let mut bench = Bench::with_device("a");
        bench.desire(&device_key("b", 2), Op::Put, &device("b"), None);
        bench.restart(config(bytes, delays[0]));
        let mut said: BTreeMap<&str, u64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Report(device, count) => {
                    let device = ["a", "b"][device];
                    let next = said.entry(device).or_default();
                    let reports = (0..count).map(|_| {
                        *next += 1;
                        // The target changes each time, so that a count is written at once.
                        let value = says(&next.to_string());
                        reporting(report_of(
                            device,
                            &[("temperature", value.clone()), ("target", value)],
                        ))
                        .0
                    });
                    let reports: Vec<_> = reports.collect();
                    prop_assert!(bench.round(reports).is_none());
                }
                Step::FailedReport(device) => {
                    bench.store.disk().set_fault(Fault::Full);
                    let report = report_of(["a", "b"][device], &[("temperature", says("0"))]);
                    prop_assert!(bench.report(report).is_err());
                    bench.store.disk().heal();
                    bench.store.try_recover().unwrap();
                }
                Step::Ack => bench.ack(),
                Step::Drain => bench.drain(),
                Step::Restart(at_once) => {
                    bench.restart(config(bytes, delays[usize::from(!at_once)]));
                }
            }
        }
        bench.restart(config(1 << 20, Duration::ZERO));
        bench.drain();
        for (device, last) in said {
            let (values, _) = arrived(&bench, device);
            let mut expected = 0;
            for (key, chunk) in bench.chunks() {
                if &*key.name != device {
                    continue;
                }
                expected += chunk.dropped();
                for (_, readings) in chunk.series() {
                    for reading in readings {
                        expected += 1;
                        prop_assert_eq!(&*reading.value, expected.to_string());
                    }
                }
            }
            prop_assert_eq!(expected, last, "{} arrived", values.len());
        }
        prop_assert_eq!(bench.metric("twin_history_waiting_bytes"), 0);
    }
}
