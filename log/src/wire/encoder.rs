//! Chooses an encoding for each body and remembers the result, so that one change for ten thousand
//! nodes is compressed once.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use parking_lot::Mutex;

use super::body::{self, Encoded, Packed, WireBody};
use super::dictionary;
use crate::body::{Body, BodyHash};

/// Bodies below this size are sent as they are: naming a dictionary costs more.
const PACK_BYTES_MIN: usize = 48;
/// Bodies below this size are encoded anew each time: it costs less than remembering them.
const REMEMBER_BYTES_MIN: usize = 512;
/// A delta this many times smaller than the body is taken without trying anything else.
const DELTA_GOOD: usize = 4;
/// What an edge, or a test, may remember.
const CACHE_BYTES_DEFAULT: usize = 256 * 1024;
/// Bodies whose hash is remembered by where they stand in memory.
const HASHES_MAX: usize = 16;

/// Encodes bodies for the wire and remembers what it encoded, by the hashes of base and body.
/// Share one between all sessions of a process.
pub struct Encoder {
    cache: Mutex<Cache>,
    hashes: Mutex<Hashes>,
}

/// What it remembers changes how fast it is, never what it gives.
impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new(CACHE_BYTES_DEFAULT)
    }
}

impl Encoder {
    /// An encoder that remembers at most so many bytes of what it encoded.
    #[must_use]
    pub fn new(cache_bytes_max: usize) -> Self {
        let cache = Cache {
            bytes_max: cache_bytes_max,
            ..Cache::default()
        };
        let hashes = Hashes {
            bytes_max: cache_bytes_max,
            ..Hashes::default()
        };
        Self {
            cache: Mutex::new(cache),
            hashes: Mutex::new(hashes),
        }
    }

    /// The smallest encoding found of `body` for a receiver that holds `base`.
    pub(crate) fn encode(&self, body: &Body, base: Option<&Body>) -> Encoded {
        if body.is_empty() {
            return Encoded::from(&WireBody::Empty);
        }
        let base = base.filter(|base| !base.is_empty());
        let hash = self.hash(body);
        let base = base.map(|base| (self.hash(base), base));
        if let Some((base_hash, _)) = base
            && base_hash == hash
        {
            return Encoded::from(&WireBody::Same { base: hash.short() });
        }
        if body.len() < REMEMBER_BYTES_MIN {
            return choose(body, hash, base);
        }
        let id = (base.map(|(hash, _)| hash), hash);
        if let Some(found) = self.cache.lock().get(&id) {
            return found;
        }
        // Outside the lock: two sessions may do the same work once, none waits for the other.
        let encoded = choose(body, hash, base);
        self.cache.lock().insert(id, encoded.clone());
        encoded
    }

    /// How often an encoding was found instead of made, and how often it was made.
    #[must_use]
    pub fn hits_and_misses(&self) -> (u64, u64) {
        let cache = self.cache.lock();
        (cache.hits, cache.misses)
    }

    /// The hash of a body; remembered for large ones, which a store's cache hands to many sessions.
    fn hash(&self, body: &Body) -> BodyHash {
        if body.len() < REMEMBER_BYTES_MIN {
            return body.hash();
        }
        if let Some(hash) = self.hashes.lock().get(body) {
            return hash;
        }
        let hash = body.hash();
        self.hashes.lock().insert(body.clone(), hash);
        hash
    }
}

fn packed<'a>(body: &Body, hash: BodyHash, block: &'a [u8]) -> Packed<'a> {
    Packed {
        size: body.len(),
        hash: hash.short(),
        block,
    }
}

fn choose(body: &Body, hash: BodyHash, base: Option<(BodyHash, &Body)>) -> Encoded {
    let raw = WireBody::Raw(body.bytes());
    if body.len() < PACK_BYTES_MIN {
        return Encoded::from(&raw);
    }
    let delta = base.and_then(|(base_hash, base)| {
        let block = body::pack_delta(body.bytes(), base.bytes())?;
        let base = base_hash.short();
        Some(Encoded::from(&WireBody::Delta {
            base,
            packed: packed(body, hash, &block),
        }))
    });
    if let Some(delta) = &delta
        && delta.wire.len() * DELTA_GOOD <= body.len()
    {
        return delta.clone();
    }
    let zstd = body::pack(body.bytes()).map(|block| {
        let dictionary = dictionary::NEWEST;
        Encoded::from(&WireBody::Zstd {
            dictionary,
            packed: packed(body, hash, &block),
        })
    });
    let raw = Encoded::from(&raw);
    [delta, zstd]
        .into_iter()
        .flatten()
        .fold(raw, |best, other| {
            if other.wire.len() < best.wire.len() {
                other
            } else {
                best
            }
        })
}

/// Hash of the base, if there is one, and of the body.
type EncodingId = (Option<BodyHash>, BodyHash);

#[derive(Debug, Default)]
struct Cache {
    bytes_max: usize,
    bytes: usize,
    entries: BTreeMap<EncodingId, Encoded>,
    order: VecDeque<EncodingId>,
    hits: u64,
    misses: u64,
}

impl Cache {
    fn get(&mut self, id: &EncodingId) -> Option<Encoded> {
        let found = self.entries.get(id).cloned();
        if found.is_some() {
            self.hits += 1;
        } else {
            self.misses += 1;
        }
        found
    }

    fn insert(&mut self, id: EncodingId, encoded: Encoded) {
        /// The maps' own share of an entry.
        const ENTRY_BYTES: usize = 256;
        let size = encoded.wire.len() + ENTRY_BYTES;
        if size > self.bytes_max || self.entries.contains_key(&id) {
            return;
        }
        while self.bytes + size > self.bytes_max {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            if let Some(gone) = self.entries.remove(&oldest) {
                self.bytes -= gone.wire.len() + ENTRY_BYTES;
            }
        }
        self.bytes += size;
        self.entries.insert(id, encoded);
        self.order.push_back(id);
    }
}

/// Hashes of bodies by where they stand in memory. An entry keeps its bytes alive, so the same
/// place means the same bytes.
#[derive(Debug, Default)]
struct Hashes {
    bytes_max: usize,
    bytes: usize,
    entries: VecDeque<(Body, BodyHash)>,
}

impl Hashes {
    fn get(&self, body: &Body) -> Option<BodyHash> {
        let place = |body: &Body| (body.bytes().as_ptr(), body.len());
        let (_, hash) = self
            .entries
            .iter()
            .find(|(known, _)| place(known) == place(body))?;
        Some(*hash)
    }

    fn insert(&mut self, body: Body, hash: BodyHash) {
        self.bytes += body.len();
        self.entries.push_back((body, hash));
        while self.bytes > self.bytes_max || self.entries.len() > HASHES_MAX {
            let Some((gone, _)) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= gone.len();
        }
    }
}
