//! What carries messages, store writes and time between a session and its world: the driver of the
//! daemons, as events.

use std::time::Duration;

use causeway_cloud_sync::cluster;
use causeway_daemon::session_driver::{Counts, EndReason, SessionEnd};
use causeway_edge_sync::machine as edge;
use causeway_log::replication::{
    Close, CloseCode, Effect, Established, Moment, SessionWrite, Start,
};
use causeway_log::store::ReadLimit;
use causeway_log::{Direction, Offset, Store as _, StreamId};
use tokio::sync::oneshot;

use super::link::{Budget, End, Item};
use super::queue::Event;
use super::seen::Kind;
use super::{Invariant, Side, World};

/// Writes asked for and not durable yet, per session; reading stops beyond it.
const WRITES_OUTSTANDING_MAX: usize = 64;
/// What is sent again after a cut waits up to so many milliseconds after the heal.
const RESEND_MILLIS_MAX: u64 = 3000;

// COST-1, in bytes of messages. Of 32,000 sessions in 1,500 drawn worlds, none sent more than 0.71
// of its bound.
/// A handshake, of about 300 bytes, and a body that is sent twice because it changed meanwhile.
const COST_SESSION: u64 = 4096;
/// A ping or an acknowledgement.
const COST_CONTROL: u64 = 32;
/// A record besides its body: key, ids, times.
const COST_RECORD: u64 = 192;

impl World {
    /// Lets a session do what it wants until it wants nothing more.
    pub(super) fn pump(&mut self, id: u64, side: Side) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let Some(mut end) = conn.end(side).take() else {
            return;
        };
        let mut close = None;
        loop {
            while let Some(effect) = end.session.poll_effect() {
                match effect {
                    Effect::Write(write) => {
                        let (done, written) = oneshot::channel();
                        end.writes.push_back(written);
                        self.ask_for_session(id, side, write, done);
                    }
                    Effect::Established(established) => {
                        self.established(id, side, &mut end, &established);
                    }
                    Effect::Close(closed) => close = Some(closed),
                }
            }
            if !self.send_next(id, side, &mut end, close.is_some()) {
                break;
            }
        }
        if let Some(close) = close {
            self.close(id, side, end, close);
            return;
        }
        self.arm(id, side, &mut end);
        if let Some(conn) = self.conns.get_mut(&id) {
            *conn.end(side) = Some(end);
        }
    }

    /// Gives the link one more message, if there is one and it has room.
    fn send_next(&mut self, id: u64, side: Side, end: &mut End, is_last: bool) -> bool {
        let now = Moment(self.now);
        let Some(conn) = self.conns.get_mut(&id) else {
            return false;
        };
        if !(is_last || conn.pipe(side.other()).has_room()) {
            return false;
        }
        let Some(frame) = end.session.poll_frame(now, &*end.store) else {
            return false;
        };
        let node = conn.node;
        let frame = self.as_released(node, frame);
        self.trace
            .count(self.now, id << 1 | side as u64, fingerprint(&frame));
        match side {
            Side::Edge => self.stats.bytes_up += frame.len() as u64,
            Side::Cloud => self.stats.bytes_down += frame.len() as u64,
        }
        self.send(id, side.other(), frame);
        true
    }

    pub(super) fn transmit(&mut self, id: u64, to: Side, item: Item) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let link = &self.nodes[conn.node].link;
        let at = conn
            .pipe(to)
            .send(self.now, item, link, &mut self.chance.network);
        self.queue.push(at, Event::Deliver { conn: id, to });
    }

    fn arm(&mut self, id: u64, side: Side, end: &mut End) {
        let Some(Moment(at)) = end.session.poll_timeout() else {
            return;
        };
        let at = at.max(self.now);
        if end.timer.is_none_or(|set| at < set || set < self.now) {
            end.timer = Some(at);
            let conn = id;
            self.queue.push(at, Event::Timer { conn, side, at });
        }
    }

    pub(super) fn timer(&mut self, id: u64, side: Side, at: Duration) {
        let Some(end) = self
            .conns
            .get_mut(&id)
            .and_then(|conn| conn.end(side).as_mut())
        else {
            return;
        };
        if end.timer != Some(at) {
            return;
        }
        end.timer = None;
        if end.session.poll_timeout().is_some_and(|due| due.0 <= at) {
            let store = end.store.clone();
            end.session.handle_timeout(Moment(self.now), &*store);
        }
        self.pump(id, side);
    }

    /// The oldest item of a pipe has arrived, unless the link is cut.
    pub(super) fn deliver(&mut self, id: u64, to: Side) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        if self.nodes[conn.node].link.is_blocked(to) {
            conn.pipe(to).stalled += 1;
            return;
        }
        let node = conn.node;
        let was_full = !conn.pipe(to).has_room();
        let item = conn.pipe(to).take();
        match (conn.end(to), item) {
            (Some(end), Some(Item::Message(frame))) => {
                end.inbox.push_back(frame);
                self.read(id, to);
            }
            (Some(_), Some(Item::End)) => self.lose(id, to, "the connection ended"),
            (None, Some(Item::Message(_))) => {
                // Nobody is there any more: the machine says so, when it can.
                let can = to == Side::Cloud || self.nodes[node].is_powered;
                if can && !self.nodes[node].link.is_blocked(to.other()) {
                    let at = self.now + self.nodes[node].link.latency(&mut self.chance.network);
                    let (conn, at_side, why) = (id, to.other(), "connection reset by peer");
                    self.queue.push(
                        at,
                        Event::Lost {
                            conn,
                            at: at_side,
                            why,
                        },
                    );
                }
            }
            (None, Some(Item::End)) | (_, None) => {}
        }
        if was_full {
            self.pump(id, to.other());
        }
        self.forget_conn(id);
    }

    /// Feeds a session what has arrived, as far as its writes allow.
    fn read(&mut self, id: u64, side: Side) {
        while let Some(end) = self
            .conns
            .get_mut(&id)
            .and_then(|conn| conn.end(side).as_mut())
        {
            if end.writes.len() >= WRITES_OUTSTANDING_MAX {
                return;
            }
            let Some(frame) = end.inbox.pop_front() else {
                return;
            };
            let store = end.store.clone();
            end.session.handle_frame(Moment(self.now), &frame, &*store);
            self.pump(id, side);
        }
    }

    /// Writes of a session may have become durable.
    pub(super) fn written(&mut self, id: u64, side: Side) {
        let mut any = false;
        while let Some(end) = self
            .conns
            .get_mut(&id)
            .and_then(|conn| conn.end(side).as_mut())
        {
            let Some(first) = end.writes.front_mut() else {
                break;
            };
            let answer = match first.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => break,
                Ok(answer) => answer,
                Err(oneshot::error::TryRecvError::Closed) => {
                    Err(causeway_daemon::session_driver::WriteRefused::Stopping)
                }
            };
            any = true;
            end.writes.pop_front();
            let store = end.store.clone();
            match answer {
                Ok(()) => end.session.handle_written(Moment(self.now), &*store),
                Err(refused) => {
                    end.session
                        .close(refused.close_code(), &refused.to_string(), None);
                }
            }
            self.pump(id, side);
        }
        if any {
            self.read(id, side);
        }
    }

    /// The own stream has more durable records.
    pub(super) fn stored(&mut self, id: u64, side: Side, more: Budget) {
        if let Some(end) = self
            .conns
            .get_mut(&id)
            .and_then(|conn| conn.end(side).as_mut())
        {
            let store = end.store.clone();
            if let Some(budget) = &mut end.budget {
                budget.records += more.records;
                budget.bytes += more.bytes;
            }
            end.session.handle_stored(Moment(self.now), &*store);
            self.pump(id, side);
        }
    }

    fn ask_for_session(
        &mut self,
        id: u64,
        side: Side,
        write: SessionWrite,
        done: oneshot::Sender<Result<(), causeway_daemon::session_driver::WriteRefused>>,
    ) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        let n = conn.node;
        match side {
            Side::Edge
                if self.nodes[n]
                    .edge
                    .as_ref()
                    .is_some_and(|e| e.life == conn.life) =>
            {
                self.check_incoming(n, &write);
                self.ask_edge(n, edge::Request::Session { write, done });
            }
            Side::Edge => {}
            Side::Cloud => {
                self.take_over(id);
                let Some((seat, _)) = self.conns.get(&id).and_then(|conn| conn.seat.as_ref())
                else {
                    return;
                };
                let (node, session) = (seat.node().clone(), seat.number());
                self.waiting.insert(id);
                self.ask_cloud(cluster::Request::Session {
                    node,
                    session,
                    write,
                    answer: done,
                });
            }
        }
    }

    fn established(&mut self, id: u64, side: Side, end: &mut End, established: &Established) {
        end.established = true;
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        let n = conn.node;
        let name = self.nodes[n].name.clone();
        self.stats.sessions += u64::from(side == Side::Edge);
        self.trace.event(
            self.now,
            "established",
            name.as_str(),
            format_args!("{side:?} sends {:?}", established.sending),
        );
        let direction = match side {
            Side::Edge => Direction::Up,
            Side::Cloud => Direction::Down,
        };
        let is_resumed = matches!(established.sending, Start::Resume { .. });
        let kind = match is_resumed {
            true => Kind::Resumes,
            false => Kind::Reconciles,
        };
        self.stats.seen.add(kind, 1);
        if let Start::Resume { after } = established.sending {
            end.budget = self.cost_of_resume(end, &StreamId::Node(name, direction), after);
        }
        if side == Side::Cloud {
            self.take_over(id);
        }
    }

    /// COST-1: what may be sent, by the keys that changed.
    fn cost_of_resume(&self, end: &End, stream: &StreamId, after: Offset) -> Option<Budget> {
        let mut budget = Budget::default();
        let mut after = after;
        loop {
            let read = || end.store.read_coalesced(stream, after, ReadLimit::SCAN);
            let page = end.store.disk().read_anyway(read).ok()?;
            for stored in &page.records {
                budget.add(&stored.record.body);
            }
            if page.is_complete || page.upto <= after {
                return Some(budget);
            }
            after = page.upto;
        }
    }

    /// COST-1, when a session is over or at rest.
    pub(super) fn check_cost(&mut self, n: usize, side: Side, end: &End) {
        let stats = end.session.stats();
        let Some(budget) = end.budget.filter(|_| stats.rewinds == 0) else {
            return;
        };
        let seconds = self.now.saturating_sub(end.began).as_secs();
        let control = COST_SESSION + COST_CONTROL * (stats.received.frames + seconds / 5 + 2);
        let records = budget.bytes + COST_RECORD * budget.records;
        let sent = stats.sent.bytes;
        self.stats.cost_max = self.stats.cost_max.max(sent * 1000 / (records + control));
        if sent > records + control {
            let name = &self.nodes[n].name;
            let what = format!(
                "{name}: {side:?} sent {sent} bytes, {records} for records and {control} allowed"
            );
            self.violate(Invariant::CostOfResume, what);
        }
    }

    /// The session says goodbye.
    fn close(&mut self, id: u64, side: Side, end: Box<End>, close: Close) {
        self.transmit(id, side.other(), Item::End);
        self.ended(id, side, end, EndReason::Closed(close));
    }

    /// The connection is over for one of its ends.
    pub(super) fn lose(&mut self, id: u64, side: Side, why: &str) {
        let Some(end) = self
            .conns
            .get_mut(&id)
            .and_then(|conn| conn.end(side).take())
        else {
            return;
        };
        self.ended(id, side, end, EndReason::Lost(why.to_owned()));
    }

    fn ended(&mut self, id: u64, side: Side, mut end: Box<End>, reason: EndReason) {
        // What it still asks for is done: a place that was acknowledged is written down.
        while let Some(effect) = end.session.poll_effect() {
            if let Effect::Write(write) = effect {
                let (done, written) = oneshot::channel();
                end.writes.push_back(written);
                self.ask_for_session(id, side, write, done);
            }
        }
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let n = conn.node;
        let life = conn.life;
        let seat = match side {
            Side::Cloud => conn.seat.take(),
            Side::Edge => None,
        };
        let name = self.nodes[n].name.clone();
        self.trace.event(
            self.now,
            "ended",
            name.as_str(),
            format_args!("{side:?} {reason:?}"),
        );
        if matches!(&reason, EndReason::Closed(close) if close.code == CloseCode::Violation && !close.by_peer)
        {
            self.stats.seen.add(Kind::Violations, 1);
        }
        self.disturb(n);
        self.check_cost(n, side, &end);
        match side {
            Side::Edge => {
                let ended = SessionEnd {
                    reason,
                    established: end.established,
                    lasted: self.now.saturating_sub(end.began),
                    counts: Counts::default(),
                };
                self.session_over(n, life, &ended, end.writes);
            }
            Side::Cloud => {
                if let Some((seat, _)) = seat {
                    self.leave(seat, end.writes);
                }
            }
        }
        self.forget_conn(id);
    }

    /// Forgets a connection when nobody is at its ends.
    pub(super) fn forget_conn(&mut self, id: u64) {
        if self.conns.get(&id).is_some_and(super::link::Conn::is_over)
            && let Some(conn) = self.conns.remove(&id)
        {
            self.nodes[conn.node].conns.retain(|own| *own != id);
        }
    }

    /// What was due while the link was cut is sent again.
    pub(super) fn resend(&mut self, n: usize) {
        for id in self.nodes[n].conns.clone() {
            for to in [Side::Cloud, Side::Edge] {
                if self.nodes[n].link.is_blocked(to) {
                    continue;
                }
                let Some(conn) = self.conns.get_mut(&id) else {
                    continue;
                };
                let stalled = std::mem::take(&mut conn.pipe(to).stalled);
                let wait = self.chance.network.u64(1..=RESEND_MILLIS_MAX);
                let at = self.now + Duration::from_millis(wait);
                for _ in 0..stalled {
                    self.queue.push(at, Event::Deliver { conn: id, to });
                }
            }
        }
    }
}

/// Eight bytes at a time: cheap, and enough to tell two runs apart.
fn fingerprint(frame: &[u8]) -> u64 {
    frame.chunks(8).fold(frame.len() as u64, |hash, chunk| {
        let word = chunk
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte));
        (hash ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    })
}
