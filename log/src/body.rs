//! The bytes a record carries, and their content address.

use std::fmt;

use bytes::Bytes;

/// The BLAKE3 hash of a body.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BodyHash([u8; 32]);

impl BodyHash {
    /// Wraps hash bytes read from disk or wire.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// All 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight bytes: enough to tell two versions of one object apart on the wire.
    #[must_use]
    pub fn short(&self) -> [u8; 8] {
        let mut short = [0; 8];
        short.copy_from_slice(self.0.split_at(8).0);
        short
    }
}

impl fmt::Debug for BodyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BodyHash({self})")
    }
}

impl fmt::Display for BodyHash {
    /// The first eight bytes in hex, as tools print them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.short()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A record's bytes: canonical JSON of an object or request, or nothing. Clones share the bytes.
///
/// Objects never carry `metadata.resourceVersion` in a body (the record's version says it), so the
/// same object for many nodes is one body.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Body(Bytes);

impl Body {
    /// No bytes, as in a `Delete`.
    pub const EMPTY: Self = Self(Bytes::new());

    /// Wraps bytes. Stores refuse bodies over [`crate::limits::BODY_BYTES_MAX`].
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// How many bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The content address; computed anew at each call.
    #[must_use]
    pub fn hash(&self) -> BodyHash {
        BodyHash(*blake3::hash(&self.0).as_bytes())
    }
}

impl fmt::Debug for Body {
    /// Bodies may hold secrets: only the length is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}
