//! The shell of the controllers: waits, decides, commits.

use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::tasks::Stop;
use causeway_kube_api::{Catalog, Clock, Source as _, View, Write, WriteError};
use causeway_log::{Direction, NodeName, Revision, Slot, Store, StreamId, WallTime};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};

use super::{Index, events, garbage, lifecycle, namespaces, scheduler};
use crate::cluster::{Cluster, Request, Requests};
use crate::config::Control;
use crate::hub::{Hub, Presence};

/// How often time alone is a reason to look: the resolution of the grace of nodes.
const TICK: Duration = Duration::from_secs(1);
/// A node that is not in the cluster and holds nothing is forgotten after this long without a
/// session. It costs a reconcile when it comes back.
const STRANGER_AGE: Duration = Duration::from_secs(3600);
/// How often Events and strangers are looked through.
const EVENTS_INTERVAL: Duration = Duration::from_secs(60);

/// What the controllers work with.
#[derive(Clone, Debug)]
pub struct Controllers {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// Whether nodes are here.
    pub hub: Arc<Hub>,
    /// What nodes reported.
    pub store: Arc<dyn Store>,
    /// Requests that are no writes of objects.
    pub writer: Requests,
    /// Times in objects.
    pub clock: Arc<dyn Clock>,
    /// Settings.
    pub control: Control,
}

/// Runs all controllers until stopped.
pub async fn run(controllers: Controllers, mut stop: Stop) {
    let mut changes = controllers.cluster.view().subscribe();
    let mut presence = controllers.hub.watch_presence();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turns = Turns::new();
    let began = monotonic();
    loop {
        tokio::select! {
            biased;
            () = stop.wait() => return,
            changed = changes.changed() => if changed.is_err() { return },
            changed = presence.changed() => if changed.is_err() { return },
            _ = tick.tick() => {}
        }
        tokio::select! {
            biased;
            () = stop.wait() => return,
            () = turn(&mut turns, &controllers, began.elapsed()) => {}
        }
    }
}

/// What the controllers remember from turn to turn. Pure: told the time, it gives writes.
#[derive(Debug, Default)]
pub struct Turns {
    index: Index,
    /// The served kinds, as of a change of the definitions.
    catalog: Option<(Revision, Catalog)>,
    events_due: Duration,
}

/// What a turn looks at.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The cluster.
    pub view: &'a View,
    /// Whether nodes are here.
    pub hub: &'a Hub,
    /// What nodes reported.
    pub store: &'a dyn Store,
    /// Settings.
    pub control: &'a Control,
    /// For times in objects.
    pub now: WallTime,
    /// Time that never goes back.
    pub elapsed: Duration,
}

/// What follows from a turn.
#[derive(Debug, Default)]
pub struct Decided {
    /// Changes of objects, at most one of each.
    pub writes: Vec<Write>,
    /// Nodes whose streams nobody needs any more, as far as one sees from here.
    pub leavers: Vec<NodeName>,
}

impl Turns {
    /// At the first turn.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What all controllers want.
    pub fn decide(&mut self, sight: &Sight<'_>) -> Decided {
        let Sight {
            view,
            hub,
            store,
            control,
            now,
            elapsed,
        } = *sight;
        let stamp = causeway_kube_api::source::format_time(now);
        let is_connected = |name: &str| hub.is_connected(name);
        let presence = |name: &str| hub.presence(name);
        let reported = |key: &causeway_log::Key| {
            let up = StreamId::up(NodeName::new(&key.name).ok()?);
            let newest = store.newest(&up, key, Slot::Status).ok()??;
            Some(newest.record.body)
        };
        let events_due = elapsed >= self.events_due;
        let mut writes = view.read(|objects| {
            self.index.observe(objects);
            let index = &self.index;
            let definitions =
                causeway_log::Resource::new("apiextensions.k8s.io", "customresourcedefinitions");
            let latest = objects.latest_change(&definitions);
            let catalog = match &mut self.catalog {
                Some((revision, catalog)) if *revision == latest => catalog,
                stale => &mut stale.insert((latest, Catalog::of(objects))).1,
            };
            let mut writes = lifecycle::decide(
                objects,
                index,
                control.node_grace,
                &stamp,
                presence,
                reported,
            );
            writes.extend(scheduler::decide(objects, index, &stamp));
            writes.extend(namespaces::decide(objects, index, catalog, now));
            writes.extend(garbage::orphans(objects, index, catalog, now));
            writes.extend(garbage::abandoned(objects, index, is_connected));
            if events_due {
                let (age, count) = (control.event_age, control.events_per_namespace_max);
                writes.extend(events::decide(objects, now, age, count));
            }
            writes
        });
        if events_due {
            self.events_due = elapsed + EVENTS_INTERVAL;
        }
        // Two controllers may want the same object; the second decides anew.
        let mut seen = std::collections::BTreeSet::new();
        writes.retain(|write| seen.insert(write.key.clone()));
        let leavers = self.leavers(hub, store, events_due);
        Decided { writes, leavers }
    }

    /// Nodes whose streams nobody needs any more.
    fn leavers(&self, hub: &Hub, store: &dyn Store, strangers: bool) -> Vec<NodeName> {
        let is_connected = |name: &str| hub.is_connected(name);
        let has_streams = |node: &NodeName| {
            let streams = [StreamId::down(node.clone()), StreamId::up(node.clone())];
            streams
                .iter()
                .any(|stream| matches!(store.stream(stream), Ok(Some(_))))
        };
        let mut leavers: Vec<NodeName> = garbage::leavers(&self.index, is_connected)
            .filter_map(|name| NodeName::new(name).ok())
            .filter(has_streams)
            .collect();
        if strangers {
            let streams = store.streams().unwrap_or_default();
            leavers.extend(streams.into_iter().filter_map(|stream| match stream {
                StreamId::Node(node, Direction::Down) => Some(node).filter(|node| {
                    let away = matches!(
                        hub.presence(node),
                        Presence::Away { lasting } if lasting >= STRANGER_AGE
                    );
                    away && self.index.node(node.as_str()).is_none()
                }),
                StreamId::Node(_, Direction::Up) | StreamId::Cluster => None,
            }));
        }
        leavers
    }
}

async fn turn(turns: &mut Turns, controllers: &Controllers, elapsed: Duration) {
    let Controllers {
        cluster,
        hub,
        store,
        clock,
        control,
        writer,
    } = controllers;
    let Decided { writes, leavers } = turns.decide(&Sight {
        view: cluster.view(),
        hub,
        store: &**store,
        control,
        now: clock.now(),
        elapsed,
    });
    commit(cluster, writes).await;
    for node in leavers {
        let (answer, answered) = oneshot::channel();
        let request = Request::Forget {
            node: node.clone(),
            answer,
        };
        if writer.send(request).await.is_err() {
            return;
        }
        // The machine knows best: nothing is forgotten that any node holds.
        if matches!(answered.await, Ok(Ok(true))) {
            hub.forget(&node);
            tracing::info!(%node, "the node left the cluster; its streams are gone");
        }
    }
}

/// Commits all writes at once, so that they share a round.
async fn commit(cluster: &Cluster, writes: Vec<Write>) {
    let commits = writes.into_iter().map(|write| cluster.commit(write));
    for outcome in futures_util::future::join_all(commits).await {
        match outcome {
            Ok(_) => {}
            // Somebody else changed the object, which wakes the controllers again.
            Err(WriteError::Conflict { .. }) => {}
            Err(error) => tracing::debug!(%error, "a controller's write was not done"),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the shell of the controllers"
)]
fn monotonic() -> Instant {
    Instant::now()
}
