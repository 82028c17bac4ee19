//! How many reports a second become durable on a disk:
//! `cargo test -p causeway-edge-sync --lib reports_per_second -- --ignored --nocapture`.

use std::time::Instant;

use causeway_log::store::fjall::{FjallConfig, FjallStore};
use causeway_log::writer::Writer;

use super::*;

const DEVICES: usize = 100;
const REPORTS: usize = 300;

fn measure(history: &str, properties_per_report: usize, in_flight: usize) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = FjallStore::open(dir.path(), FjallConfig::edge()).unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    begin(&*store, &node(), epoch(1)).unwrap();
    let view = View::new(rebuild(&*store, &[down(), up()]).unwrap());
    let twins = TwinsView::new(rebuild_twins(&*store, &node()).unwrap());
    let (sender, _head) = watch::channel(Offset::ZERO);
    let first_sync = FirstSync::read(&*store, &node()).unwrap();
    let machine = EdgeMachine::new(
        node(),
        Arc::clone(&store),
        view,
        sender,
        first_sync,
        Arc::new(SystemClock),
    );
    let machine = machine.with_twins(twins, TwinsConfig::default()).unwrap();
    let (thread, writer) = Writer::spawn("measured", store, machine);
    let records = (0..DEVICES).map(|number| {
        let name = format!("d{number}");
        let mut device = device(&name);
        device["metadata"]["annotations"] = json!({"causeway.dev/history": history});
        let properties = (0..10).map(|it| json!({"name": format!("property-{it}")}));
        device["spec"]["properties"] = properties.collect();
        let key = device_key(&name, number as u64);
        (
            Offset::new(number as u64 + 1),
            draft(&key, Op::Put, &device, None),
        )
    });
    let (request, told) = incoming(epoch(2), records.collect());
    writer.send_blocking(request).unwrap();
    told.blocking_recv().unwrap().unwrap();

    let begun = Instant::now();
    let mut waiting = std::collections::VecDeque::new();
    for number in 0..REPORTS {
        for device in 0..DEVICES {
            let properties = (0..properties_per_report).map(|it| {
                let name = format!("property-{}", (number + it) % 10);
                (name.as_str().into(), says(&format!("{number}.{device}")))
            });
            let report = DeviceReport {
                properties: properties.collect(),
                ..report_of(&format!("d{device}"), &[])
            };
            let (request, told) = reporting(report);
            writer.send_blocking(request).unwrap();
            waiting.push_back(told);
            if waiting.len() >= in_flight {
                let told = waiting.pop_front().unwrap();
                drop(told.blocking_recv().unwrap().unwrap());
            }
        }
    }
    for told in waiting {
        drop(told.blocking_recv().unwrap().unwrap());
    }
    let seconds = begun.elapsed().as_secs_f64();
    drop(writer);
    thread.join().unwrap();
    (DEVICES * REPORTS) as f64 / seconds
}

#[test]
#[ignore = "measures"]
fn reports_per_second() {
    for (history, properties, in_flight) in [
        ("", 1, 100),
        ("", 1, 1000),
        ("", 10, 100),
        ("*=all", 1, 100),
        ("*=all", 1, 1000),
        ("*=all", 10, 100),
    ] {
        let rate = measure(history, properties, in_flight);
        println!(
            "history {history:?}, {properties} properties, {in_flight} in flight: {rate:.0}/s"
        );
    }
}
