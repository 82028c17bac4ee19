//! What the store on disk can do per second: the bodies of the `append_*` and `scan` benches.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::path::Path;
use std::time::{Duration, Instant};

use super::{FjallConfig, FjallStore};
use crate::batch::{Batch, Entry, StreamChange};
use crate::body::Body;
use crate::id::{Revision, StreamId};
use crate::limits::ROUND_RECORDS_TARGET;
use crate::record::Op;
use crate::store::conformance::{down, draft, epoch, next};
use crate::store::{ReadLimit, Store};

/// Bytes of each body.
const BODY_BYTES: usize = 1000;

/// Records per second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// Distinct 1 KB bodies under distinct keys, 8192 records a batch, one sync a batch.
    pub append_synced_batched: f64,
    /// The same, always updating the same 10,000 keys.
    pub update_synced_batched: f64,
    /// One record a batch, one sync a record.
    pub append_synced_single: f64,
    /// Records read back in revision order, bodies included.
    pub scan: f64,
}

/// Measures a new store in the empty directory `dir`, appending for about `time` per figure.
///
/// # Panics
/// When the store fails.
#[must_use]
pub fn measure(dir: &Path, time: Duration) -> Rates {
    let (store, _) = FjallStore::open(dir, FjallConfig::cloud()).expect("the directory is empty");
    let stream = down();
    let streams = vec![StreamChange::Open {
        stream: stream.clone(),
        epoch: epoch(1),
    }];
    let batch = Batch {
        streams,
        ..Batch::default()
    };
    store.append(&batch).expect("the disk is good");
    let mut bodies = Bodies {
        stream: stream.clone(),
        made: 0,
        keys: u64::MAX,
    };
    let append_synced_batched = rate(time, &store, || bodies.batch(ROUND_RECORDS_TARGET));
    bodies.keys = 10_000;
    let update_synced_batched = rate(time, &store, || bodies.batch(ROUND_RECORDS_TARGET));
    let append_synced_single = rate(time, &store, || bodies.batch(1));
    Rates {
        append_synced_batched,
        update_synced_batched,
        append_synced_single,
        scan: scan_rate(time, &store, &stream),
    }
}

struct Bodies {
    stream: StreamId,
    made: u64,
    keys: u64,
}

impl Bodies {
    fn batch(&mut self, records: usize) -> Batch {
        let entries = (0..records).map(|_| self.entry()).collect();
        Batch {
            entries,
            ..Batch::default()
        }
    }

    fn entry(&mut self) -> Entry {
        self.made += 1;
        let mut random = fastrand::Rng::with_seed(self.made);
        let body: Vec<u8> = (0..BODY_BYTES / 2)
            .flat_map(|_| [random.alphanumeric() as u8, b'"'])
            .collect();
        let name = format!("configmap-{:010}", self.made % self.keys);
        let mut draft = draft(Op::Put, &name, b"");
        draft.body = Body::from(body);
        next(&self.stream, draft)
    }
}

/// Appends and syncs batches; making them is not measured.
fn rate(time: Duration, store: &FjallStore, mut make: impl FnMut() -> Batch) -> f64 {
    let mut spent = Duration::ZERO;
    let mut records = 0;
    while spent < time {
        let batch = make();
        let start = Instant::now();
        store.append(&batch).expect("the disk is good");
        store.sync().expect("the disk is good");
        spent += start.elapsed();
        records += batch.entries.len();
    }
    per_second(records, spent)
}

fn scan_rate(time: Duration, store: &FjallStore, stream: &StreamId) -> f64 {
    let start = Instant::now();
    let mut records = 0;
    let mut after = Revision::ZERO;
    while start.elapsed() < time {
        let page = store
            .read(stream, after, ReadLimit::SCAN)
            .expect("the disk is good");
        records += page.len();
        match page.last() {
            Some(last) => after = last.revision,
            None if records == 0 => break,
            None => after = Revision::ZERO,
        }
    }
    per_second(records, start.elapsed())
}

fn per_second(records: usize, spent: Duration) -> f64 {
    records as f64 / spent.as_secs_f64()
}
