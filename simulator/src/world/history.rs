//! Stores let go of their history now and then, as daemons make them.

use std::time::Duration;

use causeway_log::store::TrimPolicy;
use causeway_log::{Store as _, WallTime};

use super::World;
use super::queue::{Event, Owner};
use super::seen::Kind;

/// Records that a trim removes at most.
const TRIM_RECORDS_MAX: usize = 1000;

impl World {
    pub(super) fn trim(&mut self, owner: Owner, life: u64) {
        let history = self.options.history;
        let (store, keep_revisions) = match owner {
            Owner::Cloud => {
                let cloud = self.cloud.as_ref().filter(|cloud| cloud.life == life);
                (cloud.map(|cloud| cloud.writer.store.clone()), history)
            }
            Owner::Edge(n) => {
                let edge = self.nodes[n].edge.as_ref().filter(|edge| edge.life == life);
                (edge.map(|edge| edge.writer.store.clone()), history / 4)
            }
        };
        let Some(store) = store else { return };
        let trimmed = store.trim(&TrimPolicy {
            keep_revisions,
            keep_since: WallTime::from_unix_millis(u64::MAX),
            bytes_max: 0,
            facts_max: self.options.facts_max,
            facts_bytes_max: 0,
            records_per_call_max: TRIM_RECORDS_MAX,
        });
        // One that fails is tried again by the next.
        if let Ok(trimmed) = trimmed
            && trimmed.records > 0
        {
            self.stats.seen.add(Kind::Trims, 1);
            if let Owner::Edge(n) = owner {
                let dropped = trimmed.facts_dropped;
                self.stats.seen.add(Kind::FactsGivenUp, dropped);
                self.nodes[n].ledger.given_up += trimmed.facts_dropped;
            }
            let who = match owner {
                Owner::Cloud => "cloud",
                Owner::Edge(n) => self.nodes[n].name.as_str(),
            };
            self.trace
                .event(self.now, "trim", who, format_args!("{trimmed:?}"));
        }
        // Nothing is asked of a store that takes no writes, so no round would say so.
        if store.stats().read_only {
            self.recover_later(owner);
        }
        self.trim_later(owner, life);
    }

    /// A store that takes no writes is tried again, as the daemons do.
    fn recover_later(&mut self, owner: Owner) {
        let recovery = match owner {
            Owner::Cloud => (self.cloud.as_mut()).map(|run| (run.life, &mut run.recovering)),
            Owner::Edge(n) => {
                (self.nodes[n].edge.as_mut()).map(|run| (run.life, &mut run.recovering))
            }
        };
        if let Some((life, recovering)) = recovery
            && !std::mem::replace(recovering, true)
        {
            let at = self.now + Duration::from_secs(1);
            self.queue.push(at, Event::Recover { owner, life });
        }
    }

    pub(super) fn trim_later(&mut self, owner: Owner, life: u64) {
        let wait = self.options.trim_every;
        if !wait.is_zero() {
            self.queue
                .push(self.now + wait, Event::Trim { owner, life });
        }
    }
}
