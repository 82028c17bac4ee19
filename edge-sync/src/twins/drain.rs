//! Asks the machine to send kept readings on, when it is time.

use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::tasks::Stop;
use causeway_kube_api::Clock;
use causeway_log::writer::WriterHandle;
use tokio::sync::{oneshot, watch};

use crate::machine::Request;

/// What stays due, because the disk failed, is asked for again after this long.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs until it is stopped, or the writer ends.
pub(crate) async fn drain(
    mut due: watch::Receiver<Option<Duration>>,
    writer: WriterHandle<Request>,
    clock: Arc<dyn Clock>,
    mut stop: Stop,
) {
    let drained = async {
        loop {
            let at = due.borrow_and_update().to_owned();
            let Some(at) = at else {
                if due.changed().await.is_err() {
                    return;
                }
                continue;
            };
            tokio::time::sleep(at.saturating_sub(clock.monotonic())).await;
            let (done, told) = oneshot::channel();
            if writer.send(Request::Drain { done }).await.is_err() || told.await.is_err() {
                return;
            }
            if *due.borrow() == Some(at) {
                tokio::time::sleep(AGAIN).await;
            }
        }
    };
    tokio::select! {
        () = stop.wait() => {}
        () = drained => {}
    }
}
