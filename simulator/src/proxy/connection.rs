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

use super::{Shared, Slow, Way, Weather, reset};

/// Bytes read at once.
const PIECE_BYTES: usize = 16 * 1024;
/// Bytes under way in one direction; beyond it the link stops reading, and the sender notices.
const IN_FLIGHT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of a packet.
const PACKET_BYTES: usize = 1400;
/// A lost packet is sent again after this long; each further loss doubles it.
const RESEND: Duration = Duration::from_millis(200);
/// A packet is lost so often in a row at most.
const LOSSES_MAX: u32 = 8;

/// Carries one connection until an end closes it or the weather refuses it.
pub(super) async fn carry(mut client: TcpStream, shared: Arc<Shared>) {
    let mut weather = shared.weather.subscribe();
    let mut breaks = shared.breaks.subscribe();
    let clear = tokio::select! {
        clear = calm(&mut weather, None) => clear,
        _ = breaks.changed() => false,
    };
    if !clear {
        reset(&client);
        return;
    }
    let target = tokio::select! {
        connected = TcpStream::connect(shared.target) => connected,
        () = refusing(shared.weather.subscribe()) => Err(io::ErrorKind::ConnectionReset.into()),
        _ = breaks.changed() => Err(io::ErrorKind::ConnectionReset.into()),
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
        let up = Pump::new(Way::Up, client_read, target_write, &shared);
        let down = Pump::new(Way::Down, target_read, client_write, &shared);
        tokio::select! {
            _ = breaks.changed() => true,
            () = refusing(shared.weather.subscribe()) => true,
            ended = async { tokio::try_join!(up.run(), down.run()) } => ended.is_err(),
        }
    };
    if failed {
        reset(&client);
        reset(&target);
    }
}

/// Waits until the weather carries bytes in a direction, or with none in both; `false` when it
/// refuses connections.
async fn calm(weather: &mut watch::Receiver<Weather>, way: Option<Way>) -> bool {
    let settled = weather.wait_for(|now| match now {
        Weather::Open(_) | Weather::Refusing => true,
        Weather::Lost(lost) => way.is_some_and(|way| way != *lost),
        Weather::Silent => false,
    });
    settled.await.is_ok_and(|now| *now != Weather::Refusing)
}

/// Ends when the weather refuses connections.
async fn refusing(mut weather: watch::Receiver<Weather>) {
    // The sender lives as long as the connection that asks.
    let _ = weather.wait_for(|now| *now == Weather::Refusing).await;
}

/// One direction of a connection.
struct Pump<'a> {
    way: Way,
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
    fn new(way: Way, from: ReadHalf<'a>, into: WriteHalf<'a>, shared: &'a Shared) -> Self {
        Self {
            way,
            from,
            into,
            delivered: match way {
                Way::Up => &shared.up_bytes,
                Way::Down => &shared.down_bytes,
            },
            weather: shared.weather.subscribe(),
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
            if !calm(&mut self.weather, Some(self.way)).await {
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
        let late = Duration::from_millis(slow.delay_ms.saturating_add(jitter));
        let due = Instant::now() + late + stall(slow.loss_per_mille, piece.len());
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
            Weather::Silent | Weather::Lost(_) | Weather::Refusing => Slow::default(),
        }
    }
}

/// How long the packets of `bytes` wait for those that were lost.
fn stall(loss_per_mille: u16, bytes: usize) -> Duration {
    let waits = |_| {
        let losses = (0..LOSSES_MAX).take_while(|_| fastrand::u16(..1000) < loss_per_mille);
        RESEND * (2_u32.pow(u32::try_from(losses.count()).unwrap_or(0)) - 1)
    };
    let packets = 0..bytes.div_ceil(PACKET_BYTES);
    packets.map(waits).max().unwrap_or(Duration::ZERO)
}
