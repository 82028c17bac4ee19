//! Asks for what nodes need and what was passed over when it was last seen, because nobody needed it
//! then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::tasks::Stop;
use causeway_log::Resource;
use causeway_projections::twin::{devices, models};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::asker::Asker;
use super::feed::{Ended, Feed};
use super::{luck, monotonic};
use crate::cluster::{Mirror, Want};
use crate::interest::Name;
use crate::kube::client::{ApiError, segment};

/// Questions under way at a time.
const FETCHES_MAX: usize = 16;
/// The first pause after a failure, before luck, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// See the module documentation.
#[derive(Clone, Debug)]
pub(super) struct Fetcher {
    pub(super) asker: Asker,
    pub(super) mirror: Arc<Mirror>,
    pub(super) feed: Feed,
    /// Kinds to be listed anew.
    pub(super) relist: mpsc::Sender<Resource>,
}

/// Why a fetch ended without an answer.
enum Failed {
    /// The API server did not answer.
    Api(Want, ApiError),
    Ended,
}

impl From<Ended> for Failed {
    fn from(Ended: Ended) -> Self {
        Self::Ended
    }
}

impl Fetcher {
    /// Fetches what is wanted until stopped.
    pub(super) async fn run(self, mut stop: Stop) {
        let mut waiting: BTreeSet<Want> = BTreeSet::new();
        let mut failed = Later::default();
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < FETCHES_MAX
                && let Some(want) = waiting.pop_first()
            {
                under_way.push(self.fetch(want));
            }
            let due = failed.due();
            tokio::select! {
                biased;
                () = stop.wait() => return,
                Some(fetched) = under_way.next(), if !under_way.is_empty() => match fetched {
                    Ok(want) => failed.forget(&want),
                    Err(Failed::Ended) => return,
                    Err(Failed::Api(want, error)) => {
                        tracing::debug!(%error, ?want, "cannot fetch what a node needs now");
                        failed.put_off(want);
                    }
                },
                wants = self.mirror.wanted() => waiting.extend(wants),
                () = tokio::time::sleep_until(due.unwrap_or_else(monotonic)), if due.is_some() => {
                    waiting.extend(failed.take_due());
                }
            }
        }
    }

    async fn fetch(&self, want: Want) -> Result<Want, Failed> {
        let fetched = match &want {
            Want::Object(name) => self.object(name).await,
            Want::Pods(node) => {
                let selector = segment(&format!("spec.nodeName={node}"));
                let query = format!("&fieldSelector={selector}");
                self.all(&Resource::core("pods"), "", &query).await
            }
            Want::Network(namespace) => {
                let services = self.all(&Resource::core("services"), namespace, "").await;
                let slices = Resource::new("discovery.k8s.io", "endpointslices");
                match services {
                    Ok(()) => self.all(&slices, namespace, "").await,
                    failed => failed,
                }
            }
            Want::Devices => {
                let _ = self.relist.try_send(devices());
                Ok(())
            }
            Want::Group(_) => {
                let definitions =
                    Resource::new("apiextensions.k8s.io", "customresourcedefinitions");
                // All of them are looked through; that is what lists are for.
                let _ = self.relist.try_send(definitions);
                Ok(())
            }
        };
        match fetched {
            Ok(()) => Ok(want),
            Err(Fetch::Api(error)) => Err(Failed::Api(want, error)),
            Err(Fetch::Ended) => Err(Failed::Ended),
        }
    }

    async fn object(&self, name: &Name) -> Result<(), Fetch> {
        if name.resource == models() {
            // It may have been there before its device. Who never asked for its kind will list it.
            if self.asker.was_asked(&name.resource) {
                let relist = self.relist.send(name.resource.clone()).await;
                relist.map_err(|_| Fetch::Ended)?;
            }
            return Ok(());
        }
        if let Some((seen, bytes)) = self.asker.object(name).await.map_err(Fetch::Api)? {
            self.feed.send(vec![seen], bytes).await?;
        }
        Ok(())
    }

    async fn all(&self, resource: &Resource, namespace: &str, query: &str) -> Result<(), Fetch> {
        let mut next = String::new();
        loop {
            let page = self.asker.page(resource, namespace, query, &next).await;
            let Some((seen, bytes, after)) = page.map_err(Fetch::Api)? else {
                return Ok(());
            };
            self.feed.send(seen, bytes).await?;
            if after.is_empty() {
                return Ok(());
            }
            next = after;
        }
    }
}

/// What could not be fetched, each with its own pause: one that never succeeds delays no other.
#[derive(Debug, Default)]
struct Later(BTreeMap<Want, (Option<Instant>, u32)>);

impl Later {
    fn put_off(&mut self, want: Want) {
        let (due, failures) = self.0.entry(want).or_default();
        let (first, longest) = PAUSE;
        let pause = first.saturating_mul(1 << (*failures).min(16)).min(longest);
        *failures = failures.saturating_add(1);
        *due = Some(monotonic() + pause.mul_f64(0.5 + luck() / 2.0));
    }

    fn forget(&mut self, want: &Want) {
        self.0.remove(want);
    }

    /// When the next one is to be tried again.
    fn due(&self) -> Option<Instant> {
        self.0.values().filter_map(|(due, _)| *due).min()
    }

    fn take_due(&mut self) -> Vec<Want> {
        let now = monotonic();
        let all = self.0.iter_mut();
        let due = all.filter(|(_, (due, _))| due.is_some_and(|due| due <= now));
        // Under way; how often it failed is remembered until it succeeds.
        let taken = due.map(|(want, (due, _))| {
            *due = None;
            want.clone()
        });
        taken.collect()
    }
}

enum Fetch {
    Api(ApiError),
    Ended,
}

impl From<Ended> for Fetch {
    fn from(Ended: Ended) -> Self {
        Self::Ended
    }
}
