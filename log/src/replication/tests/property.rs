//! Any history of edits, cuts, crashes, wipes and backups converges once it is left alone.

use std::time::Duration;

use proptest::prelude::*;

use super::pair::End;
use super::{Pair, Side, body};
use crate::body::Body;
use crate::record::{Op, Slot};
use crate::store::Store as _;
use crate::store::memory::Image;

#[derive(Clone, Debug)]
enum Event {
    Put(Side, u8, u8),
    Delete(Side, u8),
    Status(u8, u8),
    Large(u8, u8),
    Many(Side, u8),
    Connect,
    Steps(u8),
    Run,
    Cut,
    Crash(Side),
    Wipe(Side),
    Backup(Side),
    Restore(Side),
    Trim(Side),
    Pass(u8),
    HoldWrites(Side, bool),
    GroupWrites(Side, bool),
    Fact(Side, u8),
    /// An end gets its disk back as it was before the other one deleted so many keys, told it, and
    /// let go of the traces.
    Behind(Side, u8),
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Edge), Just(Side::Cloud)]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (side(), 0_u8..6, any::<u8>()).prop_map(|(side, key, text)| Event::Put(side, key, text)),
        3 => (side(), 0_u8..6).prop_map(|(side, key)| Event::Delete(side, key)),
        3 => (0_u8..6, any::<u8>()).prop_map(|(key, text)| Event::Status(key, text)),
        2 => (0_u8..3, any::<u8>()).prop_map(|(key, text)| Event::Large(key, text)),
        1 => (side(), any::<u8>()).prop_map(|(side, salt)| Event::Many(side, salt)),
        6 => Just(Event::Connect),
        8 => any::<u8>().prop_map(Event::Steps),
        3 => Just(Event::Run),
        3 => Just(Event::Cut),
        2 => side().prop_map(Event::Crash),
        1 => side().prop_map(Event::Wipe),
        2 => side().prop_map(Event::Backup),
        2 => side().prop_map(Event::Restore),
        3 => side().prop_map(Event::Trim),
        2 => (0_u8..15).prop_map(Event::Pass),
        2 => (side(), any::<bool>()).prop_map(|(side, on)| Event::HoldWrites(side, on)),
        1 => (side(), any::<bool>()).prop_map(|(side, on)| Event::GroupWrites(side, on)),
        1 => (side(), 0_u8..3).prop_map(|(side, key)| Event::Fact(side, key)),
        1 => (side(), 1_u8..6).prop_map(|(side, keys)| Event::Behind(side, keys)),
    ]
}

/// A large body whose versions differ in a few places.
fn large(text: u8) -> Body {
    let mut bytes: Vec<u8> = (0..20_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0])
        .collect();
    bytes[usize::from(text) * 70] = text;
    Body::from(bytes)
}

fn play(pair: &mut Pair, backups: &mut [Option<Image>; 2], event: Event) {
    match event {
        Event::Put(side, key, text) => {
            pair.end(side).put(
                &format!("k{key}"),
                &format!("a setting worth a delta: {text}"),
            );
            pair.wake();
        }
        Event::Delete(side, key) => {
            pair.end(side).delete(&format!("k{key}"));
            pair.wake();
        }
        Event::Status(key, text) => {
            pair.edge
                .write(Op::Status, &format!("k{key}"), body(&text.to_string()));
            pair.wake();
        }
        Event::Large(key, text) => {
            pair.cloud
                .write(Op::Put, &format!("large{key}"), large(text));
            pair.wake();
        }
        Event::Many(side, salt) => {
            for n in 0..300_u32 {
                let text = (n * u32::from(salt)) % 7;
                pair.end(side)
                    .put(&format!("m{n}"), &format!("one of many: {text}"));
            }
            pair.wake();
        }
        Event::Connect => pair.connect(),
        Event::Steps(steps) => pair.run_steps(steps.into()),
        Event::Run => pair.run(),
        Event::Cut => pair.cut(),
        Event::Crash(side) => pair.crash(side),
        Event::Wipe(side) => pair.wipe(side),
        Event::Backup(side) => backups[side as usize] = Some(pair.backup(side)),
        Event::Restore(side) => {
            if let Some(image) = backups[side as usize].clone() {
                pair.restore(side, &image);
            }
        }
        Event::Trim(side) => pair.end(side).trim(),
        Event::Pass(seconds) => pair.pass(Duration::from_secs(seconds.into())),
        Event::HoldWrites(side, on) => pair.end(side).holds_writes = on,
        Event::GroupWrites(side, on) => pair.end(side).groups_writes = on,
        Event::Fact(side, key) => {
            pair.end(side)
                .write(Op::Fact, &format!("fact{key}"), body("happened"));
            pair.wake();
        }
        Event::Behind(side, keys) => {
            let other = match side {
                Side::Edge => Side::Cloud,
                Side::Cloud => Side::Edge,
            };
            let image = pair.backup(side);
            for key in 0..keys {
                pair.end(other).delete(&format!("k{key}"));
            }
            pair.sync();
            pair.pass(Duration::from_secs(2));
            pair.end(other).trim();
            pair.restore(side, &image);
        }
    }
}

fn rest(pair: &mut Pair) {
    heal(pair);
    pair.assert_equal();
}

fn heal(pair: &mut Pair) {
    pair.mangler = None;
    pair.edge.holds_writes = false;
    pair.cloud.holds_writes = false;
    // A session may end because history was trimmed under it: the next one reconciles.
    for _ in 0..4 {
        pair.sync();
    }
}

/// Whether an event leads to a reconcile: an end lost history.
const fn loses_history(event: &Event) -> bool {
    matches!(
        event,
        Event::Wipe(_) | Event::Restore(_) | Event::Trim(_) | Event::Behind(..)
    )
}

/// A status ends with its object, although the object comes back.
fn status_ends(between: &[Event]) {
    let mut pair = Pair::new();
    let mut backups = [None, None];
    for event in [Event::Status(1, 0), Event::Connect] {
        play(&mut pair, &mut backups, event);
    }
    for event in between {
        play(&mut pair, &mut backups, event.clone());
    }
    play(&mut pair, &mut backups, Event::Put(Side::Edge, 1, 0));
    rest(&mut pair);
    for end in [&pair.edge, &pair.cloud] {
        let status = end
            .store
            .newest(&pair.edge.own(), &End::key("k1"), Slot::Status)
            .unwrap();
        assert!(status.is_none_or(|status| crate::digest::is_gone(&status.record)));
    }
}

#[test]
fn a_status_goes_with_a_wipe_whatever_came_after_it() {
    let delete = Event::Delete(Side::Edge, 1);
    status_ends(&[delete, Event::Pass(0), Event::Wipe(Side::Edge)]);
}

#[test]
fn a_status_that_one_end_has_let_go_of_does_not_come_back_at_the_other() {
    let delete = Event::Delete(Side::Edge, 1);
    status_ends(&[delete.clone(), Event::Pass(10), Event::Trim(Side::Edge)]);
    status_ends(&[delete, Event::Pass(10), Event::Trim(Side::Cloud)]);
}

#[test]
fn a_status_ends_with_an_object_whose_end_was_never_sent() {
    status_ends(&[Event::Run, Event::Cut, Event::Delete(Side::Edge, 1)]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// SYNC-1, SYNC-2 and SYNC-5 are asserted on the way by the sessions and the pair, the order
    /// of offsets by the stores.
    #[test]
    fn any_history_converges(events in prop::collection::vec(event(), 1..60)) {
        let mut pair = Pair::new();
        let mut backups = [None, None];
        for event in events {
            play(&mut pair, &mut backups, event);
        }
        rest(&mut pair);
        prop_assert!(pair.edge.closes.iter().chain(&pair.cloud.closes).all(|close| {
            close.code != super::pair::CloseCode::Violation
        }), "{:?} {:?}", pair.edge.closes, pair.cloud.closes);
    }

    /// The same over a transport that loses, doubles and swaps frames. It breaks its promise, so
    /// sessions may end for that; what is asserted on the way holds all the same. While no history
    /// is lost, nor is anything else: `Records` tell what they follow. The differences of a
    /// reconcile do not, so ends that reconcile in a wrong order may differ until one of them
    /// begins another epoch.
    #[test]
    fn any_history_converges_after_a_transport_that_breaks_its_promise(
        events in prop::collection::vec(event(), 1..60),
        seed in any::<u64>(),
    ) {
        let mut pair = Pair::new();
        pair.mangler = Some(fastrand::Rng::with_seed(seed));
        let mut backups = [None, None];
        let reconciles = events.iter().any(loses_history);
        for event in events {
            play(&mut pair, &mut backups, event);
        }
        heal(&mut pair);
        if !reconciles {
            pair.assert_equal();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// A receiver that stops inside a run of pages may hold another version of a key than the one
    /// that the sender's history has there. It asks for the whole body, and gets it.
    #[test]
    fn a_run_cut_anywhere_goes_on(
        between in 1_u32..2000,
        taken in 0_usize..2000,
        versions in 1_u32..4,
    ) {
        let mut pair = Pair::new();
        pair.cloud.put("k", "the first version of a body that is worth a delta");
        pair.sync();
        pair.cut();
        for version in 0..versions {
            pair.cloud.put("k", &format!("version {version} of a body that is worth a delta"));
        }
        for n in 0..between {
            pair.cloud.put(&format!("a{n}"), "1");
        }
        pair.cloud.put("k", "the last version of a body that is worth a delta");
        pair.connect();
        while pair.edge.applied.len() < taken && pair.step() {}
        pair.connect();
        pair.run();
        prop_assert!(pair.edge.closes.is_empty(), "{:?}", pair.edge.closes);
        pair.assert_equal();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Inside a reconcile the receiver counts places of its own in the old epoch, to which a backup
    /// takes the sender back.
    #[test]
    fn a_backup_put_in_inside_a_reconcile_does_no_harm(
        held in 1_u8..4,
        more in 1_u8..5,
        gone in prop::collection::btree_set(0_u8..8, 1..5),
        steps in 0_usize..24,
        restored in side(),
    ) {
        let mut pair = Pair::new();
        for key in 0..held {
            pair.cloud.put(&format!("k{key}"), "1");
        }
        pair.sync();
        let edge = pair.backup(Side::Edge);
        for key in held..held + more {
            pair.cloud.put(&format!("k{key}"), "1");
        }
        let cloud = pair.backup(Side::Cloud);
        for key in gone.iter().filter(|key| **key < held + more) {
            pair.cloud.delete(&format!("k{key}"));
        }
        pair.sync();
        pair.pass(Duration::from_secs(2));
        pair.cloud.trim();
        pair.restore(Side::Edge, &edge);
        pair.connect();
        pair.run_steps(steps);
        match restored {
            Side::Edge => pair.restore(Side::Edge, &edge),
            Side::Cloud => pair.restore(Side::Cloud, &cloud),
        }
        rest(&mut pair);
    }
}
