//! Figures of what is written to the API server.

use std::sync::atomic::{AtomicI64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::call::Call;

/// What was written and how that went.
pub type Labels = [(&'static str, String); 2];

/// Counters since the start, shared by all that writes to the API server.
#[derive(Debug, Default)]
pub struct WriteStats {
    /// Requests by verb and resource.
    pub calls: Family<Labels, Counter>,
    /// Those that failed, by resource and HTTP code; `none` for no answer.
    pub failures: Family<Labels, Counter>,
    /// Records of nodes by class and outcome.
    pub records: Family<Labels, Counter>,
    /// Things put off after a failure, by part and meaning.
    pub retries: Family<Labels, Counter>,
    /// What can never be written, by part and resource.
    pub refused: Family<Labels, Counter>,
    /// Leases renewed.
    pub leases: Counter,
    /// Tokens issued.
    pub tokens: Counter,
    /// Pods that were given the tolerations of autonomy.
    pub armed: Counter,
    /// Statuses of nodes published.
    pub published: Counter,
    /// Records that wait, or are under way.
    pub backlog: Gauge,
    /// For how long the oldest of them does, in milliseconds.
    pub lag_millis: Gauge,
    /// Tokens held for pods.
    pub tokens_held: Gauge,
    /// Nodes whose lease is renewed.
    pub leases_held: Gauge,
}

/// A number that is set.
pub type Gauge = prometheus_client::metrics::gauge::Gauge<i64, AtomicI64>;

impl WriteStats {
    /// Registers all of them.
    pub fn register(&self, registry: &mut Registry) {
        self.register_families(registry);
        let counters = [
            (
                "kube_leases_renewed",
                "Node leases renewed on behalf of sessions",
                &self.leases,
            ),
            (
                "kube_tokens_issued",
                "Service-account tokens issued for pods",
                &self.tokens,
            ),
            (
                "kube_pods_armed",
                "Pods given the tolerations of autonomy",
                &self.armed,
            ),
            (
                "kube_statuses_published",
                "Statuses of edge nodes published",
                &self.published,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        self.register_gauges(registry);
    }

    fn register_families(&self, registry: &mut Registry) {
        let families = [
            (
                "kube_calls",
                "Requests to the API server by verb and resource",
                &self.calls,
            ),
            (
                "kube_call_failures",
                "Requests of the write-back that failed, by resource and code",
                &self.failures,
            ),
            (
                "kube_records",
                "Records of nodes by class and what became of them",
                &self.records,
            ),
            (
                "kube_retries",
                "Writes put off after a failure",
                &self.retries,
            ),
            (
                "kube_refused",
                "Writes that the API server will never take",
                &self.refused,
            ),
        ];
        for (name, help, family) in families {
            registry.register(name, help, family.clone());
        }
    }

    fn register_gauges(&self, registry: &mut Registry) {
        let gauges = [
            (
                "kube_backlog",
                "Records that wait to be written back",
                &self.backlog,
            ),
            (
                "kube_backlog_millis",
                "For how long the oldest record has waited",
                &self.lag_millis,
            ),
            (
                "kube_tokens_held",
                "Service-account tokens held for pods",
                &self.tokens_held,
            ),
            (
                "kube_leases_held",
                "Nodes whose lease is renewed",
                &self.leases_held,
            ),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
    }

    /// Counts a request.
    pub fn count_call(&self, call: &Call) {
        let labels = [
            ("verb", call.method.verb().to_owned()),
            ("resource", call.resource.clone()),
        ];
        self.calls.get_or_create(&labels).inc();
    }

    /// Counts one of a family.
    pub fn count(
        family: &Family<Labels, Counter>,
        first: (&'static str, &str),
        second: (&'static str, &str),
    ) {
        let labels = [
            (first.0, first.1.to_owned()),
            (second.0, second.1.to_owned()),
        ];
        family.get_or_create(&labels).inc();
    }

    /// How often something was done.
    #[must_use]
    pub fn get(
        family: &Family<Labels, Counter>,
        first: (&'static str, &str),
        second: (&'static str, &str),
    ) -> u64 {
        let labels = [
            (first.0, first.1.to_owned()),
            (second.0, second.1.to_owned()),
        ];
        family.get_or_create(&labels).get()
    }

    /// How many requests there were.
    #[must_use]
    pub fn calls_of(&self, verb: &str, resource: &str) -> u64 {
        Self::get(&self.calls, ("verb", verb), ("resource", resource))
    }
}

/// Sets a gauge to a count.
pub fn set(gauge: &Gauge, count: usize) {
    gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
}

/// Reads a gauge.
#[must_use]
pub fn read(gauge: &Gauge) -> i64 {
    gauge.inner().load(Ordering::Relaxed)
}
