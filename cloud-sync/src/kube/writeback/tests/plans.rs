use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use causeway_log::{
    Body, EventId, Header, Key, NodeName, Offset, Op, Record, Revision, Slot, Stored, Version,
    WallTime,
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::cluster::{Answered, Verdict};
use crate::kube::writeback::judge::Meaning;
use crate::kube::writeback::plan::{Bounds, Class, Ending, Plan, Ticket};
use crate::rig;
use crate::writeback::ground::Ground;

const BOUNDS: Bounds = Bounds {
    under_way_max: 4,
    node_under_way_max: 2,
    node_records_max: 8,
    bytes_max: 1000,
    denials_max: 3,
};

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn stored(revision: u64, key: &Key, op: Op) -> Stored {
    let header = Header {
        offset: Offset::new(revision),
        id: EventId::new(Uuid::from_u128(revision.into())),
        cause: None,
        time: WallTime::default(),
        key: key.clone(),
        version: Version::new(1),
        op,
    };
    Stored {
        revision: Revision::new(revision),
        since: Revision::new(revision),
        record: Record {
            header,
            body: Body::from(vec![b'x'; 10]),
        },
    }
}

fn at(revision: u64) -> impl FnOnce() -> Result<Revision, Infallible> {
    move || Ok(Revision::new(revision))
}

fn pod(name: &str) -> Key {
    rig::key("pods", "default", name)
}

fn plan_of(page: Vec<Stored>) -> Plan {
    let mut plan = Plan::new(BOUNDS);
    let node = node("n1");
    plan.received(&node, at(0)).unwrap();
    let page = page.into_iter().map(|stored| (stored, true)).collect();
    plan.take_in(&node, page, false, Duration::ZERO);
    plan
}

fn all(plan: &mut Plan, now: Duration) -> Vec<(Ticket, u64)> {
    let started = std::iter::from_fn(|| plan.start(now));
    started
        .map(|(ticket, record)| (ticket, record.header.offset.get()))
        .collect()
}

fn done(plan: &mut Plan, ticket: &Ticket) {
    plan.finish(ticket, Ending::Done(None), Duration::ZERO, 0.5);
}

/// A request is accepted.
fn answer(plan: &mut Plan, ticket: &Ticket, key: &Key) {
    let answered = Answered {
        key: key.clone(),
        id: EventId::new(Uuid::from_u128(1)),
        ground: Ground::default(),
        verdict: Verdict::Accepted { made: None },
    };
    plan.finish(ticket, Ending::Done(Some(answered)), Duration::ZERO, 0.5);
}

const UNAVAILABLE: Ending = Ending::Failed(Meaning::Unavailable { retry_after: None });

#[test]
fn of_the_statuses_that_wait_the_newest_is_kept() {
    let a = pod("a");
    let mut plan = plan_of(vec![
        stored(1, &a, Op::Status),
        stored(2, &pod("b"), Op::Status),
        stored(3, &a, Op::Status),
    ]);
    let started = all(&mut plan, Duration::ZERO);
    assert_eq!(started.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [2, 3]);
    for (ticket, _) in &started {
        done(&mut plan, ticket);
    }
    assert_eq!(plan.commits()[0].upto, Revision::new(3));
}

#[test]
fn statuses_go_before_ends_requests_and_events() {
    let events = rig::key("events", "default", "e");
    let maps = rig::key("configmaps", "default", "m");
    let mut plan = plan_of(vec![
        stored(1, &events, Op::Fact),
        stored(2, &maps, Op::Apply),
        stored(3, &pod("a"), Op::Delete),
        stored(4, &pod("b"), Op::Status),
        stored(5, &rig::key("nodes", "", "n1"), Op::Status),
    ]);
    let mut order = Vec::new();
    while let Some((ticket, record)) = plan.start(Duration::ZERO) {
        order.push(Class::of(&record));
        done(&mut plan, &ticket);
    }
    assert_eq!(order, Class::ALL);
}

#[test]
fn what_is_about_one_object_stays_in_order() {
    let a = pod("a");
    let mut plan = plan_of(vec![stored(1, &a, Op::Status), stored(2, &a, Op::Delete)]);
    let first = all(&mut plan, Duration::ZERO);
    assert_eq!(first.len(), 1, "the end waits for the last status");
    plan.finish(&first[0].0, UNAVAILABLE, Duration::ZERO, 1.0);
    assert!(all(&mut plan, Duration::ZERO).is_empty());
    let due = plan.due().expect("it waits for time");
    let again = all(&mut plan, due);
    assert_eq!(again[0].1, 1);
    plan.finish(&again[0].0, Ending::Done(None), due, 0.5);
    assert_eq!(all(&mut plan, due)[0].1, 2);
}

#[test]
fn a_request_waits_until_the_answer_before_it_is_durable() {
    let a = pod("a");
    let mut plan = plan_of(vec![
        stored(1, &a, Op::Apply),
        stored(2, &a, Op::Apply),
        stored(3, &pod("b"), Op::Apply),
    ]);
    let started = all(&mut plan, Duration::ZERO);
    assert_eq!(started.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [1, 3]);
    answer(&mut plan, &started[0].0, &a);
    for fails in [true, false] {
        assert_eq!(all(&mut plan, Duration::ZERO), []);
        let commit = plan.commits().remove(0);
        assert_eq!(all(&mut plan, Duration::ZERO), []);
        assert_eq!(plan.due(), None, "no time is waited for");
        if fails {
            plan.not_committed(&commit.node, commit.answers);
        } else {
            plan.committed(&commit.node, commit.upto);
        }
    }
    assert_eq!(all(&mut plan, Duration::ZERO)[0].1, 2);
}

#[test]
fn a_newer_status_takes_the_place_of_one_that_failed() {
    let a = pod("a");
    let mut plan = plan_of(vec![stored(1, &a, Op::Status)]);
    let (ticket, _) = plan.start(Duration::ZERO).unwrap();
    let page = vec![(stored(2, &a, Op::Status), true)];
    plan.take_in(&node("n1"), page, false, Duration::ZERO);
    assert!(plan.start(Duration::ZERO).is_none(), "one is under way");
    plan.finish(
        &ticket,
        Ending::Failed(Meaning::Conflict),
        Duration::ZERO,
        0.5,
    );
    let (_, newer) = plan
        .start(Duration::ZERO)
        .expect("no pause for the newer one");
    assert_eq!(newer.header.offset.get(), 2);
}

#[test]
fn in_an_outage_one_at_a_time_tries() {
    let pods: Vec<Stored> = (1..=4_u32)
        .map(|n| stored(n.into(), &pod(&format!("p{n}")), Op::Status))
        .collect();
    let mut plan = plan_of(pods);
    for (ticket, _) in all(&mut plan, Duration::ZERO) {
        plan.finish(&ticket, UNAVAILABLE, Duration::ZERO, 1.0);
    }
    let mut now = Duration::ZERO;
    for _ in 0..20 {
        assert!(all(&mut plan, now).is_empty());
        now = plan.due().expect("they wait");
        let tried = all(&mut plan, now);
        assert_eq!(tried.len(), 1);
        plan.finish(&tried[0].0, UNAVAILABLE, now, 1.0);
        assert_eq!(plan.commits(), [], "nothing is passed over");
    }
    now = plan.due().unwrap();
    let tried = all(&mut plan, now);
    plan.finish(&tried[0].0, Ending::Done(None), now, 1.0);
    now += Duration::from_secs(60);
    assert_eq!(all(&mut plan, now).len(), 2, "as many as a node may have");
}

#[test]
fn the_pause_that_the_server_asks_for_is_kept() {
    let mut plan = plan_of(vec![stored(1, &pod("a"), Op::Status)]);
    let (ticket, _) = plan.start(Duration::ZERO).unwrap();
    let retry_after = Some(Duration::from_secs(77));
    let ending = Ending::Failed(Meaning::Unavailable { retry_after });
    plan.finish(&ticket, ending, Duration::ZERO, 0.0);
    assert_eq!(plan.due(), Some(Duration::from_secs(77)));
    assert!(plan.start(Duration::from_secs(76)).is_none());
    assert!(plan.start(Duration::from_secs(77)).is_some());
}

#[test]
fn nodes_take_turns() {
    let mut plan = Plan::new(BOUNDS);
    for name in ["n1", "n2", "n3"] {
        plan.received(&node(name), at(0)).unwrap();
        let many =
            (1..=6_u32).map(|n| (stored(n.into(), &pod(&format!("p{n}")), Op::Status), true));
        plan.take_in(&node(name), many.collect(), false, Duration::ZERO);
    }
    let mut turns = Vec::new();
    for _ in 0..6 {
        let (ticket, _) = plan.start(Duration::ZERO).unwrap();
        turns.push(ticket.node.to_string());
        done(&mut plan, &ticket);
    }
    assert_eq!(turns, ["n1", "n2", "n3", "n1", "n2", "n3"]);
}

#[test]
fn a_status_is_said_again_without_moving_the_cursor() {
    let a = pod("a");
    let mut plan = plan_of(vec![stored(3, &a, Op::Status)]);
    let (ticket, _) = plan.start(Duration::ZERO).unwrap();
    done(&mut plan, &ticket);
    let commit = plan.commits().remove(0);
    plan.committed(&commit.node, commit.upto);
    plan.again(
        &node("n1"),
        stored(3, &a, Op::Status),
        Duration::ZERO,
        at(3),
    )
    .unwrap();
    let (ticket, _) = plan.start(Duration::ZERO).expect("it is to be said again");
    done(&mut plan, &ticket);
    assert_eq!(plan.commits(), []);
}

#[derive(Clone, Debug)]
enum Step {
    Send { node: usize, key: usize, op: Op },
    Take,
    Start,
    End { which: usize, how: usize },
    Commit { fails: bool },
    Wait,
}

fn arb_step() -> impl Strategy<Value = Step> {
    let ops = vec![Op::Status, Op::Status, Op::Delete, Op::Apply, Op::Fact];
    prop_oneof![
        4 => (0..3_usize, 0..3_usize, prop::sample::select(ops))
            .prop_map(|(node, key, op)| Step::Send { node, key, op }),
        2 => Just(Step::Take),
        4 => Just(Step::Start),
        4 => (any::<usize>(), 0..5_usize).prop_map(|(which, how)| Step::End { which, how }),
        2 => any::<bool>().prop_map(|fails| Step::Commit { fails }),
        1 => Just(Step::Wait),
    ]
}

/// A world of nodes around a plan, which knows what was sent and what came of it.
struct World {
    plan: Plan,
    now: Duration,
    sent: BTreeMap<NodeName, Vec<Stored>>,
    under_way: Vec<(Ticket, Record)>,
    /// What was carried out, in order.
    carried: BTreeMap<NodeName, Vec<u64>>,
    cursors: BTreeMap<NodeName, Revision>,
    /// Objects about which something was answered that is not durable.
    unsettled: BTreeSet<(NodeName, Key)>,
    next: u64,
}

impl World {
    fn new() -> Self {
        Self {
            plan: Plan::new(BOUNDS),
            now: Duration::ZERO,
            sent: BTreeMap::new(),
            under_way: Vec::new(),
            carried: BTreeMap::new(),
            cursors: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            next: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send { node: n, key, op } => {
                self.next += 1;
                let node = node(&format!("n{n}"));
                let stored = stored(self.next, &pod(&format!("p{key}")), op);
                self.sent.entry(node.clone()).or_default().push(stored);
                let cursor = self.cursors.get(&node).copied().unwrap_or_default();
                self.plan.received(&node, at(cursor.get())).unwrap();
            }
            Step::Take => {
                for (node, after) in self.plan.hungry() {
                    let page = self.sent[&node].iter().filter(|s| s.revision > after);
                    let page: Vec<_> = page.take(3).map(|s| (s.clone(), true)).collect();
                    let more = page.len() == 3;
                    self.plan.take_in(&node, page, more, self.now);
                }
            }
            Step::Start => self.start(),
            Step::End { which, how } => self.end(which, how),
            Step::Commit { fails } => {
                for commit in self.plan.commits() {
                    if fails {
                        self.plan.not_committed(&commit.node, commit.answers);
                    } else {
                        self.check(&commit.node, commit.upto);
                        for answered in commit.answers {
                            self.unsettled.remove(&(commit.node.clone(), answered.key));
                        }
                        self.plan.committed(&commit.node, commit.upto);
                        self.cursors.insert(commit.node, commit.upto);
                    }
                }
            }
            Step::Wait => self.now += Duration::from_secs(10),
        }
    }

    fn start(&mut self) {
        if let Some((ticket, record)) = self.plan.start(self.now) {
            let busy = self.under_way.iter();
            let same = busy.filter(|(other, _)| other.node == ticket.node);
            let same: Vec<_> = same.collect();
            assert!(same.len() < BOUNDS.node_under_way_max);
            assert!(
                same.iter()
                    .all(|(_, other)| other.header.key != record.header.key)
            );
            let about = (ticket.node.clone(), record.header.key.clone());
            let is_request = record.header.op == Op::Apply;
            assert!(!is_request || !self.unsettled.contains(&about));
            self.under_way.push((ticket, record));
            assert!(self.under_way.len() <= BOUNDS.under_way_max);
        }
    }

    fn end(&mut self, which: usize, how: usize) {
        if self.under_way.is_empty() {
            return;
        }
        let (ticket, record) = self.under_way.swap_remove(which % self.under_way.len());
        let ending = match how {
            0 => UNAVAILABLE,
            1 => Ending::Failed(Meaning::Denied),
            2 => Ending::Failed(Meaning::Conflict),
            _ => {
                let carried = self.carried.entry(ticket.node.clone()).or_default();
                carried.push(ticket.revision.get());
                if record.header.op == Op::Apply {
                    let key = record.header.key;
                    answer(&mut self.plan, &ticket, &key);
                    self.unsettled.insert((ticket.node, key));
                    return;
                }
                Ending::Done(None)
            }
        };
        self.plan.finish(&ticket, ending, self.now, 0.5);
    }

    /// Whatever the cursor passes was carried out, or is a status that a newer one supersedes.
    fn check(&self, node: &NodeName, upto: Revision) {
        let carried: BTreeSet<u64> = self
            .carried
            .get(node)
            .into_iter()
            .flatten()
            .copied()
            .collect();
        for stored in self.sent[node].iter().filter(|s| s.revision <= upto) {
            let header = &stored.record.header;
            let superseded = header.op.slot() == Slot::Status
                && self.sent[node].iter().any(|newer| {
                    newer.revision > stored.revision
                        && newer.record.header.key == header.key
                        && newer.record.header.op == Op::Status
                });
            assert!(superseded || carried.contains(&stored.revision.get()));
        }
    }
}

proptest! {
    /// Whatever nodes send and however calls and commits end: nothing is passed over, what is about
    /// one object is carried out in order, and once the API server answers all is done.
    #[test]
    fn nothing_is_lost_and_all_is_done_in_the_end(steps in prop::collection::vec(arb_step(), 0..120)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        for _ in 0..400 {
            world.step(Step::Take);
            world.step(Step::Start);
            world.step(Step::End { which: 0, how: 4 });
            world.step(Step::Commit { fails: false });
            world.step(Step::Wait);
        }
        prop_assert!(world.under_way.is_empty());
        for (node, sent) in &world.sent {
            let last = sent.last().map(|stored| stored.revision);
            prop_assert_eq!(world.cursors.get(node).copied(), last);
            let carried = &world.carried[node];
            for (place, revision) in carried.iter().enumerate() {
                let of = |r: u64| sent.iter().find(|s| s.revision.get() == r).unwrap();
                let key = &of(*revision).record.header.key;
                let earlier = carried[..place].iter().filter(|r| of(**r).record.header.key == *key);
                prop_assert!(earlier.max().is_none_or(|r| r < revision), "in order, and once");
            }
        }
        world.plan.settle();
        prop_assert_eq!(world.plan.backlog().0, 0);
        prop_assert_eq!(world.plan.due(), None);
    }
}
