//! Processes that stand still: suspended, starved, or paging. They lose nothing; what arrives for
//! them waits, senders run out of room, and timers come late.

use std::time::Duration;

use super::queue::{Event, Owner};
use super::{Side, Who, World};

impl World {
    pub(super) fn freeze(&mut self, who: Who, lasts: Duration) {
        let mut until = self.now + lasts;
        // What waits for the end of a longer freeze comes no earlier for a shorter one.
        let mut stand = |frozen: &mut Duration| {
            until = until.max(*frozen);
            *frozen = until;
        };
        match &who {
            Who::Cloud => stand(&mut self.cloud_frozen),
            Who::Edge(node) => self.with(node, |world, n| stand(&mut world.nodes[n].edge_frozen)),
            Who::Edged(node) => {
                self.with(node, |world, n| stand(&mut world.nodes[n].kubelet_frozen));
            }
        }
        self.thawed = self.thawed.max(until);
        self.upset(&who);
        let who = Box::new(who);
        self.queue.push(until, Event::Thaw { who });
    }

    pub(super) fn thaw(&mut self, who: &Who) {
        self.upset(who);
    }

    /// Nobody can expect of it what is expected of one that runs.
    fn upset(&mut self, who: &Who) {
        match who {
            Who::Cloud => self.disturb_all(),
            Who::Edge(node) | Who::Edged(node) => self.with(node, |world, n| {
                world.disturb(n);
                world.stir(n);
            }),
        }
    }

    /// The event, unless it is for somebody who stands still: then it comes when they go on.
    pub(super) fn unless_frozen(&mut self, event: Event) -> Option<Event> {
        if self.now >= self.thawed {
            return Some(event);
        }
        let until = self.frozen_until(&event);
        if self.now >= until {
            return Some(event);
        }
        self.queue.push(until, event);
        None
    }

    fn frozen_until(&self, event: &Event) -> Duration {
        let end = |conn: u64, side: Side| match (side, self.conns.get(&conn)) {
            (Side::Cloud, _) => self.cloud_frozen,
            (Side::Edge, Some(conn)) => self.nodes[conn.node].edge_frozen,
            (Side::Edge, None) => Duration::ZERO,
        };
        match event {
            Event::Deliver { conn, to: side }
            | Event::Lost { conn, at: side, .. }
            | Event::Timer { conn, side, .. } => end(*conn, *side),
            Event::Dialed { conn } => end(*conn, Side::Edge),
            Event::DialFailed { node, .. }
            | Event::Dial { node, .. }
            | Event::Drain { node, .. } => self.nodes[*node].edge_frozen,
            Event::Trim { owner, .. }
            | Event::Round { owner, .. }
            | Event::Synced { owner, .. }
            | Event::Recover { owner, .. } => match owner {
                Owner::Cloud => self.cloud_frozen,
                Owner::Edge(n) => self.nodes[*n].edge_frozen,
            },
            Event::Fence { .. }
            | Event::Turn { .. }
            | Event::Tick { .. }
            | Event::FlushAcks { .. }
            | Event::Ask { .. } => self.cloud_frozen,
            Event::Pull { client } => match self.watched_by(*client) {
                None => self.cloud_frozen,
                Some(n) => self.nodes[n].edge_frozen,
            },
            Event::Look { node, .. } | Event::Step { node, .. } => self.nodes[*node].kubelet_frozen,
            // The machine takes calls for a process that stands still, see the load balancer.
            Event::Accept { .. } => Duration::ZERO,
            Event::Act(_)
            | Event::Exit { .. }
            | Event::Boot { .. }
            | Event::Flap { .. }
            | Event::Drained { .. }
            | Event::Thaw { .. }
            | Event::Calm { .. }
            | Event::Fair { .. } => Duration::ZERO,
        }
    }

    /// Whether something on the way between a node and the cloud stands still.
    pub(super) fn is_frozen(&self, n: usize) -> bool {
        self.now < self.cloud_frozen.max(self.nodes[n].edge_frozen)
    }
}
