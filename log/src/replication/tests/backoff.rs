//! Dialling again.

use std::time::Duration;

use crate::limits::{BACKOFF_MAX, BACKOFF_MIN};
use crate::replication::Backoff;

#[test]
fn waits_stay_below_a_ceiling_that_doubles_up_to_the_limit() {
    let mut backoff = Backoff::new(7);
    let mut ceiling = BACKOFF_MIN;
    for _ in 0..40 {
        assert!(backoff.next(None) <= ceiling);
        ceiling = (ceiling * 2).min(BACKOFF_MAX);
    }
}

#[test]
fn waits_are_spread_over_the_whole_range() {
    let waits: Vec<Duration> = (0..1000)
        .map(|seed| {
            let mut backoff = Backoff::new(seed);
            for _ in 0..10 {
                backoff.next(None);
            }
            backoff.next(None)
        })
        .collect();
    let low = waits.iter().filter(|wait| **wait < BACKOFF_MAX / 4).count();
    let high = waits
        .iter()
        .filter(|wait| **wait > BACKOFF_MAX * 3 / 4)
        .count();
    assert!(
        (200..300).contains(&low) && (200..300).contains(&high),
        "{low} {high}"
    );
}

#[test]
fn proof_of_life_starts_over() {
    let mut backoff = Backoff::new(7);
    for _ in 0..10 {
        backoff.next(None);
    }
    backoff.reset();
    assert!(backoff.next(None) <= BACKOFF_MIN);
}

#[test]
fn a_peer_that_asks_for_time_gets_it() {
    let asked = Duration::from_secs(60);
    let wait = Backoff::new(7).next(Some(asked));
    assert!(wait >= asked && wait <= asked + BACKOFF_MIN);
}

#[test]
fn the_same_seed_waits_the_same() {
    let waits = |seed| {
        let mut backoff = Backoff::new(seed);
        (0..20).map(move |_| backoff.next(None)).collect::<Vec<_>>()
    };
    assert_eq!(waits(3), waits(3));
    assert_ne!(waits(3), waits(4));
}
