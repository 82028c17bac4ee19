//! Sessions between two stores over a connection in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use causeway_daemon::session_driver::{Closer, Control, EndReason, SessionEnd, drive};
use causeway_daemon::tasks::{Shutdown, Task, spawn};
use causeway_daemon::testing::TestEnd;
use causeway_daemon::ws::{Transport, TransportError, WsTransport, pair};
use causeway_log::replication::{CloseCode, Role};
use causeway_log::store::memory::Fault;
use causeway_log::{
    Body, Draft, EventId, Key, NodeName, Offset, Op, Resource, Store, Uid, WallTime,
};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use uuid::Uuid;

use crate::within;

fn node() -> NodeName {
    NodeName::new("edge-1").unwrap()
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

fn end(role: Role) -> Arc<TestEnd> {
    TestEnd::new(role, node())
}

fn drafts(numbers: std::ops::Range<u64>, size: usize) -> impl Iterator<Item = Draft> {
    numbers.map(move |number| draft(number, size))
}

fn acked(end: &TestEnd) -> Offset {
    end.memory().stream(&end.own()).unwrap().unwrap().acked
}

/// Two ends with a session between them.
struct Pair {
    cloud: Arc<TestEnd>,
    edge: Arc<TestEnd>,
    sessions: [Task<SessionEnd>; 2],
    closer: Closer,
    shutdown: Shutdown,
}

impl Pair {
    async fn new() -> Self {
        Self::between(end(Role::Cloud), end(Role::Edge)).await
    }

    async fn between(cloud: Arc<TestEnd>, edge: Arc<TestEnd>) -> Self {
        let (cloud_side, edge_side) = pair(16 * 1024).await;
        let shutdown = Shutdown::new();
        let (control, closer) = Control::new(shutdown.token());
        let cloud_end = drive(cloud.config(), cloud_side, Arc::clone(&cloud), control);
        let edge_control = Control::from(shutdown.token());
        let edge_end = drive(edge.config(), edge_side, Arc::clone(&edge), edge_control);
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
            let stream = sender.own();
            let equal = || receiver.digest(&stream) == sender.digest(&stream);
            within("convergence", receiver.until(equal)).await;
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
    let (cloud, edge) = (end(Role::Cloud), end(Role::Edge));
    cloud.say(drafts(0..100, 3000));
    edge.say(drafts(200..250, 100));
    let pair = Pair::between(cloud, edge).await;
    pair.converge().await;
    // What comes later travels too.
    pair.cloud.say(drafts(100..110, 200_000));
    pair.edge.say(drafts(250..251, 10));
    pair.converge().await;
    for end in [&pair.cloud, &pair.edge] {
        let head = end.memory().stream(&end.own()).unwrap().unwrap().durable;
        within("the acknowledgement", end.until(|| acked(end) == head)).await;
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
    pair.cloud.say(drafts(0..50, 500));
    pair.converge().await;
    let (cloud, edge) = (Arc::clone(&pair.cloud), Arc::clone(&pair.edge));
    pair.shutdown.begin();
    pair.end().await;
    cloud.say(drafts(50..51, 500));
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
    within(
        "the handshake",
        pair.edge.until(|| pair.edge.starts().len() == 1),
    )
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
    within(
        "the handshake",
        pair.edge.until(|| pair.edge.starts().len() == 1),
    )
    .await;
    pair.edge.memory().disk().set_fault(Fault::Full);
    pair.cloud.say(drafts(0..1, 10));
    let (cloud, edge) = (Arc::clone(&pair.cloud), Arc::clone(&pair.edge));
    let [_, edge_end] = pair.end().await;
    assert_eq!(edge_end.reason.code(), Some(CloseCode::Storage));
    assert_eq!(acked(&cloud), Offset::ZERO);
    // Space is back: a new session goes on.
    edge.memory().disk().heal();
    edge.memory().try_recover().unwrap();
    let pair = Pair::between(cloud, edge).await;
    pair.converge().await;
    pair.shutdown.begin();
    pair.end().await;
}

/// A driven cloud end, and a client that says whatever it likes.
async fn hostile() -> (WsTransport<DuplexStream>, Task<SessionEnd>, Shutdown) {
    let (cloud_side, client) = pair(16 * 1024).await;
    let shutdown = Shutdown::new();
    let cloud = end(Role::Cloud);
    let control = Control::from(shutdown.token());
    let driven = drive(cloud.config(), cloud_side, cloud, control);
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

/// Carries bytes one way, so many a second.
async fn trickle(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    bytes_per_second: usize,
) {
    let mut slice = vec![0; bytes_per_second / 10];
    while let Ok(count @ 1..) = from.read(&mut slice).await {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if to.write_all(slice.get(..count).unwrap()).await.is_err() {
            break;
        }
    }
}

/// A connection of 40 kbit/s each way with `buffer` bytes under way in it.
async fn slow_pair(buffer: usize) -> (WsTransport<DuplexStream>, WsTransport<DuplexStream>, Task) {
    let (cloud, cloud_far) = tokio::io::duplex(buffer);
    let (edge, edge_far) = tokio::io::duplex(buffer);
    let (cloud_read, cloud_write) = tokio::io::split(cloud_far);
    let (edge_read, edge_write) = tokio::io::split(edge_far);
    let wire = spawn("wire", async move {
        tokio::join!(
            trickle(cloud_read, edge_write, 5000),
            trickle(edge_read, cloud_write, 5000)
        );
    });
    (
        WsTransport::server(cloud).await,
        WsTransport::client(edge).await,
        wire,
    )
}

#[tokio::test(start_paused = true)]
async fn a_large_object_crosses_a_slow_link_in_one_session() {
    let (cloud, edge) = (end(Role::Cloud), end(Role::Edge));
    let mut large = draft(1, 0);
    let mut seed = 1_u64;
    let noise = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed.to_be_bytes()[0]
    });
    large.body = Body::from(noise.take(600_000).collect::<Vec<u8>>());
    cloud.say([large]);
    let (cloud_side, edge_side, _wire) = slow_pair(64 * 1024).await;
    let shutdown = Shutdown::new();
    let sessions = [(&cloud, cloud_side), (&edge, edge_side)].map(|(end, side)| {
        spawn(
            "session",
            drive(end.config(), side, Arc::clone(end), shutdown.token().into()),
        )
    });
    let crossed = edge.until(|| edge.digest(&edge.theirs()) == cloud.digest(&cloud.own()));
    tokio::time::timeout(Duration::from_secs(600), crossed)
        .await
        .unwrap();
    assert_eq!(edge.starts().len(), 1);
    assert!(
        sessions.iter().all(|session| !session.is_finished()),
        "still one session"
    );
}
