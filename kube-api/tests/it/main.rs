//! Integration tests of the REST server over a source in memory: requests driven into the router,
//! and a real `kubectl` over loopback.

mod discovery;
mod edge;
mod harness;
mod kubectl;
mod reads;
mod watches;
mod writes;
