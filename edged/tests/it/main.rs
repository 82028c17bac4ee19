//! edged on real processes: the process runtime by itself, and the whole loop against an API in
//! memory.

mod adoption;
mod fake_api;
mod harness;
mod pods;
mod runtime;
