//! The past: what the objects of a node or of the cluster were at a revision or at a time.

use std::collections::VecDeque;

use causeway_log::error::ReadError;
use causeway_log::store::ReadLimit;
use causeway_log::{Revision, Store, Stored, StreamId, WallTime};

use crate::objects::Objects;

/// A point in the past of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// After the record with this revision.
    Revision(Revision),
    /// After the last record which its writer's clock said is not newer than this. Clocks may be
    /// wrong; this is for people.
    Time(WallTime),
}

/// A past state cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum TravelError {
    /// The history does not reach so far back.
    #[error("the history before revision {oldest} is trimmed")]
    Trimmed {
        /// The lowest revision that can be shown.
        oldest: Revision,
    },
    /// The history does not reach so far forward.
    #[error("revision {asked} is in the future, the newest is {newest}")]
    Future {
        /// What was asked.
        asked: Revision,
        /// The newest durable revision.
        newest: Revision,
    },
    /// The store cannot be read.
    #[error("cannot read the history")]
    Read(#[from] ReadError),
}

/// The objects of `streams` as they were at a point in the past, folded from the history.
///
/// # Errors
/// [`TravelError`]
pub fn objects_at(store: &dyn Store, streams: &[StreamId], at: At) -> Result<Objects, TravelError> {
    let newest = store.watermarks().durable;
    let oldest = oldest(store, streams)?;
    let revision = match at {
        At::Revision(asked) if asked > newest => return Err(TravelError::Future { asked, newest }),
        At::Revision(asked) => asked,
        At::Time(time) => revision_at(store, streams, time)?,
    };
    if revision < oldest {
        return Err(TravelError::Trimmed { oldest });
    }
    let mut objects = Objects::new();
    for (stream, stored) in History::of(store, streams) {
        let stored = stored?;
        if stored.revision > revision {
            break;
        }
        objects.apply(stream, &stored);
    }
    objects.cover(revision);
    Ok(objects)
}

/// The lowest revision at which the state of all `streams` can be shown.
///
/// # Errors
/// [`ReadError`] when the store cannot be read.
pub fn oldest(store: &dyn Store, streams: &[StreamId]) -> Result<Revision, ReadError> {
    let mut oldest = Revision::ZERO;
    for stream in streams {
        if let Some(info) = store.stream(stream)? {
            oldest = oldest.max(info.history);
        }
    }
    Ok(oldest)
}

/// The newest revision whose record is not newer than `time`; zero when all are.
fn revision_at(
    store: &dyn Store,
    streams: &[StreamId],
    time: WallTime,
) -> Result<Revision, ReadError> {
    let mut found = Revision::ZERO;
    for (_, stored) in History::of(store, streams) {
        let stored = stored?;
        if stored.record.header.time <= time {
            found = found.max(stored.revision);
        }
    }
    Ok(found)
}

/// The surviving records of some streams of one store, in the order of revisions.
pub struct History<'a> {
    store: &'a dyn Store,
    sources: Vec<Pages<'a>>,
    failed: bool,
}

/// A stream, read page by page.
struct Pages<'a> {
    stream: &'a StreamId,
    after: Revision,
    page: VecDeque<Stored>,
    done: bool,
}

impl<'a> History<'a> {
    /// The history of `streams`, from its start.
    #[must_use]
    pub fn of(store: &'a dyn Store, streams: &'a [StreamId]) -> Self {
        Self::after(store, streams, Revision::ZERO)
    }

    /// The history of `streams` after a revision.
    #[must_use]
    pub fn after(store: &'a dyn Store, streams: &'a [StreamId], after: Revision) -> Self {
        let pages = |stream| Pages {
            stream,
            after,
            page: VecDeque::new(),
            done: false,
        };
        Self {
            store,
            sources: streams.iter().map(pages).collect(),
            failed: false,
        }
    }
}

impl std::fmt::Debug for History<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History")
            .field("streams", &self.sources.len())
            .finish_non_exhaustive()
    }
}

impl Pages<'_> {
    fn fill(&mut self, store: &dyn Store) -> Result<(), ReadError> {
        if !self.page.is_empty() || self.done {
            return Ok(());
        }
        self.page = store.read(self.stream, self.after, ReadLimit::SCAN)?.into();
        match self.page.back() {
            Some(last) => self.after = last.revision,
            None => self.done = true,
        }
        Ok(())
    }
}

impl<'a> Iterator for History<'a> {
    type Item = (&'a StreamId, Result<Stored, ReadError>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        for source in &mut self.sources {
            if let Err(error) = source.fill(self.store) {
                self.failed = true;
                return Some((source.stream, Err(error)));
            }
        }
        let front = |source: &&mut Pages<'_>| source.page.front().map(|stored| stored.revision);
        let next = self
            .sources
            .iter_mut()
            .filter(|source| !source.page.is_empty())
            .min_by_key(front)?;
        let stored = next.page.pop_front()?;
        Some((next.stream, Ok(stored)))
    }
}
