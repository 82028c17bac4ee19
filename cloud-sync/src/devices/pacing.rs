//! Whose turn it is to be published. Pure: told the time, marks and endings, it names devices.
//!
//! - **One at a time** for each device, and not before its time: what happens meanwhile marks it once.
//! - **Fair**: nodes take turns, so one with many devices, or noisy ones, delays no other by more than
//!   a turn.
//! - **Bounded**: so many writes a second for all, so many under way; what waits is a set of devices.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use causeway_log::NodeName;
use causeway_projections::twin::DeviceName;

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Writes a second, of all devices together.
    pub per_second: u32,
    /// Writes under way at once.
    pub under_way_max: usize,
}

/// How a look at a device ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was written; not again before so much time has gone.
    Written(Duration),
    /// There was nothing to write.
    Same,
    /// It is to be looked at again at this time, or when it is marked.
    Later(Duration),
    /// It was not written; again after this pause.
    Failed(Duration),
    /// There is no such device.
    Gone,
}

#[derive(Debug, Default)]
struct Known {
    /// Whose turn it takes; `None` before it was looked at.
    node: Option<NodeName>,
    is_marked: bool,
    is_under_way: bool,
    /// Not before.
    due: Duration,
    /// Though nothing is marked.
    again: Option<Duration>,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Pacing {
    pace: Pace,
    devices: BTreeMap<DeviceName, Known>,
    /// Devices that are to be looked at, of each node, by when.
    waiting: BTreeMap<Option<NodeName>, BTreeSet<(Duration, DeviceName)>>,
    /// Whose turn was last.
    turn: Option<Option<NodeName>>,
    under_way: usize,
    /// The next write of any device.
    next: Duration,
}

impl Pacing {
    /// Of no devices yet.
    #[must_use]
    pub const fn new(pace: Pace) -> Self {
        Self {
            pace,
            devices: BTreeMap::new(),
            waiting: BTreeMap::new(),
            turn: None,
            under_way: 0,
            next: Duration::ZERO,
        }
    }

    /// A device is to be looked at.
    pub fn mark(&mut self, name: DeviceName) {
        self.unqueue(&name);
        let known = self.devices.entry(name.clone()).or_default();
        known.is_marked = true;
        self.queue(name);
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.values().map(BTreeSet::len).sum()
    }

    /// The next device to be looked at, if one may be now.
    pub fn start(&mut self, now: Duration) -> Option<DeviceName> {
        if self.under_way >= self.pace.under_way_max || now < self.next {
            return None;
        }
        let is_due = |queue: &BTreeSet<(Duration, DeviceName)>| {
            queue.first().is_some_and(|(due, _)| *due <= now)
        };
        let after = match &self.turn {
            None => None,
            Some(turn) => {
                let mut after = self.waiting.range((Excluded(turn.clone()), Unbounded));
                after.find(|(_, queue)| is_due(queue))
            }
        };
        let (node, queue) = after.or_else(|| self.waiting.iter().find(|(_, q)| is_due(q)))?;
        let (node, (_, name)) = (node.clone(), queue.first()?.clone());
        self.turn = Some(node);
        self.unqueue(&name);
        let known = self.devices.get_mut(&name)?;
        (known.is_marked, known.again) = (false, None);
        known.is_under_way = true;
        self.under_way += 1;
        Some(name)
    }

    /// The look at a device of `node` ended.
    pub fn finish(
        &mut self,
        name: &DeviceName,
        node: Option<NodeName>,
        ending: Ending,
        now: Duration,
    ) {
        let Some(known) = self.devices.get_mut(name).filter(|it| it.is_under_way) else {
            return;
        };
        known.is_under_way = false;
        self.under_way -= 1;
        known.node = node;
        match ending {
            Ending::Written(interval) => known.due = now.saturating_add(interval),
            Ending::Same => {}
            Ending::Later(at) => known.again = Some(at),
            Ending::Failed(pause) => {
                known.due = now.saturating_add(pause);
                known.is_marked = true;
            }
            Ending::Gone if known.is_marked => {}
            Ending::Gone => {
                self.devices.remove(name);
                return;
            }
        }
        if matches!(ending, Ending::Written(_) | Ending::Failed(_)) {
            let gap = Duration::from_secs(1) / self.pace.per_second.max(1);
            self.next = self.next.max(now).saturating_add(gap);
        }
        self.queue(name.clone());
    }

    /// When something may be started, if nothing happens until then.
    #[must_use]
    pub fn wake(&self) -> Option<Duration> {
        if self.under_way >= self.pace.under_way_max {
            return None;
        }
        let firsts = self.waiting.values().filter_map(BTreeSet::first);
        let due = firsts.map(|(due, _)| *due).min()?;
        Some(due.max(self.next))
    }

    fn queue(&mut self, name: DeviceName) {
        if let Some((node, due)) = self.place(&name) {
            self.waiting.entry(node).or_default().insert((due, name));
        }
    }

    fn unqueue(&mut self, name: &DeviceName) {
        let Some((node, due)) = self.place(name) else {
            return;
        };
        if let Some(queue) = self.waiting.get_mut(&node) {
            queue.remove(&(due, name.clone()));
            if queue.is_empty() {
                self.waiting.remove(&node);
            }
        }
    }

    /// Where a device waits.
    fn place(&self, name: &DeviceName) -> Option<(Option<NodeName>, Duration)> {
        let known = self.devices.get(name).filter(|it| !it.is_under_way)?;
        let due = match (known.is_marked, known.again) {
            (true, _) => known.due,
            (false, Some(again)) => known.due.max(again),
            (false, None) => return None,
        };
        Some((known.node.clone(), due))
    }
}

#[cfg(test)]
mod tests;
