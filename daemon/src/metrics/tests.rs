use prometheus_client::metrics::counter::Counter;

use super::*;

#[test]
fn a_scrape_shows_registered_metrics() {
    let metrics = Metrics::new();
    let sessions: Counter = Counter::default();
    metrics.register(|registry| registry.register("sessions", "Sessions begun", sessions.clone()));
    sessions.inc();
    assert!(
        metrics.encode().contains("causeway_sessions_total 1"),
        "{}",
        metrics.encode()
    );
}

#[test]
fn traffic_adds_up_over_sessions() {
    use causeway_log::NodeName;
    use causeway_log::replication::SessionStats;

    let totals = Arc::new(TrafficTotals::new());
    let metrics = Metrics::new();
    metrics.register(|registry| registry.register_collector(Box::new(Arc::clone(&totals))));
    let node = NodeName::new("edge-1").unwrap();
    let mut stats = SessionStats::default();
    for bytes in [100, 150] {
        stats.sent.bytes = bytes;
        stats.sent.encodings[1].wire_bytes = bytes;
        totals.record(&node, &stats);
    }
    totals.ended(&node);
    stats.sent.bytes = 5;
    stats.sent.encodings[1].wire_bytes = 5;
    totals.record(&node, &stats);
    let text = metrics.encode();
    for line in [
        "causeway_sync_bytes_total{direction=\"sent\"} 155",
        "causeway_sync_body_wire_bytes_total{direction=\"sent\",encoding=\"raw\"} 155",
        "causeway_sync_records_total{direction=\"received\"} 0",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
}
