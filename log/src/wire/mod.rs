//! The wire codec.

/// Encodes bodies for the wire and remembers what it encoded.
#[derive(Debug, Default)]
pub struct Encoder {}

impl Encoder {
    /// An encoder that remembers at most so many bytes of what it encoded.
    #[must_use]
    pub fn new(cache_bytes_max: usize) -> Self {
        let _ = cache_bytes_max;
        Self {}
    }
}
