//! Whose turn it is. Pure: nodes are spread over the interval, so that many nodes make a steady
//! trickle of writes; a node that comes is served at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use causeway_log::NodeName;

/// The pause after a first failure.
const RETRY: Duration = Duration::from_millis(500);
/// The pause until somebody who was not in a state to be served is looked at again.
const SKIP: Duration = Duration::from_secs(1);

/// See the module documentation.
#[derive(Debug)]
pub struct Pacer {
    interval: Duration,
    under_way_max: usize,
    nodes: BTreeMap<NodeName, Turn>,
    /// Who is due, soonest first; those under way are not in here.
    dues: BTreeSet<(Duration, NodeName)>,
    under_way: usize,
}

#[derive(Debug, Default)]
struct Turn {
    due: Duration,
    under_way: bool,
    failures: u32,
}

impl Pacer {
    /// Serves each node once in `interval`, so many at once.
    #[must_use]
    pub const fn new(interval: Duration, under_way_max: usize) -> Self {
        Self {
            interval,
            under_way_max,
            nodes: BTreeMap::new(),
            dues: BTreeSet::new(),
            under_way: 0,
        }
    }

    /// These nodes are to be served, and no others.
    pub fn observe(&mut self, nodes: &BTreeSet<NodeName>, now: Duration) {
        let Self {
            nodes: known, dues, ..
        } = self;
        known.retain(|node, turn| {
            let stays = nodes.contains(node);
            if !stays {
                dues.remove(&(turn.due, node.clone()));
                // What is under way is counted off when it ends.
            }
            stays
        });
        for node in nodes {
            if !known.contains_key(node) {
                dues.insert((now, node.clone()));
                let turn = Turn {
                    due: now,
                    ..Turn::default()
                };
                known.insert(node.clone(), turn);
            }
        }
    }

    /// The next to be served, if somebody is due.
    pub fn start(&mut self, now: Duration) -> Option<NodeName> {
        if self.under_way >= self.under_way_max {
            return None;
        }
        let (due, _) = self.dues.first()?;
        if *due > now {
            return None;
        }
        let (_, node) = self.dues.pop_first()?;
        let turn = self.nodes.get_mut(&node)?;
        turn.under_way = true;
        self.under_way += 1;
        Some(node)
    }

    /// Who was to be served cannot be now.
    pub fn skip(&mut self, node: &NodeName, now: Duration) {
        self.under_way = self.under_way.saturating_sub(1);
        self.again(node, now + SKIP);
    }

    /// Somebody was served, or was not. `luck`, from 0 to 1, spreads the next turn.
    pub fn finish(&mut self, node: &NodeName, served: bool, now: Duration, luck: f64) {
        self.under_way = self.under_way.saturating_sub(1);
        let Some(turn) = self.nodes.get_mut(node) else {
            return;
        };
        let pause = if served {
            turn.failures = 0;
            // Up to a tenth earlier: what came together does not stay together.
            self.interval.mul_f64(1.0 - luck.clamp(0.0, 1.0) / 10.0)
        } else {
            turn.failures += 1;
            let doubled = RETRY.saturating_mul(1 << (turn.failures - 1).min(8));
            doubled
                .min(self.interval)
                .mul_f64(0.5 + luck.clamp(0.0, 1.0) / 2.0)
        };
        self.again(node, now + pause);
    }

    fn again(&mut self, node: &NodeName, due: Duration) {
        if let Some(turn) = self.nodes.get_mut(node).filter(|turn| turn.under_way) {
            turn.under_way = false;
            turn.due = due;
            self.dues.insert((due, node.clone()));
        }
    }

    /// Somebody is to be served now, whenever its turn would be.
    pub fn hurry(&mut self, node: &NodeName, now: Duration) {
        if let Some(turn) = self.nodes.get_mut(node).filter(|turn| !turn.under_way) {
            self.dues.remove(&(turn.due, node.clone()));
            turn.due = now;
            self.dues.insert((now, node.clone()));
        }
    }

    /// Whether a node is served.
    #[must_use]
    pub fn serves(&self, node: &NodeName) -> bool {
        self.nodes.contains_key(node)
    }

    /// How many nodes are served.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nobody is served.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}
