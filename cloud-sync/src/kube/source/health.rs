//! How the following of each kind is doing, for logs, metrics, readiness and the status document.

use std::collections::BTreeMap;

use causeway_daemon::telemetry::error_chain;
use causeway_kube_api::source::format_time;
use causeway_log::{Resource, Uid, WallTime};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::follower::Condition;
use super::kinds::{Kind, Stage};
use crate::interest::Name;
use crate::kube::client::{ApiError, Class};

/// See the module documentation. Shared.
#[derive(Debug, Default)]
pub struct Health {
    kinds: Mutex<BTreeMap<Resource, KindHealth>>,
    changed: watch::Sender<u64>,
}

/// How the following of one kind is doing.
#[derive(Clone, Debug)]
pub struct KindHealth {
    /// When it is first listed.
    pub stage: Stage,
    /// Whether what it is, is known.
    pub condition: Condition,
    /// The cluster of which it was listed to the end.
    pub listed: Option<Uid>,
    /// It was asked for at least once.
    pub is_asked: bool,
    /// What keeps it from being followed.
    pub trouble: Option<Trouble>,
    /// Lists that came to their end.
    pub lists: u64,
    /// Objects and changes that came in.
    pub events: u64,
    /// Requests that failed.
    pub failures: u64,
}

/// What keeps a kind from being followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What was asked.
    pub verb: &'static str,
    /// What kind of trouble.
    pub class: Class,
    /// In words.
    pub message: String,
    /// Since when.
    pub since: WallTime,
}

impl Health {
    /// Moves when something changed that others wait for.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// All kinds.
    #[must_use]
    pub fn kinds(&self) -> Vec<(Resource, KindHealth)> {
        let kinds = self.kinds.lock();
        kinds
            .iter()
            .map(|(resource, kind)| (resource.clone(), kind.clone()))
            .collect()
    }

    /// Whether a kind was asked for at least once.
    #[must_use]
    pub fn is_asked(&self, resource: &Resource) -> bool {
        self.kinds
            .lock()
            .get(resource)
            .is_some_and(|kind| kind.is_asked)
    }

    /// Whether all kinds are through: listed to the end in this cluster, or not to be read before
    /// someone changes something.
    #[must_use]
    pub fn is_through(&self, cluster: &Uid) -> bool {
        let kinds = self.kinds.lock();
        let mut kinds = kinds.values();
        kinds.all(|kind| kind.listed.as_ref() == Some(cluster) || kind.can_do_without())
    }

    /// Whether a kind was ever listed to the end.
    #[must_use]
    pub fn is_listed(&self, resource: &Resource) -> bool {
        self.kinds
            .lock()
            .get(resource)
            .is_some_and(|kind| kind.listed.is_some())
    }

    /// The cluster of which the nodes were listed last.
    #[must_use]
    pub fn listed_cluster(&self) -> Option<Uid> {
        let kinds = self.kinds.lock();
        kinds.get(&Resource::core("nodes"))?.listed.clone()
    }

    /// Whether the kinds of the stages before `stage` were ever through, whichever cluster it was.
    #[must_use]
    pub fn is_through_before(&self, stage: Stage) -> bool {
        let kinds = self.kinds.lock();
        let mut before = kinds.values().filter(|kind| kind.stage < stage);
        before.all(|kind| kind.listed.is_some() || kind.can_do_without())
    }

    /// The first trouble there is, most basic kind first.
    #[must_use]
    pub fn trouble(&self) -> Option<(Resource, Trouble)> {
        let kinds = self.kinds.lock();
        let troubled = kinds
            .iter()
            .filter_map(|(resource, kind)| Some((kind.stage, resource, kind.trouble.as_ref()?)));
        let (_, resource, trouble) =
            troubled.min_by_key(|(stage, resource, _)| (*stage, *resource))?;
        Some((resource.clone(), trouble.clone()))
    }

    /// Why the cluster was never seen whole, or is not seen now.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self.trouble() {
            Some((resource, Trouble { verb, message, .. })) => {
                format!("cannot {verb} {resource}: {message}")
            }
            None => "the first lists are under way".to_owned(),
        }
    }

    /// What the status document says.
    #[must_use]
    pub fn document(&self, refused: &[(Name, usize)]) -> Value {
        let kinds: Vec<Value> = self.kinds().iter().map(kind_document).collect();
        let refused: Vec<Value> = refused
            .iter()
            .map(|(name, size)| {
                let Name {
                    resource,
                    namespace,
                    name,
                } = name;
                json!({
                    "resource": resource.to_string(),
                    "namespace": &**namespace,
                    "name": &**name,
                    "bytes": size,
                })
            })
            .collect();
        json!({ "kinds": kinds, "too_large": refused })
    }

    pub(super) fn begin(&self, kind: &Kind) {
        let health = KindHealth {
            stage: kind.stage,
            condition: Condition::Starting,
            listed: None,
            is_asked: false,
            trouble: None,
            lists: 0,
            events: 0,
            failures: 0,
        };
        self.kinds.lock().insert(kind.resource.clone(), health);
        self.tell();
    }

    pub(super) fn end(&self, resource: &Resource) {
        self.kinds.lock().remove(resource);
        self.tell();
    }

    pub(super) fn asked(&self, resource: &Resource) {
        self.change(resource, |kind| kind.is_asked = true);
    }

    /// Something came in.
    pub(super) fn came(&self, resource: &Resource, condition: Condition, events: usize) {
        self.change(resource, |kind| {
            kind.events += u64::try_from(events).unwrap_or(u64::MAX);
            kind.condition = condition;
            // Between the first page and the last, trouble may still come back.
            if condition == Condition::Following && kind.trouble.take().is_some() {
                tracing::info!(%resource, "followed again");
            }
        });
    }

    /// A list came to its end.
    pub(super) fn listed(&self, resource: &Resource, cluster: &Uid) {
        self.change(resource, |kind| {
            kind.lists += 1;
            kind.listed = Some(cluster.clone());
        });
        self.tell();
    }

    /// What was listed may not have been taken in.
    pub(super) fn forget_lists(&self) {
        for kind in self.kinds.lock().values_mut() {
            kind.listed = None;
        }
    }

    /// A request failed. The log says it once for each kind of trouble.
    pub(super) fn failed(
        &self,
        resource: &Resource,
        verb: &'static str,
        condition: Condition,
        error: &ApiError,
        now: WallTime,
    ) {
        let message = error_chain(error).to_string();
        self.change(resource, |kind| {
            kind.failures += 1;
            kind.condition = condition;
            let class = error.class();
            let before = kind
                .trouble
                .as_ref()
                .map(|trouble| (trouble.class, trouble.since));
            if before.is_none_or(|(before, _)| before != class) {
                tracing::warn!(verb, %resource, error = %message, "cannot follow; others go on");
            }
            kind.trouble = Some(Trouble {
                verb,
                class,
                message,
                since: before.map_or(now, |(_, since)| since),
            });
        });
        self.tell();
    }

    fn change(&self, resource: &Resource, change: impl FnOnce(&mut KindHealth)) {
        if let Some(kind) = self.kinds.lock().get_mut(resource) {
            change(kind);
        }
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

impl KindHealth {
    /// Nodes and pods are what everything else is for.
    fn can_do_without(&self) -> bool {
        let refused = self
            .trouble
            .as_ref()
            .is_some_and(|trouble| matches!(trouble.class, Class::Forbidden | Class::NotFound));
        refused && self.stage > Stage::Pods
    }
}

fn kind_document((resource, kind): &(Resource, KindHealth)) -> Value {
    let trouble = kind.trouble.as_ref().map(|trouble| {
        json!({
            "verb": trouble.verb,
            "class": trouble.class.as_str(),
            "message": trouble.message,
            "since": format_time(trouble.since),
        })
    });
    json!({
        "resource": resource.to_string(),
        "condition": kind.condition.as_str(),
        "lists": kind.lists,
        "events": kind.events,
        "failures": kind.failures,
        "trouble": trouble,
    })
}
