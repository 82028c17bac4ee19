//! Many devices at once.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::{Listener, Mosquitto, Site, port, publish_lines, topic};

const DEVICES: usize = 100;
const PROPERTIES: usize = 10;
const REPORTS: usize = 20;

fn names() -> Vec<Value> {
    let names = (0..PROPERTIES).map(|it| json!({ "name": format!("p{it}") }));
    names.collect()
}

fn report(number: usize) -> String {
    let twin: Map<String, Value> = (0..PROPERTIES)
        .map(|it| {
            let value = format!("{number}.{it}");
            (format!("p{it}"), json!({ "actual": { "value": value } }))
        })
        .collect();
    json!({ "event_id": number.to_string(), "twin": twin }).to_string()
}

/// Each device reports in its own order, all at once; the last word of each counts.
#[expect(clippy::print_stdout, reason = "a figure, for who looks for one")]
async fn takes_all(site: Site) {
    // Nobody is asked to listen to all of it.
    let some = [0, DEVICES / 2, DEVICES - 1].map(|device| format!("d{device}"));
    let results = some
        .each_ref()
        .map(|name| topic(name, "twin/update/result"));
    let listener = Listener::start(site.port, &results.each_ref().map(String::as_str)).await;
    for device in 0..DEVICES {
        let name = format!("d{device}");
        site.cloud.device_with(&name, None, "", &names());
    }
    super::knows(site.port, &format!("d{}", DEVICES - 1)).await;
    let began = Instant::now();
    let publishing = (0..DEVICES).map(|device| {
        let lines: Vec<String> = (1..=REPORTS).map(report).collect();
        let (port, update) = (site.port, topic(&format!("d{device}"), "twin/update"));
        causeway_daemon::tasks::spawn("publisher", async move {
            publish_lines(port, &update, &lines).await;
        })
    });
    let publishing: Vec<_> = publishing.collect();
    for publisher in publishing {
        publisher.join().await.unwrap();
    }
    let taken = "causeway_mqtt_received_total{outcome=\"taken\"}";
    let expected = (DEVICES * REPORTS) as u64;
    super::until_metric(site.dir.path(), taken, |count| count >= expected).await;
    let took = began.elapsed();
    let rate = (DEVICES * REPORTS * PROPERTIES) as f64 / took.as_secs_f64();
    println!("{rate:.0} property updates a second, with 100 processes that publish");
    for name in some {
        let end = format!("{name}/twin/update/result");
        let last = listener.answer(&end, &REPORTS.to_string()).await;
        let value = &last["twin"]["p9"]["actual"]["value"];
        assert_eq!(*value, format!("{REPORTS}.9"));
    }
    site.stop().await;
}

#[tokio::test]
async fn a_hundred_devices_report_through_mosquitto() {
    let broker = Mosquitto::start("").await;
    let port = broker.port;
    takes_all(Site::start(Some(broker), port, "", |_| {}).await).await;
}

#[tokio::test]
async fn a_hundred_devices_report_to_the_embedded_broker() {
    takes_all(Site::start(None, port(), "", |_| {}).await).await;
}
