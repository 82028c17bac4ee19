//! What happened in worlds, counted by kind: so that who runs many sees that nothing is missing.

use std::fmt;

use super::act::{Act, Cut, DiskFault, Who};

macro_rules! kinds {
    ($($name:ident = $text:literal,)*) => {
        /// A kind of thing that happens.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = $text] $name,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// For people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

kinds! {
    Applied = "objects applied",
    Deleted = "objects deleted",
    EdgeWritten = "writes at the edge",
    EdgeEvents = "events at the edge",
    Reports = "reports of devices",
    Cuts = "cuts",
    OneWayCuts = "one-way cuts",
    Flaps = "flapping links",
    Slowed = "slow links",
    Storms = "resets",
    Mangled = "mangled connections",
    Lost = "messages lost",
    Doubled = "messages doubled",
    Swapped = "messages swapped",
    CloudKills = "clouds killed",
    EdgeKills = "edges killed",
    KubeletKills = "kubelets killed",
    Reboots = "reboots",
    TornTails = "torn tails",
    LongTails = "tails of several batches",
    Unheard = "batches kept unheard",
    Wipes = "disks wiped",
    Restores = "disks restored",
    FullDisks = "full disks",
    WriteFaults = "disks that fail to write",
    SyncFaults = "disks that fail to sync",
    ReadFaults = "disks that fail to read",
    FailedReads = "reads failed",
    FailedStarts = "starts failed",
    ClockJumps = "clock jumps",
    Freezes = "freezes",
    Rolls = "clouds replaced",
    Releases = "other releases",
    Trims = "trims",
    FactsGivenUp = "facts given up",
    Resumes = "streams resumed",
    Reconciles = "streams reconciled",
    Violations = "sessions ended for a violation",
    Watches = "watches begun",
    WatchStalls = "watches stalled",
    WatchesGone = "watches told Gone",
    WatchEvents = "watch events",
}

const KINDS: usize = Kind::ALL.len();

/// How often each kind happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen([u64; KINDS]);

impl Default for Seen {
    fn default() -> Self {
        Self([0; KINDS])
    }
}

impl Seen {
    /// How often this happened.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    pub(super) const fn add(&mut self, kind: Kind, times: u64) {
        self.0[kind as usize] += times;
    }

    /// Adds what happened elsewhere.
    pub fn merge(&mut self, other: &Self) {
        for (here, there) in self.0.iter_mut().zip(other.0) {
            *here += there;
        }
    }

    /// An act is done.
    pub(super) const fn act(&mut self, act: &Act) {
        let kind = match act {
            Act::Apply(_) => Kind::Applied,
            Act::Delete { .. } => Kind::Deleted,
            Act::EdgeWrite { .. } => Kind::EdgeWritten,
            Act::EdgeEvent { .. } => Kind::EdgeEvents,
            Act::Report(_) => Kind::Reports,
            Act::Cut { kind, .. } => match kind {
                Cut::Silent | Cut::Reset => Kind::Cuts,
                Cut::Up | Cut::Down => Kind::OneWayCuts,
            },
            Act::Flap { .. } => Kind::Flaps,
            Act::Slow { .. } => Kind::Slowed,
            Act::Reset { .. } => Kind::Storms,
            Act::Mangle { per_mille: 1.., .. } => Kind::Mangled,
            Act::Kill { who } => match who {
                Who::Cloud => Kind::CloudKills,
                Who::Edge(_) => Kind::EdgeKills,
                Who::Edged(_) => Kind::KubeletKills,
            },
            Act::Reboot { .. } => Kind::Reboots,
            Act::Wipe { .. } => Kind::Wipes,
            Act::Restore { .. } => Kind::Restores,
            Act::Disk { fault, .. } => match fault {
                DiskFault::Full => Kind::FullDisks,
                DiskFault::WriteFails => Kind::WriteFaults,
                DiskFault::SyncFails => Kind::SyncFaults,
                DiskFault::ReadFails { .. } => Kind::ReadFaults,
                DiskFault::Heal => return,
            },
            Act::Clock { .. } => Kind::ClockJumps,
            Act::Freeze { .. } => Kind::Freezes,
            Act::Roll { .. } => Kind::Rolls,
            Act::Release { .. } => Kind::Releases,
            Act::Heal { .. } | Act::Mangle { .. } | Act::Start { .. } | Act::Snapshot { .. } => {
                return;
            }
        };
        self.add(kind, 1);
    }
}

/// What happened with how often, then what never did.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for kind in Kind::ALL.iter().filter(|kind| self.of(**kind) > 0) {
            write!(f, "{separator}{} {}", self.of(*kind), kind.text())?;
            separator = ", ";
        }
        separator = "; never: ";
        for kind in Kind::ALL.iter().filter(|kind| self.of(**kind) == 0) {
            write!(f, "{separator}{}", kind.text())?;
            separator = ", ";
        }
        Ok(())
    }
}
