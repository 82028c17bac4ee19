//! The cloud of the model: the real machine and store, who asks it, and what they were answered.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

use causeway_cloud_sync::cluster::{ClusterMachine, Request};
use causeway_cloud_sync::hub::{Hub, Seat};
use causeway_cloud_sync::writeback::{Outcomes, WroteBack};
use causeway_daemon::session_driver::{Control, WriteRefused};
use causeway_daemon::tasks::Shutdown;
use causeway_kube_api::{Change, Clock as _, Expected, Write, WriteError, Written};
use causeway_log::replication::{Incoming, Invariant, SessionWrite};
use causeway_log::store::ReadLimit;
use causeway_log::store::memory::{Disk, Fault, MemoryStore};
use causeway_log::writer::{Round, WrittenRound};
use causeway_log::{
    Body, CursorName, Draft, Epoch, EventId, NodeName, Offset, Op, Resource, Revision, Store as _,
    StreamId, WallTime,
};
use serde_json::json;
use tokio::sync::oneshot::{self, error::TryRecvError};
use uuid::Uuid;

use crate::sites::{Counter, MAPS, NODES, PODS, key, map, pod};

/// Who asks for writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asker {
    /// The session of the node whose link is half-open.
    Old,
    /// The session that takes the node over when it first asks; the node has a new disk by then.
    New,
    /// A client of the API, who asks again for what was refused.
    User,
}

/// What waits for its round, and may be answered.
enum Answer {
    Session(oneshot::Receiver<Result<(), WriteRefused>>),
    User(oneshot::Receiver<Result<Written, WriteError>>),
    WriteBack(oneshot::Receiver<Result<WroteBack, WriteError>>),
}

/// A request that is not answered.
struct Asked {
    who: Option<Asker>,
    number: usize,
    answer: Answer,
    /// The session was fenced when the writer came to it.
    is_fenced: bool,
}

/// A session as the hub has it.
struct Line {
    seat: Seat,
    _control: Control,
    asked: usize,
    /// A refusal ends it.
    is_over: bool,
}

pub(super) struct Site {
    disk: Disk,
    store: Arc<MemoryStore>,
    machine: ClusterMachine,
    hub: Arc<Hub>,
    clock: Arc<Counter>,
    shutdown: Shutdown,
    queue: VecDeque<(Request, Asked)>,
    /// What the round that is written will answer.
    planned: Vec<Asked>,
    written: Option<WrittenRound>,
    lines: [Option<Line>; 2],
    /// The user's writes that are done.
    user_done: usize,
    is_user_waiting: bool,
    fault: Option<Fault>,
    /// Where the node's stream is by the answers.
    received: Option<(Epoch, Offset)>,
    wrong: Option<String>,
}

fn node() -> NodeName {
    NodeName::new(NODES[0]).expect("a valid name")
}

fn epoch(who: Asker) -> Epoch {
    Epoch::new(Uuid::from_u64_pair(90, who as u64))
}

impl Site {
    pub(super) fn new() -> Self {
        let clock = Arc::new(Counter::default());
        Self::on(Disk::new(), clock)
    }

    fn on(disk: Disk, clock: Arc<Counter>) -> Self {
        let (store, _) = MemoryStore::on(&disk).expect("a disk in memory can be opened");
        let (store, hub) = (Arc::new(store), Hub::new(100));
        let machine = ClusterMachine::start(
            Arc::<MemoryStore>::clone(&store),
            Arc::<Counter>::clone(&clock),
            Arc::clone(&hub),
            Arc::new(Outcomes::default()),
        )
        .expect("the machine starts");
        let mut site = Self {
            disk,
            store,
            machine,
            hub,
            clock,
            shutdown: Shutdown::new(),
            queue: VecDeque::new(),
            planned: Vec::new(),
            written: None,
            lines: [None, None],
            user_done: 0,
            is_user_waiting: false,
            fault: None,
            received: None,
            wrong: None,
        };
        site.lines[0] = Some(site.connect());
        if site.stored(StreamId::up(node())).is_some() {
            site.write_back();
        }
        site
    }

    fn connect(&self) -> Line {
        let (seat, control) = self
            .hub
            .admit(&node(), self.shutdown.token())
            .expect("there is room");
        Line {
            seat,
            _control: control,
            asked: 0,
            is_over: false,
        }
    }

    fn stored(&self, stream: StreamId) -> Option<(Epoch, Offset)> {
        let info = self.store.stream(&stream).expect("memory can be read")?;
        Some((info.epoch, info.received))
    }

    // === who asks ===

    pub(super) fn may_ask(&self, asker: Asker, most: usize) -> bool {
        match asker {
            Asker::Old => self.lines[0]
                .as_ref()
                .is_some_and(|line| !line.is_over && line.asked < most),
            Asker::New => match &self.lines[1] {
                None => most > 0,
                Some(line) => !line.is_over && line.asked < most,
            },
            // Who was refused for the disk's sake waits until it works.
            Asker::User => !self.is_user_waiting && self.user_done < most && self.fault.is_none(),
        }
    }

    pub(super) fn ask(&mut self, asker: Asker) {
        match asker {
            Asker::User => self.ask_as_user(),
            Asker::Old | Asker::New => self.ask_as_session(asker),
        }
    }

    fn ask_as_session(&mut self, asker: Asker) {
        if asker == Asker::New && self.lines[1].is_none() {
            self.lines[1] = Some(self.connect());
        }
        let now = self.clock.now();
        let Some(line) = &mut self.lines[asker as usize] else {
            return;
        };
        line.seat.take_over(now);
        line.asked += 1;
        let number = line.asked;
        let status = json!({"phase": format!("{asker:?} {number}")});
        let draft = Draft {
            id: EventId::new(Uuid::from_u64_pair(91 + asker as u64, number as u64)),
            cause: None,
            time: WallTime::from_unix_millis(0),
            key: key("pods", PODS[0], 1),
            version: None,
            op: Op::Status,
            body: Body::from(status.to_string().into_bytes()),
        };
        let offset = Offset::new(number as u64);
        let write = SessionWrite::Incoming(Incoming {
            epoch: epoch(asker),
            records: vec![(offset, draft)],
            upto: Some(offset),
            caught_up: false,
        });
        let (answer, answered) = oneshot::channel();
        let request = Request::Session {
            node: node(),
            session: line.seat.number(),
            write,
            answer,
        };
        self.push(Some(asker), number, request, Answer::Session(answered));
    }

    /// A pod, what it reads, another content of that, and the end of the pod.
    fn ask_as_user(&mut self) {
        let (config, pods) = (key("configmaps", MAPS[0], 1), key("pods", PODS[0], 1));
        let number = self.user_done;
        let (key, change) = match number {
            0 => (pods.clone(), Change::Put(pod(&pods, NODES[0], MAPS[0]))),
            1 | 2 => {
                let content = u8::try_from(number).unwrap_or_default();
                (config.clone(), Change::Put(map(&config, content)))
            }
            _ => {
                let change = Change::Delete {
                    grace_period_seconds: Some(0),
                    confirm: false,
                };
                (pods, change)
            }
        };
        let expected = self.machine.view().read(|objects| {
            let live = objects.get(&key.resource, "default", &key.name);
            live.map_or(Expected::Absent, |entry| Expected::At(entry.modified()))
        });
        let (answer, answered) = oneshot::channel();
        let write = Box::new(Write {
            key,
            expected,
            change,
        });
        self.is_user_waiting = true;
        let request = Request::Write { write, answer };
        self.push(Some(Asker::User), number, request, Answer::User(answered));
    }

    fn write_back(&mut self) {
        let (answer, answered) = oneshot::channel();
        let request = Request::WriteBack {
            node: node(),
            answer,
        };
        self.push(None, 0, request, Answer::WriteBack(answered));
    }

    fn push(&mut self, who: Option<Asker>, number: usize, request: Request, answer: Answer) {
        let asked = Asked {
            who,
            number,
            answer,
            is_fenced: false,
        };
        self.queue.push_back((request, asked));
    }

    // === the writer ===

    pub(super) const fn is_written(&self) -> bool {
        self.written.is_some()
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(super) const fn is_faulty(&self) -> bool {
        self.fault.is_some()
    }

    pub(super) fn plan(&mut self, all: bool) {
        let (queue, hub, planned) = (&mut self.queue, &self.hub, &mut self.planned);
        let mut next = || {
            let (request, mut asked) = queue.pop_front()?;
            if let Request::Session { node, session, .. } = &request {
                asked.is_fenced = !hub.is_current(node, *session);
            }
            planned.push(asked);
            Some(request)
        };
        let Some(first) = next() else { return };
        let more = || all.then(&mut next).flatten();
        let (round, deferred) = Round::plan(&mut self.machine, first, more);
        if let Some(deferred) = deferred
            && let Some(asked) = self.planned.pop()
        {
            self.queue.push_front((deferred, asked));
        }
        self.written = round.append(&mut self.machine, &*self.store);
        if self.written.is_none() {
            self.answered();
        }
    }

    pub(super) fn sync(&mut self) {
        if let Some(written) = self.written.take() {
            written.sync(&mut self.machine, &*self.store);
        }
        self.answered();
    }

    /// A round is over: whoever took part has an answer.
    fn answered(&mut self) {
        for asked in std::mem::take(&mut self.planned) {
            let Asked {
                who,
                number,
                answer,
                is_fenced,
            } = asked;
            let done = match answer {
                Answer::Session(mut answer) => self.outcome(answer.try_recv()),
                Answer::User(mut answer) => self.outcome(answer.try_recv()),
                Answer::WriteBack(mut answer) => self.outcome(answer.try_recv()),
            };
            match who {
                Some(Asker::User) => {
                    self.is_user_waiting = false;
                    self.user_done += usize::from(done);
                }
                Some(asker) if done => {
                    if is_fenced {
                        self.broke(Invariant::OldChangesNothing, "a fenced session wrote");
                    }
                    // A new session of the same disk may send again what is there.
                    let (epoch, upto) = (epoch(asker), Offset::new(number as u64));
                    let before = self.received.filter(|(known, _)| *known == epoch);
                    let upto = before.map_or(upto, |(_, before)| before.max(upto));
                    self.received = Some((epoch, upto));
                }
                Some(asker) => {
                    if let Some(line) = &mut self.lines[asker as usize] {
                        line.is_over = true;
                    }
                }
                // As the shell does: what failed is tried again.
                None if !done => self.hub.tell_received(node()),
                None => {}
            }
        }
        let waits = self.queue.iter().any(|(_, asked)| asked.who.is_none());
        if self.fault.is_none() && !waits && !self.hub.take_received().is_empty() {
            self.write_back();
        }
    }

    fn outcome<T, E>(&mut self, answered: Result<Result<T, E>, TryRecvError>) -> bool {
        match answered {
            Ok(answer) => answer.is_ok(),
            Err(_) => {
                self.wrong
                    .get_or_insert_with(|| "a round ended without an answer".to_owned());
                false
            }
        }
    }

    pub(super) fn fail(&mut self, fault: Fault) {
        self.fault = Some(fault);
        self.disk.set_fault(fault);
    }

    pub(super) fn mend(&mut self) {
        self.fault = None;
        self.disk.heal();
        self.store.try_recover().expect("the disk works");
        self.answered();
    }

    /// Power goes; what was not answered may be asked for again, the sessions are over.
    pub(super) fn crash(&mut self) {
        self.disk.crash();
        self.disk.heal();
        let (done, received, wrong) = (self.user_done, self.received, self.wrong.take());
        let asked = self
            .lines
            .each_ref()
            .map(|line| line.as_ref().map_or(0, |line| line.asked));
        *self = Self::on(self.disk.clone(), Arc::clone(&self.clock));
        (self.user_done, self.received, self.wrong) = (done, received, wrong);
        // The old link is gone with its session; what the new one asked for it asks again.
        for (line, asked) in self.lines.iter_mut().zip(asked) {
            if let Some(line) = line {
                line.is_over = true;
                line.asked = asked;
            }
        }
    }

    // === what holds ===

    fn broke(&mut self, invariant: Invariant, what: &str) {
        self.wrong
            .get_or_insert_with(|| format!("{invariant}: {what}"));
    }

    /// What is wrong: while nothing is half-written, what is stored is what was answered, and a cloud
    /// that starts on it has nothing to mend.
    pub(super) fn wrong(&self) -> Option<String> {
        if self.wrong.is_some() || self.written.is_some() {
            return self.wrong.clone();
        }
        let again = Self::on(Disk::from_image(&self.disk.image()), Arc::default());
        let stored = again.stored(StreamId::up(node()));
        if stored != self.received {
            return Some(format!(
                "{}: answered {:?}, stored {stored:?}",
                Invariant::OldChangesNothing,
                self.received
            ));
        }
        let heads = [self, &again].map(|site| site.store.watermarks().durable);
        if heads[0] != heads[1] {
            return Some("what nodes are sent is not what the cluster says".to_owned());
        }
        let shown = [self, &again].map(Self::shown);
        let broken = Invariant::RebuildEqual;
        (shown[0] != shown[1]).then(|| format!("{broken}: {} and {}", shown[0], shown[1]))
    }

    fn shown(&self) -> String {
        self.machine.view().read(|objects| {
            let mut text = String::new();
            for plural in ["pods", "configmaps"] {
                for entry in objects.list(&Resource::core(plural), None, None) {
                    write!(text, "{} ", entry.object()).expect("text takes everything");
                }
            }
            text
        })
    }

    pub(super) fn is_done(&self, user: usize) -> bool {
        self.user_done == user && self.queue.is_empty() && self.written.is_none()
    }

    /// Everything that decides what follows.
    pub(super) fn observe(&self) -> String {
        let mut text = String::new();
        let mut say = |what: &dyn std::fmt::Debug| {
            write!(text, "{what:?} ").expect("text takes everything");
        };
        for stream in self.store.streams().expect("memory can be read") {
            // Epochs that the cloud opens are drawn; those of the node are not.
            let info = self.store.stream(&stream).expect("memory can be read");
            let info = info.map(|info| (info.head, info.durable, info.received, info.acked));
            say(&(&stream, info));
            let records = self
                .store
                .read(&stream, Revision::ZERO, ReadLimit::SCAN)
                .expect("memory can be read");
            for stored in records {
                let header = &stored.record.header;
                let body = String::from_utf8_lossy(stored.record.body.bytes()).into_owned();
                say(&(stored.revision, header.offset, &header.key, header.op, body));
            }
        }
        say(&self.store.cursor(&CursorName::write_back(&node())));
        say(&self.store.stats().read_only);
        say(&self.fault);
        let label = |asked: &Asked| (asked.who, asked.number, asked.is_fenced);
        say(&self
            .queue
            .iter()
            .map(|(_, asked)| label(asked))
            .collect::<Vec<_>>());
        say(&self.planned.iter().map(label).collect::<Vec<_>>());
        for line in self.lines.iter().flatten() {
            let is_current = self.hub.is_current(&node(), line.seat.number());
            say(&(line.asked, line.is_over, is_current));
        }
        say(&(self.user_done, self.is_user_waiting, self.received));
        say(&self.machine.observe());
        text
    }
}
