//! The edge daemon.

fn main() {}
