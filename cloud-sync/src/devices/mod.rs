//! Devices at the cloud: the definitions of their kinds, and what they report, shown as
//! DeviceStatuses.
//!
//! ```text
//!   up/<node>: Twin ──▶ cluster machine ──Changed──▶ publisher ──▶ DeviceStatus in the cluster
//!   Device written  ──▶                    names       │ interval of a device, turns of nodes,
//!                                                      ▼ a rate for all
//!                                        newest document of the device in the store
//! ```
//!
//! The publisher is level-triggered: it is told which devices to look at, looks at the newest document
//! and writes if it says something else than the cluster has. So reports never wait for an API server,
//! a thousand of them cost one write, and what was missed during a stop is found at the next start.

mod admission;
mod changed;
mod definitions;
mod embedded;
mod faults;
mod mistakes;
mod pacing;
mod publish;
mod stats;
mod status;

pub(crate) use admission::admit;
pub use changed::Changed;
pub use definitions::definitions;
pub(crate) use embedded::Embedded;
pub(crate) use faults::watch;
pub use pacing::{Ending, Pace, Pacing};
pub(crate) use publish::{NotWritten, Publisher, Target, run};
pub use stats::DeviceStats;
pub use status::{CHANGE_ANNOTATION, Difference, INTERVAL_ANNOTATION, Pacer, difference};
