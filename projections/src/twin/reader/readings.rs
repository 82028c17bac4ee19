//! The readings of one property of one device, oldest first, page by page.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use causeway_log::error::ReadError;
use causeway_log::store::ReadLimit;
use causeway_log::{NodeName, Op, Revision, Store, Stored, StreamId, WallTime};

use super::named;
use crate::twin::history::{Chunk, Reading, readings};

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

/// The place of a reading: the record that holds it, and the how-manieth of the property it is in that
/// record; 0 is what was given up before them. Written `118-3`; what is asked for after a place goes on there.
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
    /// The record of the newest reading of the device.
    end: Revision,
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
    let lives = named(store, &up, &readings(), &asked.namespace, &asked.name)?;
    let facts = || lives.iter().filter(|it| it.record.header.op == Op::Fact);
    let (Some(since), Some(end)) = (
        facts().map(|it| it.since).min(),
        facts().map(|it| it.revision).max(),
    ) else {
        return Ok(None);
    };
    let Some(first) = first_after(store, &up, just_before(since), asked)? else {
        return Ok(None);
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
        end,
        oldest: first.record.header.time,
        is_trimmed: first.revision > since,
    }))
}

/// The next readings from `from` on, at most `limit`.
///
/// # Errors
/// [`ReadError`] when the store cannot be read.
pub fn page(
    store: &dyn Store,
    node: &NodeName,
    asked: &Asked,
    extent: &Extent,
    from: Place,
    limit: usize,
) -> Result<Page, ReadError> {
    let up = StreamId::up(node.clone());
    let mut found = Page::default();
    let mut from = from;
    let mut passed = 0;
    while from.revision <= extent.end {
        if passed >= RECORDS_PER_PAGE_MAX {
            found.next = Some(from);
            return Ok(found);
        }
        let records = store.read(&up, just_before(from.revision), ReadLimit::FRAME)?;
        if records.is_empty() {
            return Ok(found);
        }
        passed += records.len();
        for stored in &records {
            if stored.revision > extent.end || is_past(asked, stored) {
                return Ok(found);
            }
            if stored.revision > from.revision {
                from = Place {
                    revision: stored.revision,
                    index: 0,
                };
            }
            if !is_of(asked, stored) {
                continue;
            }
            if let Some(next) = take(asked, stored, from, limit, &mut found) {
                found.next = Some(next);
                return Ok(found);
            }
        }
        let Some(next) = records.last().and_then(|last| last.revision.next()) else {
            return Ok(found);
        };
        from = Place {
            revision: next,
            index: 0,
        };
    }
    Ok(found)
}

/// Takes what one record has from a place on; where to go on when the page is full.
fn take(
    asked: &Asked,
    stored: &Stored,
    from: Place,
    limit: usize,
    page: &mut Page,
) -> Option<Place> {
    // A record that is no chunk was never one: what is received is checked before it is kept.
    let chunk = Chunk::decode(stored.record.body.bytes()).ok()?;
    let place = |index| Place {
        revision: stored.revision,
        index,
    };
    if page.items.len() >= limit {
        return Some(from);
    }
    if chunk.dropped() > 0 && from.index == 0 {
        page.items.push(Item::Dropped(chunk.dropped()));
    }
    let of_property = chunk
        .series()
        .find_map(|(name, readings)| (*name == asked.property).then_some(readings))
        .unwrap_or_default();
    for (index, reading) in (1..).zip(of_property).skip(from.index.saturating_sub(1)) {
        let is_asked = asked.since.is_none_or(|since| reading.time >= since)
            && asked.until.is_none_or(|until| reading.time <= until);
        if !is_asked {
            continue;
        }
        if page.items.len() >= limit {
            return Some(place(index));
        }
        page.items.push(Item::Reading(reading.clone()));
    }
    None
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
