//! The store alone, on this disk.

use std::time::Instant;

use anyhow::{Context as _, Result};
use causeway_log::store::fjall::{FjallConfig, FjallStore};
use causeway_log::store::{ReadLimit, Store};
use causeway_log::{
    Batch, Body, Draft, Entry, Epoch, EventId, Key, Op, Place, Resource, Revision, StreamChange,
    StreamId, Uid, WallTime,
};
use causeway_projections::rebuild::rebuild;
use fastrand::Rng;
use uuid::Uuid;

use super::figures::Samples;
use crate::tree;

const RUNS: usize = 5;
const BATCH: usize = 1000;
const BATCHES: usize = 100;
const SINGLES: usize = 500;
const KEYS: usize = 10_000;
const BODY_BYTES: usize = 1000;

/// Appends, scans and rebuilds in a directory of the target folder, which is on the disk that the
/// source tree is on; a temporary directory may be in memory.
pub(super) fn measure(samples: &mut Samples) -> Result<()> {
    let place = tree::target().join("bench");
    std::fs::create_dir_all(&place)?;
    for run in 0..RUNS {
        let dir = tempfile::Builder::new()
            .prefix("store")
            .tempdir_in(&place)?;
        let (store, _) = FjallStore::open(dir.path(), FjallConfig::cloud())?;
        let mut writer = Writer::new(run as u64);
        let open = StreamChange::Open {
            stream: StreamId::Cluster,
            epoch: Epoch::new(Uuid::nil()),
        };
        store.append(&Batch {
            streams: vec![open],
            ..Batch::default()
        })?;
        store.sync()?;
        let batches: Vec<_> = (0..BATCHES)
            .map(|_| writer.batch(BATCH))
            .collect::<Result<_>>()?;
        let rate = timed(BATCH * BATCHES, || {
            for batch in &batches {
                store.append(batch)?;
                store.sync()?;
            }
            Ok(())
        })?;
        samples.add("append_synced_batched", rate);
        let singles: Vec<_> = (0..SINGLES)
            .map(|_| writer.batch(1))
            .collect::<Result<_>>()?;
        let rate = timed(SINGLES, || {
            for batch in &singles {
                store.append(batch)?;
                store.sync()?;
            }
            Ok(())
        })?;
        samples.add("append_synced_single", rate);
        let mut records = 0;
        let begun = Instant::now();
        let mut after = Revision::ZERO;
        loop {
            let page = store.read(&StreamId::Cluster, after, ReadLimit::SCAN)?;
            let Some(last) = page.last() else { break };
            after = last.revision;
            records += page.len();
        }
        samples.add("scan", per_second(records, begun));
        let begun = Instant::now();
        let objects = rebuild(&store, &[StreamId::Cluster])?;
        samples.add("rebuild", per_second(objects.len(), begun));
    }
    Ok(())
}

/// Makes records of 1 KB that look like objects and do not compress well.
struct Writer {
    rng: Rng,
    number: usize,
}

impl Writer {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            number: 0,
        }
    }

    fn batch(&mut self, records: usize) -> Result<Batch> {
        let entries = (0..records).map(|_| self.entry()).collect::<Result<_>>()?;
        Ok(Batch {
            entries,
            ..Batch::default()
        })
    }

    fn entry(&mut self) -> Result<Entry> {
        self.number += 1;
        let number = self.number % KEYS;
        let uid = Uuid::from_u128(number as u128);
        let name = format!("map-{number}");
        let key = Key::new(
            Resource::core("configmaps"),
            "default",
            &name,
            Uid::Uuid(uid),
        )?;
        let noise: String = (0..BODY_BYTES - 150)
            .map(|_| self.rng.alphanumeric())
            .collect();
        let body = format!(
            r#"{{"apiVersion":"v1","data":{{"text":"{noise}"}},"kind":"ConfigMap","metadata":{{"name":"{name}","namespace":"default","uid":"{uid}"}}}}"#
        );
        let mut entropy = [0; 10];
        self.rng.fill(&mut entropy);
        let time = WallTime::from_unix_millis(self.number as u64);
        let draft = Draft {
            id: EventId::compose(time, entropy),
            cause: None,
            time,
            key,
            version: None,
            op: Op::Put,
            body: Body::new(body.into_bytes().into()),
        };
        Ok(Entry {
            stream: StreamId::Cluster,
            place: Place::Next,
            draft,
        })
    }
}

fn timed(records: usize, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    work().context("the store refused")?;
    Ok(per_second(records, begun))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a count of some hundred thousand"
)]
fn per_second(records: usize, begun: Instant) -> f64 {
    records as f64 / begun.elapsed().as_secs_f64()
}
