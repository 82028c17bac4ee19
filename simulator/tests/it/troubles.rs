//! What the drawn troubles do, each by itself.

use std::time::Duration;

use causeway_log::NodeName;
use causeway_log::replication::Moment;
use causeway_log::wire::PROTOCOL_VERSION;
use causeway_simulator::workload::Schedule;
use causeway_simulator::world::{Act, Cut, DiskFault, Kind, Options, Who, World};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(120);

fn n0() -> NodeName {
    NodeName::new("n0").expect("a valid name")
}

fn config(edit: usize) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "default"},
        "data": {"edit": edit.to_string()},
    })
}

fn pod(image: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "namespace": "default"},
        "spec": {
            "nodeName": "n0",
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": image}],
            "volumes": [{"name": "config", "configMap": {"name": "c"}}],
        },
    })
}

/// A node that runs its pod.
fn running(options: Options) -> World {
    let options = Options {
        trace: true,
        ..options
    };
    let mut world = World::new(11, options);
    world.act(Act::Apply(config(0)));
    world.act(Act::Apply(pod("app:1")));
    pass(&mut world, 30);
    assert_eq!(images(&world), ["app:1"]);
    world
}

fn images(world: &World) -> Vec<String> {
    let pods = world.node(&n0()).pods;
    let running = pods.into_iter().filter(|pod| pod.running);
    running
        .flat_map(|pod| pod.containers.into_iter().map(|one| one.image))
        .collect()
}

fn pass(world: &mut World, seconds: u64) {
    let at = world.now().0 + Duration::from_secs(seconds);
    let ran = world.run_until(Moment(at));
    ran.expect("no invariant is broken");
}

fn says(world: &World, event: &str, detail: &str) -> bool {
    let mut lines = world.trace().lines().iter();
    lines.any(|line| line.split('\t').nth(1) == Some(event) && line.contains(detail))
}

#[test]
fn who_stands_still_does_nothing_and_then_goes_on() {
    for who in [Who::Cloud, Who::Edge(n0()), Who::Edged(n0())] {
        let mut world = running(Options::default());
        let lasts = Duration::from_secs(60);
        world.act(Act::Freeze { who, lasts });
        world.act(Act::Apply(pod("app:2")));
        pass(&mut world, 59);
        assert_eq!(images(&world), ["app:1"]);
        pass(&mut world, 60);
        assert_eq!(images(&world), ["app:2"]);
        world.settle(SOON).unwrap();
    }
}

#[test]
fn a_cloud_that_is_replaced_says_goodbye() {
    for swallows in [false, true] {
        let mut world = running(Options::default());
        world.act(Act::Roll {
            drain: Duration::from_secs(2),
            gap: Duration::from_secs(20),
            swallows,
        });
        pass(&mut world, 10);
        assert!(says(&world, "ended", "GoingAway"));
        assert!(!world.node(&n0()).connected);
        assert_eq!(images(&world), ["app:1"]);
        pass(&mut world, 80);
        assert!(world.node(&n0()).connected);
        world.settle(SOON).unwrap();
    }
}

#[test]
fn releases_without_a_common_version_part_and_pods_run_on() {
    for who in [Who::Cloud, Who::Edge(n0())] {
        let mut world = running(Options::default());
        let versions = (PROTOCOL_VERSION + 1, PROTOCOL_VERSION + 2);
        world.act(Act::Release { who, versions });
        world.act(Act::Apply(pod("app:2")));
        pass(&mut world, 120);
        assert!(says(&world, "ended", "Version"));
        assert!(!world.node(&n0()).connected);
        assert_eq!(images(&world), ["app:1"]);
        world.settle(SOON).unwrap();
        assert_eq!(images(&world), ["app:2"]);
    }
}

#[test]
fn releases_with_a_common_version_work_together() {
    let mut world = running(Options::default());
    let versions = (PROTOCOL_VERSION, PROTOCOL_VERSION + 1);
    let who = Who::Edge(n0());
    world.act(Act::Release { who, versions });
    world.act(Act::Apply(pod("app:2")));
    pass(&mut world, 60);
    assert_eq!(images(&world), ["app:2"]);
}

#[test]
fn events_of_the_edge_reach_the_cloud() {
    let mut world = running(Options::default());
    let (node, kind) = (n0(), Cut::Silent);
    world.act(Act::Cut { node, kind });
    let (node, name) = (n0(), "seen".to_owned());
    world.act(Act::EdgeEvent { node, name });
    world.settle(SOON).unwrap();
    let objects = world.cloud_objects();
    let event = objects.iter().find(|object| object["kind"] == "Event");
    let message = event.unwrap()["message"].as_str().unwrap();
    assert!(message.starts_with("seen at"), "{message}");
}

#[test]
fn a_node_behind_the_horizon_is_reconciled() {
    let mut world = running(Options {
        trim_every: Duration::from_secs(5),
        history: 4,
        ..Options::default()
    });
    let (node, kind) = (n0(), Cut::Silent);
    world.act(Act::Cut { node, kind });
    for edit in 1..20 {
        world.act(Act::Apply(config(edit)));
        pass(&mut world, 2);
    }
    assert!(says(&world, "trim", "records"));
    world.settle(SOON).unwrap();
    assert_eq!(world.node(&n0()).pods[0].files["config/edit"], "19");
}

#[test]
fn who_cannot_read_its_disk_goes_on_when_it_can() {
    for who in [Who::Cloud, Who::Edge(n0())] {
        for one_in in [1, 7] {
            let mut world = running(Options::default());
            let fault = DiskFault::ReadFails { one_in };
            let on = who.clone();
            world.act(Act::Disk { who: on, fault });
            for edit in 1..20 {
                world.act(Act::Apply(config(edit)));
                world.act(Act::Reset { node: n0() });
                pass(&mut world, 1);
            }
            world.act(Act::Apply(pod("app:2")));
            pass(&mut world, 30);
            assert!(world.stats().seen.of(Kind::FailedReads) > 0);
            world.settle(SOON).unwrap();
            assert_eq!(images(&world), ["app:2"]);
            assert_eq!(world.node(&n0()).pods[0].files["config/edit"], "19");
        }
    }
}

#[test]
fn who_cannot_read_its_disk_as_it_starts_is_started_again() {
    for who in [Who::Cloud, Who::Edge(n0())] {
        let mut world = running(Options::default());
        let fault = DiskFault::ReadFails { one_in: 1 };
        let on = who.clone();
        world.act(Act::Disk { who: on, fault });
        world.act(Act::Kill { who: who.clone() });
        world.act(Act::Start { who });
        pass(&mut world, 10);
        assert!(says(&world, "start failed", ""));
        assert_eq!(images(&world), ["app:1"]);
        world.settle(SOON).unwrap();
    }
}

#[test]
fn a_connection_that_somebody_breaks_is_made_anew() {
    let mut world = running(Options::default());
    let node = n0();
    let per_mille = 300;
    world.act(Act::Mangle { node, per_mille });
    for edit in 1..100 {
        world.act(Act::Apply(config(edit)));
        pass(&mut world, 1);
    }
    let seen = world.stats().seen;
    for kind in [Kind::Lost, Kind::Doubled, Kind::Swapped, Kind::Violations] {
        assert!(seen.of(kind) > 0, "{}: {seen}", kind.text());
    }
    world.settle(SOON).unwrap();
    assert_eq!(world.node(&n0()).pods[0].files["config/edit"], "99");
}

#[test]
fn clients_that_watch_see_it_all_or_are_told_gone() {
    let mut world = running(Options {
        watches: true,
        trim_every: Duration::from_secs(5),
        history: 4,
        ..Options::default()
    });
    for edit in 1..120 {
        world.act(Act::Apply(config(edit)));
        pass(&mut world, 3);
        if edit % 30 == 0 {
            for who in [Who::Cloud, Who::Edge(n0())] {
                world.act(Act::Kill { who: who.clone() });
                world.act(Act::Start { who });
            }
        }
    }
    world.settle(SOON).unwrap();
    let seen = world.stats().seen;
    for kind in [Kind::Watches, Kind::WatchEvents, Kind::WatchStalls] {
        assert!(seen.of(kind) > 0, "{}: {seen}", kind.text());
    }
}

#[test]
fn of_what_is_on_its_way_to_a_disk_any_part_may_make_it() {
    let mut world = running(Options {
        tails: true,
        trim_every: Duration::from_millis(500),
        sync_max: Duration::from_secs(10),
        history: 4,
        ..Options::default()
    });
    for edit in 1..60 {
        world.act(Act::Apply(config(edit)));
        let who = Who::Cloud;
        let fault = DiskFault::SyncFails;
        world.act(Act::Disk { who, fault });
        pass(&mut world, 2);
        let who = Who::Cloud;
        world.act(Act::Kill { who: who.clone() });
        let fault = DiskFault::Heal;
        let on = who.clone();
        world.act(Act::Disk { who: on, fault });
        world.act(Act::Start { who });
        pass(&mut world, 20);
    }
    let seen = world.stats().seen;
    for kind in [Kind::TornTails, Kind::LongTails, Kind::Unheard] {
        assert!(seen.of(kind) > 0, "{}: {seen}", kind.text());
    }
    world.settle(SOON).unwrap();
}

#[test]
fn a_trouble_moves_nothing_of_the_rest() {
    let options = Options {
        freezes: false,
        ..Options::draw(3)
    };
    let more = Options {
        freezes: true,
        ..options.clone()
    };
    let (without, mut with) = (Schedule::draw(3, &options), Schedule::draw(3, &more));
    assert_ne!(without, with);
    with.0.retain(|(_, act)| !matches!(act, Act::Freeze { .. }));
    assert_eq!(without, with);
}
