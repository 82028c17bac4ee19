//! Integration tests of the REST server over a source in memory: requests driven into the router,
//! and a real `kubectl` over loopback.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

mod discovery;
mod edge;
mod events;
mod harness;
mod kubectl;
mod reads;
mod watches;
mod writes;
