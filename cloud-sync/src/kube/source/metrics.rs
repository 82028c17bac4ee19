//! The figures of following a cluster.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::follower::Condition;
use super::health::{Health, KindHealth};
use crate::cluster::Mirror;

/// What is read at each scrape. Kinds are few and named by whoever runs the cluster.
#[derive(Debug)]
pub(crate) struct SourceCollector {
    pub(crate) health: Arc<Health>,
    pub(crate) mirror: Arc<Mirror>,
}

/// Name, help, and what is counted.
type Count = (&'static str, &'static str, fn(&KindHealth) -> u64);

const COUNTS: [Count; 3] = [
    (
        "mirror_lists",
        "Lists of a kind that came to their end",
        |kind| kind.lists,
    ),
    (
        "mirror_events",
        "Objects and changes of a kind that came in",
        |kind| kind.events,
    ),
    (
        "mirror_failures",
        "Requests for a kind that failed",
        |kind| kind.failures,
    ),
];

impl Collector for SourceCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let kinds = self.health.kinds();
        let gauge = ConstGauge::new(0_i64).metric_type();
        let help = "Whether changes of a kind come in";
        let mut family = encoder.encode_descriptor("mirror_following", help, None, gauge)?;
        for (resource, kind) in &kinds {
            let labels = [("resource", resource.to_string())];
            let following = kind.condition == Condition::Following && kind.trouble.is_none();
            ConstGauge::new(i64::from(following)).encode(family.encode_family(&labels)?)?;
        }
        for (name, help, of) in COUNTS {
            let counter = ConstCounter::new(0_u64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, counter)?;
            for (resource, kind) in &kinds {
                let labels = [("resource", resource.to_string())];
                ConstCounter::new(of(kind)).encode(family.encode_family(&labels)?)?;
            }
        }
        let refused = i64::try_from(self.mirror.refused().len()).unwrap_or(i64::MAX);
        let help = "Objects that nodes need and that are too large to be delivered";
        let gauge = ConstGauge::new(refused);
        let kind = gauge.metric_type();
        gauge.encode(encoder.encode_descriptor("mirror_too_large", help, None, kind)?)
    }
}
