//! The built-in, versioned dictionaries of Kubernetes JSON. `dictionary/train.py` says how they are
//! made; one that was released never changes.

use std::sync::OnceLock;

use zstd::zstd_safe::{CDict, DDict};

use super::body::LEVEL;

/// The dictionary that this program compresses with.
pub(crate) const NEWEST: u8 = 1;

const V1: &[u8] = include_bytes!("dictionary/k8s-json-v1.zdict");

/// The newest dictionary, prepared for compression on first use.
pub(crate) fn encoder() -> &'static CDict<'static> {
    static PREPARED: OnceLock<CDict<'static>> = OnceLock::new();
    PREPARED.get_or_init(|| CDict::create(V1, LEVEL))
}

/// A dictionary by its number, prepared for decompression on first use.
pub(crate) fn decoder(number: u8) -> Option<&'static DDict<'static>> {
    static PREPARED: OnceLock<DDict<'static>> = OnceLock::new();
    (number == NEWEST).then(|| PREPARED.get_or_init(|| DDict::create(V1)))
}
