//! Bodies that are too long, too many, or cut short.

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

use super::*;

const MAX: usize = 1024;

fn parts(length: Option<usize>) -> Parts {
    let mut request = http::Request::post("/");
    if let Some(length) = length {
        request = request.header(CONTENT_LENGTH, length);
    }
    request.body(()).unwrap().into_parts().0
}

/// A body that comes as it is sent, and who sends it.
fn body() -> (mpsc::Sender<usize>, Body) {
    let (sender, mut chunks) = mpsc::channel(64);
    let stream = stream::poll_fn(move |cx| {
        chunks.poll_recv(cx).map(|size: Option<usize>| {
            size.map(|size| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; size])))
        })
    });
    (sender, Body::from_stream(stream))
}

#[tokio::test]
async fn a_body_that_is_too_long_is_thrown_away_before_it_is_refused() {
    let bodies = Bodies::new(MAX);
    let (sender, body) = body();
    for _ in 0..5 {
        sender.try_send(MAX).unwrap();
    }
    let all = sender.max_capacity();
    let announced = parts(Some(5 * MAX));
    let read = bodies.read(&announced, body);
    let ends = async {
        // All five pieces are taken, so the client is done with sending when it is told.
        while sender.capacity() < all {
            tokio::task::yield_now().await;
        }
        drop(sender);
    };
    let (refused, ()) = tokio::join!(read, ends);
    assert_eq!(refused.unwrap_err().code, 413);
}

#[tokio::test]
async fn bodies_are_bounded_together() {
    let bodies = Bodies::new(MAX);
    let mut held = Vec::new();
    for _ in 0..LARGEST_AT_A_TIME {
        let body = Body::from(vec![b'x'; MAX]);
        held.push(bodies.read(&parts(None), body).await.unwrap());
    }
    let small = parts(Some(1));
    let one_more = || bodies.read(&small, Body::from("x"));
    let refused = one_more().await.unwrap_err();
    assert_eq!((refused.code, &*refused.reason), (429, "TooManyRequests"));
    assert!(held.pop().is_some());
    assert_eq!(&*one_more().await.unwrap(), b"x");
}
