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
