//! Counters of the bus.

use std::sync::atomic::AtomicI64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

type Labels = [(&'static str, &'static str); 1];

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It changed something, and that is durable.
    Taken,
    /// It said what was known.
    Echo,
    /// It came a second time.
    Duplicate,
    /// A question was answered.
    Answered,
    /// No payload of its topic, or a value that is not acceptable.
    Invalid,
    /// Of a device or property that there is not.
    Unknown,
    /// An older version.
    Stale,
    /// Over the rate of its topic.
    Limited,
    /// Larger than a message may be.
    TooLarge,
    /// It could not be made durable, and was not acknowledged.
    Failed,
    /// On a topic that is none of the bus.
    Ignored,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Echo => "echo",
            Self::Duplicate => "duplicate",
            Self::Answered => "answered",
            Self::Invalid => "invalid",
            Self::Unknown => "unknown",
            Self::Stale => "stale",
            Self::Limited => "limited",
            Self::TooLarge => "too_large",
            Self::Failed => "failed",
            Self::Ignored => "ignored",
        }
    }

    /// The outcome that a code of an error payload stands for.
    pub(super) const fn of_code(code: u16) -> Self {
        match code {
            404 => Self::Unknown,
            409 => Self::Stale,
            500.. => Self::Failed,
            _ => Self::Invalid,
        }
    }
}

/// Counters of the bus. Clones are the same counters.
#[derive(Clone, Debug, Default)]
pub(super) struct Stats {
    received: Family<Labels, Counter>,
    sent: Counter,
    dropped: Family<Labels, Counter>,
    connections: Counter,
    failures: Counter,
    pub(super) connected: Gauge<i64, AtomicI64>,
    pub(super) clients: Gauge<i64, AtomicI64>,
}

impl Stats {
    /// Adds the counters to the metrics of the daemon.
    pub(super) fn register(&self, registry: &mut Registry) {
        let Self {
            received,
            sent,
            dropped,
            connections,
            failures,
            connected,
            clients,
        } = self.clone();
        let registry = registry.sub_registry_with_prefix("mqtt");
        registry.register(
            "received",
            "Messages to the bus, by what became of them",
            received,
        );
        registry.register("sent", "Messages of the bus handed to a broker", sent);
        registry.register(
            "dropped",
            "Messages given up because a queue was full, by what they were",
            dropped,
        );
        registry.register(
            "connections",
            "Connections to the external broker that stood",
            connections,
        );
        registry.register(
            "failures",
            "Connections to the external broker that failed or broke",
            failures,
        );
        registry.register(
            "connected",
            "1 while the external broker is there",
            connected,
        );
        registry.register("clients", "Clients of the embedded broker", clients);
    }

    pub(super) fn received(&self, outcome: Outcome) {
        let labels = [("outcome", outcome.as_str())];
        self.received.get_or_create(&labels).inc();
    }

    pub(super) fn sent(&self) {
        self.sent.inc();
    }

    /// `what`: `result` or `session`.
    pub(super) fn dropped(&self, what: &'static str) {
        self.dropped.get_or_create(&[("what", what)]).inc();
    }

    pub(super) fn stood(&self) {
        self.connections.inc();
        self.connected.set(1);
    }

    pub(super) fn failed(&self) {
        self.failures.inc();
        self.connected.set(0);
    }
}
