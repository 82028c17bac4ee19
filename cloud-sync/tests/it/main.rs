//! The whole cloud service in this process: real sockets, a real store, real edges.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that goes wrong"
)]

mod fault;
mod kubernetes;
mod mirrored;
mod road;
mod site;
mod unit;
