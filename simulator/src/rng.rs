//! Random streams: one seed, one stream for each purpose.
//!
//! A purpose has its own salt, so that drawing more for one of them changes nothing for the others:
//! a schedule stays the same when the network draws differently.

/// What a stream of random numbers is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// The size and temper of the world.
    Options = 1,
    /// What users and faults do, and when.
    Schedule = 2,
    /// Delays and losses.
    Network = 3,
    /// How long disks take, and what a crash leaves of what they were not asked to keep.
    Disk = 4,
    /// How long processes take to start, run and stop.
    Process = 5,
    /// Identities: epochs, uids, incarnations.
    Identity = 6,
    /// How much of their past stores keep.
    History = 7,
    /// Processes that stand still.
    Freezes = 8,
    /// Connections that break all at once.
    Storms = 9,
    /// A cloud that is replaced.
    Rolls = 10,
    /// Releases that speak other versions of the protocol.
    Releases = 11,
    /// Events that are written at the edge.
    Facts = 12,
    /// Many changes at once.
    Rollouts = 13,
    /// Devices: what is wanted of them and what they report.
    Devices = 14,
    /// Disks that fail to read.
    Reads = 15,
    /// What a crash leaves of several batches that were on their way.
    Tails = 16,
    /// Clients that watch.
    Watches = 17,
    /// Something in the middle that breaks connections.
    Mangles = 18,
}

/// The stream of `seed` for `purpose`. Nothing of the operating system is in it.
#[must_use]
pub fn stream(seed: u64, purpose: Purpose) -> fastrand::Rng {
    fastrand::Rng::with_seed(mix(seed ^ mix(purpose as u64)))
}

/// `SplitMix64`'s finalizer: neighbours in, strangers out.
#[must_use]
pub const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
