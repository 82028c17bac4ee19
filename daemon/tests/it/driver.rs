//! Sessions between two stores over a connection in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use causeway_daemon::session_driver::{
    Closer, Control, EndReason, Endpoint, SessionEnd, SessionEvent, WriteRefused, drive,
};
use causeway_daemon::tasks::{Shutdown, Task, spawn};
use causeway_daemon::ws::{Transport, TransportError, WsTransport, pair};
use causeway_log::batch::{Entry, Place, StreamChange};
use causeway_log::digest::Digest;
use causeway_log::replication::{CloseCode, Role, SessionConfig, SessionWrite};
use causeway_log::store::memory::{Fault, MemoryStore};
use causeway_log::{
    Batch, Body, Draft, Epoch, EventId, Key, NodeName, Offset, Op, Resource, Store, StreamId, Uid,
    WallTime,
};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use uuid::Uuid;

use crate::within;

/// One end: writes at once, on the spot.
struct End {
    role: Role,
    store: Arc<dyn Store>,
    memory: Arc<MemoryStore>,
    head: watch::Sender<Offset>,
    /// Moves at every event and write; tests wait on it.
    moved: watch::Sender<u64>,
    established: AtomicU64,
}

impl End {
    fn new(role: Role) -> Arc<Self> {
        let memory = Arc::new(MemoryStore::new());
        let open = StreamChange::Open {
            stream: own(role),
            epoch: Epoch::new(uuid(1)),
        };
        memory
            .append(&Batch {
                streams: vec![open],
                ..Batch::default()
            })
            .unwrap();
        memory.sync().unwrap();
        Arc::new(Self {
            role,
            store: Arc::clone(&memory) as Arc<dyn Store>,
            memory,
            head: watch::Sender::new(Offset::ZERO),
            moved: watch::Sender::new(0),
            established: AtomicU64::new(0),
        })
    }

    /// Appends records to the own stream.
    fn say(&self, names: impl IntoIterator<Item = u64>, size: usize) {
        let entries = names.into_iter().map(|number| Entry {
            stream: own(self.role),
            place: Place::Next,
            draft: draft(number, size),
        });
        let batch = Batch {
            entries: entries.collect(),
            ..Batch::default()
        };
        self.store.append(&batch).unwrap();
        let durable = self.store.sync().unwrap();
        self.head.send_replace(durable.as_own_offset());
    }

    fn apply(&self, write: SessionWrite) -> Result<(), WriteRefused> {
        let mut batch = Batch::default();
        write
            .stage(self.role, &node(), &*self.store, &mut batch)
            .unwrap();
        let refused = |reason: String| WriteRefused::ReadOnly { reason };
        self.store
            .append(&batch)
            .map_err(|error| refused(error.to_string()))?;
        self.store
            .sync()
            .map_err(|error| refused(error.to_string()))?;
        Ok(())
    }

    fn count(&self) {
        self.moved.send_modify(|moved| *moved += 1);
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let mut moved = self.moved.subscribe();
        within(what, moved.wait_for(|_| holds())).await.unwrap();
    }

    fn digest(&self, stream: &StreamId) -> String {
        Digest::of_stream(&*self.store, stream)
            .unwrap()
            .summary()
            .digest
    }
}

impl Endpoint for End {
    fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn write(
        &self,
        _: &NodeName,
        write: SessionWrite,
    ) -> BoxFuture<'static, Result<(), WriteRefused>> {
        let written = self.apply(write);
        self.count();
        std::future::ready(written).boxed()
    }

    fn own_head(&self, _: &NodeName) -> watch::Receiver<Offset> {
        self.head.subscribe()
    }

    fn observe(&self, _: &NodeName, event: SessionEvent) {
        if matches!(event, SessionEvent::Established(_)) {
            self.established.fetch_add(1, Ordering::Relaxed);
        }
        self.count();
    }
}

fn node() -> NodeName {
    NodeName::new("edge-1").unwrap()
}

fn own(role: Role) -> StreamId {
    StreamId::Node(node(), role.sends())
}

fn uuid(number: u64) -> Uuid {
    Uuid::from_u64_pair(number, 7)
}

fn draft(number: u64, size: usize) -> Draft {
    let name = format!("object-{number}");
    let key = Key::new(Resource::core("configmaps"), "default", &name, Uid::None).unwrap();
    Draft {
        id: EventId::new(uuid(1000 + number)),
        cause: None,
        time: WallTime::from_unix_millis(1),
        key,
        version: None,
        op: Op::Put,
        body: Body::from(vec![b'x'; size]),
    }
}

fn config(role: Role) -> SessionConfig {
    let number = match role {
        Role::Edge => 10,
        Role::Cloud => 20,
    };
    SessionConfig::new(role, node(), uuid(number), Epoch::new(uuid(number + 1)))
}

/// Two ends with a session between them.
struct Pair {
    cloud: Arc<End>,
    edge: Arc<End>,
    sessions: [Task<SessionEnd>; 2],
    closer: Closer,
    shutdown: Shutdown,
}

impl Pair {
    async fn new() -> Self {
        Self::between(End::new(Role::Cloud), End::new(Role::Edge)).await
    }

    async fn between(cloud: Arc<End>, edge: Arc<End>) -> Self {
        let (cloud_side, edge_side) = pair(16 * 1024).await;
        let shutdown = Shutdown::new();
        let (control, closer) = Control::new(shutdown.token());
        let cloud_end = drive(config(Role::Cloud), cloud_side, Arc::clone(&cloud), control);
        let edge_control = Control::from(shutdown.token());
        let edge_end = drive(
            config(Role::Edge),
            edge_side,
            Arc::clone(&edge),
            edge_control,
        );
        let sessions = [spawn("cloud", cloud_end), spawn("edge", edge_end)];
        Self {
            cloud,
            edge,
            sessions,
            closer,
            shutdown,
        }
    }

    async fn converge(&self) {
        for (sender, receiver) in [(&self.cloud, &self.edge), (&self.edge, &self.cloud)] {
            let stream = own(sender.role);
            receiver
                .until("convergence", || {
                    receiver.digest(&stream) == sender.digest(&stream)
                })
                .await;
        }
    }

    async fn end(self) -> [SessionEnd; 2] {
        let [cloud, edge] = self.sessions;
        let cloud = within("the cloud's end", cloud.join()).await.unwrap();
        let edge = within("the edge's end", edge.join()).await.unwrap();
        drop(self.shutdown);
        [cloud, edge]
    }
}

#[tokio::test]
async fn both_streams_cross_and_are_acknowledged() {
    let (cloud, edge) = (End::new(Role::Cloud), End::new(Role::Edge));
    cloud.say(0..100, 3000);
    edge.say(200..250, 100);
    let pair = Pair::between(cloud, edge).await;
    pair.converge().await;
    // What comes later travels too.
    pair.cloud.say(100..110, 200_000);
    pair.edge.say(250..251, 10);
    pair.converge().await;
    for end in [&pair.cloud, &pair.edge] {
        let stream = own(end.role);
        end.until("the acknowledgement", || {
            end.store
                .stream(&stream)
                .unwrap()
                .is_some_and(|info| info.acked == info.durable)
        })
        .await;
    }
    pair.shutdown.begin();
    let [cloud, edge] = pair.end().await;
    assert!(cloud.established && edge.established);
    assert_eq!(cloud.reason.code(), Some(CloseCode::GoingAway));
    assert!(edge.counts.bytes_in > 0);
}

#[tokio::test]
async fn a_session_resumes_where_the_last_one_ended() {
    let pair = Pair::new().await;
    pair.cloud.say(0..50, 500);
    pair.converge().await;
    let (cloud, edge) = (Arc::clone(&pair.cloud), Arc::clone(&pair.edge));
    pair.shutdown.begin();
    pair.end().await;
    cloud.say(50..51, 500);
    let pair = Pair::between(cloud, edge).await;
    pair.converge().await;
    pair.shutdown.begin();
    let [_, edge] = pair.end().await;
    assert!(
        edge.counts.bytes_in < 2000,
        "{} bytes for one record",
        edge.counts.bytes_in
    );
}

#[tokio::test]
async fn a_closer_ends_a_session_with_its_reason() {
    let pair = Pair::new().await;
    pair.edge
        .until("the handshake", || {
            pair.edge.established.load(Ordering::Relaxed) == 1
        })
        .await;
    pair.closer
        .close(CloseCode::Fenced, "another session of edge-1 began", None);
    let [cloud, edge] = pair.end().await;
    let EndReason::Closed(close) = cloud.reason else {
        panic!("{:?}", cloud.reason)
    };
    assert_eq!((close.code, close.by_peer), (CloseCode::Fenced, false));
    let EndReason::Closed(close) = edge.reason else {
        panic!("{:?}", edge.reason)
    };
    assert_eq!((close.code, close.by_peer), (CloseCode::Fenced, true));
    assert!(close.reason.contains("another session"), "{}", close.reason);
}

#[tokio::test]
async fn a_full_disk_closes_the_session_and_acknowledges_nothing() {
    let pair = Pair::new().await;
    pair.edge
        .until("the handshake", || {
            pair.edge.established.load(Ordering::Relaxed) == 1
        })
        .await;
    pair.edge.memory.disk().set_fault(Fault::Full);
    pair.cloud.say(0..1, 10);
    let (cloud, edge) = (Arc::clone(&pair.cloud), Arc::clone(&pair.edge));
    let [_, edge_end] = pair.end().await;
    assert_eq!(edge_end.reason.code(), Some(CloseCode::Storage));
    let acked = cloud
        .store
        .stream(&own(Role::Cloud))
        .unwrap()
        .unwrap()
        .acked;
    assert_eq!(acked, Offset::ZERO);
    // Space is back: a new session goes on.
    edge.memory.disk().heal();
    edge.store.try_recover().unwrap();
    let pair = Pair::between(cloud, edge).await;
    pair.converge().await;
    pair.shutdown.begin();
    pair.end().await;
}

/// A driven cloud end, and a client that says whatever it likes.
async fn hostile() -> (WsTransport<DuplexStream>, Task<SessionEnd>, Shutdown) {
    let (cloud_side, client) = pair(16 * 1024).await;
    let shutdown = Shutdown::new();
    let end = End::new(Role::Cloud);
    let control = Control::from(shutdown.token());
    let driven = drive(config(Role::Cloud), cloud_side, end, control);
    (client, spawn("cloud", driven), shutdown)
}

/// The close frame that ends a connection.
async fn closed(client: &mut impl Transport) -> Option<CloseCode> {
    loop {
        match within("the close", client.next()).await {
            Some(Ok(_)) => {}
            Some(Err(TransportError::Closed { code, .. })) => return code,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn garbage_closes_the_session_with_a_violation() {
    let (mut client, cloud, _shutdown) = hostile().await;
    client.send(Bytes::from_static(&[0xff; 100])).await.unwrap();
    assert_eq!(closed(&mut client).await, Some(CloseCode::Violation));
    drop(client);
    let end = within("the end", cloud.join()).await.unwrap();
    assert_eq!(end.reason.code(), Some(CloseCode::Violation));
    assert!(!end.established);
}

#[tokio::test]
async fn a_peer_that_vanishes_ends_the_session() {
    let (client, cloud, _shutdown) = hostile().await;
    drop(client);
    let end = within("the end", cloud.join()).await.unwrap();
    assert!(matches!(end.reason, EndReason::Lost(_)), "{:?}", end.reason);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_not_waited_for_long() {
    let (_client, cloud, _shutdown) = hostile().await;
    let end = tokio::time::timeout(Duration::from_secs(60), cloud.join())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(end.reason.code(), Some(CloseCode::Timeout));
}
