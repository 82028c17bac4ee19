//! Histories that do not join: wiped, restored, cloned.

use super::{Pair, Side, body};
use crate::body::Body;
use crate::id::Revision;
use crate::record::{Op, Slot};
use crate::replication::Start;
use crate::store::{ReadLimit, Store as _};

/// Both ends in step, with `keys` objects from the cloud and a status from the edge.
fn settled(keys: usize) -> Pair {
    let mut pair = Pair::new();
    for n in 0..keys {
        pair.cloud.put(&format!("a{n}"), &format!("{n}"));
    }
    pair.edge.write(Op::Status, "pod", body("running"));
    pair.sync();
    pair.assert_equal();
    pair.forget_traffic();
    pair
}

fn last_sending(pair: &Pair, side: Side) -> Start {
    let end = match side {
        Side::Edge => &pair.edge,
        Side::Cloud => &pair.cloud,
    };
    end.established.last().unwrap().sending
}

#[test]
fn a_wiped_edge_gets_everything_again() {
    let mut pair = settled(20);
    pair.wipe(Side::Edge);
    pair.sync();
    assert_eq!(pair.edge.applied.len(), 20);
    assert_eq!(last_sending(&pair, Side::Edge), Start::Reconcile);
    assert_eq!(
        pair.cloud.sees_slot("pod", Slot::Status),
        None,
        "the new edge never said so"
    );
    pair.assert_equal();
    pair.edge.write(Op::Status, "pod", body("pending"));
    pair.wake();
    pair.run();
    pair.assert_equal();
}

#[test]
fn a_wiped_cloud_takes_the_edge_as_it_is_and_tells_it_what_went() {
    let mut pair = settled(20);
    pair.wipe(Side::Cloud);
    pair.cloud.put("a1", "1");
    pair.cloud.put("new", "1");
    pair.sync();
    assert_eq!(last_sending(&pair, Side::Cloud), Start::Reconcile);
    assert_eq!(
        pair.cloud.sees_slot("pod", Slot::Status),
        Some(body("running"))
    );
    assert_eq!(pair.edge.sees("a0"), None);
    assert_eq!(pair.edge.sees("new"), Some(body("1")));
    pair.assert_equal();
}

#[test]
fn a_restored_edge_resumes_from_what_it_has() {
    let mut pair = settled(20);
    let image = pair.backup(Side::Edge);
    pair.cloud.put("a3", "changed");
    pair.wake();
    pair.run();
    pair.restore(Side::Edge, &image);
    pair.forget_traffic();
    pair.sync();
    assert_eq!(pair.edge.applied, [("a3".to_owned(), Op::Put)]);
    pair.assert_equal();
}

#[test]
fn a_restored_edge_learns_of_deletions_that_are_forgotten() {
    let mut pair = settled(20);
    let image = pair.backup(Side::Edge);
    pair.cloud.delete("a3");
    pair.cloud.put("a4", "changed");
    pair.wake();
    pair.run();
    pair.pass(std::time::Duration::from_secs(2));
    pair.cloud.trim();
    pair.restore(Side::Edge, &image);
    pair.forget_traffic();
    pair.sync();
    assert_eq!(last_sending(&pair, Side::Cloud), Start::Reconcile);
    assert_eq!(pair.edge.applied.len(), 2, "{:?}", pair.edge.applied);
    assert_eq!(pair.edge.sees("a3"), None);
    pair.assert_equal();
}

#[test]
fn a_restored_edge_that_wrote_is_told_apart_from_its_past() {
    let mut pair = settled(3);
    let image = pair.backup(Side::Edge);
    pair.edge.write(Op::Status, "pod", body("failed"));
    pair.wake();
    pair.run();
    pair.restore(Side::Edge, &image);
    pair.sync();
    assert_eq!(last_sending(&pair, Side::Edge), Start::Reconcile);
    assert_eq!(
        pair.cloud.sees_slot("pod", Slot::Status),
        Some(body("running"))
    );
    pair.assert_equal();
}

#[test]
fn a_restored_cloud_sends_differences_only() {
    let mut pair = settled(300);
    let image = pair.backup(Side::Cloud);
    pair.cloud.put("a3", "lost");
    pair.cloud.put("lost", "1");
    pair.wake();
    pair.run();
    pair.restore(Side::Cloud, &image);
    pair.forget_traffic();
    pair.sync();
    assert_eq!(last_sending(&pair, Side::Cloud), Start::Reconcile);
    assert_eq!(pair.count("DigestBuckets"), 1);
    assert_eq!(pair.edge.applied.len(), 2, "{:?}", pair.edge.applied);
    assert_eq!(pair.edge.sees("a3"), Some(body("3")));
    assert_eq!(pair.edge.sees("lost"), None);
    pair.assert_equal();
    pair.cloud.put("a3", "after");
    pair.wake();
    pair.run();
    pair.assert_equal();
    assert!(pair.total_bytes() < 8_000, "{} bytes", pair.total_bytes());
}

#[test]
fn a_restored_cloud_that_went_on_writing_is_noticed() {
    let mut pair = settled(3);
    let image = pair.backup(Side::Cloud);
    pair.cloud.put("a0", "lost");
    pair.wake();
    pair.run();
    pair.restore(Side::Cloud, &image);
    for n in 0..5 {
        pair.cloud.put("a1", &format!("other {n}"));
    }
    pair.sync();
    assert_eq!(last_sending(&pair, Side::Cloud), Start::Reconcile);
    assert_eq!(pair.edge.sees("a0"), Some(body("0")));
    pair.assert_equal();
}

#[test]
fn a_cloned_edge_is_noticed() {
    let mut pair = settled(3);
    let clone = pair.backup(Side::Edge);
    pair.edge.write(Op::Status, "pod", body("original"));
    pair.wake();
    pair.run();
    pair.restore(Side::Edge, &clone);
    pair.edge.write(Op::Status, "pod", body("clone"));
    pair.edge.write(Op::Status, "pod", body("clone again"));
    pair.sync();
    assert_eq!(last_sending(&pair, Side::Edge), Start::Reconcile);
    assert_eq!(
        pair.cloud.sees_slot("pod", Slot::Status),
        Some(body("clone again"))
    );
    pair.assert_equal();
}

#[test]
fn both_wiped_and_both_restored_agree_again() {
    let mut pair = settled(30);
    let (edge, cloud) = (pair.backup(Side::Edge), pair.backup(Side::Cloud));
    pair.cloud.put("a0", "x");
    pair.edge.write(Op::Status, "pod", body("y"));
    pair.wake();
    pair.run();
    pair.restore(Side::Edge, &edge);
    pair.sync();
    pair.assert_equal();
    pair.restore(Side::Cloud, &cloud);
    pair.sync();
    pair.assert_equal();
    pair.wipe(Side::Edge);
    pair.wipe(Side::Cloud);
    pair.sync();
    pair.cloud.put("z", "1");
    pair.sync();
    pair.assert_equal();
}

#[test]
fn a_crash_inside_a_reconcile_keeps_the_progress() {
    let mut pair = settled(1000);
    pair.wipe(Side::Cloud);
    let mut random = fastrand::Rng::with_seed(3);
    for n in 0..1000 {
        let noise: String = std::iter::repeat_with(|| random.alphanumeric())
            .take(500)
            .collect();
        pair.cloud.put(&format!("b{n}"), &noise);
    }
    let mut rounds = 0;
    while pair.edge.received().epoch != pair.cloud.sent().epoch {
        pair.connect();
        pair.run_steps(20 + rounds);
        pair.crash(Side::Edge);
        rounds += 1;
        assert!(rounds < 200, "no progress");
    }
    assert!(rounds > 1);
    pair.sync();
    pair.assert_equal();
    let puts = pair
        .edge
        .applied
        .iter()
        .filter(|(_, op)| *op == Op::Put)
        .count();
    assert!(
        puts < 1500,
        "{puts} records for 1000 differences in {rounds} rounds"
    );
}

#[test]
fn what_changes_during_a_reconcile_arrives_after_it() {
    let mut pair = settled(500);
    pair.wipe(Side::Cloud);
    for n in 0..500 {
        pair.cloud.put(&format!("a{n}"), "new");
    }
    pair.connect();
    for n in 0..200 {
        pair.step();
        if n % 3 == 0 {
            pair.cloud.put(&format!("a{n}"), "newer");
            pair.cloud.delete(&format!("a{}", n + 1));
            pair.wake();
        }
        if n % 50 == 0 {
            pair.cloud.trim();
        }
    }
    pair.run();
    pair.assert_equal();
    assert_eq!(pair.edge.received().epoch, pair.cloud.sent().epoch);
}

#[test]
fn equal_bodies_are_not_sent_again() {
    let mut pair = Pair::new();
    let large: String = "0123456789abcdef".repeat(4000);
    pair.cloud.put("large", &large);
    pair.sync();
    pair.wipe(Side::Cloud);
    pair.cloud.put("other", "1");
    pair.cloud.put("large", &large);
    pair.forget_traffic();
    pair.sync();
    assert_eq!(last_sending(&pair, Side::Cloud), Start::Reconcile);
    assert!(pair.total_bytes() < 1000, "{} bytes", pair.total_bytes());
    pair.assert_equal();
}

#[test]
fn facts_that_only_the_receiver_has_are_kept_and_those_it_lacks_are_sent() {
    let mut pair = Pair::new();
    pair.edge.write(Op::Fact, "old", body("happened"));
    pair.sync();
    pair.wipe(Side::Edge);
    pair.edge.write(Op::Fact, "new", body("happened too"));
    pair.sync();
    assert_eq!(
        pair.cloud.sees_slot("old", Slot::Fact),
        Some(body("happened"))
    );
    assert_eq!(
        pair.cloud.sees_slot("new", Slot::Fact),
        Some(body("happened too"))
    );
}

/// Of a key that many facts were written about, only the last one came.
#[test]
fn all_facts_of_one_key_that_the_receiver_lacks_are_sent() {
    let facts_of = |pair: &Pair| -> Vec<Body> {
        let stream = pair.edge.own();
        let store = &pair.cloud.store;
        let records = store.read(&stream, Revision::ZERO, ReadLimit::SCAN);
        let records = records.unwrap().into_iter().map(|it| it.record);
        let key = super::pair::End::key("readings");
        records
            .filter(|it| it.header.op == Op::Fact && it.header.key == key)
            .map(|it| it.body)
            .collect()
    };
    let mut pair = Pair::new();
    pair.edge.put("other", "state");
    pair.sync();
    pair.wipe(Side::Edge);
    for text in ["1", "2", "3"] {
        pair.edge.write(Op::Fact, "readings", body(text));
    }
    pair.sync();
    assert_eq!(last_sending(&pair, Side::Edge), Start::Reconcile);
    assert_eq!(facts_of(&pair), ["1", "2", "3"].map(body));
    // The cloud's store is from before the last two, and of an epoch that the edge has left since.
    let image = pair.backup(Side::Cloud);
    pair.wipe(Side::Edge);
    for text in ["1", "2", "3", "4", "5"] {
        pair.edge.write(Op::Fact, "readings", body(text));
    }
    pair.restore(Side::Cloud, &image);
    pair.sync();
    let found = facts_of(&pair);
    assert!(found.ends_with(&["4", "5"].map(body)), "{found:?}");
}

#[test]
fn an_emptied_receiver_is_not_reconciled() {
    let mut pair = settled(2);
    pair.wipe(Side::Edge);
    pair.sync();
    assert!(matches!(
        last_sending(&pair, Side::Cloud),
        Start::Resume { .. }
    ));
}

#[test]
fn a_body_of_nothing_means_gone_only_where_it_answers_nothing() {
    let mut pair = Pair::new();
    pair.edge.write(Op::Status, "pod", Body::EMPTY);
    pair.sync();
    assert_eq!(pair.cloud.sees_slot("pod", Slot::Status), None);
    pair.assert_equal();
}

#[test]
fn history_trimmed_under_a_slow_resume_ends_it_and_the_next_one_reconciles() {
    let mut pair = settled(20);
    let image = pair.backup(Side::Edge);
    let mut random = fastrand::Rng::with_seed(2);
    for n in 0..40 {
        let noise: String = std::iter::repeat_with(|| random.alphanumeric())
            .take(20_000)
            .collect();
        pair.cloud.put(&format!("b{n}"), &noise);
    }
    pair.cloud.delete("a3");
    pair.wake();
    pair.run();
    pair.pass(std::time::Duration::from_secs(2));
    pair.restore(Side::Edge, &image);
    pair.edge.holds_writes = true;
    pair.connect();
    pair.run();
    assert!(matches!(
        last_sending(&pair, Side::Cloud),
        Start::Resume { .. }
    ));
    pair.cloud.trim();
    pair.edge.holds_writes = false;
    pair.run();
    assert_eq!(pair.cloud.closes[0].code, super::pair::CloseCode::GoingAway);
    pair.sync();
    assert_eq!(last_sending(&pair, Side::Cloud), Start::Reconcile);
    assert_eq!(pair.edge.sees("a3"), None);
    pair.assert_equal();
}

#[test]
fn another_past_is_noticed_when_the_last_record_was_a_deletion_and_is_trimmed() {
    let mut pair = Pair::new();
    pair.edge.put("a", "1");
    let image = pair.backup(Side::Edge);
    pair.edge.delete("a");
    pair.sync();
    pair.restore(Side::Edge, &image);
    pair.cloud.trim();
    pair.edge.put("a", "2");
    pair.sync();
    assert_eq!(last_sending(&pair, Side::Edge), Start::Reconcile);
    pair.assert_equal();
}

#[test]
fn another_past_is_noticed_when_the_history_that_would_show_it_is_trimmed() {
    let mut pair = settled(3);
    let image = pair.backup(Side::Cloud);
    pair.cloud.put("a0", "lost");
    pair.wake();
    pair.run();
    pair.restore(Side::Cloud, &image);
    for n in 0..5 {
        pair.cloud.put("a1", &format!("other {n}"));
    }
    pair.cloud.trim();
    pair.sync();
    assert_eq!(last_sending(&pair, Side::Cloud), Start::Reconcile);
    pair.assert_equal();
}

#[test]
fn a_sender_restored_from_before_an_unfinished_reconcile_reconciles_again() {
    let mut pair = settled(3);
    let image = pair.backup(Side::Cloud);
    pair.wipe(Side::Cloud);
    let mut random = fastrand::Rng::with_seed(3);
    for n in 0..40 {
        let noise: String = std::iter::repeat_with(|| random.alphanumeric())
            .take(20_000)
            .collect();
        pair.cloud.put(&format!("b{n}"), &noise);
    }
    pair.connect();
    while pair.edge.applied.len() < 10 {
        pair.step();
    }
    pair.restore(Side::Cloud, &image);
    pair.sync();
    assert_eq!(last_sending(&pair, Side::Cloud), Start::Reconcile);
    pair.assert_equal();
}

/// Places inside a reconcile are the receiver's own. Here one of them happens to be, with the same
/// event, a place of the sender's old epoch too, to which a backup takes the sender back.
#[test]
fn what_is_held_inside_a_reconcile_is_not_taken_for_a_place_of_the_old_epoch() {
    let mut pair = Pair::new();
    pair.cloud.put("a", "1");
    pair.sync();
    let edge_with_a = pair.backup(Side::Edge);
    pair.cloud.put("b", "1");
    pair.cloud.put("c", "1");
    let cloud_with_all = pair.backup(Side::Cloud);
    pair.cloud.delete("a");
    pair.cloud.delete("b");
    pair.sync();
    pair.pass(std::time::Duration::from_secs(2));
    pair.cloud.trim();
    pair.restore(Side::Edge, &edge_with_a);
    pair.forget_traffic();
    pair.connect();
    // `a` goes at the second place, `c` comes at the third, where it was before.
    while pair.edge.sees("c").is_none() {
        assert!(pair.step(), "the reconcile stopped");
    }
    assert_eq!(last_sending(&pair, Side::Cloud), Start::Reconcile);
    assert_eq!(pair.edge.sees("a"), None);
    pair.restore(Side::Cloud, &cloud_with_all);
    pair.sync();
    assert_eq!(last_sending(&pair, Side::Cloud), Start::Reconcile);
    assert_eq!(pair.edge.sees("b"), Some(body("1")));
    pair.assert_equal();
}
