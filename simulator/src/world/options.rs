//! The size and temper of a world.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rng::{Purpose, mix, stream};

/// What a world is drawn from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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
    /// How often stores let go of their history; zero for never.
    pub trim_every: Duration,
    /// Facts of a stream that a store keeps.
    pub facts_max: u64,
    /// Whether processes stand still for a while.
    pub freezes: bool,
    /// Whether all connections break at once.
    pub storms: bool,
    /// Whether the cloud is replaced by a next process, behind a load balancer.
    pub rolls: bool,
    /// Whether there are releases that speak other versions of the protocol.
    pub releases: bool,
    /// Whether Events are written at the edge.
    pub facts: bool,
    /// Whether everything is changed at once.
    pub rollouts: bool,
    /// Whether there are devices.
    pub devices: bool,
    /// Whether disks fail to read.
    pub misreads: bool,
    /// Whether a crash leaves any part of what was on its way to a disk, else one batch at most.
    pub tails: bool,
    /// Whether clients watch.
    pub watches: bool,
    /// Whether something in the middle breaks connections.
    pub mangles: bool,
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
            trim_every: Duration::ZERO,
            facts_max: 1000,
            freezes: false,
            storms: false,
            rolls: false,
            releases: false,
            facts: false,
            rollouts: false,
            devices: false,
            misreads: false,
            tails: false,
            watches: false,
            mangles: false,
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
        let mut history = stream(seed, Purpose::History);
        // Not the stream that says when: what is chosen would decide what follows.
        let salt = mix(Purpose::Options as u64);
        let chosen = |purpose| one_in(&mut stream(seed ^ salt, purpose), 3);
        Self {
            nodes: rng.usize(1..=4),
            names: Vec::new(),
            safety: Duration::from_secs(rng.u64(60..=900)),
            // The longest of 1,500 drawn worlds took 64 s; a container that ended often may wait
            // for five minutes.
            liveness: Duration::from_secs(400),
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
            trim_every: Duration::from_millis(match one_in(&mut history, 2) {
                true => history.u64(1_000..=60_000),
                false => 0,
            }),
            facts_max: history.u64(20..=1000),
            freezes: chosen(Purpose::Freezes),
            storms: chosen(Purpose::Storms),
            rolls: chosen(Purpose::Rolls),
            releases: chosen(Purpose::Releases),
            facts: chosen(Purpose::Facts),
            rollouts: chosen(Purpose::Rollouts),
            devices: chosen(Purpose::Devices),
            misreads: chosen(Purpose::Reads),
            tails: chosen(Purpose::Tails),
            watches: chosen(Purpose::Watches),
            mangles: chosen(Purpose::Mangles),
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
            trim_every,
            facts_max,
            freezes,
            storms,
            rolls,
            releases,
            facts,
            rollouts,
            devices,
            misreads,
            tails,
            watches,
            mangles,
            trace: _,
        } = self;
        write!(
            f,
            "{nodes} nodes, {} s then at most {} s, links {delay:?} + {jitter:?}, loss {loss:.3}, \
             {bytes_per_second} B/s, syncs up to {sync_max:?}, \
             {history} revisions kept, {acts_per_minute} acts and \
             {faults_per_minute} faults a minute, loses disks: {loses_disks}, breaks disks: \
             {breaks_disks}, jumps clocks: {jumps_clocks}, trims every {trim_every:?} to \
             {facts_max} facts, freezes: {freezes}, storms: {storms}, replaces the cloud: \
             {rolls}, other releases: {releases}, events at the edge: {facts}, rollouts: \
             {rollouts}, devices: {devices}, misreads: {misreads}, tails: {tails}, watches: \
             {watches}, mangles: {mangles}",
            safety.as_secs(),
            liveness.as_secs(),
        )
    }
}
