//! Rates, windows, what was seen, and sessions of the embedded broker.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::limits::{Admission, Rates};
use super::super::mqtt::{Publish, Qos};
use super::super::seen::Seen;
use super::super::window::Window;

fn publish(id: u16, payload: &str) -> Publish {
    Publish {
        dup: false,
        qos: Qos::One,
        retain: false,
        topic: "t".into(),
        id,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

#[test]
fn a_topic_has_its_rate_and_no_other_pays_for_it() {
    let mut rates = Rates::new(10, 20);
    let (loud, quiet): (Arc<str>, Arc<str>) = ("loud".into(), "quiet".into());
    let at = Duration::from_millis;
    let heard = |rates: &mut Rates, now| {
        (0..100)
            .filter(|_| rates.admit(&loud, now) == Admission::Heard)
            .count()
    };
    assert_eq!(heard(&mut rates, at(0)), 20);
    assert_eq!(heard(&mut rates, at(500)), 5);
    assert_eq!(rates.admit(&quiet, at(500)), Admission::Heard);
    // A clock that stands still, or goes back, gives nothing.
    assert_eq!(heard(&mut rates, at(400)), 0);
    assert_eq!(heard(&mut rates, at(60_000)), 20);
    // Who is too loud is told now and then.
    let tells =
        (0..100).filter(|it| rates.admit(&loud, at(60_000 + it)) == Admission::Over { tell: true });
    assert_eq!(tells.count(), 0, "it was told a moment ago");
    let mut told = 0;
    for it in 0..400_000_u64 {
        told += u32::from(
            rates.admit(&loud, at(70_000) + Duration::from_micros(it * 10))
                == Admission::Over { tell: true },
        );
    }
    assert!((3..=5).contains(&told), "{told}");
}

#[test]
fn names_of_topics_that_are_made_up_take_no_memory() {
    let mut rates = Rates::new(1, 2);
    for number in 0..100_000 {
        let topic: Arc<str> = number.to_string().into();
        rates.admit(&topic, Duration::ZERO);
    }
    assert!(rates.len() <= 16 * 1024, "{}", rates.len());
}

#[test]
fn a_message_is_known_by_id_content_and_mark() {
    let mut seen = Seen::default();
    let again = |id, payload| Publish {
        dup: true,
        ..publish(id, payload)
    };
    assert!(!seen.is_again(&publish(1, "a"), 0));
    assert!(seen.is_again(&again(1, "a"), 0));
    assert!(
        seen.is_again(&publish(1, "a"), 0),
        "not marked, but of an id that is not free"
    );
    seen.acknowledged(1);
    assert!(
        seen.is_again(&again(1, "a"), 0),
        "the acknowledgement was lost"
    );
    assert!(
        !seen.is_again(&publish(1, "a"), 0),
        "a new one of the same content"
    );
    assert!(!seen.is_again(&again(1, "b"), 0), "another one");
    assert!(!seen.is_again(&again(2, "b"), 0), "never seen");
    seen.forget(2);
    assert!(!seen.is_again(&again(2, "b"), 0), "to be taken again");
    for id in 1..=u16::MAX {
        seen.is_again(&publish(id, "x"), 0);
    }
    assert!(!seen.is_again(&again(2, "x"), 0), "forgotten long ago");
    assert!(seen.is_again(&again(u16::MAX, "x"), 0));
}

#[test]
fn an_acknowledgement_that_is_lost_is_missed() {
    let mut window = Window::default();
    let now = Instant::now();
    let later = |seconds| now + Duration::from_secs(seconds);
    assert!(!window.is_overdue(later(1000)));
    let first = window.send(publish(0, "x"), now);
    window.send(publish(0, "y"), later(20));
    assert!(!window.is_overdue(later(29)));
    assert!(window.is_overdue(later(30)));
    // Others that are acknowledged do not hide it.
    window.acked(first.id);
    assert!(!window.is_overdue(later(49)));
    assert!(window.is_overdue(later(50)));
    // Sent again, it has its time again.
    assert_eq!(window.again(true, later(60)).count(), 1);
    assert!(!window.is_overdue(later(80)));
}

#[test]
fn a_window_is_bounded_and_keeps_its_order() {
    let mut window = Window::default();
    let now = Instant::now();
    let mut ids = Vec::new();
    while window.has_room() {
        ids.push(window.send(publish(0, "x"), now).id);
    }
    assert_eq!(ids.len(), 256);
    window.acked(ids[0]);
    window.acked(ids[0]);
    window.acked(9999);
    assert!(window.has_room());
    let next = window.send(publish(0, "y"), now);
    assert!(!ids[1..].contains(&next.id));
    let again: Vec<Publish> = window.again(true, now).collect();
    assert!(again.iter().all(|publish| publish.dup));
    let order: Vec<u16> = again.iter().map(|publish| publish.id).collect();
    assert_eq!(order, [&ids[1..], &[next.id]].concat());
    let unsure = Publish {
        qos: Qos::Zero,
        ..publish(0, "z")
    };
    assert_eq!(window.send(unsure, now).id, 0);
    assert_eq!(window.again(true, now).count(), 256);
}
