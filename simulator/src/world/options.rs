//! The size and temper of a world.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rng::{Purpose, stream};

/// What a world is drawn from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Edge nodes; they are called `n0`, `n1`, … unless named.
    pub nodes: usize,
    /// Their names, when they have others.
    pub names: Vec<String>,
    /// How long users and faults are at work.
    pub safety: Duration,
    /// Within which everything must be in order once all is healed.
    pub liveness: Duration,
    /// Links: one way.
    pub delay: Duration,
    /// Links: up to this much more.
    pub jitter: Duration,
    /// Links: of packets.
    pub loss: f64,
    /// Links: zero for no bound.
    pub bytes_per_second: u64,
    /// The longest that a sync of a disk takes.
    pub sync_max: Duration,
    /// Revisions that the cloud's store keeps of the past; an edge keeps a quarter.
    pub history: u64,
    /// Steps of users, on average in a minute.
    pub acts_per_minute: u32,
    /// Faults, on average in a minute.
    pub faults_per_minute: u32,
    /// Whether disks are wiped and restored from old copies.
    pub loses_disks: bool,
    /// Whether disks fill up and fail.
    pub breaks_disks: bool,
    /// Whether wall clocks jump.
    pub jumps_clocks: bool,
    /// Keep the lines of the trace.
    pub trace: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 1,
            names: Vec::new(),
            safety: Duration::from_secs(600),
            liveness: Duration::from_secs(900),
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(1),
            loss: 0.0,
            bytes_per_second: 0,
            sync_max: Duration::from_millis(3),
            history: 10_000,
            acts_per_minute: 0,
            faults_per_minute: 0,
            loses_disks: false,
            breaks_disks: false,
            jumps_clocks: false,
            trace: false,
        }
    }
}

impl Options {
    /// What `seed` makes of them.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = stream(seed, Purpose::Options);
        let one_in = |rng: &mut fastrand::Rng, n: u32| rng.u32(..n) == 0;
        Self {
            nodes: rng.usize(1..=4),
            names: Vec::new(),
            safety: Duration::from_secs(rng.u64(60..=900)),
            // The longest of 1,500 drawn worlds took 64 s.
            liveness: Duration::from_secs(300),
            delay: Duration::from_millis(rng.u64(0..=300)),
            jitter: Duration::from_millis(rng.u64(0..=100)),
            loss: if one_in(&mut rng, 3) {
                rng.f64() * 0.1
            } else {
                0.0
            },
            bytes_per_second: if one_in(&mut rng, 3) {
                rng.u64(2_000..=200_000)
            } else {
                0
            },
            sync_max: Duration::from_millis(rng.u64(1..=200)),
            history: rng.u64(4..=2000),
            acts_per_minute: rng.u32(2..=30),
            faults_per_minute: rng.u32(0..=10),
            loses_disks: one_in(&mut rng, 3),
            breaks_disks: one_in(&mut rng, 3),
            jumps_clocks: one_in(&mut rng, 2),
            trace: false,
        }
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            nodes,
            names: _,
            safety,
            liveness,
            delay,
            jitter,
            loss,
            bytes_per_second,
            sync_max,
            history,
            acts_per_minute,
            faults_per_minute,
            loses_disks,
            breaks_disks,
            jumps_clocks,
            trace: _,
        } = self;
        write!(
            f,
            "{nodes} nodes, {} s then at most {} s, links {delay:?} + {jitter:?}, loss {loss:.3}, \
             {bytes_per_second} B/s, syncs up to {sync_max:?}, \
             {history} revisions kept, {acts_per_minute} acts and \
             {faults_per_minute} faults a minute, loses disks: {loses_disks}, breaks disks: \
             {breaks_disks}, jumps clocks: {jumps_clocks}",
            safety.as_secs(),
            liveness.as_secs(),
        )
    }
}
