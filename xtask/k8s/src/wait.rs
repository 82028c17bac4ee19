//! Waiting for other processes, which can only be asked.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is asked for.
const PERIOD: Duration = Duration::from_millis(50);

/// Asks `look` until it gives `Ok`, for at most `limit`; the error names what was seen last.
///
/// # Errors
/// When it did not come true in time.
pub(crate) fn eventually<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() >= deadline => {
                bail!(
                    "{what}: not within {} s; last seen: {seen}",
                    limit.as_secs()
                )
            }
            Err(_) => pause(),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a process elsewhere gives no signal"
)]
fn pause() {
    std::thread::sleep(PERIOD);
}
