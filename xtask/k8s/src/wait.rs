//! Waiting for other processes, which can only be asked.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is asked for.
const PERIOD: Duration = Duration::from_millis(50);

/// What a look at a process shows while it is not as wanted.
#[derive(Debug)]
pub(crate) enum Unmet {
    /// It may still come true.
    Yet(String),
    /// It will not.
    Ever(String),
}

/// Asks `look` until it gives `Ok`, for at most `limit`; the error names what was seen last.
///
/// # Errors
/// When it did not come true in time, or will not.
pub(crate) fn eventually<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T, Unmet>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(Unmet::Ever(seen)) => bail!("{what}: {seen}"),
            Err(Unmet::Yet(seen)) if Instant::now() >= deadline => {
                let seconds = limit.as_secs();
                bail!("{what}: not within {seconds} s; last seen: {seen}")
            }
            Err(Unmet::Yet(_)) => pause(),
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

impl Unmet {
    /// It may still come true; why it does not yet.
    pub(crate) fn yet(error: &anyhow::Error) -> Self {
        Self::Yet(format!("{error:#}"))
    }
}
