//! Digests of a stream's state: what two sides compare instead of sending everything.
//!
//! An entry is one key and slot: 16 bytes that name it, and 16 bytes that say in what state it is.
//! Offsets, event ids and times are not part of it, so two histories that lead to the same state
//! have the same digest. A key that is gone has no entry, whether its `Delete` is still kept or not,
//! and neither has its status or twin from before: each side lets go of those when its own history
//! window says.
//!
//! Facts, requests and answers happened and have no state: each side keeps them as long as it likes.
//! The digest of a stream leaves them out; a reconcile lists them (see [`Scope`]) so that none is
//! sent in vain, and never drops them.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::error::ReadError;
use crate::id::{Direction, Revision, StreamId, Version};
use crate::key::{Key, Uid};
use crate::limits::DIGEST_BUCKETS;
use crate::record::{Op, Record, Slot, Stored};
use crate::store::{ReadLimit, Store};

macro_rules! hash16 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Wraps bytes from the wire.
            #[must_use]
            pub const fn new(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

hash16! {
    /// Names a key and slot (for a fact: that one fact).
    KeyHash
}

hash16! {
    /// The combination of all entries of a bucket, in whatever order they were added.
    BucketHash
}

/// One hash for each bucket.
pub type Buckets = [BucketHash; DIGEST_BUCKETS];

impl KeyHash {
    /// Of a record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let header = &record.header;
        let mut hasher = key_hasher(&header.key, header.op.slot());
        if header.op.slot() == Slot::Fact {
            hasher.update(header.id.uuid().as_bytes());
        }
        Self(first16(&hasher))
    }

    /// Which bucket the key is in.
    #[must_use]
    pub const fn bucket(&self) -> u8 {
        let [first, ..] = self.0;
        first
    }
}

fn key_hasher(key: &Key, slot: Slot) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        // Lengths keep neighbouring parts apart.
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(key.resource.group.as_bytes());
    part(key.resource.plural.as_bytes());
    part(key.namespace.as_bytes());
    part(key.name.as_bytes());
    match &key.uid {
        Uid::None => part(&[]),
        Uid::Uuid(uid) => part(uid.as_bytes()),
        Uid::Text(text) => part(text.as_bytes()),
    }
    hasher.update(&[match slot {
        Slot::Object => 0,
        Slot::Status => 1,
        Slot::Twin => 2,
        Slot::Request => 3,
        Slot::Fact => 4,
    }]);
    hasher
}

fn first16(hasher: &blake3::Hasher) -> [u8; 16] {
    let mut first = [0; 16];
    hasher.finalize_xof().fill(&mut first);
    first
}

/// In what state a key is: version, op and cause in one half, the body in the other, so that a peer
/// sees when only the first differs and no body need be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateHash {
    /// Version, op and cause.
    pub header: [u8; 8],
    /// The short hash of the body.
    pub body: [u8; 8],
}

impl StateHash {
    /// Of a record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let header = &record.header;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&header.version.get().to_le_bytes());
        hasher.update(&[match header.op {
            Op::Put => 1,
            Op::Delete => 2,
            Op::Status => 3,
            Op::Twin => 4,
            Op::Apply => 5,
            Op::Fact => 6,
            Op::Reject => 7,
        }]);
        if let Some(cause) = header.cause {
            hasher.update(cause.uuid().as_bytes());
        }
        let mut first = [0; 8];
        hasher.finalize_xof().fill(&mut first);
        Self {
            header: first,
            body: record.body.hash().short(),
        }
    }

    /// As it stands on the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let (header, body) = bytes.split_at_mut(8);
        header.copy_from_slice(&self.header);
        body.copy_from_slice(&self.body);
        bytes
    }

    /// From the wire.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let (mut header, mut body) = ([0; 8], [0; 8]);
        header.copy_from_slice(bytes.split_at(8).0);
        body.copy_from_slice(bytes.split_at(8).1);
        Self { header, body }
    }
}

/// One key and slot, and its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DigestEntry {
    /// Which.
    pub key: KeyHash,
    /// In what state.
    pub state: StateHash,
}

impl DigestEntry {
    /// The entry of a record; `None` when the record says that there is nothing (see [`is_gone`]).
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        (!is_gone(record)).then(|| Self {
            key: KeyHash::of(record),
            state: StateHash::of(record),
        })
    }

    /// From the wire.
    #[must_use]
    pub fn from_parts(key: [u8; 16], state: [u8; 16]) -> Self {
        Self {
            key: KeyHash::new(key),
            state: StateHash::from_bytes(state),
        }
    }
}

/// Whether a record says that its key holds nothing in its slot: a `Delete`, or an empty `Status`,
/// `Twin` or `Apply` that answers nothing. A reconcile writes the latter three for what only the
/// receiver has.
#[must_use]
pub fn is_gone(record: &Record) -> bool {
    match record.header.op {
        Op::Delete => true,
        Op::Status | Op::Twin | Op::Apply => {
            record.body.is_empty() && record.header.cause.is_none()
        }
        Op::Put | Op::Fact | Op::Reject => false,
    }
}

/// What a scan of entries covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything that has a state.
    State,
    /// Facts, requests and answers too.
    All,
}

/// What a newest record of a key and slot means beside the other records of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It says something: of the state of the key, or a fact.
    Counts,
    /// It counts, although the object was deleted before.
    Since,
    /// A request that is answered and whose object is gone: the peer had it, whether it still keeps
    /// it or not.
    Settled,
    /// The object it is about is gone.
    Buried,
}

/// Calls `visit` with the newest record of every key and slot of a stream, gone ones included, in
/// pages of bounded size. What is kept of an object that is gone is left out.
///
/// # Errors
/// [`ReadError`]
pub fn scan(
    store: &dyn Store,
    stream: &StreamId,
    scope: Scope,
    mut visit: impl FnMut(Stored),
) -> Result<(), ReadError> {
    scan_standing(store, stream, |stored, standing| {
        let has_state = match stored.record.header.op.slot() {
            Slot::Object | Slot::Status | Slot::Twin => true,
            Slot::Request | Slot::Fact => false,
        };
        if standing != Standing::Buried && (has_state || scope == Scope::All) {
            visit(stored);
        }
    })
}

/// Calls `visit` with the newest record of every key and slot of a stream, and every fact, and what
/// it means. Facts that share a key come last.
pub(crate) fn scan_standing(
    store: &dyn Store,
    stream: &StreamId,
    mut visit: impl FnMut(Stored, Standing),
) -> Result<(), ReadError> {
    let down = match stream {
        StreamId::Node(node, Direction::Up) => Some(StreamId::down(node.clone())),
        StreamId::Node(_, Direction::Down) | StreamId::Cluster => None,
    };
    let mut last: Option<(Key, Slot)> = None;
    // The slot of the object comes first of its key.
    let mut gone: Option<(Key, Revision)> = None;
    let mut shared: BTreeSet<Key> = BTreeSet::new();
    loop {
        let after = last.as_ref().map(|(key, slot)| (key, *slot));
        let page = store.scan_newest(stream, after, ReadLimit::SCAN)?;
        let Some(end) = page.last() else {
            break;
        };
        last = Some((end.record.header.key.clone(), end.record.header.op.slot()));
        for stored in page {
            let header = &stored.record.header;
            if header.op == Op::Fact && stored.since < stored.revision {
                shared.insert(header.key.clone());
                continue;
            }
            if ends_object(&stored.record) {
                gone = Some((header.key.clone(), stored.revision));
            }
            let gone = gone.as_ref().filter(|(key, _)| *key == header.key);
            let gone = gone.map(|(_, revision)| *revision);
            let standing = standing(store, down.as_ref(), &stored, gone)?;
            visit(stored, standing);
        }
    }
    let mut after = Revision::ZERO;
    while !shared.is_empty() {
        let page = store.read(stream, after, ReadLimit::SCAN)?;
        let Some(end) = page.last() else { break };
        after = end.revision;
        for stored in page {
            let header = &stored.record.header;
            if header.op == Op::Fact && shared.contains(&header.key) {
                visit(stored, Standing::Counts);
            }
        }
    }
    Ok(())
}

/// Whether a record ends an object with everything that is kept of it. A `Delete` that a reconcile
/// made of a key which only the receiver had speaks of that slot alone.
fn ends_object(record: &Record) -> bool {
    record.header.op == Op::Delete && record.header.version > Version::ZERO
}

fn standing(
    store: &dyn Store,
    down: Option<&StreamId>,
    stored: &Stored,
    gone: Option<Revision>,
) -> Result<Standing, ReadError> {
    let header = &stored.record.header;
    Ok(match (header.op.slot(), gone) {
        (Slot::Status | Slot::Twin, Some(gone)) if stored.revision < gone => Standing::Buried,
        (Slot::Status | Slot::Twin, Some(_)) => Standing::Since,
        (Slot::Object | Slot::Status | Slot::Twin | Slot::Fact, _) => Standing::Counts,
        (Slot::Request, _) => match down {
            Some(down) if is_settled(store, down, &stored.record)? => Standing::Settled,
            Some(_) | None => Standing::Counts,
        },
    })
}

/// Whether a request is answered and its object gone, so that the cloud may have let go of both.
fn is_settled(store: &dyn Store, down: &StreamId, request: &Record) -> Result<bool, ReadError> {
    let key = &request.header.key;
    let answer = store.newest(down, key, Slot::Request)?;
    let Some(answer) = answer.filter(|it| it.record.header.cause == Some(request.header.id)) else {
        return Ok(false);
    };
    let object = store.newest(down, key, Slot::Object)?;
    Ok(match object.map(|object| object.record) {
        Some(object) if object.header.op != Op::Delete => false,
        Some(object) if ends_object(&object) => true,
        // A cloud that lost what it accepted is asked again.
        Some(_) | None => answer.record.header.op == Op::Reject,
    })
}

/// The state of a stream in [`DIGEST_BUCKETS`] hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    buckets: Box<Buckets>,
    keys: u64,
}

impl Default for Digest {
    fn default() -> Self {
        Self {
            buckets: Box::new([BucketHash::default(); DIGEST_BUCKETS]),
            keys: 0,
        }
    }
}

impl Digest {
    /// The digest of everything in a stream that has a state.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn of_stream(store: &dyn Store, stream: &StreamId) -> Result<Self, ReadError> {
        let mut digest = Self::default();
        scan(store, stream, Scope::State, |stored| {
            if let Some(entry) = DigestEntry::of(&stored.record) {
                digest.add(&entry);
            }
        })?;
        Ok(digest)
    }

    /// Adds an entry; the order of additions does not matter.
    pub fn add(&mut self, entry: &DigestEntry) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(entry.key.as_bytes());
        hasher.update(&entry.state.to_bytes());
        // A sum, not an exclusive or: an entry added twice must not cancel itself out.
        let sum = u128::from_le_bytes(first16(&hasher));
        if let Some(bucket) = self.buckets.get_mut(usize::from(entry.key.bucket())) {
            *bucket = BucketHash(
                u128::from_le_bytes(bucket.0)
                    .wrapping_add(sum)
                    .to_le_bytes(),
            );
        }
        self.keys += 1;
    }

    /// The buckets.
    #[must_use]
    pub const fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    /// How many entries were added.
    #[must_use]
    pub const fn keys(&self) -> u64 {
        self.keys
    }

    /// One hash for all.
    #[must_use]
    pub fn root(&self) -> BucketHash {
        let mut hasher = blake3::Hasher::new();
        self.buckets.iter().for_each(|bucket| {
            hasher.update(&bucket.0);
        });
        BucketHash(first16(&hasher))
    }

    /// The digest for people and tools.
    #[must_use]
    pub fn summary(&self) -> DigestSummary {
        DigestSummary {
            keys: self.keys,
            digest: self.root().to_string(),
            buckets: self.buckets.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A digest as `causeway digest` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DigestSummary {
    /// How many keys and slots have a state.
    pub keys: u64,
    /// One hash for all, hex.
    pub digest: String,
    /// The hash of each bucket, hex.
    pub buckets: Vec<String>,
}

#[cfg(test)]
mod tests;
