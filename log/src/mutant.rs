//! Deliberate bugs, for checking the checks.
//!
//! Each has a name and a place in the code where `is_on("name")` makes it do the wrong thing.
//! Without the feature `mutants` the function is the constant `false`, so the bug is not compiled;
//! `cargo xtask mutants` switches them on one by one and reports which check finds which.

/// Every deliberate bug there is, with what it does.
pub const ALL: &[(&str, &str)] = &[
    (
        "ack-before-durable",
        "the receiver acknowledges what it has only received",
    ),
    (
        "skip-record-on-resume",
        "the first record after a resume is left out",
    ),
    ("drop-tombstone", "deletions are not sent"),
    (
        "drop-withdrawn-in-reconcile",
        "keys that only the receiver has stay there",
    ),
    ("drop-fact", "facts are not sent"),
    (
        "trust-foreign-past",
        "a receiver of another past is resumed, not reconciled",
    ),
    (
        "resume-below-floor",
        "a receiver below trimmed tombstones is resumed",
    ),
    (
        "forget-unfinished-reconcile",
        "a receiver inside a reconcile says that it is whole",
    ),
    (
        "hello-without-barrier",
        "the cloud says what it holds while an older session still writes",
    ),
    (
        "unchecked-delta-base",
        "a delta is opened against whatever is held",
    ),
    (
        "forget-fencing",
        "a session that was replaced may still write",
    ),
    (
        "lost-withdraw",
        "a node is not told to drop what it no longer needs",
    ),
    (
        "lost-update",
        "a node is not told of a change of what it holds",
    ),
    (
        "failed-round-keeps-graph",
        "a round that failed leaves its traces in the interest graph",
    ),
    (
        "write-back-twice",
        "what a node sent is applied to the cluster again and again",
    ),
    (
        "write-back-skips",
        "the last record of a page of a node's log is left out",
    ),
    (
        "fold-takes-older",
        "a projection takes an older record over a newer one",
    ),
    (
        "watch-forgets-deletes",
        "the changes after a revision leave out what is gone",
    ),
    ("watch-skips-a-page", "a watch goes on one revision too far"),
    (
        "watch-keeps-unselected",
        "an object that leaves a selection is not reported as deleted",
    ),
    (
        "planner-starts-twice",
        "a container that runs is started again",
    ),
    (
        "planner-leaves-orphans",
        "pods that nobody wants are left running",
    ),
    (
        "notin-needs-the-label",
        "`notin` does not hold for objects without the label",
    ),
];

/// Whether a deliberate bug is switched on. Never without the feature `mutants`.
#[cfg(not(feature = "mutants"))]
#[must_use]
#[inline(always)]
pub const fn is_on(_name: &str) -> bool {
    false
}

/// Whether a deliberate bug is switched on: `CAUSEWAY_MUTANT` of the process names it.
#[cfg(feature = "mutants")]
#[must_use]
pub fn is_on(name: &str) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("CAUSEWAY_MUTANT").ok());
    chosen.as_deref() == Some(name)
}
