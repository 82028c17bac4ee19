//! What the bus has to say, to one broker.
//!
//! Answers are a bounded queue. All else is level-based: a device is due, and when its turn comes
//! the message is made of what it is then. So a broker that is slow, or away, makes no queue: it
//! is told less often.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use causeway_log::{NodeName, Revision};
use causeway_projections::twin::{Device, DeviceName, TwinVersion, Twins};

use super::answer::{self, Member, Side, Stamp};
use super::topics::{self, Told};

/// Most answers that wait. A broker whose window is full takes none meanwhile.
const ANSWERS_MAX: usize = 4096;
/// Most devices in one message about devices that come and go.
const MEMBERS_MAX: usize = 100;

/// A message to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
}

/// The wishes that a device has not met: what a delta is about.
type Open = Vec<(Arc<str>, TwinVersion)>;

/// What was last told of a device.
#[derive(Debug)]
struct Known {
    device: Arc<Device>,
    open: Open,
}

/// What is to be told of a device.
#[derive(Debug)]
struct Due {
    device: Arc<Device>,
    delta: bool,
    document: bool,
}

/// What is to be said. See the module.
#[derive(Debug)]
pub(super) struct Outbox {
    node: NodeName,
    answers: VecDeque<Message>,
    /// The changes of the twins up to here are in `due`.
    seen: Option<Revision>,
    known: BTreeMap<DeviceName, Known>,
    due: BTreeMap<DeviceName, Due>,
    /// Whose turn it is.
    turn: Option<DeviceName>,
    added: BTreeSet<DeviceName>,
    removed: BTreeSet<DeviceName>,
    /// Answers and the rest take turns: neither starves the other.
    answered_last: bool,
}

fn open(device: &Device) -> Open {
    let delta = device.twin.delta(&device.rules);
    delta
        .map(|(name, _, version)| (Arc::clone(name), version))
        .collect()
}

impl Outbox {
    pub(super) fn new(node: NodeName) -> Self {
        Self {
            node,
            answers: VecDeque::new(),
            seen: None,
            known: BTreeMap::new(),
            due: BTreeMap::new(),
            turn: None,
            added: BTreeSet::new(),
            removed: BTreeSet::new(),
            answered_last: false,
        }
    }

    /// Puts an answer behind the others. `false`: there are too many, and it is dropped.
    #[must_use]
    pub(super) fn answer(&mut self, message: Message) -> bool {
        let fits = self.answers.len() < ANSWERS_MAX;
        if fits {
            self.answers.push_back(message);
        }
        fits
    }

    /// Takes over what changed since the last look.
    ///
    /// What is there at the first look was perhaps never told: its devices are announced, and
    /// their open wishes told.
    pub(super) fn look(&mut self, twins: &Twins) {
        let seen = self.seen.replace(twins.revision());
        let since = seen.filter(|seen| *seen >= twins.floor());
        match since {
            None => {
                let is_gone = |name: &&DeviceName| twins.get(name).is_none();
                let gone: Vec<_> = self.known.keys().filter(is_gone).cloned().collect();
                gone.iter().for_each(|name| self.forget(name));
                for (name, device) in twins.devices() {
                    self.changed(name.clone(), device);
                }
            }
            Some(since) => {
                let gone = twins.gone_after(since);
                gone.for_each(|(name, _)| self.forget(name));
                for device in twins.changed_after(since) {
                    self.changed(device.name(), device);
                }
            }
        }
    }

    fn forget(&mut self, name: &DeviceName) {
        self.due.remove(name);
        self.added.remove(name);
        if self.known.remove(name).is_some() {
            self.removed.insert(name.clone());
        }
    }

    fn changed(&mut self, name: DeviceName, device: &Arc<Device>) {
        let wishes = open(device);
        let (delta, document) = match self.known.get(&name) {
            None => {
                self.removed.remove(&name);
                self.added.insert(name.clone());
                let known = Known {
                    device: Arc::clone(device),
                    open: Open::new(),
                };
                self.known.insert(name.clone(), known);
                (!wishes.is_empty(), false)
            }
            Some(known) => (
                !wishes.is_empty() && known.open != wishes,
                known.device.twin != device.twin,
            ),
        };
        if let Some(known) = self.known.get_mut(&name) {
            if wishes.is_empty() {
                // The same wish may be opened again, by another report.
                known.open.clear();
            }
            if !document && !self.due.contains_key(&name) {
                known.device = Arc::clone(device);
            }
        }
        self.mark(name, device, delta, document);
    }

    fn mark(&mut self, name: DeviceName, device: &Arc<Device>, delta: bool, document: bool) {
        if let Some(due) = self.due.get_mut(&name) {
            due.device = Arc::clone(device);
            due.delta |= delta;
            due.document |= document;
        } else if delta || document {
            let device = Arc::clone(device);
            self.due.insert(
                name,
                Due {
                    device,
                    delta,
                    document,
                },
            );
        }
    }

    /// Tells a device again what it has not done yet: it reported something else.
    pub(super) fn remind(&mut self, device: &Arc<Device>) {
        let name = device.name();
        if self.known.contains_key(&name) && !open(device).is_empty() {
            self.mark(name, device, true, false);
        }
    }

    /// Tells all devices again what they have not done yet, for whom `listens` says so: somebody
    /// may have missed it.
    pub(super) fn remind_all(&mut self, listens: impl Fn(&DeviceName) -> bool) {
        let open = self.known.iter().filter(|(name, known)| {
            listens(name)
                && known
                    .device
                    .twin
                    .delta(&known.device.rules)
                    .next()
                    .is_some()
        });
        let open: Vec<_> = open
            .map(|(name, known)| (name.clone(), Arc::clone(&known.device)))
            .collect();
        for (name, device) in open {
            // One that is due already is due with what it is now.
            let device = self
                .due
                .get(&name)
                .map_or(device, |due| Arc::clone(&due.device));
            self.mark(name, &device, true, false);
        }
    }

    /// The next message. `wanted` says whether anybody listens to a topic; what nobody listens to
    /// is not made.
    pub(super) fn next(
        &mut self,
        wanted: impl Fn(&str) -> bool,
        mut stamp: impl FnMut() -> Stamp,
    ) -> Option<Message> {
        let answers_first = !self.answered_last;
        self.answered_last = false;
        if answers_first && let Some(answer) = self.answers.pop_front() {
            self.answered_last = true;
            return Some(answer);
        }
        let told = self.membership(&wanted, &mut stamp);
        if let Some((topic, payload)) = told.or_else(|| self.told(&wanted, &mut stamp)) {
            let topic = topic.into();
            return Some(Message { topic, payload });
        }
        self.answers.pop_front()
    }

    fn membership(
        &mut self,
        wanted: &impl Fn(&str) -> bool,
        stamp: &mut impl FnMut() -> Stamp,
    ) -> Option<(String, Bytes)> {
        if self.added.is_empty() && self.removed.is_empty() {
            return None;
        }
        let topic = topics::membership_updated(&self.node);
        if !wanted(&topic) {
            self.added.clear();
            self.removed.clear();
            return None;
        }
        let known = &self.known;
        let added = take(&mut self.added, known);
        let removed = take(&mut self.removed, known);
        let payload = answer::membership(&stamp(), &added, &removed);
        Some((topic, payload))
    }

    /// The next thing that is due of a device; devices take turns.
    fn told(
        &mut self,
        wanted: &impl Fn(&str) -> bool,
        stamp: &mut impl FnMut() -> Stamp,
    ) -> Option<(String, Bytes)> {
        while let Some(name) = self.next_due() {
            let (due, known) = (self.due.get_mut(&name)?, self.known.get_mut(&name)?);
            let device = Arc::clone(&due.device);
            if std::mem::take(&mut due.delta) {
                known.open = open(&device);
                let topic = topics::of_device(&name, Told::Delta);
                if wanted(&topic)
                    && let Some(payload) = answer::delta(&stamp(), &device.twin, &device.rules)
                {
                    return Some((topic, payload));
                }
            }
            let document = due.document;
            self.due.remove(&name);
            let before = std::mem::replace(&mut known.device, Arc::clone(&device));
            let topic = topics::of_device(&name, Told::Document);
            self.turn = Some(name);
            if document
                && wanted(&topic)
                && let Some(payload) =
                    answer::document(&stamp(), Some(Side::of(&before)), Side::of(&device))
            {
                return Some((topic, payload));
            }
        }
        None
    }

    fn next_due(&self) -> Option<DeviceName> {
        let after = self.turn.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.due.range((after, Bound::Unbounded)).next();
        let (name, _) = next.or_else(|| self.due.first_key_value())?;
        Some(name.clone())
    }
}

fn take(names: &mut BTreeSet<DeviceName>, known: &BTreeMap<DeviceName, Known>) -> Vec<Member> {
    let mut members = Vec::new();
    while members.len() < MEMBERS_MAX
        && let Some(name) = names.pop_first()
    {
        let known = known.get(&name);
        let state = known.and_then(|known| known.device.twin.reported.shown_state());
        members.push(Member::of(&name, state));
    }
    members
}
