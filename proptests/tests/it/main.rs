//! Properties and models that span crates.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod decoders;
mod exhaustive;
mod invariants;
mod rounds;
mod selectors;
mod sites;
mod watches;
