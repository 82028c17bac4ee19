//! How a session looks on the wire: frames, records and body encodings.
//!
//! The layouts stand in `docs/protocol.md` and, byte by byte, in `vectors/*.hex`, which the tests
//! read. Bytes from a peer never panic and never make us allocate more than they may.
#![deny(clippy::indexing_slicing)]

pub(crate) mod body;
pub(crate) mod cursor;
pub(crate) mod dictionary;
mod encoder;
mod error;
pub(crate) mod frame;
pub(crate) mod record;

pub use body::{BodyError, Encoding, Packed, WireBody};
pub use encoder::Encoder;
pub use error::WireError;
pub use frame::{Begin, BucketSet, Frame, Held, PROTOCOL_VERSION};
pub use record::WireRecord;

#[cfg(test)]
mod tests;
