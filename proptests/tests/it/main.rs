//! Properties and models that span crates.

mod decoders;
mod exhaustive;
mod selectors;
mod sites;
mod watches;
