//! Messages over WebSockets, in memory and over loopback.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse as _;
use axum::routing::any;
use bytes::Bytes;
use causeway_daemon::http::{HttpLimits, serve_tcp};
use causeway_daemon::tasks::{Shutdown, Task, spawn};
use causeway_daemon::ws::{
    DialError, SyncUrl, Transport, TransportError, WsTransport, dial, drain, pair, upgrade,
};
use causeway_log::NodeName;
use causeway_log::limits::FRAME_BYTES_MAX;
use causeway_log::replication::CloseCode;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::within;

type ServerTransport = WsTransport<TokioIo<Upgraded>>;

/// A sync endpoint that hands out its connections.
struct Server {
    address: SocketAddr,
    connections: mpsc::Receiver<ServerTransport>,
    _shutdown: Shutdown,
    _task: Task,
}

impl Server {
    async fn start() -> Self {
        let (sender, connections) = mpsc::channel(4);
        let (tasks, mut running) = mpsc::channel::<Task>(4);
        let handler = move |mut request: Request| {
            let (sender, tasks) = (sender.clone(), tasks.clone());
            async move {
                match upgrade(&mut request) {
                    Err(refusal) => refusal,
                    Ok((response, upgrading)) => {
                        let task = spawn("upgrade", async move {
                            let transport = upgrading.finish().await.unwrap();
                            sender.send(transport).await.unwrap();
                        });
                        tasks.send(task).await.unwrap();
                        response
                    }
                }
                .into_response()
            }
        };
        let router = Router::new().route("/sync/v1/{node}", any(handler));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let serving = serve_tcp(listener, router, HttpLimits::default(), shutdown.token());
        let task = spawn("server", async move {
            let _serving = serving;
            while let Some(task) = running.recv().await {
                task.join().await;
            }
        });
        Self {
            address,
            connections,
            _shutdown: shutdown,
            _task: task,
        }
    }

    fn url(&self) -> SyncUrl {
        format!("ws://{}", self.address).parse().unwrap()
    }

    async fn accept(&mut self) -> ServerTransport {
        within("a connection", self.connections.recv())
            .await
            .unwrap()
    }

    /// A connection on which the handshake is over, but the client speaks bytes.
    async fn raw(&mut self) -> (TcpStream, ServerTransport) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = "GET /sync/v1/edge-1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
            Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        let answer = String::from_utf8(answer).unwrap().to_lowercase();
        assert!(answer.starts_with("http/1.1 101"), "{answer}");
        // The answer of RFC 6455 to its own example key.
        assert!(answer.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{answer}");
        (stream, self.accept().await)
    }
}

fn node() -> NodeName {
    NodeName::new("edge-1").unwrap()
}

const LIMIT: Duration = Duration::from_secs(10);

async fn exchange(mut cloud: impl Transport, mut edge: impl Transport) {
    for size in [0, 1, 4095, 4096, 4097, 100_000, FRAME_BYTES_MAX] {
        let message = Bytes::from(vec![7; size]);
        let sent = message.clone();
        let (sending, received) = tokio::join!(edge.send(sent), cloud.next());
        sending.unwrap();
        assert_eq!(received.unwrap().unwrap(), message);
        let (sending, received) = tokio::join!(cloud.send(message.clone()), edge.next());
        sending.unwrap();
        assert_eq!(received.unwrap().unwrap(), message);
    }
    assert!(edge.progress() > FRAME_BYTES_MAX as u64);
}

#[tokio::test]
async fn messages_of_all_sizes_cross_in_memory() {
    let (cloud, edge) = pair(1024).await;
    within("the exchange", exchange(cloud, edge)).await;
}

#[tokio::test]
async fn messages_of_all_sizes_cross_over_loopback() {
    let mut server = Server::start().await;
    let edge = dial(&server.url(), &node(), LIMIT).await.unwrap();
    let cloud = server.accept().await;
    within("the exchange", exchange(cloud, edge)).await;
}

#[tokio::test]
async fn a_close_says_why() {
    let mut server = Server::start().await;
    let mut edge = dial(&server.url(), &node(), LIMIT).await.unwrap();
    let mut cloud = server.accept().await;
    cloud.send(Bytes::from_static(b"last words")).await.unwrap();
    // Longer than a close frame may be, and cut between characters.
    cloud.start_close(CloseCode::Fenced, &"ü".repeat(200));
    let closing = spawn("closing", async move {
        cloud.close().await.unwrap();
        drain(&mut cloud).await;
    });
    assert_eq!(edge.next().await.unwrap().unwrap(), "last words");
    match edge.next().await {
        Some(Err(TransportError::Closed { code, reason })) => {
            assert_eq!(code, Some(CloseCode::Fenced));
            assert_eq!(reason, "ü".repeat(61));
        }
        other => panic!("{other:?}"),
    }
    drain(&mut edge).await;
    drop(edge);
    within("the end", closing.join()).await.unwrap();
}

#[tokio::test]
async fn a_lost_peer_is_an_error() {
    let (mut cloud, edge) = pair(1024).await;
    drop(edge);
    match within("the loss", cloud.next()).await {
        Some(Err(TransportError::Lost(error))) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn garbage_is_a_protocol_error() {
    let mut server = Server::start().await;
    let (mut stream, mut cloud) = server.raw().await;
    stream.write_all(&[0xff; 64]).await.unwrap();
    let read = within("the error", cloud.next()).await;
    assert!(
        matches!(read, Some(Err(TransportError::Protocol(_)))),
        "{read:?}"
    );
}

#[tokio::test]
async fn a_frame_over_the_limit_is_refused_by_its_header() {
    let mut server = Server::start().await;
    let (mut stream, mut cloud) = server.raw().await;
    // Final binary frame, masked, 64-bit length of one byte too many; no payload follows.
    let mut header = vec![0x82, 0xff];
    header.extend_from_slice(&(FRAME_BYTES_MAX as u64 + 1).to_be_bytes());
    header.extend_from_slice(&[0; 4]);
    stream.write_all(&header).await.unwrap();
    let read = within("the error", cloud.next()).await;
    assert!(
        matches!(read, Some(Err(TransportError::TooLarge))),
        "{read:?}"
    );
}

#[tokio::test]
async fn a_message_over_the_limit_in_pieces_is_refused() {
    let (mut cloud, mut edge) = pair(1024 * 1024).await;
    let sending = spawn("sender", async move {
        // The receiver goes away in the middle.
        let _ = edge.send(Bytes::from(vec![0; FRAME_BYTES_MAX + 1])).await;
    });
    let read = within("the error", cloud.next()).await;
    assert!(
        matches!(read, Some(Err(TransportError::TooLarge))),
        "{read:?}"
    );
    drop((cloud, sending));
}

#[tokio::test]
async fn text_is_no_sync_message() {
    let mut server = Server::start().await;
    let (mut stream, mut cloud) = server.raw().await;
    stream
        .write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'])
        .await
        .unwrap();
    let read = within("the error", cloud.next()).await;
    assert!(matches!(read, Some(Err(TransportError::Text))), "{read:?}");
}

#[tokio::test]
async fn a_plain_request_is_told_to_upgrade() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = "GET /sync/v1/edge-1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("the answer", stream.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 426"), "{answer}");
}

#[tokio::test]
async fn dialing_tells_what_is_wrong() {
    let server = Server::start().await;
    let elsewhere: SyncUrl = format!("ws://{}/wrong", server.address).parse().unwrap();
    match dial(&elsewhere, &node(), LIMIT).await {
        Err(DialError::Refused { status, .. }) => assert_eq!(status, 404),
        other => panic!("{other:?}"),
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody: SyncUrl = format!("ws://{}", closed.local_addr().unwrap())
        .parse()
        .unwrap();
    drop(closed);
    let refused = dial(&nobody, &node(), LIMIT).await.unwrap_err();
    assert!(matches!(refused, DialError::Connect { .. }), "{refused:?}");
}

#[tokio::test]
async fn dialing_something_else_is_no_sync_endpoint() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: SyncUrl = format!("ws://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let other = spawn("ssh", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let refused = dial(&url, &node(), LIMIT).await.unwrap_err();
    assert!(
        matches!(refused, DialError::Handshake { .. }),
        "{refused:?}"
    );
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn dialing_gives_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: SyncUrl = format!("ws://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let refused = dial(&url, &node(), LIMIT).await.unwrap_err();
    assert!(matches!(refused, DialError::Timeout { .. }), "{refused:?}");
}

#[test]
fn urls_are_checked() {
    let good = ["ws://cloud:10000", "ws://cloud", "ws://[::1]:1/base/"];
    for text in good {
        text.parse::<SyncUrl>().unwrap();
    }
    for text in [
        "",
        "cloud",
        "http://cloud",
        "wss://cloud",
        "ws://",
        "ws://cloud/?a=b",
    ] {
        assert!(text.parse::<SyncUrl>().is_err(), "{text}");
    }
    let shown = "ws://[::1]:1/base/".parse::<SyncUrl>().unwrap().to_string();
    assert_eq!(shown, "ws://[::1]:1/base");
}
