//! What is to be looked at, and when: only what may have changed, each once however often it did,
//! in the order in which it came up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use causeway_log::replication::Moment;

use super::lives::Name;

/// Names of pods that are to be looked at.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    due: Queue,
    later: BTreeSet<(Moment, Name)>,
    times: BTreeMap<Name, Moment>,
    /// Names with steps that nobody could carry out, because enough was under way.
    to_act: Queue,
    /// Names with news that nobody could tell.
    to_tell: Queue,
}

/// What a name waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Steps can be carried out.
    Act,
    /// A status can be told.
    Tell,
}

/// First in, first out; nothing is in it twice.
#[derive(Debug, Default)]
struct Queue {
    order: VecDeque<Name>,
    members: BTreeSet<Name>,
}

impl Queue {
    fn push(&mut self, name: Name) {
        if self.members.insert(name.clone()) {
            self.order.push_back(name);
        }
    }

    fn pop(&mut self) -> Option<Name> {
        let name = self.order.pop_front()?;
        self.members.remove(&name);
        Some(name)
    }
}

impl Agenda {
    /// Something about the name may have changed.
    pub(super) fn touch(&mut self, name: Name) {
        self.due.push(name);
    }

    /// The name is to be looked at by then, whatever happens.
    pub(super) fn touch_at(&mut self, name: &Name, moment: Moment) {
        if let Some(earlier) = self.times.get(name) {
            if *earlier <= moment {
                return;
            }
            self.later.remove(&(*earlier, name.clone()));
        }
        self.times.insert(name.clone(), moment);
        self.later.insert((moment, name.clone()));
    }

    /// The name is to be looked at when less is under way.
    pub(super) fn wait(&mut self, turn: Turn, name: Name) {
        self.queue(turn).push(name);
    }

    /// Whether something waits for its turn.
    pub(super) fn is_waited(&self, turn: Turn) -> bool {
        let queue = match turn {
            Turn::Act => &self.to_act,
            Turn::Tell => &self.to_tell,
        };
        !queue.order.is_empty()
    }

    /// Less is under way: so many of those that wait may be looked at.
    pub(super) fn release(&mut self, turn: Turn, count: usize) {
        for _ in 0..count {
            let Some(name) = self.queue(turn).pop() else {
                return;
            };
            self.due.push(name);
        }
    }

    const fn queue(&mut self, turn: Turn) -> &mut Queue {
        match turn {
            Turn::Act => &mut self.to_act,
            Turn::Tell => &mut self.to_tell,
        }
    }

    /// What is due, at most so many. What was planned for later about them is void: whoever looks
    /// says it again.
    pub(super) fn take(&mut self, now: Moment, max: usize) -> Vec<Name> {
        while self.later.first().is_some_and(|(moment, _)| *moment <= now) {
            if let Some((_, name)) = self.later.pop_first() {
                self.times.remove(&name);
                self.due.push(name);
            }
        }
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(name) = self.due.pop()
        {
            if let Some(moment) = self.times.remove(&name) {
                self.later.remove(&(moment, name.clone()));
            }
            taken.push(name);
        }
        taken
    }

    /// When something is due.
    pub(super) fn wake(&self, now: Moment) -> Option<Moment> {
        if self.due.order.is_empty() {
            self.later.first().map(|(moment, _)| *moment)
        } else {
            Some(now)
        }
    }
}

#[cfg(test)]
mod tests;
