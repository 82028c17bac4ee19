//! One connection through a link.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{Shared, Slow, Weather, reset};

/// Bytes read at once.
const PIECE_BYTES: usize = 16 * 1024;
/// Bytes under way in one direction; beyond it the link stops reading, and the sender notices.
const IN_FLIGHT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Carries one connection until an end closes it or the weather refuses it.
pub(super) async fn carry(mut client: TcpStream, shared: Arc<Shared>) {
    let mut weather = shared.weather.subscribe();
    if !calm(&mut weather).await {
        reset(&client);
        return;
    }
    let target = tokio::select! {
        connected = TcpStream::connect(shared.target) => connected,
        () = refusing(shared.weather.subscribe()) => Err(io::ErrorKind::ConnectionReset.into()),
    };
    let Ok(mut target) = target else {
        reset(&client);
        return;
    };
    shared.connections.fetch_add(1, Ordering::Relaxed);
    // Small frames are what is carried; waiting to fill a segment would be a fault of ours.
    let _ = client.set_nodelay(true);
    let _ = target.set_nodelay(true);
    let failed = {
        let (client_read, client_write) = client.split();
        let (target_read, target_write) = target.split();
        let up = Pump::new(client_read, target_write, &shared.up_bytes, &shared.weather);
        let down = Pump::new(
            target_read,
            client_write,
            &shared.down_bytes,
            &shared.weather,
        );
        tokio::select! {
            () = refusing(shared.weather.subscribe()) => true,
            ended = async { tokio::try_join!(up.run(), down.run()) } => ended.is_err(),
        }
    };
    if failed {
        reset(&client);
        reset(&target);
    }
}

/// Waits until the weather carries bytes; `false` when it refuses connections.
async fn calm(weather: &mut watch::Receiver<Weather>) -> bool {
    let settled = weather.wait_for(|now| *now != Weather::Silent).await;
    settled.is_ok_and(|now| *now != Weather::Refusing)
}

/// Ends when the weather refuses connections.
async fn refusing(mut weather: watch::Receiver<Weather>) {
    // The sender lives as long as the connection that asks.
    let _ = weather.wait_for(|now| *now == Weather::Refusing).await;
}

/// One direction of a connection.
struct Pump<'a> {
    from: ReadHalf<'a>,
    into: WriteHalf<'a>,
    delivered: &'a AtomicU64,
    weather: watch::Receiver<Weather>,
    queue: VecDeque<(Instant, Bytes)>,
    queued_bytes: usize,
    /// When the last byte delivered has left, at the bounded rate.
    free_at: Instant,
    /// When the last piece read arrives: order is kept, so none arrives before it.
    last_due: Instant,
    reading: bool,
}

impl<'a> Pump<'a> {
    fn new(
        from: ReadHalf<'a>,
        into: WriteHalf<'a>,
        delivered: &'a AtomicU64,
        weather: &watch::Sender<Weather>,
    ) -> Self {
        Self {
            from,
            into,
            delivered,
            weather: weather.subscribe(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            free_at: Instant::now(),
            last_due: Instant::now(),
            reading: true,
        }
    }

    /// Carries bytes until the end of the stream has been passed on.
    async fn run(mut self) -> io::Result<()> {
        let mut buffer = vec![0; PIECE_BYTES];
        while self.reading || !self.queue.is_empty() {
            // Silence carries nothing, the news of a close included.
            if !calm(&mut self.weather).await {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            let due = self.queue.front().map(|(due, _)| (*due).max(self.free_at));
            let may_read = self.reading && self.queued_bytes < IN_FLIGHT_BYTES_MAX;
            tokio::select! {
                changed = self.weather.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.deliver().await?;
                }
                read = self.from.read(&mut buffer), if may_read => match read? {
                    0 => self.reading = false,
                    length => self.take(Bytes::copy_from_slice(&buffer[..length])),
                },
            }
        }
        self.into.shutdown().await
    }

    fn take(&mut self, piece: Bytes) {
        let slow = self.slow();
        let jitter = match slow.jitter_ms {
            0 => 0,
            most => fastrand::u64(0..=most),
        };
        let due = Instant::now() + Duration::from_millis(slow.delay_ms + jitter);
        self.last_due = self.last_due.max(due);
        self.queued_bytes += piece.len();
        self.queue.push_back((self.last_due, piece));
    }

    async fn deliver(&mut self) -> io::Result<()> {
        let Some((_, piece)) = self.queue.pop_front() else {
            return Ok(());
        };
        self.queued_bytes -= piece.len();
        self.into.write_all(&piece).await?;
        let length = piece.len() as u64;
        self.delivered.fetch_add(length, Ordering::Relaxed);
        if let Some(rate) = self.slow().bytes_per_second {
            let nanos = length.saturating_mul(1_000_000_000) / rate.max(1);
            self.free_at = self.free_at.max(Instant::now()) + Duration::from_nanos(nanos);
        }
        Ok(())
    }

    fn slow(&self) -> Slow {
        match *self.weather.borrow() {
            Weather::Open(slow) => slow,
            Weather::Silent | Weather::Refusing => Slow::default(),
        }
    }
}
