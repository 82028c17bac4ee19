//! Liveness: a side that hears nothing asks, and gives up when nothing answers. Every frame, and
//! every slice of a long one, is a sign of life.
//!
//! A side that only listens says so now and then. On a slow link the other side's question may
//! stand behind minutes of its own data, and would be answered too late.

use std::time::Duration;

use super::{Moment, Role};
use crate::limits::{KEEPALIVE_IDLE, KEEPALIVE_TIMEOUT};

#[derive(Clone, Debug)]
pub(super) struct Keepalive {
    idle: Duration,
    heard: Moment,
    told: Moment,
    asked: Option<Moment>,
}

/// What a deadline means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing to do.
    Fine,
    /// Send a ping.
    Ask,
    /// Send a pong that nobody asked for.
    Tell,
    /// The link is dead.
    Dead,
}

impl Keepalive {
    pub(super) fn new(role: Role, now: Moment) -> Self {
        // One side asks first, or both would on an idle link: the edge's ping keeps both calm.
        let idle = match role {
            Role::Edge => KEEPALIVE_IDLE,
            Role::Cloud => KEEPALIVE_IDLE + KEEPALIVE_TIMEOUT / 2,
        };
        Self {
            idle,
            heard: now,
            told: now,
            asked: None,
        }
    }

    /// A frame goes out.
    pub(super) const fn told(&mut self, now: Moment) {
        self.told = now;
    }

    pub(super) const fn heard(&mut self, now: Moment) {
        self.heard = now;
        self.asked = None;
    }

    pub(super) fn deadline(&self) -> Moment {
        match self.asked {
            Some(asked) => Moment(asked.0 + KEEPALIVE_TIMEOUT),
            None => Moment(self.heard.0 + self.idle).min(Moment(self.told.0 + tell_after())),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Moment) -> Verdict {
        if now < self.deadline() {
            return Verdict::Fine;
        }
        if self.asked.is_some() {
            return Verdict::Dead;
        }
        self.told = now;
        if now < Moment(self.heard.0 + self.idle) {
            return Verdict::Tell;
        }
        self.asked = Some(now);
        Verdict::Ask
    }
}

/// A side that hears but said nothing for this long says that it lives: soon enough for the other
/// side's patience, late enough to stay silent on an idle link, where pings and their answers pass.
fn tell_after() -> Duration {
    KEEPALIVE_IDLE + KEEPALIVE_TIMEOUT / 2
}
