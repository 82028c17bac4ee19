//! Which kinds are followed, and when all of them are known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use causeway_daemon::tasks::{self, Stop, Task};
use causeway_kube_api::{Clock, View};
use causeway_log::{Resource, Revision, Uid};
use causeway_projections::Objects;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::asker::Asker;
use super::feed::{Ended, Feed, feed};
use super::fetcher::Fetcher;
use super::follower::Follower;
use super::health::Health;
use super::identity::{ClusterId, Identity};
use super::kinds::{Kind, built_in, of_definition};
use super::monotonic;
use super::needs::Needs;
use super::watcher::Watcher;
use crate::cluster::{Mirror, Requests, Seen};
use crate::interest::{is_custom, is_device_status, tokens};
use crate::kube::client::ApiServer;

/// Kinds that the fetcher may ask to be listed anew at a time; they are asked for again anyway.
const RELISTS_MAX: usize = 16;
/// Custom kinds that are followed; each costs a connection.
const CUSTOM_KINDS_MAX: usize = 200;

/// What the source works with.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) api: ApiServer,
    /// The one cluster that may be followed.
    pub(crate) pinned: Option<Uuid>,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) view: View,
    pub(crate) writer: Requests,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) health: Arc<Health>,
}

/// Follows the cluster until stopped.
pub(crate) async fn follow(source: Source, mut stop: Stop) {
    let (feed, feeder) = feed(source.writer.clone());
    let lost = feeder.lost();
    let (relist, relists) = mpsc::channel(RELISTS_MAX);
    let fetcher = Fetcher {
        asker: Asker::new(source.api.clone(), Arc::clone(&source.health)),
        mirror: Arc::clone(&source.mirror),
        feed: feed.clone(),
        relist,
    };
    let parts = [
        tasks::spawn("mirror-feed", feeder.run(stop.clone())),
        tasks::spawn("mirror-fetch", fetcher.run(stop.clone())),
    ];
    let coordinator = Coordinator::new(source, feed);
    tokio::select! {
        biased;
        () = stop.wait() => {}
        _ = coordinator.run(relists, lost) => {}
    }
    drop(parts);
}

struct Coordinator {
    source: Source,
    feed: Feed,
    identity: Arc<Identity>,
    needs: Arc<Needs>,
    followed: BTreeMap<Resource, Followed>,
    /// The definitions that were looked at last, and whether they were all of them.
    definitions: Option<(Revision, bool)>,
    /// The cluster of which the mirror is complete.
    complete: Option<Uid>,
}

struct Followed {
    kind: Kind,
    restart: watch::Sender<u64>,
    _task: Task,
}

impl Coordinator {
    fn new(source: Source, feed: Feed) -> Self {
        let identity = Arc::new(Identity::new(source.api.clone(), source.pinned));
        let needs = Needs {
            asker: Asker::new(source.api.clone(), Arc::clone(&source.health)),
            view: source.view.clone(),
        };
        Self {
            source,
            feed,
            identity,
            needs: Arc::new(needs),
            followed: BTreeMap::new(),
            definitions: None,
            complete: None,
        }
    }

    async fn run(
        mut self,
        mut relists: mpsc::Receiver<Resource>,
        mut lost: watch::Receiver<u64>,
    ) -> Result<(), Ended> {
        for kind in built_in() {
            self.source.health.begin(&kind);
        }
        for kind in built_in() {
            self.begin(kind);
        }
        let mut health = self.source.health.subscribe();
        let mut view = self.source.view.subscribe();
        loop {
            self.follow_definitions().await?;
            self.complete().await?;
            tokio::select! {
                changed = health.changed() => changed.map_err(|_| Ended)?,
                changed = view.changed() => changed.map_err(|_| Ended)?,
                changed = lost.changed() => {
                    changed.map_err(|_| Ended)?;
                    self.complete = None;
                    self.source.health.forget_lists();
                    for followed in self.followed.values() {
                        followed.restart.send_modify(|count| *count += 1);
                    }
                }
                Some(resource) = relists.recv() => {
                    if let Some(followed) = self.followed.get(&resource) {
                        followed.restart.send_modify(|count| *count += 1);
                    }
                }
            }
        }
    }

    fn begin(&mut self, kind: Kind) {
        let restart = watch::Sender::new(0);
        let watcher = Watcher {
            follower: Follower::new(kind.clone()),
            api: self.source.api.clone(),
            identity: Arc::clone(&self.identity),
            needs: Arc::clone(&self.needs),
            feed: self.feed.clone(),
            health: Arc::clone(&self.source.health),
            clock: Arc::clone(&self.source.clock),
            cluster: None,
            broke: monotonic(),
        };
        let task = tasks::spawn("mirror-watch", watcher.run(restart.subscribe()));
        let resource = kind.resource.clone();
        let followed = Followed {
            kind,
            restart,
            _task: task,
        };
        self.followed.insert(resource, followed);
    }

    /// Follows devices and the custom kinds that nodes subscribe to: those whose definitions are in the mirror.
    async fn follow_definitions(&mut self) -> Result<(), Ended> {
        let definitions = Resource::new("apiextensions.k8s.io", "customresourcedefinitions");
        let known = self.source.health.is_listed(&definitions);
        let latest = (self.source.view).read(|objects| objects.latest_change(&definitions));
        if self.definitions.replace((latest, known)) == Some((latest, known)) {
            return Ok(());
        }
        let defined = self
            .source
            .view
            .read(|objects| defined(objects, &definitions));
        let ended = self.followed.iter().filter(|(resource, followed)| {
            is_custom(&resource.group) && defined.get(*resource) != Some(&followed.kind)
        });
        let ended: Vec<Resource> = ended.map(|(resource, _)| resource.clone()).collect();
        for resource in ended {
            self.followed.remove(&resource);
            self.source.health.end(&resource);
        }
        for (resource, kind) in &defined {
            if !self.followed.contains_key(resource) {
                self.source.health.begin(kind);
                self.begin(kind.clone());
            }
        }
        if !known {
            return Ok(());
        }
        // Objects do not outlive the definition of their kind.
        let held = self.source.view.read(held_custom);
        for resource in held.into_iter().filter(|held| !defined.contains_key(held)) {
            let listing = Seen::Listing {
                resource: resource.clone(),
            };
            let none = vec![listing, Seen::Listed { resource }];
            self.feed.send(none, 0).await?;
        }
        Ok(())
    }

    /// Says that the mirror is complete, once all kinds of one cluster are known.
    async fn complete(&mut self) -> Result<(), Ended> {
        let Some(cluster) = self.source.health.listed_cluster() else {
            return Ok(());
        };
        if self.complete.as_ref() == Some(&cluster) || !self.source.health.is_through(&cluster) {
            return Ok(());
        }
        // Definitions on their way in may still bring kinds.
        if !self.feed.settle().await? {
            return Ok(());
        }
        self.follow_definitions().await?;
        if !self.source.health.is_through(&cluster) {
            return Ok(());
        }
        let Ok(id) = self.identity.check(self.identity.epoch()).await else {
            return Ok(());
        };
        if id.key.uid != cluster {
            return Ok(());
        }
        self.say(&id);
        let ClusterId { key, namespace } = &*id;
        let complete = Seen::Complete {
            key: key.clone(),
            object: namespace.clone(),
        };
        self.feed.send(vec![complete], 0).await?;
        if self.feed.settle().await? {
            self.complete = Some(cluster);
        }
        Ok(())
    }

    fn say(&self, id: &ClusterId) {
        let before = self.source.view.read(|objects| {
            let entry = objects.get(&id.key.resource, "", &id.key.name)?;
            Some(entry.key().uid.clone())
        });
        let cluster = &id.key.uid;
        match before {
            Some(before) if before != *cluster => tracing::warn!(
                %before, %cluster,
                "another cluster answers; nodes are brought in line with it, in a new epoch",
            ),
            Some(_) => tracing::info!(%cluster, "the mirror of the cluster is up to date"),
            None => {
                tracing::info!(%cluster, "the mirror of the cluster is complete; nodes are served")
            }
        }
    }
}

/// The kinds that definitions make, as many as are followed.
fn defined(objects: &Objects, definitions: &Resource) -> BTreeMap<Resource, Kind> {
    let mut defined: BTreeMap<Resource, Kind> = objects
        .list(definitions, None, None)
        .filter_map(|entry| {
            let definition: Value = serde_json::from_slice(entry.desired()?.bytes()).ok()?;
            let kind = of_definition(&definition)?;
            // What devices report is written, not read.
            (!is_device_status(&kind.resource)).then(|| (kind.resource.clone(), kind))
        })
        .collect();
    while defined.len() > CUSTOM_KINDS_MAX
        && let Some((resource, _)) = defined.pop_last()
    {
        tracing::warn!(%resource, max = CUSTOM_KINDS_MAX, "too many custom kinds to follow");
    }
    defined
}

/// The custom kinds of which there are objects.
fn held_custom(objects: &Objects) -> BTreeSet<Resource> {
    let resources = objects.resources();
    resources
        .filter(|resource| is_custom(&resource.group) && **resource != tokens())
        .filter(|resource| objects.list(resource, None, None).next().is_some())
        .cloned()
        .collect()
}
