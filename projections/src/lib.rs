//! Folds of records into queryable state: objects of any kind as an API serves them, their past,
//! and the selectors and requests that speak of them.
//!
//! Everything here is pure: no clock, no entropy, no files, no tasks. The same records give the
//! same state, in whatever order they are applied (see [`objects`]), so a rebuild from the newest
//! record of every key equals the incremental fold.

pub mod objects;
pub mod rebuild;
pub mod request;
pub mod selector;
pub mod travel;
pub mod twin;

pub use causeway_log::digest;

pub use objects::{Applied, Change, Entry, Limits, Objects, Tombstone};
pub use request::{Request, Verb};
pub use selector::{FieldSelector, LabelSelector, SelectorError};
