//! Each fault, over loopback.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;

/// Long enough for loopback, short enough to show that nothing came.
const QUIET: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_secs(10);

/// A link to a server that sends back what it gets.
async fn echo_link() -> (Proxy, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut echoes = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            echoes.spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
    (
        Proxy::listen("127.0.0.1:0".parse().unwrap(), target)
            .await
            .unwrap(),
        server,
    )
}

async fn dial(proxy: &Proxy) -> TcpStream {
    timeout(DEADLINE, TcpStream::connect(proxy.local_addr()))
        .await
        .unwrap()
        .unwrap()
}

async fn exchange(stream: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(text).await?;
    let mut back = vec![0; text.len()];
    timeout(DEADLINE, stream.read_exact(&mut back))
        .await
        .expect("an answer in time")?;
    Ok(back)
}

#[tokio::test]
async fn a_whole_link_carries_and_counts() {
    let (proxy, _server) = echo_link().await;
    let mut stream = dial(&proxy).await;
    assert_eq!(exchange(&mut stream, b"hello").await.unwrap(), b"hello");
    let traffic = proxy.traffic();
    assert_eq!(
        (traffic.up_bytes, traffic.down_bytes, traffic.connections),
        (5, 5, 1)
    );
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert!(rest.is_empty(), "the close came through both ways");
}

#[tokio::test]
async fn a_silent_cut_keeps_connections_half_open_and_heals() {
    let (proxy, _server) = echo_link().await;
    let mut stream = dial(&proxy).await;
    exchange(&mut stream, b"before").await.unwrap();
    proxy.cut(CutMode::Silent);
    assert_eq!(
        proxy.link(),
        Link::Cut {
            mode: CutMode::Silent
        }
    );
    stream.write_all(b"during").await.unwrap();
    let mut back = [0; 6];
    assert!(
        timeout(QUIET, stream.read_exact(&mut back)).await.is_err(),
        "nothing comes"
    );
    proxy.heal();
    timeout(DEADLINE, stream.read_exact(&mut back))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&back, b"during");
}

#[tokio::test]
async fn a_resetting_cut_ends_connections_and_refuses_new_ones() {
    let (proxy, _server) = echo_link().await;
    let mut stream = dial(&proxy).await;
    exchange(&mut stream, b"before").await.unwrap();
    proxy.cut(CutMode::Reset);
    let ended = timeout(DEADLINE, stream.read(&mut [0; 1])).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    // The reset may come during the connect or at the first use.
    if let Ok(mut refused) = TcpStream::connect(proxy.local_addr()).await {
        assert!(exchange(&mut refused, b"during").await.is_err());
    }
    proxy.heal();
    assert_eq!(
        exchange(&mut dial(&proxy).await, b"after").await.unwrap(),
        b"after"
    );
}

#[tokio::test]
async fn a_slow_link_is_late_by_its_delay_in_each_direction() {
    let (proxy, _server) = echo_link().await;
    let mut stream = dial(&proxy).await;
    proxy.set(Link::Slow(Slow {
        delay_ms: 100_000,
        ..Slow::default()
    }));
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    stream.write_all(b"x").await.unwrap();
    stream.read_exact(&mut [0; 1]).await.unwrap();
    assert!(
        before.elapsed() >= Duration::from_secs(200),
        "virtual time of both directions"
    );
}

#[tokio::test]
async fn a_bounded_link_takes_the_time_its_rate_implies() {
    let (proxy, _server) = echo_link().await;
    let mut stream = dial(&proxy).await;
    let slow = Slow {
        bytes_per_second: Some(1),
        ..Slow::default()
    };
    proxy.set(Link::Slow(slow));
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    for _ in 0..3 {
        stream.write_all(b"0123456789").await.unwrap();
        stream.read_exact(&mut [0; 10]).await.unwrap();
    }
    assert!(
        before.elapsed() >= Duration::from_secs(20),
        "two pieces were waited for"
    );
}

#[tokio::test]
async fn a_flapping_link_carries_between_its_outages() {
    let (proxy, _server) = echo_link().await;
    proxy.set(Link::Flap {
        up_ms: 20,
        down_ms: 20,
    });
    let mut carried = 0;
    let mut broken = 0;
    while carried < 3 || broken < 3 {
        match TcpStream::connect(proxy.local_addr()).await {
            Ok(mut stream) => match exchange(&mut stream, b"x").await {
                Ok(_) => carried += 1,
                Err(_) => broken += 1,
            },
            Err(_) => broken += 1,
        }
        tokio::task::yield_now().await;
    }
    proxy.heal();
    exchange(&mut dial(&proxy).await, b"whole").await.unwrap();
}

#[tokio::test]
async fn a_link_to_nowhere_resets() {
    let unused = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let proxy = Proxy::listen("127.0.0.1:0".parse().unwrap(), unused)
        .await
        .unwrap();
    let mut stream = dial(&proxy).await;
    assert!(exchange(&mut stream, b"x").await.is_err());
}

#[tokio::test]
async fn a_link_that_is_lost_one_way_carries_the_other() {
    let (proxy, mut client, mut server) = pair().await;
    proxy.cut(CutMode::ToEdge);
    client.write_all(b"up").await.unwrap();
    let mut got = [0; 2];
    server.read_exact(&mut got).await.unwrap();
    server.write_all(b"down").await.unwrap();
    let mut answer = [0; 4];
    let silent = timeout(QUIET, client.read_exact(&mut answer));
    assert!(silent.await.is_err(), "nothing comes down");
    proxy.cut(CutMode::ToCloud);
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"down", "what was lost in silence is sent again");
}

#[tokio::test]
async fn all_connections_can_be_broken_at_once() {
    let (proxy, _server) = echo_link().await;
    let mut stream = dial(&proxy).await;
    exchange(&mut stream, b"x").await.unwrap();
    proxy.break_all();
    assert!(stream.read_exact(&mut [0; 1]).await.is_err());
    exchange(&mut dial(&proxy).await, b"again").await.unwrap();
}

#[tokio::test]
async fn what_is_lost_is_late() {
    let (proxy, _server) = echo_link().await;
    let mut stream = dial(&proxy).await;
    proxy.set(Link::Slow(Slow {
        loss_per_mille: 900,
        ..Slow::default()
    }));
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    for _ in 0..10 {
        stream.write_all(b"x").await.unwrap();
        stream.read_exact(&mut [0; 1]).await.unwrap();
    }
    assert!(before.elapsed() >= Duration::from_millis(200));
}

/// A link and both ends of one connection through it.
async fn pair() -> (Proxy, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let proxy = Proxy::listen("127.0.0.1:0".parse().unwrap(), target)
        .await
        .unwrap();
    let client = dial(&proxy).await;
    let (server, _) = listener.accept().await.unwrap();
    (proxy, client, server)
}
