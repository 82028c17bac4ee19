//! Lines of watches, shared: watchers of the same thing hold one copy of a large event.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use causeway_log::{Key, Revision};
use parking_lot::Mutex;

use super::cursor::{Kind, Taken};
use crate::catalog::ServedKind;
use crate::server::Output;

/// Lines of at least so many bytes are shared; smaller ones are cheaper to make than to find.
const SHARED_BYTES_MIN: usize = 4 * 1024;
/// Bytes kept to share, beyond the newest line.
const KEPT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What a line says, for whom: equal identities are equal bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    key: Key,
    revision: Revision,
    kind: Kind,
    /// Group and version: one object may be served in several.
    group: Arc<str>,
    version: Arc<str>,
    output: Output,
}

impl Identity {
    /// The identity of an event; `None` when its line is not the same at any time.
    pub(super) fn of(
        taken: &Taken,
        kind: Kind,
        served: &ServedKind,
        output: Output,
    ) -> Option<Self> {
        let (key, revision) = match taken {
            Taken::Present(entry) => (entry.key(), entry.modified()),
            Taken::Gone(tombstone) => (tombstone.key(), tombstone.revision()),
        };
        Some(Self {
            key: key.clone(),
            revision,
            kind,
            group: Arc::clone(&served.resource.group),
            version: Arc::clone(&served.version),
            output,
        })
        // Tables show ages.
        .filter(|_| !matches!(output, Output::Table(_)))
    }
}

/// The lines that were made last. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<Mutex<VecDeque<(Identity, Bytes)>>>);

impl Lines {
    pub(super) fn get(&self, identity: &Identity) -> Option<Bytes> {
        let kept = self.0.lock();
        let found = kept.iter().rev().find(|(held, _)| held == identity);
        found.map(|(_, line)| line.clone())
    }

    /// The line to use from now on: one that another watcher made meanwhile is held already.
    pub(super) fn share(&self, identity: Identity, line: Vec<u8>) -> Bytes {
        let line = Bytes::from(line);
        if line.len() < SHARED_BYTES_MIN {
            return line;
        }
        let mut kept = self.0.lock();
        if let Some((_, held)) = kept.iter().find(|(held, _)| *held == identity) {
            return held.clone();
        }
        kept.push_back((identity, line.clone()));
        let mut bytes: usize = kept.iter().map(|(_, line)| line.len()).sum();
        while bytes > KEPT_BYTES_MAX && kept.len() > 1 {
            bytes -= kept.pop_front().map_or(0, |(_, line)| line.len());
        }
        line
    }
}

/// What a watcher has made and its client has not taken yet: large lines by themselves, small ones
/// together.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    whole: VecDeque<Bytes>,
    open: Vec<u8>,
}

impl Chunks {
    pub(super) fn push(&mut self, line: Bytes) {
        if line.len() < SHARED_BYTES_MIN {
            self.open.extend_from_slice(&line);
        } else {
            self.close();
            self.whole.push_back(line);
        }
    }

    pub(super) fn next(&mut self) -> Option<Bytes> {
        if self.whole.is_empty() {
            self.close();
        }
        self.whole.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.open.is_empty()
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.whole.push_back(std::mem::take(&mut self.open).into());
        }
    }
}

#[cfg(test)]
mod tests;
