//! Integration tests of the log: both stores and the writer, through the public API.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "these are tests, helpers included"
)]

mod damage;
mod faults;
mod fixture;
mod full_disk;
mod harness;
mod kill;
mod model;
mod stores;
mod writer;
