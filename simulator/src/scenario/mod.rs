//! Scenarios: a user's own manifests, what happens to the system, and what must be so.
//!
//! ```text
//!   file ── read ──▶ Scenario ── run ──▶ Outcome ──▶ report: text, HTML, JUnit, JSON
//!        (Mistakes)             │  ▲
//!                       actions ▼  │ node states
//!                             System: the simulated world, or real daemons (`live`)
//! ```
//!
//! The language is described in `docs/simulator.md`.

mod claims;
mod desired;
mod devices;
mod expectations;
#[cfg(test)]
pub(crate) mod fake;
mod fields;
mod history;
mod manifests;
mod mistake;
mod model;
mod read;
mod run;
pub mod span;
mod steps;
mod streams;
mod system;
mod targets;
mod tree;
mod virtually;

pub use self::devices::{TwinEnds, TwinSight};
pub use self::history::{Look, NodeHistory, Spans};
pub use self::manifests::{Directory, Files, NoFiles};
pub use self::mistake::{Mistake, Mistakes};
pub use self::model::{
    Action, Claim, Cut, DiskFault, Expectation, Manifest, Part, PodClaim, Report, Road, Scenario,
    Step, Target, TwinClaim, When,
};
pub use self::run::{Outcome, Verdict, run};
pub use self::streams::{Ends, Held};
pub use self::system::{Pacing, Skip, System, SystemError};
pub use self::tree::Place;
pub use self::virtually::{Virtual, simulate};

#[cfg(test)]
mod tests;
