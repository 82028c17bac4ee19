//! Which token is to be asked for, and when. Pure: told the time, pods and tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use causeway_log::{Key, NodeName, Revision, WallTime};

use super::key_of;
use crate::interest::TokenSource;
use crate::kube::writeback::backoff::Backoff;

/// Part of a token's life after which another is asked for, in thousandths …
const RENEW_AFTER: u64 = 800;
/// … give or take half of so many, spread by the token's name.
const SPREAD: u64 = 100;
/// A clock that was set back makes tokens look as if they were from the future.
const SKEW_MAX_MILLIS: u64 = 300_000;

/// A token that is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its object.
    pub key: Key,
    /// Which version of it.
    pub revision: Revision,
    /// When it was issued.
    pub issued: Option<WallTime>,
    /// When it ends.
    pub expires: Option<WallTime>,
}

/// A token that is to be asked for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The node of the pod.
    pub node: NodeName,
    /// The pod.
    pub pod: Key,
    /// What it mounts.
    pub source: TokenSource,
    /// Where it is kept.
    pub place: Key,
    /// The token it replaces.
    pub held: Option<Held>,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Keeper {
    pods: BTreeMap<Key, Vec<Key>>,
    wanted: BTreeMap<Key, Wanted>,
    held: BTreeMap<Key, Held>,
    /// Whoever is not looked at before its time, soonest first.
    queue: BTreeSet<(Duration, Key)>,
}

#[derive(Debug)]
struct Wanted {
    node: NodeName,
    pod: Key,
    source: TokenSource,
    due: Duration,
    under_way: bool,
    failures: u32,
}

impl Keeper {
    /// A pod is on a node and mounts these.
    pub fn pod(&mut self, pod: &Key, node: &NodeName, sources: Vec<TokenSource>) {
        let named = sources
            .into_iter()
            .filter_map(|source| Some((key_of(pod, &source)?, source)));
        let named: BTreeMap<Key, TokenSource> = named.collect();
        let keys: Vec<Key> = named.keys().cloned().collect();
        let before = self.pods.insert(pod.clone(), keys.clone());
        for gone in before.unwrap_or_default() {
            if !keys.contains(&gone) {
                self.forget(&gone);
            }
        }
        for (key, source) in named {
            if self
                .wanted
                .get(&key)
                .is_some_and(|known| known.node == *node)
            {
                continue;
            }
            self.forget(&key);
            let wanted = Wanted {
                node: node.clone(),
                pod: pod.clone(),
                source,
                due: Duration::ZERO,
                under_way: false,
                failures: 0,
            };
            self.queue.insert((Duration::ZERO, key.clone()));
            self.wanted.insert(key, wanted);
        }
        if keys.is_empty() {
            self.pods.remove(pod);
        }
    }

    /// A pod needs nothing any more.
    pub fn no_pod(&mut self, pod: &Key) {
        for key in self.pods.remove(pod).unwrap_or_default() {
            self.forget(&key);
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(wanted) = self.wanted.remove(key) {
            self.queue.remove(&(wanted.due, key.clone()));
        }
    }

    /// A token is in the store.
    pub fn token(&mut self, held: Held) {
        self.held.insert(held.key.clone(), held);
    }

    /// A token is no longer in the store.
    pub fn no_token(&mut self, key: &Key) {
        self.held.remove(key);
        // Whoever removed it, the pod that needs it gets another.
        if let Some(wanted) = self.wanted.get_mut(key).filter(|wanted| !wanted.under_way) {
            self.queue.remove(&(wanted.due, key.clone()));
            wanted.due = Duration::ZERO;
            self.queue.insert((Duration::ZERO, key.clone()));
        }
    }

    /// A token to ask for, of a pod on a node that is connected.
    pub fn start(
        &mut self,
        connected: &BTreeSet<NodeName>,
        now: Duration,
        wall: WallTime,
    ) -> Option<Due> {
        let Self {
            wanted,
            held,
            queue,
            ..
        } = self;
        let mut put_off = Vec::new();
        let mut found = None;
        for (due, key) in queue.iter() {
            if *due > now {
                break;
            }
            let Some(want) = wanted.get(key) else {
                put_off.push((*due, key.clone(), None));
                continue;
            };
            if !connected.contains(&want.node) {
                // It is looked at again whenever somebody comes; that is cheap enough.
                continue;
            }
            let wait = held.get(key).and_then(|held| rest_of(held, wall));
            match wait {
                Some(wait) => put_off.push((*due, key.clone(), Some(now + wait))),
                None => {
                    found = Some((*due, key.clone()));
                    break;
                }
            }
        }
        for (due, key, later) in put_off {
            queue.remove(&(due, key.clone()));
            if let (Some(later), Some(want)) = (later, wanted.get_mut(&key)) {
                want.due = later;
                queue.insert((later, key));
            }
        }
        let (due, key) = found?;
        queue.remove(&(due, key.clone()));
        let want = wanted.get_mut(&key)?;
        want.under_way = true;
        Some(Due {
            node: want.node.clone(),
            pod: want.pod.clone(),
            source: want.source.clone(),
            held: held.get(&key).cloned(),
            place: key,
        })
    }

    /// When time alone is the next reason to look.
    #[must_use]
    pub fn next_due(&self, now: Duration) -> Option<Duration> {
        // What was due before waits for its node.
        let mut dues = self.queue.iter().map(|(due, _)| *due);
        dues.find(|due| *due > now)
    }

    /// A token was got, or is to be asked for again after a pause. How often it was not, one time
    /// after the other.
    pub fn finish(&mut self, key: &Key, failed: Option<Backoff>, now: Duration, luck: f64) -> u32 {
        let Some(want) = self.wanted.get_mut(key).filter(|want| want.under_way) else {
            return 0;
        };
        want.under_way = false;
        want.due = match failed {
            Some(backoff) => {
                want.failures += 1;
                now + backoff.pause(want.failures, luck)
            }
            None => {
                want.failures = 0;
                now
            }
        };
        self.queue.insert((want.due, key.clone()));
        want.failures
    }

    /// Tokens of pods that are gone, at most so many.
    #[must_use]
    pub fn orphans(&self, at_most: usize) -> Vec<Held> {
        let orphans = self.held.values();
        let orphans = orphans.filter(|held| !self.wanted.contains_key(&held.key));
        orphans.take(at_most).cloned().collect()
    }

    /// How many tokens there are.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }
}

/// How long a token is good enough; `None` when another one is to be asked for.
fn rest_of(held: &Held, now: WallTime) -> Option<Duration> {
    let (issued, expires) = (held.issued?.unix_millis(), held.expires?.unix_millis());
    let now = now.unix_millis();
    if issued > now.saturating_add(SKEW_MAX_MILLIS) {
        return None;
    }
    let life = expires.saturating_sub(issued);
    let spread = u64::from(held.key.name.bytes().fold(0_u16, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u16::from(byte))
    })) % SPREAD;
    let renew =
        issued.saturating_add(life.saturating_mul(RENEW_AFTER + spread - SPREAD / 2) / 1000);
    let rest = renew.saturating_sub(now);
    (rest > 0).then(|| Duration::from_millis(rest))
}
