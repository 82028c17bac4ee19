//! The state of the embedded broker: sessions with what waits for them, and retained messages. In
//! memory; nothing in here waits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::{Mutex as AsyncMutex, Notify};

use super::super::life::Life;
use super::super::mqtt::{Publish, Qos, matches};
use super::index::{ClientId, Index};

/// Filters of one client.
const FILTERS_MAX: usize = 256;
/// Bytes of messages kept for one client.
const QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// Retained messages, and their bytes.
const RETAINED_MAX: usize = 1024;
const RETAINED_BYTES_MAX: usize = 1024 * 1024;

/// How a subscription that is refused is answered.
const REFUSED: u8 = 0x80;

/// The session of a client.
#[derive(Debug)]
struct Session {
    filters: BTreeSet<Arc<str>>,
    queue: VecDeque<Publish>,
    bytes: usize,
    clean: bool,
    /// Which connection it has.
    connection: Option<u64>,
    /// When it was last connected, in connections.
    last: u64,
    /// Held by the connection of the session while it lasts.
    life: Arc<AsyncMutex<Life>>,
    wake: Arc<Notify>,
    kick: Arc<Notify>,
}

/// A session as a connection gets it.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) number: u64,
    pub(super) session_present: bool,
    pub(super) life: Arc<AsyncMutex<Life>>,
    /// Something waits for the client.
    pub(super) wake: Arc<Notify>,
    /// Another connection has taken the session.
    pub(super) kick: Arc<Notify>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sessions {
    queue_max: usize,
    sessions_max: usize,
    sessions: BTreeMap<ClientId, Session>,
    index: Index,
    retained: BTreeMap<Arc<str>, Publish>,
    retained_bytes: usize,
    connections: u64,
}

impl Sessions {
    /// `queue_max` messages are kept for a client, and the sessions of `sessions_max` clients.
    pub(super) fn new(queue_max: usize, sessions_max: usize) -> Self {
        Self {
            queue_max,
            sessions_max,
            sessions: BTreeMap::new(),
            index: Index::default(),
            retained: BTreeMap::new(),
            retained_bytes: 0,
            connections: 0,
        }
    }

    /// A client connects. Its earlier connection is told to go.
    pub(super) fn attach(&mut self, client: &ClientId, clean: bool) -> Attached {
        self.connections += 1;
        let number = self.connections;
        if let Some(old) = self.sessions.get(client) {
            old.kick.notify_one();
            if clean || old.clean {
                self.remove(client);
            }
        }
        let session_present = self.sessions.contains_key(client);
        if !session_present {
            self.make_room();
        }
        let session = self
            .sessions
            .entry(Arc::clone(client))
            .or_insert_with(|| Session {
                filters: BTreeSet::new(),
                queue: VecDeque::new(),
                bytes: 0,
                clean,
                connection: None,
                last: number,
                life: Arc::default(),
                wake: Arc::default(),
                kick: Arc::default(),
            });
        session.connection = Some(number);
        session.last = number;
        session.kick = Arc::default();
        Attached {
            number,
            session_present,
            life: Arc::clone(&session.life),
            wake: Arc::clone(&session.wake),
            kick: Arc::clone(&session.kick),
        }
    }

    /// Beyond the bound the session goes whose client is away for the longest time.
    fn make_room(&mut self) {
        while self.sessions.len() >= self.sessions_max {
            let away = self
                .sessions
                .iter()
                .filter(|(_, it)| it.connection.is_none());
            let oldest = away.min_by_key(|(_, session)| session.last);
            let Some((client, _)) = oldest else {
                return;
            };
            let client = Arc::clone(client);
            self.remove(&client);
        }
    }

    fn remove(&mut self, client: &ClientId) {
        if let Some(session) = self.sessions.remove(client) {
            for filter in &session.filters {
                self.index.remove(filter, client);
            }
        }
    }

    /// A connection ended.
    pub(super) fn detach(&mut self, client: &ClientId, number: u64) {
        let Some(session) = self.sessions.get_mut(client) else {
            return;
        };
        if session.connection == Some(number) {
            session.connection = None;
            if session.clean {
                self.remove(client);
            }
        }
    }

    /// Subscribes a client; gives the codes of the answer. What is retained is put in its queue.
    pub(super) fn subscribe(
        &mut self,
        client: &ClientId,
        number: u64,
        filters: Vec<(String, Qos)>,
    ) -> Vec<u8> {
        let Some(session) = self.sessions.get_mut(client) else {
            return vec![REFUSED; filters.len()];
        };
        let is_mine = session.connection == Some(number);
        let (mut codes, mut found) = (Vec::with_capacity(filters.len()), Vec::new());
        for (filter, qos) in filters {
            let filter: Arc<str> = filter.into();
            let fits = session.filters.contains(&filter) || session.filters.len() < FILTERS_MAX;
            if !is_mine || !fits {
                codes.push(REFUSED);
                continue;
            }
            let qos = qos.min(Qos::One);
            self.index.insert(&filter, client, qos);
            let retained = self.retained.values();
            let retained = retained.filter(|publish| matches(&filter, &publish.topic));
            found.extend(retained.map(|publish| (publish.clone(), qos)));
            session.filters.insert(filter);
            codes.push(qos as u8);
        }
        for (publish, qos) in found {
            let publish = Publish {
                retain: true,
                ..publish
            };
            session.push(&publish, qos, self.queue_max);
        }
        codes
    }

    pub(super) fn unsubscribe(&mut self, client: &ClientId, number: u64, filters: &[String]) {
        let Some(session) = self.sessions.get_mut(client) else {
            return;
        };
        if session.connection == Some(number) {
            for filter in filters {
                session.filters.remove(filter.as_str());
                self.index.remove(filter, client);
            }
        }
    }

    /// Whether anybody listens to a topic.
    pub(super) fn wants(&self, topic: &str) -> bool {
        self.index.has(topic)
    }

    /// Puts a message in the queues of all who listen; gives how many older ones were given up for
    /// it.
    pub(super) fn route(&mut self, publish: &Publish) -> usize {
        if publish.retain {
            self.retain(publish);
        }
        let live = Publish {
            retain: false,
            dup: false,
            id: 0,
            ..publish.clone()
        };
        let mut dropped = 0;
        for (client, qos) in self.index.listeners(&publish.topic) {
            if let Some(session) = self.sessions.get_mut(&client) {
                dropped += session.push(&live, qos, self.queue_max);
            }
        }
        dropped
    }

    /// An empty message removes what is retained of its topic. Beyond the bound nothing new is.
    fn retain(&mut self, publish: &Publish) {
        if let Some(old) = self.retained.remove(&publish.topic) {
            self.retained_bytes -= old.topic.len() + old.payload.len();
        }
        let length = publish.topic.len() + publish.payload.len();
        let fits = self.retained.len() < RETAINED_MAX
            && self.retained_bytes + length <= RETAINED_BYTES_MAX;
        if !publish.payload.is_empty() && fits {
            self.retained_bytes += length;
            let topic = Arc::clone(&publish.topic);
            self.retained.insert(topic, publish.clone());
        }
    }

    /// The next message for a client.
    pub(super) fn next(&mut self, client: &ClientId, number: u64) -> Option<Publish> {
        let session = self.sessions.get_mut(client)?;
        if session.connection != Some(number) {
            return None;
        }
        let publish = session.queue.pop_front()?;
        session.bytes -= publish.payload.len();
        Some(publish)
    }
}

impl Session {
    /// Puts a message behind the others; gives how many were given up for it.
    fn push(&mut self, publish: &Publish, qos: Qos, queue_max: usize) -> usize {
        let qos = qos.min(publish.qos);
        if self.connection.is_none() && qos == Qos::Zero {
            return 0;
        }
        self.bytes += publish.payload.len();
        self.queue.push_back(Publish {
            qos,
            ..publish.clone()
        });
        let mut dropped = 0;
        while self.queue.len() > queue_max
            || self.bytes > QUEUE_BYTES_MAX.max(publish.payload.len())
        {
            let Some(oldest) = self.queue.pop_front() else {
                break;
            };
            self.bytes -= oldest.payload.len();
            dropped += 1;
        }
        self.wake.notify_one();
        dropped
    }
}
