//! One end: a disk, the store on it, the session of the moment, and writes on their way.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::{self, Write as _};
use std::sync::Arc;

use causeway_log::replication::{
    CloseCode, Effect, Incoming, Invariant, Moment, Role, Session, SessionConfig, SessionWrite,
};
use causeway_log::store::memory::{Disk, Image, MemoryStore};
use causeway_log::store::{ReadLimit, TrimPolicy};
use causeway_log::{
    Batch, Body, Draft, Entry, Epoch, EventId, Key, NodeName, Offset, Op, Place, Resource,
    Revision, Store as _, StreamChange, StreamId, Uid, WallTime,
};
use uuid::Uuid;

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Dials, sends `up`.
    Edge,
    /// Listens, sends `down`.
    Cloud,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Edge, Self::Cloud];

    const fn role(self) -> Role {
        match self {
            Self::Edge => Role::Edge,
            Self::Cloud => Role::Cloud,
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Edge => Self::Cloud,
            Self::Cloud => Self::Edge,
        }
    }
}

/// A change that a party makes to its own stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// An object with a text in it.
    Put(&'static str, &'static str),
    /// It goes.
    Delete(&'static str),
}

/// What is appended and not yet synced.
#[derive(Clone, Debug)]
enum Round {
    /// A change of this party.
    Own,
    /// What the present session asked for.
    Asked(Box<SessionWrite>),
    /// What a session asked for that is over.
    Orphan(Box<SessionWrite>),
}

/// A store that does not change: whoever writes opens the next one.
#[derive(Debug)]
struct Held {
    store: MemoryStore,
    /// What is durable.
    image: Image,
    /// What is written beyond, in one batch.
    unsynced: Option<Batch>,
    /// Names the contents.
    contents: [u8; 32],
}

impl Held {
    fn open(image: Image, unsynced: Option<Batch>) -> Self {
        let disk = Disk::from_image(&image);
        let (store, _) = MemoryStore::on(&disk).expect("a disk in memory can be opened");
        if let Some(batch) = &unsynced {
            store.append(batch).expect("offsets grow");
        }
        let mut text = String::new();
        write!(text, "{image:?}{unsynced:?}").expect("text takes everything");
        let contents = *Body::from(text.into_bytes()).hash().as_bytes();
        Self {
            store,
            image,
            unsynced,
            contents,
        }
    }
}

/// See the module documentation. Copies share what neither changes.
#[derive(Clone)]
pub struct End {
    side: Side,
    held: Arc<Held>,
    session: Option<Session>,
    /// Writes that the session asked for and that are not made.
    asked: VecDeque<SessionWrite>,
    /// The same of a session that is over here and that no newer one has fenced.
    orphans: VecDeque<SessionWrite>,
    round: Option<Round>,
    /// How many of its own changes are durable.
    pub(super) done: usize,
    /// Places of the peer's stream that became durable here, for SYNC-2.
    applied: BTreeSet<(Epoch, Offset)>,
    /// What went wrong.
    pub(super) broken: Option<String>,
}

/// What each stream says of itself, and the session.
impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = |stream| self.held.store.stream(&stream).ok().flatten();
        f.debug_struct("End")
            .field("side", &self.side)
            .field("own", &info(self.own()))
            .field("theirs", &info(self.theirs()))
            .field("asked", &self.asked)
            .field("round", &self.round)
            .field("done", &self.done)
            .field("session", &self.session.as_ref().map(Session::observe))
            .finish_non_exhaustive()
    }
}

fn node() -> NodeName {
    NodeName::new("edge-1").expect("a valid name")
}

fn key(name: &str) -> Key {
    let uid = Uid::Uuid(Uuid::from_u64_pair(7, name.len() as u64));
    Key::new(Resource::core("configmaps"), "default", name, uid).expect("a valid key")
}

impl End {
    pub(super) fn new(side: Side) -> Self {
        let end = Self {
            side,
            held: Arc::new(Held::open(Image::default(), None)),
            session: None,
            asked: VecDeque::new(),
            orphans: VecDeque::new(),
            round: None,
            done: 0,
            applied: BTreeSet::new(),
            broken: None,
        };
        end.with_own_stream(1)
    }

    /// A party that starts has the stream that it writes.
    fn with_own_stream(mut self, life: u64) -> Self {
        let epoch = Epoch::new(Uuid::from_u64_pair(self.side as u64 + 1, life));
        let stream = self.own();
        let batch = Batch {
            streams: vec![StreamChange::Open { stream, epoch }],
            ..Batch::default()
        };
        self.held = Arc::new(Held::open(self.held.image.clone(), Some(batch)));
        self.keep();
        self
    }

    /// Everything that decides what this end does.
    pub(super) fn observe(&self, text: &mut String) {
        let Self {
            side: _,
            held,
            session,
            asked,
            orphans,
            round,
            done,
            applied,
            broken,
        } = self;
        let session = session.as_ref().map(Session::observe);
        write!(
            text,
            "{:?} {session:?} {asked:?} {orphans:?} {round:?} {done} {applied:?} {broken:?}",
            held.contents
        )
        .expect("text takes everything");
    }

    pub(super) fn own(&self) -> StreamId {
        StreamId::Node(node(), self.side.role().sends())
    }

    fn theirs(&self) -> StreamId {
        StreamId::Node(node(), self.side.role().sends().opposite())
    }

    pub(super) fn store(&self) -> &MemoryStore {
        &self.held.store
    }

    fn broke(&mut self, invariant: Invariant, what: &str) {
        if self.broken.is_none() {
            self.broken = Some(format!("{invariant}: {what}"));
        }
    }

    pub(super) fn connect(&mut self, now: Moment, number: u64) {
        let spare = Epoch::new(Uuid::from_u64_pair(10 + self.side as u64, number));
        let incarnation = Uuid::from_u64_pair(20, number);
        let config = SessionConfig::new(self.side.role(), node(), incarnation, spare);
        self.session = Some(Session::new(config, now, &self.held.store));
        self.take_effects();
    }

    /// The link is gone. What the session asked for may still be written: an edge waits for that
    /// before it dials again, the cloud does it until a newer session fences this one.
    pub(super) fn disconnect(&mut self) {
        self.session = None;
        self.orphans.append(&mut self.asked);
        if let Some(Round::Asked(write)) =
            self.round.take_if(|round| matches!(round, Round::Asked(_)))
        {
            self.round = Some(Round::Orphan(write));
        }
    }

    /// Power goes: what is not synced is lost.
    pub(super) fn crash(&mut self) {
        self.disconnect();
        self.orphans.clear();
        self.round = None;
        self.held = Arc::new(Held::open(self.held.image.clone(), None));
    }

    /// The disk is replaced by an empty one.
    pub(super) fn wipe(&mut self) {
        self.disconnect();
        self.orphans.clear();
        self.round = None;
        self.applied.clear();
        self.held = Arc::new(Held::open(Image::default(), None));
        *self = self.clone().with_own_stream(2);
    }

    /// History goes, and tombstones that the peer has.
    pub(super) fn trim(&mut self) {
        let held = Held::open(self.held.image.clone(), None);
        let policy = TrimPolicy {
            keep_revisions: 0,
            keep_since: WallTime::from_unix_millis(u64::MAX),
            bytes_max: 0,
            facts_max: u64::MAX,
            facts_bytes_max: 0,
            records_per_call_max: usize::MAX,
        };
        held.store.trim(&policy).expect("memory can be trimmed");
        let image = held.store.disk().image();
        self.held = Arc::new(Held::open(image, None));
    }

    pub(super) const fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_closed)
    }

    pub(super) const fn is_writing(&self) -> bool {
        self.round.is_some()
    }

    pub(super) fn is_asked(&self) -> bool {
        !self.asked.is_empty() || !self.orphans.is_empty()
    }

    /// Whether a new session may begin.
    pub(super) fn may_connect(&self) -> bool {
        let orphan = matches!(self.round, Some(Round::Orphan(_)));
        self.session.is_none()
            && match self.side {
                Side::Edge => !orphan && self.orphans.is_empty(),
                Side::Cloud => true,
            }
    }

    /// Appends a change of its own.
    pub(super) fn write(&mut self, write: Write) {
        let (name, op, body) = match write {
            Write::Put(name, text) => {
                let json = format!(r#"{{"data":{{"setting":"{text}"}},"kind":"ConfigMap"}}"#);
                (name, Op::Put, Body::from(json.into_bytes()))
            }
            Write::Delete(name) => (name, Op::Delete, Body::EMPTY),
        };
        let id = EventId::new(Uuid::from_u64_pair(30 + self.side as u64, self.done as u64));
        let draft = Draft {
            id,
            cause: None,
            time: WallTime::from_unix_millis(self.done as u64),
            key: key(name),
            version: None,
            op,
            body,
        };
        let entry = Entry {
            stream: self.own(),
            place: Place::Next,
            draft,
        };
        let entries = vec![entry];
        self.append(Batch {
            entries,
            ..Batch::default()
        });
        self.round = Some(Round::Own);
    }

    /// Appends the oldest write that was asked for.
    pub(super) fn write_asked(&mut self) {
        let (write, round): (_, fn(Box<SessionWrite>) -> Round) = match self.orphans.pop_front() {
            Some(write) => (write, Round::Orphan),
            None => match self.asked.pop_front() {
                Some(write) => (write, Round::Asked),
                None => return,
            },
        };
        let mut batch = Batch::default();
        write
            .clone()
            .stage(self.side.role(), &node(), &self.held.store, &mut batch)
            .expect("memory can be read");
        self.append(batch);
        self.round = Some(round(Box::new(write)));
    }

    fn append(&mut self, batch: Batch) {
        self.held = Arc::new(Held::open(self.held.image.clone(), Some(batch)));
    }

    fn keep(&mut self) {
        let again = Held::open(self.held.image.clone(), self.held.unsynced.clone());
        again.store.sync().expect("memory can be synced");
        let image = again.store.disk().image();
        self.held = Arc::new(Held::open(image, None));
    }

    /// Makes durable what is written, and tells who waits for it.
    pub(super) fn sync(&mut self, now: Moment, peer: &Self) {
        self.keep();
        match self.round.take() {
            None => {}
            Some(Round::Own) => {
                self.done += 1;
                if let Some(session) = &mut self.session {
                    session.handle_stored(now, &self.held.store);
                }
            }
            Some(Round::Orphan(write)) => self.check_applied(&write, peer),
            Some(Round::Asked(write)) => {
                self.check_applied(&write, peer);
                if let Some(session) = &mut self.session {
                    session.handle_written(now, &self.held.store);
                }
            }
        }
        self.take_effects();
    }

    /// SYNC-2: what became durable here is what the peer has durable there, and is new.
    fn check_applied(&mut self, write: &SessionWrite, peer: &Self) {
        let SessionWrite::Incoming(incoming) = write else {
            return;
        };
        // Records of a reconcile have places of their own until its end.
        let Incoming {
            epoch,
            records,
            upto: Some(_),
            caught_up: _,
        } = incoming
        else {
            return;
        };
        for (offset, draft) in records {
            if !self.applied.insert((*epoch, *offset)) {
                self.broke(Invariant::AppliedOnce, "a record was applied twice");
            }
            let after = Revision::new(offset.get() - 1);
            let limit = ReadLimit {
                records: 1,
                bytes: 0,
            };
            let sent = peer.held.store.read(&peer.own(), after, limit);
            let sent = sent.expect("memory can be read").into_iter().next();
            if let Some(sent) = sent.filter(|sent| sent.record.header.offset == *offset)
                && (sent.record.header.id != draft.id || sent.record.body != draft.body)
            {
                self.broke(
                    Invariant::AppliedOnce,
                    "a record is not the one that was sent",
                );
            }
        }
    }

    /// The next frame, if there is one.
    pub(super) fn send(&mut self, now: Moment) -> Option<bytes::Bytes> {
        let session = self.session.as_mut()?;
        let frame = session.poll_frame(now, &self.held.store)?;
        self.take_effects();
        if let Ok(causeway_log::wire::Frame::Ack { upto }) =
            causeway_log::wire::Frame::decode(&frame)
        {
            self.check_ack(upto);
        }
        Some(frame)
    }

    /// SYNC-1: what is acknowledged survives a crash here.
    fn check_ack(&mut self, upto: Offset) {
        let after_crash = Held::open(self.held.image.clone(), None);
        let info = after_crash.store.stream(&self.theirs());
        let received = info
            .expect("memory can be read")
            .map_or(Offset::ZERO, |info| info.received);
        if received < upto {
            self.broke(
                Invariant::AckedDurable,
                "an acknowledgement runs ahead of the disk",
            );
        }
    }

    /// One frame arrives.
    pub(super) fn receive(&mut self, now: Moment, frame: &[u8]) {
        if let Some(session) = &mut self.session {
            session.handle_frame(now, frame, &self.held.store);
        }
        self.take_effects();
    }

    /// A deadline may have come.
    pub(super) fn pass(&mut self, now: Moment) {
        if let Some(session) = &mut self.session {
            session.handle_timeout(now, &self.held.store);
        }
        self.take_effects();
    }

    fn take_effects(&mut self) {
        let Some(session) = &mut self.session else {
            return;
        };
        let mut closes = Vec::new();
        while let Some(effect) = session.poll_effect() {
            match effect {
                Effect::Write(write) => {
                    // SYNC-3: the first write of a session fences the one before.
                    self.orphans.clear();
                    self.asked.push_back(write);
                }
                Effect::Established(_) => {}
                Effect::Close(close) => closes.push(close),
            }
        }
        for close in closes {
            if close.code == CloseCode::Violation {
                self.broke(Invariant::AppliedOnce, &close.reason);
            }
        }
    }
}
