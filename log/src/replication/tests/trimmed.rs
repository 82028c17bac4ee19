//! Two ends that let go of the same past at different times.

use std::time::Duration;

use super::{Pair, Side, body};
use crate::batch::{Batch, CursorName, Entry, Place};
use crate::body::Body;
use crate::id::{EventId, Offset, StreamId};
use crate::key::NodeName;
use crate::record::{Draft, Op, Slot};
use crate::replication::Start;
use crate::store::Store as _;

fn node() -> NodeName {
    NodeName::new("edge-1").unwrap()
}

/// The cloud answers the newest request for a name.
fn answer(pair: &mut Pair, name: &str, op: Op) {
    let key = super::pair::End::key(name);
    let request = pair
        .cloud
        .store
        .newest(&StreamId::up(node()), &key, Slot::Request);
    let asked = request.unwrap().unwrap().record.header;
    let mut id = asked.id.uuid().into_bytes();
    id[15] ^= 0xff;
    let draft = Draft {
        id: EventId::new(uuid::Uuid::from_bytes(id)),
        cause: Some(asked.id),
        time: asked.time,
        key,
        version: None,
        op,
        body: Body::EMPTY,
    };
    let entry = Entry {
        stream: pair.cloud.own(),
        place: Place::Next,
        draft,
    };
    pair.cloud
        .store
        .append(&Batch {
            entries: vec![entry],
            ..Batch::default()
        })
        .unwrap();
    pair.cloud.store.sync().unwrap();
}

/// The cloud has written back what came.
fn consume(pair: &Pair) {
    let place = Offset::new(pair.cloud.store.watermarks().written.get());
    pair.cloud
        .store
        .append(&Batch {
            cursors: vec![(CursorName::write_back(&node()), place)],
            ..Batch::default()
        })
        .unwrap();
    pair.cloud.store.sync().unwrap();
}

fn settle(pair: &mut Pair) {
    pair.wake();
    pair.run();
    pair.pass(Duration::from_secs(2));
    consume(pair);
}

/// Trims, and trims again: what waits for another record goes in the second call.
fn trim(pair: &mut Pair, side: Side) {
    pair.end(side).trim();
    pair.end(side).trim();
}

/// A pod that lived, a pod deleted by force, an object that was made and deleted, one that was
/// refused; and something that goes on.
fn lived() -> Pair {
    let mut pair = Pair::new();
    for name in ["pod", "forced", "alive"] {
        pair.cloud.put(name, "spec");
        pair.edge.write(Op::Status, name, body("running"));
    }
    pair.edge.write(Op::Apply, "made", body("create"));
    pair.edge.write(Op::Apply, "refused", body("create"));
    pair.sync();
    pair.cloud.put("made", "x");
    answer(&mut pair, "made", Op::Apply);
    answer(&mut pair, "refused", Op::Reject);
    settle(&mut pair);
    pair.edge.delete("pod");
    pair.cloud.delete("forced");
    settle(&mut pair);
    pair.edge.delete("forced");
    pair.cloud.delete("pod");
    pair.cloud.delete("made");
    settle(&mut pair);
    pair.cloud.put("last", "1");
    pair.edge.write(Op::Status, "last", body("1"));
    settle(&mut pair);
    pair.assert_equal();
    pair
}

fn records(pair: &mut Pair, side: Side) -> u64 {
    let report = pair.end(side).store.verify().unwrap();
    assert!(report.is_sound(), "{:?}", report.damage);
    report.records
}

#[test]
fn digests_are_equal_whoever_trims_first() {
    for first in [Side::Edge, Side::Cloud] {
        let mut pair = lived();
        let second = match first {
            Side::Edge => Side::Cloud,
            Side::Cloud => Side::Edge,
        };
        for side in [first, second] {
            trim(&mut pair, side);
            pair.assert_equal();
            // Two objects and two reports.
            assert_eq!(records(&mut pair, side), 4, "{side:?}");
        }
        pair.cut();
        pair.sync();
        pair.assert_equal();
        assert_eq!(records(&mut pair, first), 4, "nothing was sent again");
    }
}

/// The edge forgets that its records arrived, and lets go of the last of them, which a newer one
/// supersedes: so it cannot tell whose past the cloud has, and reconciles.
#[test]
fn a_reconcile_sends_no_fact_again_that_was_taken() {
    let mut pair = Pair::new();
    pair.edge.write(Op::Fact, "event", body("once"));
    pair.edge.write(Op::Status, "pod", body("1"));
    pair.sync();
    consume(&pair);
    pair.cut();
    assert_eq!(pair.edge.sent().acked, Offset::ZERO);
    pair.edge.write(Op::Status, "pod", body("2"));
    for side in [Side::Edge, Side::Cloud] {
        trim(&mut pair, side);
    }
    pair.forget_traffic();
    pair.sync();
    let sending = pair.edge.established.last().unwrap().sending;
    assert_eq!(sending, Start::Reconcile);
    assert_eq!(pair.cloud.applied, [("pod".to_owned(), Op::Status)]);
    pair.assert_equal();
}

#[test]
fn a_reconcile_asks_no_request_again_that_was_answered_and_is_over() {
    let mut pair = lived();
    // The edge has let go of nothing yet, the cloud of everything; then the edge loses its past.
    let image = pair.backup(Side::Edge);
    trim(&mut pair, Side::Cloud);
    pair.edge
        .write(Op::Status, "alive", body("a past that is lost"));
    settle(&mut pair);
    pair.restore(Side::Edge, &image);
    pair.edge.write(Op::Status, "alive", body("this past"));
    pair.sync();
    assert_eq!(
        pair.edge.established.last().unwrap().sending,
        Start::Reconcile
    );
    let up = StreamId::up(node());
    for name in ["made", "refused"] {
        let key = super::pair::End::key(name);
        let again = pair.cloud.store.newest(&up, &key, Slot::Request).unwrap();
        assert_eq!(again, None, "{name} would be decided twice");
        let held = pair.edge.store.newest(&up, &key, Slot::Request).unwrap();
        assert!(held.is_some());
    }
    pair.assert_equal();
}

#[test]
fn a_restored_cloud_is_asked_again_for_what_it_lost() {
    let mut pair = Pair::new();
    pair.cloud.put("first", "1");
    pair.sync();
    let image = pair.backup(Side::Cloud);
    pair.edge.write(Op::Apply, "made", body("create"));
    settle(&mut pair);
    pair.cloud.put("made", "x");
    answer(&mut pair, "made", Op::Apply);
    settle(&mut pair);
    pair.restore(Side::Cloud, &image);
    pair.cloud.put("other past", "1");
    pair.sync();
    let key = super::pair::End::key("made");
    let up = StreamId::up(node());
    let again = pair.cloud.store.newest(&up, &key, Slot::Request).unwrap();
    assert!(again.is_some(), "the request is there to be decided");
    pair.assert_equal();
}

#[test]
fn the_end_of_a_pod_reaches_a_cloud_that_is_reconciled() {
    let mut pair = Pair::new();
    pair.cloud.put("pod", "spec");
    pair.edge.write(Op::Status, "pod", body("running"));
    pair.sync();
    let image = pair.backup(Side::Edge);
    pair.edge
        .write(Op::Status, "pod", body("a past that is lost"));
    settle(&mut pair);
    pair.restore(Side::Edge, &image);
    pair.edge.delete("pod");
    pair.sync();
    let key = super::pair::End::key("pod");
    assert_eq!(
        pair.edge.established.last().unwrap().sending,
        Start::Reconcile
    );
    let end = pair
        .cloud
        .store
        .newest(&StreamId::up(node()), &key, Slot::Object)
        .unwrap()
        .unwrap();
    assert_eq!(end.record.header.op, Op::Delete);
    pair.assert_equal();
}
