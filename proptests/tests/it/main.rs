//! Properties and models that span crates.

mod exhaustive;
