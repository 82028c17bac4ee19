//! What is worth remembering by name.

use std::time::Duration;

use causeway_log::NodeName;
use causeway_log::replication::Moment;
use causeway_simulator::run::run;
use causeway_simulator::world::{Act, Cut, DiskFault, Options, Who, World};
use serde_json::{Value, json};

fn pod(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "nodeName": "n0",
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": image}],
        },
    })
}

fn seconds(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn n0() -> NodeName {
    NodeName::new("n0").expect("a valid name")
}

fn images(world: &World) -> Vec<String> {
    let pods = world.node(&n0()).pods;
    let running = pods.into_iter().filter(|pod| pod.running);
    running
        .flat_map(|pod| pod.containers.into_iter().map(|one| one.image))
        .collect()
}

#[test]
fn a_node_that_is_cut_off_runs_on_through_a_reboot_and_catches_up() {
    let mut world = World::new(7, Options::default());
    world.act(Act::Apply(pod("a", "app:1")));
    world.run_until(seconds(30)).unwrap();
    assert_eq!(images(&world), ["app:1"]);
    let kind = Cut::Silent;
    world.act(Act::Cut { node: n0(), kind });
    world.act(Act::Apply(pod("a", "app:2")));
    world.act(Act::Reboot { node: n0() });
    world.run_until(seconds(120)).unwrap();
    assert_eq!(images(&world), ["app:1"]);
    world.settle(Duration::from_secs(120)).unwrap();
    assert_eq!(images(&world), ["app:2"]);
}

/// Stores that refuse every write made the shells of the world ask again without a pause.
#[test]
fn a_full_disk_is_no_reason_to_run_in_circles() {
    let mut world = World::new(5, Options::default());
    world.act(Act::Apply(pod("a", "app:1")));
    world.run_until(seconds(20)).unwrap();
    for who in [Who::Cloud, Who::Edge(n0())] {
        let fault = DiskFault::Full;
        world.act(Act::Disk { who, fault });
    }
    world.act(Act::Apply(pod("a", "app:2")));
    world.run_until(seconds(60)).unwrap();
    world.settle(Duration::from_secs(120)).unwrap();
    assert_eq!(images(&world), ["app:2"]);
}

#[test]
fn seeds_that_once_failed() {
    for seed in [5, 9] {
        run(seed).unwrap_or_else(|failure| panic!("{failure}"));
    }
}
