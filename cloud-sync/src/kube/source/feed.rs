//! From all who watch to the machine: what was seen, in order, in batches.

use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::tasks::Stop;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::cluster::{Request, Requests, Seen};

/// Things seen in one batch.
const BATCH_MAX: usize = 1024;
/// What waits to be taken in, in KiB of what came over the network: a bound for the memory it takes.
const ROOM_KIB: usize = 4 * 1024;
/// Pieces that wait to be taken in.
const PIECES_MAX: usize = 256;
/// The pause after a write that failed; the store is read-only then.
const RETRY: Duration = Duration::from_secs(1);

/// Where what was seen is handed in. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    pieces: mpsc::Sender<Piece>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
enum Piece {
    Seen(Vec<Seen>, OwnedSemaphorePermit),
    Barrier(oneshot::Sender<()>),
}

/// The machine takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the machine has ended")]
pub(super) struct Ended;

impl Feed {
    /// Hands in what was seen; waits while there is no room. `bytes` is how large it was.
    pub(super) async fn send(&self, seen: Vec<Seen>, bytes: usize) -> Result<(), Ended> {
        if seen.is_empty() {
            return Ok(());
        }
        let size = u32::try_from((bytes / 1024 + 1).min(ROOM_KIB)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(size).await;
        let room = room.map_err(|_| Ended)?;
        let sent = self.pieces.send(Piece::Seen(seen, room)).await;
        sent.map_err(|_| Ended)
    }

    /// Returns when all that was handed in before is durable; `false` when it was not taken in.
    pub(super) async fn settle(&self) -> Result<bool, Ended> {
        let (settled, wait) = oneshot::channel();
        let sent = self.pieces.send(Piece::Barrier(settled)).await;
        sent.map_err(|_| Ended)?;
        Ok(wait.await.is_ok())
    }
}

/// The other end of a [`Feed`].
#[derive(Debug)]
pub(super) struct Feeder {
    pieces: mpsc::Receiver<Piece>,
    writer: Requests,
    /// Counts batches that were not taken in: whoever has a part in one lists anew.
    lost: watch::Sender<u64>,
}

/// A feed to the machine.
pub(super) fn feed(writer: Requests) -> (Feed, Feeder) {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let feed = Feed {
        pieces: sender,
        room: Arc::new(Semaphore::new(ROOM_KIB)),
    };
    let feeder = Feeder {
        pieces,
        writer,
        lost: watch::Sender::new(0),
    };
    (feed, feeder)
}

impl Feeder {
    /// Moves when something was not taken in.
    pub(super) fn lost(&self) -> watch::Receiver<u64> {
        self.lost.subscribe()
    }

    pub(super) async fn run(mut self, mut stop: Stop) {
        loop {
            let first = tokio::select! {
                biased;
                () = stop.wait() => return,
                piece = self.pieces.recv() => piece,
            };
            let Some(first) = first else { return };
            let Batch {
                seen,
                room,
                barriers,
            } = self.batch(first);
            let taken = tokio::select! {
                biased;
                () = stop.wait() => return,
                taken = self.take_in(seen) => taken,
            };
            drop(room);
            match taken {
                Ok(true) => {
                    for barrier in barriers {
                        let _ = barrier.send(());
                    }
                }
                Ok(false) => {
                    drop(barriers);
                    self.lost.send_modify(|count| *count += 1);
                    // What waits is part of lists that are void.
                    tokio::select! {
                        () = stop.wait() => return,
                        () = tokio::time::sleep(RETRY) => {}
                    }
                }
                Err(Ended) => return,
            }
        }
    }

    /// Takes what waits, up to a bound or to a barrier.
    fn batch(&mut self, first: Piece) -> Batch {
        let mut batch = Batch::default();
        let mut next = Some(first);
        while let Some(piece) = next {
            match piece {
                Piece::Seen(seen, room) => {
                    batch.seen.extend(seen);
                    batch.room.push(room);
                }
                Piece::Barrier(barrier) => batch.barriers.push(barrier),
            }
            let full = batch.seen.len() >= BATCH_MAX || !batch.barriers.is_empty();
            next = if full {
                None
            } else {
                self.pieces.try_recv().ok()
            };
        }
        batch
    }

    async fn take_in(&self, seen: Vec<Seen>) -> Result<bool, Ended> {
        if seen.is_empty() {
            return Ok(true);
        }
        let (answer, answered) = oneshot::channel();
        let sent = self.writer.send(Request::Mirror { seen, answer }).await;
        sent.map_err(|_| Ended)?;
        match answered.await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(error)) => {
                tracing::warn!(%error, "what was seen of the cluster was not taken in; listing anew");
                Ok(false)
            }
            Err(_) => Err(Ended),
        }
    }
}

#[derive(Default)]
struct Batch {
    seen: Vec<Seen>,
    room: Vec<OwnedSemaphorePermit>,
    barriers: Vec<oneshot::Sender<()>>,
}
