//! edged on real processes: the process runtime by itself, and the whole loop against an API in
//! memory.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod adoption;
mod fake_api;
mod harness;
mod lives;
mod many;
mod memory;
mod pods;
mod runtime;
mod tokens;
