//! The simulator on the real engine.

mod regressions;
mod seeds;
mod troubles;
