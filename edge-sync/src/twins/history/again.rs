//! After a round that failed: what waits is read from the store again.
//!
//! A store that takes no writes shows the rows of the round that failed until it recovers, and what
//! it keeps of them then is its own affair.

use causeway_log::NodeName;
use causeway_log::error::ReadError;

use super::Backlog;

impl Backlog {
    /// A round failed. No row is drained until [`Backlog::catch_up`] knows what became of it.
    pub(crate) const fn failed(&mut self) {
        self.is_stale = true;
    }

    /// Reads again what waits, once the store of `node` takes writes after a round that failed.
    ///
    /// # Errors
    /// [`ReadError`]; then it is to be tried again.
    pub(crate) fn catch_up(&mut self, node: &NodeName) -> Result<(), ReadError> {
        if !self.is_stale || self.store.read_only().is_some() {
            return Ok(());
        }
        let mut found = Self::open(self.store.clone(), node, self.config)?;
        // Those that only this process counted.
        for (place, waiting) in std::mem::take(&mut self.devices) {
            let dropped = waiting.dropped;
            if dropped > 0 {
                let known = found.devices.entry(place).or_insert(super::Waiting {
                    first: None,
                    ..waiting
                });
                known.dropped = known.dropped.max(dropped);
            }
        }
        found.unacked.retain(|(offset, _)| *offset > self.acked);
        self.unacked_bytes = found.unacked.iter().map(|(_, bytes)| bytes).sum();
        self.unacked = found.unacked;
        self.closed = self.closed.filter(|_| !self.unacked.is_empty());
        self.since = found.since.map(|since| self.since.unwrap_or(since));
        self.devices = found.devices;
        self.head = found.head;
        self.is_stale = false;
        Ok(())
    }
}
