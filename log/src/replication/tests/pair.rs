//! The door: an edge and a cloud on memory stores, virtual time, and a pipe that keeps frames in
//! order while it is connected and loses what is under way when it is cut.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ::bytes::Bytes;
use uuid::Uuid;

use crate::batch::{Batch, Entry, Place, StreamChange};
use crate::body::Body;
use crate::digest::Digest;
use crate::id::{Epoch, EventId, Offset, Revision, StreamId, WallTime};
use crate::key::{Key, NodeName, Resource, Uid};
use crate::record::{Draft, Op, Slot};
pub(super) use crate::replication::CloseCode;
use crate::replication::{
    Close, Effect, Established, Invariant, Moment, Role, Session, SessionConfig, SessionWrite,
};
use crate::store::memory::{Disk, Image, MemoryStore};
use crate::store::{Store, StreamInfo, TrimPolicy};
use crate::wire::{Encoder, Frame};

/// The body of a ConfigMap with one setting.
pub(super) fn body(text: &str) -> Body {
    let json = format!(
        r#"{{"apiVersion":"v1","data":{{"setting":"{text}"}},"kind":"ConfigMap","metadata":{{"name":"x","namespace":"default"}}}}"#
    );
    Body::from(json.into_bytes())
}

/// Which end a test speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Edge,
    Cloud,
}

/// One end: a disk, the store on it, and the session of the moment.
#[derive(Debug)]
pub(super) struct End {
    role: Role,
    node: NodeName,
    disk: Disk,
    pub(super) store: MemoryStore,
    pub(super) session: Option<Session>,
    encoder: Arc<Encoder>,
    /// Writes asked for and not yet made.
    pub(super) asked: VecDeque<SessionWrite>,
    /// Writes wait until the test lets them go.
    pub(super) holds_writes: bool,
    /// Writes that wait are made in one batch.
    pub(super) groups_writes: bool,
    pub(super) established: Vec<Established>,
    pub(super) closes: Vec<Close>,
    /// Records received and made durable, each with its key's name.
    pub(super) applied: Vec<(String, Op)>,
    durable: Option<(Epoch, Offset)>,
    ids: u64,
}

impl End {
    fn new(role: Role, salt: u64) -> Self {
        let store = MemoryStore::new();
        Self {
            role,
            node: NodeName::new("edge-1").unwrap(),
            disk: store.disk().clone(),
            store,
            session: None,
            encoder: Arc::default(),
            asked: VecDeque::new(),
            holds_writes: false,
            groups_writes: false,
            established: Vec::new(),
            closes: Vec::new(),
            applied: Vec::new(),
            durable: None,
            ids: salt << 32,
        }
    }

    fn id(&mut self) -> Uuid {
        self.ids += 1;
        let mut entropy = [0; 10];
        entropy[2..].copy_from_slice(&(self.ids.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes());
        EventId::compose(self.time(), entropy).uuid()
    }

    fn time(&self) -> WallTime {
        WallTime::from_unix_millis(1_790_000_000_000 + (self.ids & 0xffff_ffff))
    }

    pub(super) fn own(&self) -> StreamId {
        StreamId::Node(self.node.clone(), self.role.sends())
    }

    fn theirs(&self) -> StreamId {
        StreamId::Node(self.node.clone(), self.role.sends().opposite())
    }

    pub(super) fn key(name: &str) -> Key {
        let uid = Uid::Uuid(uuid_of(name));
        Key::new(Resource::core("configmaps"), "default", name, uid).unwrap()
    }

    /// Changes an object of the own stream, durably.
    pub(super) fn write(&mut self, op: Op, name: &str, body: Body) -> Revision {
        let mut batch = Batch::default();
        if self.store.stream(&self.own()).unwrap().is_none() {
            let epoch = Epoch::new(self.id());
            batch.streams.push(StreamChange::Open {
                stream: self.own(),
                epoch,
            });
        }
        let id = EventId::new(self.id());
        let (time, key) = (self.time(), Self::key(name));
        let draft = Draft {
            id,
            cause: None,
            time,
            key,
            version: None,
            op,
            body,
        };
        batch.entries.push(Entry {
            stream: self.own(),
            place: Place::Next,
            draft,
        });
        let appended = self.store.append(&batch).unwrap();
        self.store.sync().unwrap();
        appended.revisions[0]
    }

    pub(super) fn put(&mut self, name: &str, text: &str) {
        self.write(Op::Put, name, body(text));
    }

    pub(super) fn delete(&mut self, name: &str) {
        self.write(Op::Delete, name, Body::EMPTY);
    }

    /// What this end holds of an object that the peer writes.
    pub(super) fn sees(&self, name: &str) -> Option<Body> {
        self.sees_slot(name, Slot::Object)
    }

    pub(super) fn sees_slot(&self, name: &str, slot: Slot) -> Option<Body> {
        let newest = self
            .store
            .newest(&self.theirs(), &Self::key(name), slot)
            .unwrap()?;
        (!crate::digest::is_gone(&newest.record)).then_some(newest.record.body)
    }

    pub(super) fn sent(&self) -> StreamInfo {
        self.store.stream(&self.own()).unwrap().unwrap()
    }

    pub(super) fn received(&self) -> StreamInfo {
        self.store.stream(&self.theirs()).unwrap().unwrap()
    }

    /// Removes all history, and the tombstones that the peer has.
    pub(super) fn trim(&self) {
        let policy = TrimPolicy {
            keep_revisions: 0,
            keep_since: WallTime::from_unix_millis(u64::MAX),
            bytes_max: 0,
            facts_max: u64::MAX,
            facts_bytes_max: 0,
            records_per_call_max: usize::MAX,
        };
        self.store.trim(&policy).unwrap();
    }

    fn connect(&mut self, now: Moment, store_salt: u64) {
        self.asked.clear();
        let incarnation = self.id();
        let spare = Epoch::new(Uuid::from_u64_pair(store_salt, self.ids));
        let config = SessionConfig::new(self.role, self.node.clone(), incarnation, spare)
            .with_encoder(self.encoder.clone());
        self.session = Some(Session::new(config, now, &self.store));
    }

    fn drain_effects(&mut self) -> bool {
        let Some(session) = &mut self.session else {
            return false;
        };
        let mut progress = false;
        while let Some(effect) = session.poll_effect() {
            progress = true;
            match effect {
                Effect::Write(write) => self.asked.push_back(write),
                Effect::Established(established) => self.established.push(established),
                Effect::Close(close) => self.closes.push(close),
            }
        }
        progress
    }

    /// Makes the oldest write that was asked for, or all of them in one batch.
    pub(super) fn make_write(&mut self, now: Moment) -> bool {
        let count = if self.groups_writes {
            self.asked.len()
        } else {
            self.asked.len().min(1)
        };
        let writes: Vec<SessionWrite> = self.asked.drain(..count).collect();
        self.append(&writes);
        self.store.sync().unwrap();
        for write in &writes {
            self.note(write);
            if let Some(session) = &mut self.session {
                session.handle_written(now, &self.store);
            }
        }
        count > 0
    }

    pub(super) fn append(&self, writes: &[SessionWrite]) {
        let mut batch = Batch::default();
        for write in writes {
            write
                .clone()
                .stage(self.role, &self.node, &self.store, &mut batch)
                .unwrap();
        }
        self.store.append(&batch).expect("offsets grow");
    }

    fn note(&mut self, write: &SessionWrite) {
        let SessionWrite::Incoming(incoming) = write else {
            return;
        };
        for (_, draft) in &incoming.records {
            self.applied.push((draft.key.name.to_string(), draft.op));
        }
        if let Some(upto) = incoming.upto {
            let grows = match self.durable {
                Some((epoch, before)) => epoch != incoming.epoch || upto >= before,
                None => true,
            };
            Invariant::AppliedOnce.check(grows);
            self.durable = Some((incoming.epoch, upto));
        }
    }

    /// Power goes after the writes under way have been written and before they are synced.
    fn crash(&mut self) {
        self.session = None;
        let writes: Vec<SessionWrite> = self.asked.drain(..).collect();
        self.append(&writes);
        self.disk.crash();
        self.store = MemoryStore::on(&self.disk).unwrap().0;
    }
}

/// The same name has the same uid in every test.
fn uuid_of(name: &str) -> Uuid {
    let hash = blake3::hash(name.as_bytes());
    uuid::Builder::from_custom_bytes(hash.as_bytes()[..16].try_into().unwrap()).into_uuid()
}

/// Both ends and what is between them.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) edge: End,
    pub(super) cloud: End,
    pub(super) now: Moment,
    /// Frames under way: to the edge, to the cloud.
    pipes: [VecDeque<Bytes>; 2],
    /// Bytes that left, by direction.
    pub(super) bytes: [usize; 2],
    /// Frames that left, by name.
    pub(super) names: Vec<&'static str>,
    /// Frames vanish without a word.
    pub(super) is_black_hole: bool,
    /// A transport that breaks its promise: frames are lost, doubled and swapped.
    pub(super) mangler: Option<fastrand::Rng>,
    sessions: u64,
}

impl Pair {
    pub(super) fn new() -> Self {
        Self {
            edge: End::new(Role::Edge, 1),
            cloud: End::new(Role::Cloud, 2),
            now: Moment::default(),
            pipes: Default::default(),
            bytes: [0; 2],
            names: Vec::new(),
            is_black_hole: false,
            mangler: None,
            sessions: 0,
        }
    }

    pub(super) fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Edge => &mut self.edge,
            Side::Cloud => &mut self.cloud,
        }
    }

    /// New sessions on a new link.
    pub(super) fn connect(&mut self) {
        self.cut();
        self.sessions += 1;
        self.cloud.connect(self.now, self.sessions << 1);
        self.edge.connect(self.now, (self.sessions << 1) | 1);
    }

    /// The link and what is on it are gone; writes that were asked for are not made.
    pub(super) fn cut(&mut self) {
        self.pipes.iter_mut().for_each(VecDeque::clear);
        for end in [&mut self.edge, &mut self.cloud] {
            end.session = None;
            end.asked.clear();
        }
    }

    /// One end loses power, and with it the link.
    pub(super) fn crash(&mut self, side: Side) {
        self.end(side).crash();
        self.cut();
    }

    /// A disk is replaced by an empty one.
    pub(super) fn wipe(&mut self, side: Side) {
        self.cut();
        let end = self.end(side);
        end.store = MemoryStore::new();
        end.disk = end.store.disk().clone();
        end.durable = None;
    }

    pub(super) fn backup(&mut self, side: Side) -> Image {
        self.end(side).disk.image()
    }

    pub(super) fn restore(&mut self, side: Side, image: &Image) {
        self.cut();
        let end = self.end(side);
        end.disk.restore(image);
        end.store = MemoryStore::on(&end.disk).unwrap().0;
        end.durable = None;
    }

    /// Until nothing moves. Time stands still.
    pub(super) fn run(&mut self) {
        let mut steps = 0;
        while self.step() {
            steps += 1;
            assert!(steps < 200_000, "the sessions never come to rest");
        }
    }

    /// Connects and runs.
    pub(super) fn sync(&mut self) {
        self.connect();
        self.run();
    }

    /// A few steps only.
    pub(super) fn run_steps(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
    }

    /// Time passes; deadlines are kept on the way.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.0 + time;
        self.run();
        loop {
            let next = [&self.edge, &self.cloud]
                .iter()
                .filter_map(|end| end.session.as_ref()?.poll_timeout())
                .min();
            match next {
                Some(next) if next.0 <= end => {
                    self.now = self.now.max(next);
                    for end in [&mut self.edge, &mut self.cloud] {
                        if let Some(session) = &mut end.session {
                            session.handle_timeout(self.now, &end.store);
                        }
                    }
                    self.run();
                }
                Some(_) | None => break,
            }
        }
        self.now = Moment(end);
    }

    /// Tells a session that its store has more.
    pub(super) fn wake(&mut self) {
        for end in [&mut self.edge, &mut self.cloud] {
            if let Some(session) = &mut end.session {
                session.handle_stored(self.now, &end.store);
            }
        }
    }

    /// A stranger's bytes, as if the peer of `side` had sent them.
    pub(super) fn inject(&mut self, side: Side, bytes: &[u8]) {
        let now = self.now;
        let end = self.end(side);
        if let Some(session) = &mut end.session {
            session.handle_frame(now, bytes, &end.store);
        }
    }

    /// Effects, writes, frames out, and one frame in for each side.
    pub(super) fn step(&mut self) -> bool {
        let mut progress = false;
        for (end, pipe) in [(&mut self.edge, 1), (&mut self.cloud, 0)] {
            progress |= end.drain_effects();
            if !end.holds_writes {
                progress |= end.make_write(self.now);
                progress |= end.drain_effects();
            }
            let Some(session) = &mut end.session else {
                continue;
            };
            if let Some(frame) = session.poll_frame(self.now, &end.store) {
                progress = true;
                self.bytes[pipe] += frame.len();
                let decoded = Frame::decode(&frame).expect("own frames are well-formed");
                self.names.push(decoded.name());
                if let Frame::Ack { upto } = decoded {
                    let durable = end.received();
                    Invariant::AckedDurable.check(durable.received >= upto);
                    Invariant::AckedDurable
                        .check(end.store.watermarks().durable == end.store.watermarks().written);
                }
                if !self.is_black_hole {
                    self.pipes[pipe].push_back(frame);
                    if let Some(random) = &mut self.mangler {
                        mangle(random, &mut self.pipes[pipe]);
                    }
                }
            }
        }
        for (end, pipe) in [(&mut self.edge, 0), (&mut self.cloud, 1)] {
            let Some(session) = &mut end.session else {
                continue;
            };
            if let Some(frame) = self.pipes[pipe].pop_front() {
                progress = true;
                session.handle_frame(self.now, &frame, &end.store);
            }
        }
        progress
    }

    /// Both directions: what the receiver has is what the sender has (SYNC-4).
    pub(super) fn assert_equal(&self) {
        for stream in [self.edge.own(), self.cloud.own()] {
            let edge = Digest::of_stream(&self.edge.store, &stream).unwrap();
            let cloud = Digest::of_stream(&self.cloud.store, &stream).unwrap();
            assert_eq!(
                edge.root(),
                cloud.root(),
                "{} {stream}",
                Invariant::DigestsEqual
            );
        }
    }

    pub(super) fn count(&self, name: &str) -> usize {
        self.names.iter().filter(|found| **found == name).count()
    }

    pub(super) fn forget_traffic(&mut self) {
        self.bytes = [0; 2];
        self.names.clear();
        self.edge.applied.clear();
        self.cloud.applied.clear();
    }

    pub(super) fn total_bytes(&self) -> usize {
        self.bytes.iter().sum()
    }
}

fn mangle(random: &mut fastrand::Rng, pipe: &mut VecDeque<Bytes>) {
    match random.u8(0..20) {
        0 => drop(pipe.pop_back()),
        1 => pipe.extend(pipe.back().cloned()),
        2 if pipe.len() > 1 => pipe.swap(0, 1),
        _ => {}
    }
}
