//! What a slow link carries while devices report more than it can.

use std::collections::BTreeSet;

use super::*;

const DEVICES: usize = 100;
const SECONDS: u64 = 100;
/// Bytes of bodies a second, before they are compressed: a link of 64 kbit/s.
const LINK_BYTES: usize = 8 * 1024;
/// How long before the cloud's acknowledgement is here.
const ACK_SECONDS: usize = 2;

fn storm_device(number: usize, history: &str) -> Value {
    let mut device = device(&format!("d{number}"));
    device["metadata"]["annotations"] = json!({"causeway.dev/history": history});
    let properties = (0..10).map(|property| json!({"name": format!("p{property}")}));
    device["spec"]["properties"] = properties.collect();
    device
}

/// What was sent.
#[derive(Debug, Default)]
struct Sent {
    documents: usize,
    readings: usize,
    /// Seconds after which the status of the pod was on its way.
    status: Option<u64>,
    devices: BTreeSet<Arc<str>>,
}

/// A hundred devices report three times a second, ten properties each; halfway a pod changes.
fn storm(history: &str) -> (Bench, Sent) {
    let mut bench = Bench::new();
    for number in 0..DEVICES {
        let key = device_key(&format!("d{number}"), number as u64 + 1);
        bench.desire(&key, Op::Put, &storm_device(number, history), None);
    }
    let pod_key = key("pods", "p");
    bench.desire(&pod_key, Op::Put, &pod("edge-1"), None);
    bench.restart(config());
    let (mut sent, mut at, mut acks) = (Sent::default(), Offset::ZERO, Vec::new());
    for second in 0..SECONDS {
        bench.clock.0.store(second, Ordering::Relaxed);
        for third in 0..3 {
            let reports = (0..DEVICES).map(|number| {
                let value = format!("{}", second * 3 + third);
                let properties = (0..10).map(|it| (format!("p{it}").as_str().into(), says(&value)));
                let report = DeviceReport {
                    properties: properties.collect(),
                    ..report_of(&format!("d{number}"), &[])
                };
                reporting(report).0
            });
            let reports: Vec<_> = reports.collect();
            assert!(bench.round(reports).is_none());
        }
        if second == SECONDS / 2 {
            let status = Change::Status(with_status(pod("edge-1"), "Running"));
            bench.write(bench.now(&pod_key, status)).unwrap();
        }
        let limit = ReadLimit {
            records: 1024,
            bytes: LINK_BYTES,
        };
        let page = bench.store.read_coalesced(&up(), at, limit).unwrap();
        at = page.upto;
        for stored in page.records {
            let header = stored.record.header;
            match header.op {
                Op::Twin => {
                    sent.documents += 1;
                    sent.devices.insert(header.key.name);
                }
                Op::Fact => {
                    let chunk = Chunk::decode(stored.record.body.bytes()).unwrap();
                    sent.readings += chunk.len();
                }
                Op::Status => sent.status = Some(second - SECONDS / 2),
                op @ (Op::Put | Op::Delete | Op::Apply | Op::Reject) => {
                    panic!("nothing writes {op:?}")
                }
            }
        }
        acks.push(at);
        if let Some(upto) = acks.len().checked_sub(ACK_SECONDS).map(|ago| acks[ago]) {
            let (request, _told) = session(SessionWrite::Acked { upto });
            bench.round([request]);
        }
    }
    // To be seen with `--nocapture`.
    println!(
        "history {history:?}: {} documents of {} devices, {} readings, the status after {:?} s",
        sent.documents,
        sent.devices.len(),
        sent.readings,
        sent.status
    );
    (bench, sent)
}

fn config() -> TwinsConfig {
    TwinsConfig {
        history_bytes_max: 64 << 20,
        history_delay: Duration::ZERO,
    }
}

/// What is written in ever new versions costs the link no more than one of them at a time, and what
/// was written once does not wait for it.
#[test]
fn state_is_sent_once_as_it_is_by_then() {
    let (bench, sent) = storm("");
    let written = bench.store.stats().records;
    assert_eq!(written, 3 * SECONDS * DEVICES as u64 + 1);
    // A document has some 700 bytes.
    let most = usize::try_from(SECONDS).unwrap() * LINK_BYTES / 600;
    assert!(sent.documents <= most, "{sent:?}");
    assert_eq!(sent.devices.len(), DEVICES, "each has its turn");
    assert!(sent.status.is_some_and(|after| after <= 1), "{sent:?}");
}

/// Readings take a part of the link, and state the rest.
#[test]
fn readings_do_not_block_state() {
    let (bench, sent) = storm("*=all");
    assert_eq!(
        bench.metric("twin_readings_kept"),
        10 * 3 * SECONDS * DEVICES as u64
    );
    assert_eq!(bench.metric("twin_readings_dropped"), 0);
    assert!(bench.metric("twin_history_waiting_bytes") > 1024 * 1024);
    assert!(sent.status.is_some_and(|after| after <= 10), "{sent:?}");
    assert!(sent.documents > 200 && sent.readings > 2000, "{sent:?}");
    assert!(sent.devices.len() > DEVICES / 2, "{sent:?}");
}
