//! Worlds that several crates make together, small enough to be driven by a property or explored
//! completely. The tests are in `tests/it`; what a single crate can check by itself is there.

pub mod decoders;
pub mod explore;
pub mod pair;
pub mod rounds;
pub mod sites;
