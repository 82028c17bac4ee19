//! Integration tests of the log: both stores, through the public API.

mod harness;
mod stores;
