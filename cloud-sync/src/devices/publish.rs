//! The shell of the publisher: looks at devices when it is their turn, and writes what they report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::tasks::Stop;
use causeway_daemon::telemetry::error_chain;
use causeway_kube_api::View;
use causeway_log::error::ReadError;
use causeway_log::{Key, NodeName, Slot, Store, StreamId};
use causeway_projections::twin::status::device_status;
use causeway_projections::twin::{DeviceName, Reported, devices};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;

use super::{Changed, DeviceStats, Difference, Ending, Pace, Pacer, Pacing, difference};
use crate::config;
use crate::interest::node_of;

/// Writes under way at once.
const UNDER_WAY_MAX: usize = 4;
/// Intervals are drawn out by up to this share, so that devices that began together drift apart.
const JITTER: f64 = 0.1;
/// The pause of a device after a write that failed.
const RETRY: Duration = Duration::from_secs(10);
/// How long nothing is tried when the cluster does not know the kind, or does not let us.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(300);
/// Names of devices that are remembered for what was said of them.
const TOLD_MAX: usize = 1000;

/// Where DeviceStatuses are written.
pub(crate) trait Target: Send + Sync + 'static {
    /// What is there, as far as that is known without asking.
    fn shown(&self, device: &Key) -> Option<Value>;

    /// Writes one.
    fn write(&self, device: Key, status: Value) -> BoxFuture<'_, Result<(), NotWritten>>;

    /// The device is gone.
    fn forget(&self, name: &DeviceName);

    /// Shows people what is wrong with a Device, where there is a place for it.
    fn complain<'a>(&'a self, device: &'a Key, what: &'a str) -> BoxFuture<'a, ()> {
        let _ = (device, what);
        Box::pin(std::future::ready(()))
    }
}

/// A DeviceStatus was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotWritten {
    /// No DeviceStatus can be, whatever it says.
    #[error("the cluster takes no DeviceStatuses: {reason}")]
    NoKind {
        /// Why.
        reason: String,
    },
    /// The cluster answers nobody.
    #[error("the cluster does not answer: {reason}")]
    Away {
        /// Why.
        reason: String,
    },
    /// This one cannot be now.
    #[error("{reason}")]
    Later {
        /// Why.
        reason: String,
    },
}

/// What the publisher works with.
pub(crate) struct Publisher {
    pub(crate) view: View,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) changed: Arc<Changed>,
    pub(crate) settings: config::Devices,
    pub(crate) stats: Arc<DeviceStats>,
    pub(crate) target: Arc<dyn Target>,
}

/// What is to be done about a device.
enum Look {
    /// It is over, so.
    Over(Ending),
    /// This is to be written.
    Write {
        device: Key,
        status: Value,
        pacer: Pacer,
    },
}

/// Publishes until stopped.
pub(crate) async fn run(publisher: Publisher, mut stop: Stop) {
    let mut turns = Turns::new(publisher);
    let began = monotonic();
    let mut under_way = FuturesUnordered::new();
    loop {
        let now = began.elapsed();
        while let Some((name, node, device, status, pacer)) = turns.next(now) {
            let target = Arc::clone(&turns.publisher.target);
            under_way.push(async move {
                let written = target.write(device, status).await;
                (name, node, pacer, written)
            });
        }
        let wake = turns.wake().map(|at| at.saturating_sub(now));
        tokio::select! {
            biased;
            () = stop.wait() => return,
            Some((name, node, pacer, written)) = under_way.next(), if !under_way.is_empty() => {
                turns.ended(&name, node, &pacer, written, began.elapsed());
            }
            names = turns.publisher.changed.taken() => {
                for name in names {
                    turns.pacing.mark(name);
                }
            }
            () = tokio::time::sleep(wake.unwrap_or_default()), if wake.is_some() => {}
        }
    }
}

struct Turns {
    publisher: Publisher,
    pacing: Pacing,
    /// When a device was written last.
    written: BTreeMap<DeviceName, Duration>,
    /// What was said of a device that cannot be published as it should.
    told: BTreeMap<DeviceName, String>,
    rest_until: Duration,
    is_kind_missing: bool,
}

type Next = (DeviceName, Option<NodeName>, Key, Value, Pacer);

impl Turns {
    /// At the start everything may have changed.
    fn new(publisher: Publisher) -> Self {
        let mut pacing = Pacing::new(Pace {
            per_second: publisher.settings.status_writes_per_second,
            under_way_max: UNDER_WAY_MAX,
        });
        publisher.view.read(|objects| {
            for entry in objects.list(&devices(), None, None) {
                pacing.mark(DeviceName::of(entry.key()));
            }
        });
        Self {
            pacing,
            written: BTreeMap::new(),
            told: BTreeMap::new(),
            rest_until: Duration::ZERO,
            is_kind_missing: false,
            publisher,
        }
    }

    fn wake(&self) -> Option<Duration> {
        self.pacing.wake().map(|at| at.max(self.rest_until))
    }

    /// The next device that has something to be written.
    fn next(&mut self, now: Duration) -> Option<Next> {
        while now >= self.rest_until
            && let Some(name) = self.pacing.start(now)
        {
            let (node, look) = self.look(&name, now);
            match look {
                Look::Over(ending) => {
                    self.count(ending);
                    if ending == Ending::Gone {
                        self.publisher.target.forget(&name);
                        self.written.remove(&name);
                        self.told.remove(&name);
                    }
                    self.pacing.finish(&name, node, ending, now);
                }
                Look::Write {
                    device,
                    status,
                    pacer,
                } => return Some((name, node, device, status, pacer)),
            }
        }
        let waiting = i64::try_from(self.pacing.waiting()).unwrap_or(i64::MAX);
        self.publisher.stats.waiting.set(waiting);
        None
    }

    fn count(&self, ending: Ending) {
        let stats = &self.publisher.stats;
        match ending {
            Ending::Same => stats.suppressed.inc(),
            Ending::Later(_) => stats.put_off.inc(),
            Ending::Written(_) => stats.writes.inc(),
            Ending::Failed(_) => stats.failures.inc(),
            Ending::Gone => 0,
        };
    }

    /// What the cluster has to be told of a device.
    fn look(&mut self, name: &DeviceName, now: Duration) -> (Option<NodeName>, Look) {
        let found = self.publisher.view.read(|objects| {
            let entry = objects.get(&devices(), &name.namespace, &name.name)?;
            Some((entry.key().clone(), entry.desired()?.clone()))
        });
        let Some((key, body)) = found else {
            return (None, Look::Over(Ending::Gone));
        };
        let device: Value = serde_json::from_slice(body.bytes()).unwrap_or_default();
        let Some(node) = node_of(&device) else {
            return (None, Look::Over(Ending::Same));
        };
        let reported = match self.reported(name, &node, &key) {
            Ok(Some(reported)) => reported,
            Ok(None) => return (Some(node), Look::Over(Ending::Same)),
            // Nobody marks the device again for what the disk did not give.
            Err(error) => {
                self.tell(name, error_chain(&error).to_string());
                return (Some(node), Look::Over(Ending::Failed(RETRY)));
            }
        };
        let pacer = Pacer::of(&device, self.publisher.settings.status_interval);
        let status = device_status(&key, &reported);
        let shown = self.publisher.target.shown(&key);
        let small_due = self.written.get(name).copied().unwrap_or_default() + pacer.small();
        let look = match difference(shown.as_ref(), &status, &pacer) {
            Difference::None => Look::Over(Ending::Same),
            Difference::Small if now < small_due => Look::Over(Ending::Later(small_due)),
            Difference::Small | Difference::Large => Look::Write {
                device: key,
                status,
                pacer,
            },
        };
        (Some(node), look)
    }

    /// The newest document of a device, of the node that it is attached to: nobody else's counts.
    fn reported(
        &mut self,
        name: &DeviceName,
        node: &NodeName,
        key: &Key,
    ) -> Result<Option<Reported>, ReadError> {
        let stream = StreamId::up(node.clone());
        let newest = self.publisher.store.newest(&stream, key, Slot::Twin)?;
        let body = newest.map(|newest| newest.record.body);
        let Some(body) = body.filter(|body| !body.is_empty()) else {
            return Ok(None);
        };
        match Reported::decode(body.bytes()) {
            Ok(reported) => Ok(Some(reported)),
            Err(error) => {
                self.publisher.stats.malformed.inc();
                self.tell(name, error_chain(&error).to_string());
                Ok(None)
            }
        }
    }

    /// Says what is wrong with a device, once.
    fn tell(&mut self, name: &DeviceName, what: String) {
        if self.told.get(name) == Some(&what) {
            return;
        }
        tracing::warn!(device = %name, what, "a device is not published as it should be");
        if self.told.len() < TOLD_MAX || self.told.contains_key(name) {
            self.told.insert(name.clone(), what);
        }
    }

    fn ended(
        &mut self,
        name: &DeviceName,
        node: Option<NodeName>,
        pacer: &Pacer,
        written: Result<(), NotWritten>,
        now: Duration,
    ) {
        let ending = match written {
            Ok(()) => {
                if std::mem::take(&mut self.is_kind_missing) {
                    tracing::info!("the cluster takes DeviceStatuses");
                }
                self.told.remove(name);
                self.written.insert(name.clone(), now);
                let jitter = 1.0 + JITTER * fastrand::f64();
                Ending::Written(pacer.interval.mul_f64(jitter))
            }
            Err(error @ NotWritten::NoKind { .. }) => {
                if !std::mem::replace(&mut self.is_kind_missing, true) {
                    tracing::warn!(%error, "what devices report is kept, but not published");
                }
                self.rest_until = now + UNKNOWN_PAUSE;
                Ending::Failed(Duration::ZERO)
            }
            Err(error @ NotWritten::Away { .. }) => {
                tracing::debug!(%error, "what devices report is published later");
                self.rest_until = now + RETRY;
                Ending::Failed(Duration::ZERO)
            }
            Err(error @ NotWritten::Later { .. }) => {
                self.tell(name, error.to_string());
                Ending::Failed(RETRY)
            }
        };
        self.count(ending);
        self.pacing.finish(name, node, ending, now);
    }
}

/// Publications are paced by time that never goes back.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the shell of the publisher"
)]
fn monotonic() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

#[cfg(test)]
mod tests;
