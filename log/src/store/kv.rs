//! What a [`Store`](super::Store) needs under it: an ordered map with atomic batches and two views.
//!
//! All rules of the log are in the engine above, once; an implementation of [`Kv`] knows only bytes.

use std::fmt;

use bytes::Bytes;

use crate::error::EngineError;

/// The source of an [`EngineError`] when what is on disk is not what the map wrote.
#[derive(Debug, thiserror::Error)]
#[error("a file of the storage engine is damaged")]
pub struct DamagedFile {
    /// What was read.
    pub place: String,
    /// What is wrong with it.
    pub what: &'static str,
}

/// A separate range of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Stream and revision → record.
    Log,
    /// Stream, key and slot → the newest revision.
    Newest,
    /// Hash → body.
    Bodies,
    /// Everything small: streams, cursors, rows, reference counts, what waits to be trimmed.
    Meta,
}

impl Space {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Log, Self::Newest, Self::Bodies, Self::Meta];

    /// The name on disk and in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Newest => "newest",
            Self::Bodies => "bodies",
            Self::Meta => "meta",
        }
    }

    /// Position in [`Space::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub space: Space,
    /// Which key.
    pub key: Bytes,
    /// The new value; `None` removes the key.
    pub value: Option<Bytes>,
}

/// Changes that are applied together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Writes(pub Vec<Write>);

impl Writes {
    /// Sets a value.
    pub fn put(&mut self, space: Space, key: impl Into<Bytes>, value: Bytes) {
        self.0.push(Write {
            space,
            key: key.into(),
            value: Some(value),
        });
    }

    /// Removes a key.
    pub fn remove(&mut self, space: Space, key: impl Into<Bytes>) {
        self.0.push(Write {
            space,
            key: key.into(),
            value: None,
        });
    }
}

/// An iterator over keys and values in key order, from either end.
pub type Pairs<'a> = Box<dyn DoubleEndedIterator<Item = Result<(Bytes, Bytes), EngineError>> + 'a>;

/// A consistent state to read from.
pub trait View {
    /// The value of a key.
    ///
    /// # Errors
    /// The engine's.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Keys and values with `from <= key < to`, in key order.
    fn scan(&self, space: Space, from: &[u8], to: &[u8]) -> Pairs<'_>;
}

/// An ordered map of bytes with group commit.
///
/// `commit`, `sync` and `recover` are called by one thread at a time; views by anybody. A thread
/// holds at most one view at a time, and none while it calls the other methods.
pub trait Kv: fmt::Debug + Send + Sync + 'static {
    /// How it is read.
    type View<'a>: View
    where
        Self: 'a;

    /// Everything committed.
    fn written(&self) -> Self::View<'_>;

    /// Everything that was committed at the last `sync`.
    fn durable(&self) -> Self::View<'_>;

    /// Applies `writes` to the written view.
    ///
    /// # Errors
    /// The engine's. Until `recover` succeeds nothing else may be committed.
    fn commit(&self, writes: Writes) -> Result<(), EngineError>;

    /// Makes everything committed durable, and the durable view equal to the written one.
    ///
    /// # Errors
    /// The engine's. Until `recover` succeeds nothing else may be committed.
    fn sync(&self) -> Result<(), EngineError>;

    /// After a failed `commit` or `sync`: takes the written view back to the durable one and
    /// becomes writable again.
    ///
    /// # Errors
    /// The engine's: it still cannot write. The durable view stays readable where possible.
    fn recover(&self) -> Result<(), EngineError>;
}
