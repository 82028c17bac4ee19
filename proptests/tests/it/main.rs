//! Properties and models that span crates.

mod exhaustive;
mod selectors;
mod sites;
