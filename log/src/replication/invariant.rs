//! The registry of invariants: what must always hold, under names that documents, assertions,
//! tests and the simulator share. The list for people is `docs/invariants.md`.

use std::fmt;

macro_rules! invariants {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $statement:literal;)*) => {
        /// Something that must always hold.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Invariant {
            $(#[doc = $statement] $name,)*
        }

        impl Invariant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name everywhere.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)*
                }
            }

            /// What must hold.
            #[must_use]
            pub const fn statement(self) -> &'static str {
                match self {
                    $(Self::$name => $statement,)*
                }
            }
        }
    };
}

invariants! {
    OffsetsGrow = "LOG-1", "offsets grow within a stream and epoch";
    NothingDurableLost = "LOG-2", "nothing durable is lost by a crash";
    Fidelity = "LOG-3", "a record read equals the record written";
    RevisionsOrder = "LOG-4", "the order of revisions extends the order of every stream";
    AckedDurable = "SYNC-1", "what is acknowledged, or said to be held, is durable at the receiver";
    AppliedOnce = "SYNC-2", "no record is applied twice or out of order";
    OldChangesNothing = "SYNC-3", "a session that was fenced changes nothing";
    DigestsEqual = "SYNC-4", "after healing both digests are equal";
    WindowKept = "SYNC-5", "what is under way stays within the window";
    RightBytes = "SYNC-6", "a body is taken only when its hash is the sender's";
    RebuildEqual = "PROJ-1", "a rebuilt projection equals the incremental one";
    SnapshotEqual = "PROJ-2", "a snapshot and its tail equal a full replay";
    TwinMerge = "TWIN-1", "merging twins twice changes nothing more";
    TwinReported = "TWIN-2", "a reported property never overwrites a desired one";
    TwinDesired = "TWIN-3", "what a node was told to want of a device is what its Device says";
    TwinTaken = "TWIN-4", "a report that was acknowledged is not forgotten while its Device is there";
    ReadingsOnce = "TWIN-5", "a reading that was kept reaches the cloud once and in order, or is counted as given up";
    FactsOnce = "FACT-1", "an Event that a node took reaches the cloud once, or is counted as given up";
    WatchComplete = "WATCH-1", "a list at N and the changes after N equal a list at M";
    WatchGone = "WATCH-2", "below the trim point the answer is Gone, never silence";
    PlanConverged = "PLAN-1", "planning a converged pod yields no action";
    PlanIdempotent = "PLAN-2", "every action can be repeated";
    OneCopy = "PLAN-3", "no pod runs twice, and no two lives of one name at a time";
    RunsOn = "AUTO-1", "a node that is cut off keeps running what its projection says, through restarts";
    RunsExactly = "AUTO-2", "after healing each node runs exactly what the cloud wants, nothing lost, nothing doubled";
    Converges = "LIVE-1", "after healing everything comes to rest within a bound";
    Promised = "API-1", "what the API acknowledged is neither lost nor undone";
    Answered = "API-2", "every request of an edge is answered at last";
    CostOfResume = "COST-1", "the bytes after a resume are bounded by the keys that changed";
    Fair = "FAIR-1", "a node that misbehaves delays others by at most a bound";
    NoErrors = "LOUD-1", "expected faults are no errors";
}

impl Invariant {
    /// Stops the process when an own invariant is broken: going on would spread the damage. Never
    /// used on what a peer sent.
    ///
    /// # Panics
    /// When `holds` is false.
    #[track_caller]
    pub fn check(self, holds: bool) {
        assert!(holds, "invariant {self} is broken");
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id(), self.statement())
    }
}
