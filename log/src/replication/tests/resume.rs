//! Links that come back.

use super::pair::CloseCode;
use super::{Pair, Side, body};
use crate::id::Offset;
use crate::record::{Op, Slot};
use crate::replication::Start;
use crate::store::Store as _;
use crate::store::memory::Fault;

#[test]
fn a_resume_sends_only_what_changed() {
    let mut pair = Pair::new();
    for n in 0..50 {
        pair.cloud.put(&format!("a{n}"), "1");
    }
    pair.sync();
    pair.cut();
    pair.cloud.put("a7", "2");
    pair.forget_traffic();
    pair.sync();
    assert_eq!(pair.edge.applied, [("a7".to_owned(), Op::Put)]);
    pair.assert_equal();
}

#[test]
fn a_resume_with_nothing_new_sends_no_record() {
    let mut pair = Pair::new();
    pair.cloud.put("a", "1");
    pair.sync();
    pair.forget_traffic();
    pair.sync();
    assert_eq!(pair.count("Records"), 0);
    assert!(pair.total_bytes() < 300, "{} bytes", pair.total_bytes());
}

#[test]
fn five_hundred_updates_missed_are_one_record() {
    let mut pair = Pair::new();
    pair.cloud.put("a", "0");
    pair.sync();
    pair.cut();
    for n in 1..=500 {
        pair.cloud.put("a", &n.to_string());
    }
    pair.forget_traffic();
    pair.sync();
    assert_eq!(pair.edge.applied.len(), 1);
    assert_eq!(pair.edge.sees("a"), Some(body("500")));
}

#[test]
fn a_deletion_survives_being_offline_for_long() {
    let mut pair = Pair::new();
    pair.cloud.put("a", "1");
    pair.sync();
    pair.cut();
    pair.cloud.delete("a");
    for n in 0..100 {
        pair.cloud.put("busy", &n.to_string());
        pair.cloud.trim();
    }
    pair.sync();
    assert_eq!(pair.edge.sees("a"), None);
    pair.assert_equal();
}

#[test]
fn what_was_not_acked_is_sent_again_and_applied_once() {
    let mut pair = Pair::new();
    pair.sync();
    pair.edge.holds_writes = true;
    pair.cloud.put("a", "1");
    pair.wake();
    pair.run();
    pair.crash(Side::Edge);
    pair.edge.holds_writes = false;
    pair.sync();
    assert_eq!(pair.edge.applied, [("a".to_owned(), Op::Put)]);
    pair.assert_equal();
}

/// A receiver that said what it had written, and then took it back, never got it again.
#[test]
fn what_a_failing_disk_may_lose_is_not_said_to_be_held() {
    for side in [Side::Edge, Side::Cloud] {
        let mut pair = Pair::new();
        pair.sync();
        pair.cloud.put("a", "1");
        pair.edge.put("b", "1");
        pair.end(side).holds_writes = true;
        pair.wake();
        pair.run();
        let end = pair.end(side);
        let writes: Vec<_> = end.asked.drain(..).collect();
        assert!(!writes.is_empty());
        end.append(&writes);
        end.store.disk().set_fault(Fault::SyncFails);
        end.store.sync().unwrap_err();
        pair.connect();
        pair.run();
        if side == Side::Cloud {
            // The writer of a broken disk still answers a barrier.
            let (now, end) = (pair.now, pair.end(side));
            let session = end.session.as_mut().unwrap();
            session.handle_written(now, &end.store);
            pair.run();
        }
        let end = pair.end(side);
        assert_eq!(end.closes[0].code, CloseCode::Storage, "{side:?}");
        end.store.disk().heal();
        end.store.try_recover().unwrap();
        end.holds_writes = false;
        pair.sync();
        pair.assert_equal();
    }
}

#[test]
fn an_edge_that_crashes_loses_nothing_it_wrote() {
    let mut pair = Pair::new();
    pair.edge.write(Op::Status, "pod", body("running"));
    pair.crash(Side::Edge);
    pair.sync();
    assert_eq!(
        pair.cloud.sees_slot("pod", Slot::Status),
        Some(body("running"))
    );
}

#[test]
fn a_lost_ack_is_made_good_by_the_next_session() {
    let mut pair = Pair::new();
    pair.cloud.put("a", "1");
    pair.sync();
    pair.cut();
    assert_eq!(pair.cloud.sent().acked, Offset::ZERO);
    pair.sync();
    pair.pass(std::time::Duration::from_secs(2));
    assert_eq!(pair.cloud.sent().acked, pair.cloud.sent().head);
}

#[test]
fn what_a_peer_says_it_holds_is_acked_though_the_session_ends_at_once() {
    let mut pair = Pair::new();
    pair.edge.put("a", "1");
    pair.sync();
    pair.cut();
    assert_eq!(pair.edge.sent().acked, Offset::ZERO);
    pair.connect();
    while pair.edge.established.len() < 2 {
        assert!(pair.step(), "the sessions rest");
    }
    pair.inject(Side::Edge, b"noise");
    pair.run();
    assert_eq!(pair.edge.closes.len(), 1);
    assert_eq!(pair.edge.sent().acked, pair.edge.sent().head);
}

#[test]
fn a_cut_inside_a_long_resume_goes_on_where_it_was() {
    let mut pair = Pair::new();
    for n in 0..3000 {
        pair.cloud.put(&format!("a{n}"), "1");
    }
    let mut rounds = 0;
    while pair.edge.applied.len() < 3000 {
        pair.connect();
        pair.run_steps(12);
        rounds += 1;
        assert!(rounds < 1000, "no progress");
    }
    pair.sync();
    assert!(rounds > 1);
    assert_eq!(
        pair.edge.applied.len(),
        3000,
        "nothing is sent twice once it is durable"
    );
    pair.assert_equal();
}

#[test]
fn a_run_that_changes_under_way_uses_only_bases_the_receiver_holds() {
    let mut pair = Pair::new();
    for n in 0..3000 {
        pair.cloud.put(&format!("a{n}"), "first");
    }
    pair.connect();
    while pair.edge.applied.len() < 1500 {
        pair.step();
    }
    for n in 0..3000 {
        pair.cloud.put(&format!("a{n}"), "second");
        if n % 3 == 0 {
            pair.cloud.put(&format!("a{n}"), "third");
        }
    }
    pair.wake();
    pair.run();
    pair.assert_equal();
    assert_eq!(pair.cloud.session.as_ref().unwrap().stats().rewinds, 0);
}

#[test]
fn a_base_that_is_not_held_leads_to_the_whole_body() {
    // The receiver stops inside a run of pages; at that offset the sender's history has a version
    // of `k` which was superseded before its page was read, so it was never sent.
    let mut pair = Pair::new();
    pair.cloud
        .put("k", "the first version of a body that is worth a delta");
    pair.sync();
    pair.cut();
    pair.cloud
        .put("k", "a version in between that the receiver never gets");
    for n in 0..1500 {
        pair.cloud.put(&format!("a{n}"), "1");
    }
    pair.cloud
        .put("k", "the third version of a body that is worth a delta");
    pair.connect();
    while pair.edge.applied.len() < 100 {
        pair.step();
    }
    pair.connect();
    pair.run();
    assert_eq!(pair.count("Rewind"), 1);
    assert!(pair.edge.closes.is_empty());
    pair.assert_equal();
}

#[test]
fn each_direction_resumes_by_itself() {
    let mut pair = Pair::new();
    pair.cloud.put("a", "1");
    pair.edge.write(Op::Status, "p", body("1"));
    pair.sync();
    pair.edge.write(Op::Status, "p", body("2"));
    pair.sync();
    let established = pair.cloud.established.last().unwrap();
    assert_eq!(
        established.sending,
        Start::Resume {
            after: pair.edge.received().received
        }
    );
    pair.assert_equal();
}
