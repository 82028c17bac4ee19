//! A hash that is the same for ever, unlike the standard library's: it is kept with containers and
//! compared by later versions of edged.

/// FNV-1a, 64 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fnv(u64);

impl Fnv {
    pub(crate) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds a field; its length goes in too, so that neighbours cannot be confused.
    pub(crate) fn field(mut self, bytes: &[u8]) -> Self {
        let length = (bytes.len() as u64).to_be_bytes();
        for byte in length.iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self
    }

    pub(crate) const fn finish(self) -> u64 {
        self.0
    }
}
