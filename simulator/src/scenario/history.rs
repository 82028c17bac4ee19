//! What a node did over time, as far as it was looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use super::claims::{alive, restarts};
use crate::world::{NodeState, PodState};

/// Something that changes, with the moments of the changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spans<T>(Vec<(Duration, T)>);

impl<T> Default for Spans<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> Spans<T> {
    fn note(&mut self, at: Duration, value: T) {
        if self.0.last().is_none_or(|(_, last)| *last != value) {
            self.0.push((at, value));
        }
    }

    /// From when, until when, what. The last lasts until `end`.
    pub fn iter(&self, end: Duration) -> impl Iterator<Item = (Duration, Duration, &T)> {
        self.0
            .iter()
            .enumerate()
            .map(move |(index, (from, value))| {
                let until = self
                    .0
                    .get(index.saturating_add(1))
                    .map_or(end, |(at, _)| *at);
                (*from, until, value)
            })
    }

    /// What it is at a moment.
    #[must_use]
    pub fn at(&self, at: Duration) -> Option<&T> {
        let index = self.0.partition_point(|(from, _)| *from <= at);
        index
            .checked_sub(1)
            .and_then(|index| self.0.get(index))
            .map(|(_, value)| value)
    }

    /// How often it changed.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.0.len().saturating_sub(1)
    }
}

/// A node over time.
#[derive(Clone, Debug, Default)]
pub struct NodeHistory {
    /// Its name.
    pub node: String,
    /// Whether it had a session with the cloud.
    pub connected: Spans<bool>,
    /// Whether its local API answered.
    pub serving: Spans<bool>,
    /// Whether both its daemons ran.
    pub alive: Spans<bool>,
    /// Its pods by namespace and name; none while nothing of a pod ran.
    pub pods: BTreeMap<String, Spans<Option<Look>>>,
}

/// How a pod looks that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Which life.
    pub uid: String,
    /// What its containers run.
    pub images: Vec<String>,
    /// How often they were started again.
    pub restarts: u32,
    /// How many copies run; one, or something is wrong.
    pub copies: usize,
    /// Whether all its containers run.
    pub running: bool,
    /// Stands for its environment and files: another number is another content.
    pub content: u64,
}

impl NodeHistory {
    pub(super) fn new(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            ..Self::default()
        }
    }

    /// Takes a look.
    pub(super) fn note(&mut self, at: Duration, state: &NodeState) {
        self.connected.note(at, state.connected);
        self.serving.note(at, state.serving);
        self.alive
            .note(at, state.edge_running && state.edged_running);
        let mut looks: BTreeMap<String, Look> = BTreeMap::new();
        for pod in alive(state) {
            let key = format!("{}/{}", pod.namespace, pod.name);
            let look = Look::of(pod);
            match looks.get_mut(&key) {
                Some(first) => first.copies = first.copies.saturating_add(look.copies),
                None => {
                    looks.insert(key, look);
                }
            }
        }
        for (key, spans) in &mut self.pods {
            spans.note(at, looks.remove(key));
        }
        for (key, look) in looks {
            let mut spans = Spans::default();
            spans.note(at, Some(look));
            self.pods.insert(key, spans);
        }
    }
}

impl Look {
    fn of(pod: &PodState) -> Self {
        let env = pod.containers.iter().flat_map(|container| &container.env);
        let texts = env
            .flat_map(|(name, value)| [name, value])
            .chain(pod.files.iter().flat_map(|(name, value)| [name, value]));
        Self {
            uid: pod.uid.clone(),
            images: pod
                .containers
                .iter()
                .map(|container| container.image.clone())
                .collect(),
            restarts: restarts(pod),
            copies: pod
                .containers
                .iter()
                .map(|container| container.copies)
                .max()
                .unwrap_or(0),
            running: pod.running,
            content: texts.fold(0, |hash, text| {
                let ended = text.bytes().chain([0]);
                ended.fold(hash, |hash, byte| crate::rng::mix(hash ^ u64::from(byte)))
            }),
        }
    }
}
