//! Waits after failures.

use std::time::Duration;

use crate::{BACKOFF_MAX, BACKOFF_MIN, Backoff};

#[test]
fn waits_after_failures_grow_to_a_bound_and_begin_anew() {
    let mut backoff = Backoff::default();
    let mut waits = Vec::new();
    for _ in 0..40 {
        backoff.fail(Duration::ZERO, 0.999);
        waits.push(backoff.until());
    }
    assert!(waits.is_sorted());
    assert!(waits[0] <= BACKOFF_MIN && waits[39] <= BACKOFF_MAX);
    assert!(waits[39] > BACKOFF_MAX.mul_f64(0.9));
    assert!(!backoff.is_over(Duration::ZERO) && backoff.is_over(BACKOFF_MAX));
    backoff.pass();
    assert!(backoff.is_over(Duration::ZERO) && backoff.failures() == 0);
}
