//! Kept readings on their way to the cloud: as rows of the store, then as facts of the up stream.
//!
//! ```text
//!   kept ──▶ rows, durable with the report ──drain──▶ chunks in the up stream ──ack──▶ done
//!            up to `history_bytes_max`                at most a window unacknowledged
//! ```
//!
//! # Guarantees
//! - A report is answered when its readings are durable, here or there.
//! - What the cloud gets of a property is in order. Of a device's readings that were given up for
//!   want of room, the number stands in the chunk that comes next. A number that nothing was written
//!   after is lost by a crash, and nothing else is.
//! - State does not wait behind readings: in the up stream there is never more of them than the
//!   window, however long the link was away. Once it is full, none follow until all are
//!   acknowledged, so that state which changed meanwhile goes first; and it shrinks until that takes
//!   a few seconds.

mod again;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use causeway_log::batch::{Entry, Row};
use causeway_log::error::ReadError;
use causeway_log::store::ReadLimit;
use causeway_log::{Batch, Key, NodeName, Offset, Op, Store, StreamId};
use causeway_projections::twin::history::{Chunk, Reading, readings};
use causeway_projections::twin::rows::{self, Head, Place};

use crate::config::TwinsConfig;

/// Bytes of chunks under way to the cloud at first: what state may have to wait behind.
const WINDOW_BYTES: u64 = 64 * 1024;
/// The least and the most that acknowledgements make of it.
const WINDOW_BYTES_MIN: u64 = 8 * 1024;
const WINDOW_BYTES_MAX: u64 = 256 * 1024;
/// A full window that is acknowledged sooner grows, and one that takes longer shrinks. Sessions
/// pass acknowledgements on once a second.
const WINDOW_SOON: Duration = Duration::from_secs(2);
const WINDOW_LATE: Duration = Duration::from_secs(4);
/// So many bytes of rows are drained before they are old enough.
const DRAIN_BYTES: u64 = 64 * 1024;
/// Rows read in one step.
const ROWS_PER_READ: usize = 256;

/// What waits, as of what is durable. Planning a round changes nothing here: see [`Delta`].
#[derive(Debug)]
pub(crate) struct Backlog {
    store: Arc<dyn Store>,
    config: TwinsConfig,
    /// Devices with rows, or with readings given up that are not told yet.
    devices: BTreeMap<Place, Waiting>,
    head: Head,
    /// Chunks in the up stream that the cloud has not acknowledged.
    unacked: VecDeque<(Offset, u64)>,
    unacked_bytes: u64,
    /// How many bytes of them there may be.
    window: u64,
    /// Since when they are so many that no more may follow.
    closed: Option<Duration>,
    /// When the oldest row came.
    since: Option<Duration>,
    /// The device that was drained last: the next one goes first.
    last: Option<Place>,
    /// The cloud has everything up to here.
    acked: Offset,
    /// A round failed: the store may hold more than is known here, or show what it will not keep.
    is_stale: bool,
}

/// What waits of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Waiting {
    /// Key of the Device.
    key: Key,
    /// The place of its first row; `None`: there is none.
    first: Option<u64>,
    /// Readings given up and not told yet.
    dropped: u64,
}

/// What a round does to the backlog once it is durable.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    devices: BTreeMap<Place, Option<Waiting>>,
    head: Head,
    /// Chunks by their place in the batch, with their bytes.
    chunks: Vec<(usize, u64)>,
    since: Option<Duration>,
    last: Option<Place>,
    now: Duration,
    /// Readings kept and given up.
    pub(crate) kept: u64,
    pub(crate) dropped: u64,
    /// Why no more was drained.
    pub(crate) error: Option<ReadError>,
}

/// Readings of a device that a round keeps.
pub(crate) type Kept = (Key, Vec<(Arc<str>, Reading)>);

impl Backlog {
    /// Nothing waits.
    pub(crate) const fn new(store: Arc<dyn Store>, config: TwinsConfig) -> Self {
        Self {
            store,
            config,
            devices: BTreeMap::new(),
            head: Head { next: 0, bytes: 0 },
            unacked: VecDeque::new(),
            unacked_bytes: 0,
            window: WINDOW_BYTES,
            closed: None,
            since: None,
            last: None,
            acked: Offset::ZERO,
            is_stale: false,
        }
    }

    /// Reads what waits in the store of `node`.
    ///
    /// # Errors
    /// [`ReadError`]
    pub(crate) fn open(
        store: Arc<dyn Store>,
        node: &NodeName,
        config: TwinsConfig,
    ) -> Result<Self, ReadError> {
        let head = rows::head(&*store)?;
        let mut devices = BTreeMap::new();
        for (place, dropped) in rows::dropped(&*store)? {
            let waiting = Waiting::new(place.key(), dropped);
            devices.insert(place, waiting);
        }
        for (place, first) in rows::devices(&*store)? {
            let key = place.key();
            let waiting = devices.entry(place).or_insert_with(|| Waiting::new(key, 0));
            waiting.first = Some(first);
        }
        let unacked = unacked(&*store, node)?;
        let unacked_bytes = unacked.iter().map(|(_, bytes)| bytes).sum();
        Ok(Self {
            since: (head.bytes > 0).then_some(Duration::ZERO),
            closed: (unacked_bytes >= WINDOW_BYTES).then_some(Duration::ZERO),
            unacked_bytes,
            unacked,
            devices,
            head,
            ..Self::new(store, config)
        })
    }

    /// Bytes that wait here, and bytes that wait for an acknowledgement.
    pub(crate) const fn bytes(&self) -> (u64, u64) {
        (self.head.bytes, self.unacked_bytes)
    }

    /// When rows are to be drained; `None`: there are none, or acknowledgements must come first.
    pub(crate) fn due(&self) -> Option<Duration> {
        let since = self.since.filter(|_| self.closed.is_none())?;
        Some(since + self.config.history_delay)
    }

    /// The cloud has everything up to here, and said so at `now`.
    pub(crate) fn acked(&mut self, upto: Offset, now: Duration) {
        self.acked = self.acked.max(upto);
        while let Some((_, bytes)) = self.unacked.pop_front_if(|(offset, _)| *offset <= upto) {
            self.unacked_bytes -= bytes;
        }
        if self.unacked.is_empty()
            && let Some(closed) = self.closed.take()
        {
            let took = now.saturating_sub(closed);
            if took < WINDOW_SOON {
                self.window = (self.window * 2).min(WINDOW_BYTES_MAX);
            } else if took > WINDOW_LATE {
                self.window = (self.window / 2).max(WINDOW_BYTES_MIN);
            }
        }
    }

    /// Adds to `batch` the rows of what a round keeps, and chunks of what is due; `entry` makes the
    /// entry of a chunk.
    pub(crate) fn plan(
        &self,
        kept: Vec<Kept>,
        now: Duration,
        batch: &mut Batch,
        mut entry: impl FnMut(Key, Vec<u8>) -> Entry,
    ) -> Delta {
        let mut delta = Delta {
            head: self.head,
            since: self.since,
            last: self.last.clone(),
            now,
            ..Delta::default()
        };
        let mut work = Work {
            rows: Vec::new(),
            chunks: Vec::new(),
            room: match self.closed {
                None if !self.is_stale => self.window.saturating_sub(self.unacked_bytes),
                _ => 0,
            },
        };
        let is_due = self.due().is_some_and(|due| due <= now);
        if self.head.bytes > 0 && (is_due || self.head.bytes >= DRAIN_BYTES) {
            self.drain(&mut delta, &mut work);
        }
        for (key, readings) in kept {
            self.stage(key, readings, now, &mut delta, &mut work);
        }
        if delta.head.bytes == 0 {
            delta.since = None;
            self.confess(&mut delta, &mut work);
        }
        for (key, body) in work.chunks {
            let bytes = body.len() as u64;
            delta.chunks.push((batch.entries.len(), bytes));
            let key = Key {
                resource: readings(),
                ..key
            };
            batch.entries.push(entry(key, body));
        }
        self.write(&delta, work.rows, batch);
        delta
    }

    /// Adds the rows, with the head and what is given up.
    fn write(&self, delta: &Delta, rows: Vec<Row>, batch: &mut Batch) {
        batch.rows.extend(rows);
        if delta.head != self.head {
            batch.rows.push(delta.head.row());
        }
        // What is given up alone makes no batch: it would cost more than it tells.
        if batch.is_empty() {
            return;
        }
        for (place, waiting) in &delta.devices {
            let before = self.devices.get(place).map_or(0, |it| it.dropped);
            let after = waiting.as_ref().map_or(0, |it| it.dropped);
            if before != after || after > 0 {
                batch.rows.push(place.dropped_row(after));
            }
        }
    }

    fn waiting(&self, place: &Place, delta: &Delta) -> Option<Waiting> {
        match delta.devices.get(place) {
            Some(waiting) => waiting.clone(),
            None => self.devices.get(place).cloned(),
        }
    }

    /// Keeps readings as rows, or, when nothing waits before them and nobody wants to wait, at once
    /// as chunks. What finds no room is given up.
    fn stage(
        &self,
        key: Key,
        readings: Vec<(Arc<str>, Reading)>,
        now: Duration,
        delta: &mut Delta,
        work: &mut Work,
    ) {
        let place = Place::of(&key);
        let waiting = self.waiting(&place, delta);
        let mut waiting = waiting.unwrap_or_else(|| Waiting::new(key, 0));
        for mut chunk in chunks(readings) {
            let count = chunk.len() as u64;
            chunk.set_dropped(waiting.dropped);
            let body = chunk.encode();
            let bytes = body.len() as u64;
            let is_direct = waiting.first.is_none()
                && self.config.history_delay.is_zero()
                && bytes <= work.room;
            let row_bytes = rows::bytes(&place, bytes);
            let held = delta.head.bytes + self.unacked_bytes + work.sent();
            if held + row_bytes > self.config.history_bytes_max {
                waiting.dropped += count;
                delta.dropped += count;
                continue;
            }
            delta.kept += count;
            waiting.dropped = 0;
            if is_direct {
                work.send(waiting.key.clone(), body);
            } else {
                waiting.first.get_or_insert(delta.head.next);
                work.rows.push(place.row(delta.head.next, &body));
                delta.head.next += 1;
                delta.head.bytes += row_bytes;
                delta.since = delta.since.or(Some(now));
            }
        }
        delta.devices.insert(place, waiting.unless_nothing());
    }

    /// Turns rows into chunks as long as the window has room, one of each device in turn.
    fn drain(&self, delta: &mut Delta, work: &mut Work) {
        let with_rows = |(_, waiting): &(&Place, &Waiting)| waiting.first.is_some();
        let places: Vec<&Place> = self
            .devices
            .iter()
            .filter(with_rows)
            .map(|it| it.0)
            .collect();
        let last = self.last.as_ref();
        let first = places.partition_point(|place| last.is_some_and(|last| *place <= last));
        let mut open: VecDeque<&Place> = places[first..]
            .iter()
            .chain(&places[..first])
            .copied()
            .collect();
        while work.room > 0
            && let Some(place) = open.pop_front()
        {
            let Some(waiting) = self.waiting(place, delta) else {
                continue;
            };
            let waiting = match self.drain_device(place, waiting, delta, work) {
                Ok(waiting) => waiting,
                Err(error) => {
                    delta.error = Some(error);
                    return;
                }
            };
            if waiting.first.is_some() {
                open.push_back(place);
            }
            delta.last = Some(place.clone());
            delta
                .devices
                .insert(place.clone(), waiting.unless_nothing());
        }
    }

    /// Makes one chunk of a device's first rows.
    fn drain_device(
        &self,
        place: &Place,
        mut waiting: Waiting,
        delta: &mut Delta,
        work: &mut Work,
    ) -> Result<Waiting, ReadError> {
        let mut chunk: Option<Chunk> = None;
        let (mut gone, mut gone_bytes) = (Vec::new(), 0);
        'rows: while let Some(from) = waiting.first {
            let page = rows::page(&*self.store, place, from, ROWS_PER_READ)?;
            let is_last = page.len() < ROWS_PER_READ;
            for (number, bytes, row) in page {
                waiting.first = Some(number);
                match &mut chunk {
                    None => chunk = Some(row),
                    Some(chunk) => {
                        if !chunk.append(row) {
                            break 'rows;
                        }
                    }
                }
                waiting.first = number.checked_add(1);
                gone.push(place.no_row(number));
                gone_bytes += bytes;
            }
            if is_last {
                waiting.first = None;
            }
        }
        work.rows.extend(gone);
        delta.head.bytes = delta.head.bytes.saturating_sub(gone_bytes);
        if let Some(chunk) = chunk.filter(|chunk| !chunk.is_empty()) {
            work.send(waiting.key.clone(), chunk.encode());
        }
        Ok(waiting)
    }

    /// Tells what was given up, as there is room again, without waiting for a next reading.
    fn confess(&self, delta: &mut Delta, work: &mut Work) {
        if delta.dropped > 0 {
            return;
        }
        for place in self.devices.keys() {
            let is_full = self.unacked_bytes + work.sent() >= self.config.history_bytes_max;
            if is_full || work.room == 0 {
                return;
            }
            let waiting = self.waiting(place, delta).filter(|it| it.dropped > 0);
            let Some(mut waiting) = waiting else {
                continue;
            };
            work.send(waiting.key.clone(), Chunk::after(waiting.dropped).encode());
            waiting.dropped = 0;
            delta
                .devices
                .insert(place.clone(), waiting.unless_nothing());
        }
    }

    /// The round is durable; `offset` gives the offset of an entry of its batch.
    pub(crate) fn commit(&mut self, delta: Delta, offset: impl Fn(usize) -> Option<Offset>) {
        for (at, bytes) in delta.chunks {
            if let Some(offset) = offset(at) {
                self.unacked.push_back((offset, bytes));
                self.unacked_bytes += bytes;
            }
        }
        if self.unacked_bytes >= self.window {
            self.closed.get_or_insert(delta.now);
        }
        for (place, waiting) in delta.devices {
            match waiting {
                Some(waiting) => drop(self.devices.insert(place, waiting)),
                None => drop(self.devices.remove(&place)),
            }
        }
        self.head = delta.head;
        self.since = delta.since;
        self.last = delta.last;
    }
}

impl Waiting {
    const fn new(key: Key, dropped: u64) -> Self {
        Self {
            key,
            first: None,
            dropped,
        }
    }

    fn unless_nothing(self) -> Option<Self> {
        (self.first.is_some() || self.dropped > 0).then_some(self)
    }
}

/// What a round writes.
struct Work {
    rows: Vec<Row>,
    chunks: Vec<(Key, Vec<u8>)>,
    /// Bytes of chunks that the window still takes; the last may be longer.
    room: u64,
}

impl Work {
    fn send(&mut self, key: Key, body: Vec<u8>) {
        self.room = self.room.saturating_sub(body.len() as u64);
        self.chunks.push((key, body));
    }

    fn sent(&self) -> u64 {
        self.chunks.iter().map(|(_, body)| body.len() as u64).sum()
    }
}

/// Readings in chunks, in their order.
fn chunks(readings: Vec<(Arc<str>, Reading)>) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    for (name, reading) in readings {
        let is_taken = chunks
            .last_mut()
            .is_some_and(|chunk| chunk.push(&name, reading.clone()));
        if !is_taken {
            let mut chunk = Chunk::default();
            let is_taken = chunk.push(&name, reading);
            debug_assert!(is_taken, "an empty chunk takes a reading");
            chunks.push(chunk);
        }
    }
    chunks
}

/// The chunks after what the cloud has acknowledged.
fn unacked(store: &dyn Store, node: &NodeName) -> Result<VecDeque<(Offset, u64)>, ReadError> {
    let up = StreamId::up(node.clone());
    let mut unacked = VecDeque::new();
    let Some(info) = store.stream(&up)? else {
        return Ok(unacked);
    };
    let readings = readings();
    let mut after = info.acked;
    loop {
        let page = store.read_coalesced(&up, after, ReadLimit::SCAN)?;
        for stored in &page.records {
            let header = &stored.record.header;
            if header.op == Op::Fact && header.key.resource == readings {
                unacked.push_back((header.offset, stored.record.body.len() as u64));
            }
        }
        if page.is_complete || page.upto <= after {
            return Ok(unacked);
        }
        after = page.upto;
    }
}
