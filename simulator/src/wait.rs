//! Waiting for a condition of another process, which can only be asked, not subscribed to.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often a condition is asked for.
const PERIOD: Duration = Duration::from_millis(20);

/// The condition did not come true in time.
#[derive(Debug, thiserror::Error)]
#[error("{what}: not within {}s; last seen: {last}", limit.as_secs())]
pub struct TimedOut {
    /// What was waited for.
    pub what: String,
    /// How long.
    pub limit: Duration,
    /// What the last look showed instead.
    pub last: String,
}

/// Asks `look` again and again until it gives `Ok`, for at most `limit`. `Err` carries what was
/// seen instead; the last one ends up in the error.
///
/// # Errors
/// [`TimedOut`]
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, TimedOut> {
    let deadline = Instant::now() + limit;
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = String::from("nothing");
    loop {
        ticks.tick().await;
        match tokio::time::timeout_at(deadline, look()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(seen)) => last = seen,
            Err(_elapsed) => {
                return Err(TimedOut {
                    what: what.to_owned(),
                    limit,
                    last,
                });
            }
        }
        if Instant::now() >= deadline {
            return Err(TimedOut {
                what: what.to_owned(),
                limit,
                last,
            });
        }
    }
}
