//! Asks for what nodes need and what was passed over when it was last seen, because nobody needed it
//! then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::tasks::Stop;
use causeway_log::Resource;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::asker::Asker;
use super::feed::{Ended, Feed};
use super::luck;
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
        let mut under_way = FuturesUnordered::new();
        let mut failures = 0_u32;
        loop {
            while under_way.len() < FETCHES_MAX
                && let Some(want) = waiting.pop_first()
            {
                under_way.push(self.fetch(want));
            }
            tokio::select! {
                biased;
                () = stop.wait() => return,
                Some(fetched) = under_way.next(), if !under_way.is_empty() => match fetched {
                    Ok(()) => failures = 0,
                    Err(Failed::Ended) => return,
                    Err(Failed::Api(want, error)) => {
                        failures = failures.saturating_add(1);
                        waiting.insert(want);
                        let pause = PAUSE.0.saturating_mul(1 << failures.min(16)).min(PAUSE.1);
                        let pause = pause.mul_f64(0.5 + luck() / 2.0);
                        tracing::debug!(%error, "cannot fetch what a node needs; trying again");
                        tokio::select! {
                            () = stop.wait() => return,
                            () = tokio::time::sleep(pause) => {}
                        }
                    }
                },
                wants = self.mirror.wanted() => waiting.extend(wants),
            }
        }
    }

    async fn fetch(&self, want: Want) -> Result<(), Failed> {
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
            Want::Group(_) => {
                let definitions =
                    Resource::new("apiextensions.k8s.io", "customresourcedefinitions");
                // All of them are looked through; that is what lists are for.
                let _ = self.relist.try_send(definitions);
                Ok(())
            }
        };
        fetched.map_err(|error| match error {
            Fetch::Api(error) => Failed::Api(want, error),
            Fetch::Ended => Failed::Ended,
        })
    }

    async fn object(&self, name: &Name) -> Result<(), Fetch> {
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

enum Fetch {
    Api(ApiError),
    Ended,
}

impl From<Ended> for Fetch {
    fn from(Ended: Ended) -> Self {
        Self::Ended
    }
}
