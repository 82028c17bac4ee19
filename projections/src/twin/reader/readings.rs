//! The readings of one property of one device, oldest first, page by page.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use causeway_log::error::ReadError;
use causeway_log::store::ReadLimit;
use causeway_log::{NodeName, Op, Revision, Slot, Store, Stored, StreamId, WallTime};

use super::named;
use crate::twin::history::{Chunk, Reading, readings};
use crate::twin::rows::Chunks;

/// How far the clock of a reading's source may be from the node's for a search by time to find it.
const SLACK_MILLIS: u64 = 10 * 60 * 1000;
/// Records of the node that one page passes by at most: it may end with nothing found.
const RECORDS_PER_PAGE_MAX: usize = 16 * 1024;

/// Whose readings are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The device's namespace.
    pub namespace: Arc<str>,
    /// Its name, in whatever lives.
    pub name: Arc<str>,
    /// The property.
    pub property: Arc<str>,
    /// Only readings that their source says are at least so new.
    pub since: Option<WallTime>,
    /// Only readings that their source says are at most so new.
    pub until: Option<WallTime>,
}

/// The place of a reading: a revision, and how many readings, and gaps, of the property come before it
/// from there on. It stays right when readings that wait are sent on. Written `118-3`; what is asked for after a place goes on there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    revision: Revision,
    index: usize,
}

/// Text that is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a place such as 118-3, as an earlier answer gave it")]
pub struct InvalidPlace;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.revision.get(), self.index)
    }
}

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let (revision, index) = text.split_once('-').ok_or(InvalidPlace)?;
        Ok(Self {
            revision: Revision::new(revision.parse().map_err(|_| InvalidPlace)?),
            index: index.parse().map_err(|_| InvalidPlace)?,
        })
    }
}

/// What the store holds of a device's readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where reading begins for what was asked.
    pub begin: Place,
    /// When the node took the oldest reading that is still there, by its clock.
    pub oldest: WallTime,
    /// Whether there were older ones, which the history window has let go.
    pub is_trimmed: bool,
}

/// One thing of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A reading.
    Reading(Reading),
    /// So many readings of the device, of whatever property, were given up here for want of room.
    Dropped(u64),
}

/// A part of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// What was found, in the order in which it was recorded.
    pub items: Vec<Item>,
    /// Where to go on; `None`: this was the end.
    pub next: Option<Place>,
}

/// What there is of a device's readings, and where those that are asked for begin; `None`: none.
///
/// The place of a time is searched by the times of records, in steps that halve. So a node's clock
/// that was set back by more than ten minutes can hide readings from a search by time, never from
/// one without.
///
/// # Errors
/// [`ReadError`] when the store cannot be read.
pub fn extent(
    store: &dyn Store,
    node: &NodeName,
    asked: &Asked,
) -> Result<Option<Extent>, ReadError> {
    let up = StreamId::up(node.clone());
    let lives = facts_of(store, &up, asked)?;
    let (since, end) = (
        lives.iter().map(|it| it.since).min(),
        lives.iter().map(|it| it.revision).max(),
    );
    let first = match since {
        Some(since) => first_after(store, &up, just_before(since), asked)?,
        None => None,
    };
    let (Some(since), Some(end), Some(first)) = (since, end, first) else {
        return first_waiting(store, &up, asked);
    };
    let mut begin = just_before(first.revision);
    if let Some(since) = asked.since {
        let since = since.unix_millis().saturating_sub(SLACK_MILLIS);
        begin = begin.max(search(store, &up, begin, end, since)?);
    }
    Ok(Some(Extent {
        begin: Place {
            revision: begin.next().unwrap_or(begin),
            index: 0,
        },
        oldest: first.record.header.time,
        is_trimmed: first.revision > since,
    }))
}

/// The extent of readings none of which was sent on yet.
fn first_waiting(
    store: &dyn Store,
    up: &StreamId,
    asked: &Asked,
) -> Result<Option<Extent>, ReadError> {
    let chunks = Chunks::of(store, &asked.namespace, &asked.name).next_page()?;
    let mut readings = chunks.iter().flat_map(Chunk::series);
    let Some(oldest) = readings.find_map(|(_, readings)| readings.first()) else {
        return Ok(None);
    };
    // What is sent on from here on comes after everything that is there.
    let last = store.stream(up)?.map(|_| store.watermarks().durable);
    let last = last.unwrap_or_default();
    Ok(Some(Extent {
        begin: Place {
            revision: last.next().unwrap_or(last),
            index: 0,
        },
        oldest: oldest.time,
        is_trimmed: false,
    }))
}

/// The next readings from `from` on, at most `limit`. A page may be empty and not the last.
///
/// # Errors
/// [`ReadError`] when the store cannot be read.
pub fn page(
    store: &dyn Store,
    node: &NodeName,
    asked: &Asked,
    from: Place,
    limit: usize,
) -> Result<Page, ReadError> {
    let up = StreamId::up(node.clone());
    let mut reader = Reader {
        asked,
        limit,
        at: from,
        skip: from.index,
        page: Page::default(),
    };
    reader.at.index = 0;
    let is_over = reader.read_stream(store, &up)?;
    if is_over {
        reader.read_waiting(store, &up)?;
    }
    Ok(reader.page)
}

/// A page under construction.
struct Reader<'a> {
    asked: &'a Asked,
    limit: usize,
    /// Where it stands: the things after this revision that were passed.
    at: Place,
    /// Things that an earlier page gave.
    skip: usize,
    page: Page,
}

impl Reader<'_> {
    /// Reads what was sent on; `true`: all of it.
    fn read_stream(&mut self, store: &dyn Store, up: &StreamId) -> Result<bool, ReadError> {
        let facts = facts_of(store, up, self.asked)?;
        let end = facts.iter().map(|it| it.revision).max();
        let mut passed = 0;
        while end.is_some_and(|end| self.at.revision <= end) {
            if passed >= RECORDS_PER_PAGE_MAX {
                self.stop();
                return Ok(false);
            }
            let records = store.read(up, just_before(self.at.revision), ReadLimit::FRAME)?;
            if records.is_empty() {
                return Ok(true);
            }
            passed += records.len();
            for stored in &records {
                if is_past(self.asked, stored) {
                    return Ok(false);
                }
                if is_of(self.asked, stored) {
                    // What is received is checked before it is kept.
                    let chunk = Chunk::decode(stored.record.body.bytes()).unwrap_or_default();
                    if !self.take(&chunk) {
                        return Ok(false);
                    }
                }
                self.at = Place {
                    revision: stored.revision.next().unwrap_or(stored.revision),
                    index: 0,
                };
            }
        }
        Ok(true)
    }

    /// Reads what waits.
    fn read_waiting(&mut self, store: &dyn Store, up: &StreamId) -> Result<(), ReadError> {
        let mut waiting = Chunks::of(store, &self.asked.namespace, &self.asked.name);
        let mut chunks = waiting.next_page()?;
        // What was sent on meanwhile is no row any more, and comes before those that are left.
        for fact in facts_of(store, up, self.asked)? {
            let key = &fact.record.header.key;
            let newest = store.newest(up, key, Slot::Fact)?;
            if newest.is_some_and(|newest| newest.revision >= self.at.revision) {
                self.stop();
                return Ok(());
            }
        }
        while !chunks.is_empty() {
            for chunk in &chunks {
                if !self.take(chunk) {
                    return Ok(());
                }
            }
            chunks = waiting.next_page()?;
        }
        Ok(())
    }

    /// Takes what a chunk has of the property. `false`: the page is full.
    fn take(&mut self, chunk: &Chunk) -> bool {
        let dropped = Some(chunk.dropped()).filter(|dropped| *dropped > 0);
        let series = chunk
            .series()
            .find_map(|(name, readings)| (*name == self.asked.property).then_some(readings));
        let readings = series.unwrap_or_default().iter();
        let dropped = dropped.map(Item::Dropped).into_iter();
        for item in dropped.chain(readings.cloned().map(Item::Reading)) {
            if self.skip == 0 && self.is_asked(&item) {
                if self.page.items.len() >= self.limit {
                    self.stop();
                    return false;
                }
                self.page.items.push(item);
            }
            self.skip = self.skip.saturating_sub(1);
            self.at.index += 1;
        }
        true
    }

    fn is_asked(&self, item: &Item) -> bool {
        let Item::Reading(reading) = item else {
            return true;
        };
        let Asked { since, until, .. } = self.asked;
        since.is_none_or(|since| reading.time >= since)
            && until.is_none_or(|until| reading.time <= until)
    }

    /// There is more.
    fn stop(&mut self) {
        self.page.next = Some(Place {
            revision: self.at.revision,
            index: self.at.index + self.skip,
        });
    }
}

/// The newest readings that were sent on of each life of the device.
fn facts_of(store: &dyn Store, up: &StreamId, asked: &Asked) -> Result<Vec<Stored>, ReadError> {
    let mut facts = named(store, up, &readings(), &asked.namespace, &asked.name)?;
    facts.retain(|stored| stored.record.header.op == Op::Fact);
    Ok(facts)
}

fn is_of(asked: &Asked, stored: &Stored) -> bool {
    let header = &stored.record.header;
    header.op == Op::Fact
        && header.key.name == asked.name
        && header.key.namespace == asked.namespace
        && header.key.resource == readings()
}

/// Whether nothing that is asked for comes from here on.
fn is_past(asked: &Asked, stored: &Stored) -> bool {
    let time = stored.record.header.time.unix_millis();
    asked
        .until
        .is_some_and(|until| time.saturating_sub(SLACK_MILLIS) > until.unix_millis())
}

/// The first readings of the device after a revision.
fn first_after(
    store: &dyn Store,
    up: &StreamId,
    mut after: Revision,
    asked: &Asked,
) -> Result<Option<Stored>, ReadError> {
    loop {
        let records = store.read(up, after, ReadLimit::FRAME)?;
        let Some(last) = records.last() else {
            return Ok(None);
        };
        after = last.revision;
        if let Some(first) = records.into_iter().find(|stored| is_of(asked, stored)) {
            return Ok(Some(first));
        }
    }
}

/// A revision in `after..=end` such that the record after it is the first whose time is not before
/// `millis`, when times grow.
fn search(
    store: &dyn Store,
    up: &StreamId,
    after: Revision,
    end: Revision,
    millis: u64,
) -> Result<Revision, ReadError> {
    const ONE: ReadLimit = ReadLimit {
        records: 1,
        bytes: 0,
    };
    let (mut low, mut high) = (after.get(), end.get());
    while low < high {
        let middle = low + (high - low) / 2;
        let next = store.read(up, Revision::new(middle), ONE)?;
        match next.first() {
            Some(stored) if stored.record.header.time.unix_millis() < millis => {
                low = stored.revision.get().min(high);
            }
            Some(_) | None => high = middle,
        }
    }
    Ok(Revision::new(low))
}

fn just_before(revision: Revision) -> Revision {
    Revision::new(revision.get().saturating_sub(1))
}
