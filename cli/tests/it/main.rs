//! The whole road on real processes: the built `causeway` binary, its own directories, free ports,
//! a link that can be cut, and SIGKILL.
//!
//! The tests run on a runtime with threads: the links live in it, and must carry on while a test
//! waits for a command.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a broken world fails its test"
)]

mod commands;
mod crash;
mod devices;
mod disk;
mod hostile;
mod kubectl;
mod kubernetes;
mod live;
mod mqtt;
mod road;
mod sim;
mod thermostat;
mod up;
mod wiped;
mod world;
