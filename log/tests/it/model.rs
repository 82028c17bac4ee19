//! Random histories against a simple model, on both stores.

use std::collections::{BTreeMap, BTreeSet};

use causeway_log::batch::{Batch, Entry, Place, StreamChange};
use causeway_log::id::{EventId, Offset, StreamId, Version};
use causeway_log::record::{Draft, Op};
use causeway_log::store::conformance::{Harness, down, draft, entries, epoch, key, up};
use causeway_log::store::{ReadLimit, TrimPolicy};
use causeway_log::{Body, Key, Revision, Slot, Store, Stored, WallTime};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use self::past::Past;
use crate::harness::{Fjall, Memory, Verify};

mod past;

const NAMES: u8 = 5;
const STREAMS: u8 = 3;
const OPS: u8 = 9;
const ALL: ReadLimit = ReadLimit {
    records: usize::MAX,
    bytes: usize::MAX,
};

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(u8, u8, u8, u16)>),
    Sync,
    Crash,
    Ack(bool, u8),
    Trim { keep: u8, quota: u8, work: u8 },
    Drop(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let entry = (
        0..STREAMS,
        0..OPS,
        0..NAMES,
        prop_oneof![0..40_u16, 1000..1100_u16],
    );
    prop_oneof![
        8 => prop::collection::vec(entry, 1..6).prop_map(Step::Append),
        6 => Just(Step::Sync),
        2 => Just(Step::Crash),
        3 => (any::<bool>(), any::<u8>()).prop_map(|(is_up, share)| Step::Ack(is_up, share)),
        3 => (0..30_u8, 0..6_u8, 1..20_u8)
            .prop_map(|(keep, quota, work)| Step::Trim { keep, quota, work }),
        1 => (0..STREAMS).prop_map(Step::Drop),
    ]
}

/// One state of the world.
#[derive(Clone, Debug, Default)]
struct World {
    revision: u64,
    streams: BTreeMap<StreamId, Stream>,
}

#[derive(Clone, Debug, Default)]
struct Stream {
    /// Which life of the name: what a dropped stream had is not read under the name again.
    born: u64,
    /// What is still there.
    records: BTreeMap<Revision, Stored>,
    /// Everything there ever was.
    all: BTreeMap<Revision, Stored>,
    newest: BTreeMap<(Key, Slot), Revision>,
    /// What went as the newest of its key and slot.
    ended: BTreeSet<Revision>,
    acked: Offset,
}

impl Stream {
    fn newest_upto<'a>(
        records: &'a BTreeMap<Revision, Stored>,
        about: &(Key, Slot),
        upto: Revision,
    ) -> Option<&'a Stored> {
        let mut earlier = records.range(..=upto).map(|(_, stored)| stored);
        earlier.rfind(|stored| identity(stored) == *about)
    }
}

fn identity(stored: &Stored) -> (Key, Slot) {
    let header = &stored.record.header;
    (header.key.clone(), header.op.slot())
}

struct Model {
    lives: u64,
    written: World,
    durable: World,
}

/// The store writes all of them; what matters is how two streams of one node depend on each other.
fn stream(number: u8) -> StreamId {
    match number {
        0 => StreamId::Cluster,
        1 => down(),
        _ => up(),
    }
}

fn op(number: u8) -> Op {
    [
        Op::Put,
        Op::Delete,
        Op::Status,
        Op::Fact,
        Op::Apply,
        Op::Put,
        Op::Fact,
        Op::Reject,
        Op::Delete,
    ][usize::from(number)]
}

impl Model {
    fn append(&mut self, store: &dyn Store, given: &[(u8, u8, u8, u16)]) {
        let mut batch = entries(Vec::new());
        for (to, number, name, len) in given {
            let op = op(*number);
            // Few different requests, so that answers name them.
            let len = if op.slot() == Slot::Request {
                len % 2
            } else {
                *len
            };
            let body = vec![*name; usize::from(len)];
            let mut draft = draft(op, &format!("n{name}"), &body);
            if *to == 1 && op.slot() == Slot::Request {
                draft.cause = Some(draft.id);
            }
            batch.entries.push(Entry {
                stream: stream(*to),
                place: Place::Next,
                draft,
            });
        }
        for number in 0..STREAMS {
            let stream = stream(number);
            if !self.written.streams.contains_key(&stream) {
                batch.streams.push(StreamChange::Open {
                    stream: stream.clone(),
                    epoch: epoch(1),
                });
                self.lives += 1;
                let new = Stream {
                    born: self.lives,
                    ..Stream::default()
                };
                self.written.streams.insert(stream, new);
            }
        }
        let appended = store.append(&batch).unwrap();
        for (position, Entry { stream, draft, .. }) in batch.entries.iter().enumerate() {
            if let Some(gone) = self.ended(stream, draft) {
                self.written.revision += 1;
                self.apply(stream, &gone);
            }
            self.written.revision += 1;
            let stored = self.apply(stream, draft);
            assert_eq!(appended.revisions[position], stored.revision);
            assert_eq!(appended.since[position], stored.since);
        }
    }

    /// What a store says by itself before a draft: of the status of a life that is over.
    fn ended(&self, stream: &StreamId, draft: &Draft) -> Option<Draft> {
        let stream = &self.written.streams[stream];
        let newest = |slot| {
            let revision = stream.newest.get(&(draft.key.clone(), slot))?;
            Some(&stream.all[revision])
        };
        let end = newest(Slot::Object).filter(|it| it.record.header.op == Op::Delete)?;
        newest(Slot::Status)
            .filter(|it| it.revision < end.revision && !it.record.body.is_empty())?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(draft.id.uuid().as_bytes());
        // The number of `Status` on disk.
        hasher.update(&[2]);
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        (draft.op == Op::Put).then(|| Draft {
            id: EventId::new(uuid::Builder::from_custom_bytes(id).into_uuid()),
            version: Some(Version::ZERO),
            op: Op::Status,
            body: Body::EMPTY,
            ..draft.clone()
        })
    }

    fn apply(&mut self, stream: &StreamId, draft: &Draft) -> Stored {
        let revision = Revision::new(self.written.revision);
        let stream = self.written.streams.get_mut(stream).unwrap();
        let about = (draft.key.clone(), draft.op.slot());
        let before = stream
            .newest
            .get(&about)
            .map(|revision| &stream.all[revision]);
        let since = before
            .filter(|before| before.record.header.op != Op::Delete)
            .map_or(revision, |before| before.since);
        let stored = Stored {
            revision,
            since,
            record: causeway_log::Record {
                header: causeway_log::Header {
                    offset: revision.as_own_offset(),
                    id: draft.id,
                    cause: draft.cause,
                    time: draft.time,
                    key: draft.key.clone(),
                    version: draft.version.unwrap_or(revision.as_own_version()),
                    op: draft.op,
                },
                body: draft.body.clone(),
            },
        };
        stream.newest.insert(about, revision);
        stream.records.insert(revision, stored.clone());
        stream.all.insert(revision, stored.clone());
        stored
    }

    fn ack(&mut self, store: &dyn Store, is_up: bool, share: u8) {
        let name = stream(1 + u8::from(is_up));
        // Only what is durable can have been sent.
        let Some(known) = self.durable.streams.get(&name) else {
            return;
        };
        if !self.written.streams.contains_key(&name) {
            return;
        }
        let head = known.all.keys().next_back().copied().unwrap_or_default();
        let upto = Offset::new(head.get() * u64::from(share) / 255);
        let change = StreamChange::Acked {
            stream: name.clone(),
            upto,
        };
        store
            .append(&Batch {
                streams: vec![change],
                ..Batch::default()
            })
            .unwrap();
        let stream = self.written.streams.get_mut(&name).unwrap();
        stream.acked = stream.acked.max(upto);
    }

    fn sync(&mut self, store: &dyn Store) {
        assert_eq!(store.sync().unwrap(), Revision::new(self.written.revision));
        self.durable = self.written.clone();
    }

    fn drop_stream(&mut self, store: &dyn Store, number: u8) {
        let stream = stream(number);
        let change = StreamChange::Drop {
            stream: stream.clone(),
        };
        store
            .append(&Batch {
                streams: vec![change],
                ..Batch::default()
            })
            .unwrap();
        self.written.streams.remove(&stream);
    }

    /// Trims, and checks that what went was allowed to go.
    fn trim(&mut self, store: &dyn Store, keep: u8, quota: u8, work: u8) {
        let policy = TrimPolicy {
            keep_revisions: keep.into(),
            keep_since: WallTime::from_unix_millis(u64::MAX),
            bytes_max: 0,
            facts_max: quota.into(),
            facts_bytes_max: 0,
            records_per_call_max: work.into(),
        };
        // Whatever was written becomes durable with it.
        store.trim(&policy).unwrap();
        self.sync(store);
        let window_end = Revision::new(self.written.revision.saturating_sub(keep.into()));
        let past = Past {
            streams: self.written.streams.clone(),
            window_end,
        };
        for (name, stream) in &mut self.written.streams {
            let left = store.read(name, Revision::ZERO, ALL).unwrap();
            let left: BTreeMap<_, _> = left
                .into_iter()
                .map(|stored| (stored.revision, stored))
                .collect();
            let before = std::mem::replace(&mut stream.records, left);
            let facts = before
                .values()
                .filter(|stored| stored.record.header.op == Op::Fact);
            let facts = facts.count();
            for (revision, stored) in before {
                if let Some(kept) = stream.records.get(&revision) {
                    assert_eq!(*kept, stored);
                    continue;
                }
                let about = identity(&stored);
                let next = stream
                    .all
                    .range(revision.next().unwrap()..)
                    .find(|(_, later)| identity(later) == about);
                let is_acked =
                    *name == StreamId::Cluster || revision.as_own_offset() <= stream.acked;
                let may_go = match (stored.record.header.op, next) {
                    (Op::Fact, _) => {
                        (is_acked && revision <= window_end) || facts > usize::from(quota)
                    }
                    (_, Some((by, _))) => *by <= window_end,
                    (_, None) => {
                        is_acked && revision <= window_end && past.may_end(store, name, &stored)
                    }
                };
                assert!(may_go, "{name}: {revision} must stay");
                if stream.newest.get(&about) == Some(&revision) {
                    stream.newest.remove(&about);
                    stream.ended.insert(revision);
                }
            }
        }
        self.durable = self.written.clone();
    }

    fn check(&self, store: &dyn Store) {
        let marks = store.watermarks();
        assert_eq!(marks.written.get(), self.written.revision);
        assert_eq!(marks.durable.get(), self.durable.revision);
        assert!(
            store
                .streams()
                .unwrap()
                .iter()
                .eq(self.written.streams.keys())
        );
        for (name, written) in &self.written.streams {
            for about in abouts() {
                let expected = written
                    .newest
                    .get(&about)
                    .map(|revision| &written.all[revision]);
                let found = store.newest(name, &about.0, about.1).unwrap();
                assert_eq!(found.as_ref(), expected);
            }
            let durable = self.durable.streams.get(name);
            if let Some(durable) = durable.filter(|durable| durable.born == written.born) {
                check_durable(store, name, durable);
            }
        }
    }
}

fn abouts() -> impl Iterator<Item = (Key, Slot)> {
    (0..NAMES).flat_map(|name| {
        [Slot::Object, Slot::Status, Slot::Request, Slot::Fact]
            .map(|slot| (key(&format!("n{name}")), slot))
    })
}

/// Everything that is read for others.
fn check_durable(store: &dyn Store, name: &StreamId, stream: &Stream) {
    let read = store.read(name, Revision::ZERO, ALL).unwrap();
    assert!(read.iter().eq(stream.records.values()));
    let scanned = store.scan_newest(name, None, ALL).unwrap();
    let newest = stream.newest.values().map(|revision| &stream.all[revision]);
    assert!(scanned.iter().eq(newest), "{name}: {scanned:?}");
    let info = store.stream(name).unwrap().unwrap();
    let head = stream.all.keys().next_back().copied().unwrap_or_default();
    assert_eq!(info.durable, head.as_own_offset());
    for after in [0, head.get() / 3, head.get() / 2, head.get()].map(Revision::new) {
        let page = store
            .read_coalesced(name, after.as_own_offset(), ALL)
            .unwrap();
        let expected = stream
            .records
            .range(after..)
            .map(|(_, stored)| stored)
            .filter(|stored| {
                let is_newest = stream.newest.get(&identity(stored)) == Some(&stored.revision);
                stored.revision > after && (is_newest || stored.record.header.op == Op::Fact)
            });
        assert!(page.records.iter().eq(expected));
        assert!(page.is_complete);
    }
    for upto in (info.history.get()..=head.get())
        .step_by(3)
        .map(Revision::new)
    {
        for about in abouts().filter(|(_, slot)| slot.is_state()) {
            let held = store
                .held_at(name, &about.0, about.1, upto.as_own_offset())
                .unwrap();
            let expected = Stream::newest_upto(&stream.all, &about, upto);
            // A tombstone may be forgotten, then its object is as absent as it says; and what
            // ended with an object.
            let is_gone = expected.is_none_or(|stored| {
                stored.record.header.op == Op::Delete || stream.ended.contains(&stored.revision)
            });
            assert!(
                held.as_ref() == expected || (held.is_none() && is_gone),
                "{name} {about:?} at {upto}: {held:?}, not {expected:?}"
            );
        }
    }
}

fn run<H: Harness + Verify>(make: impl Fn() -> H, cases: u32) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let steps = prop::collection::vec(step(), 1..40);
    let outcome = TestRunner::new(config).run(&steps, |steps| {
        let mut harness = make();
        let mut model = Model {
            lives: 0,
            written: World::default(),
            durable: World::default(),
        };
        for step in steps {
            match step {
                Step::Append(given) => model.append(harness.store(), &given),
                Step::Sync => model.sync(harness.store()),
                Step::Ack(is_up, share) => model.ack(harness.store(), is_up, share),
                Step::Drop(number) => model.drop_stream(harness.store(), number),
                Step::Trim { keep, quota, work } => {
                    model.trim(harness.store(), keep, quota, work);
                }
                Step::Crash => {
                    harness.crash();
                    model.written = model.durable.clone();
                }
            }
            model.check(harness.store());
        }
        harness.store().sync().unwrap();
        let report = harness.verify();
        assert!(report.is_sound(), "{:?}", report.damage);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn memory_agrees_with_the_model() {
    run(Memory::new, 300);
}

#[test]
fn fjall_agrees_with_the_model() {
    run(Fjall::new, 24);
}
