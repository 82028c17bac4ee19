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

/// The edge said that it held what its disk then took back: the cloud never sent it again.
#[test]
fn what_a_failing_disk_takes_back_is_sent_again() {
    for who in [Who::Edge(n0()), Who::Cloud] {
        let mut world = World::new(97, Options::default());
        world.act(Act::Apply(pod("a", "app:1")));
        world.run_until(seconds(30)).unwrap();
        let kind = Cut::Reset;
        world.act(Act::Cut { node: n0(), kind });
        world.act(Act::Apply(pod("a", "app:2")));
        world.run_until(seconds(35)).unwrap();
        let fault = DiskFault::SyncFails;
        let on = who.clone();
        world.act(Act::Disk { who: on, fault });
        world.act(Act::Heal { node: n0() });
        world.run_until(seconds(70)).unwrap();
        let fault = DiskFault::Heal;
        world.act(Act::Disk { who, fault });
        world.settle(Duration::from_secs(120)).unwrap();
        assert_eq!(images(&world), ["app:2"]);
    }
}

/// The edge had buried the pod for good, and the cloud refused an end that it knew nothing of.
#[test]
fn a_pod_whose_deletion_the_cloud_forgot_runs_again() {
    let mut world = World::new(83, Options::default());
    world.act(Act::Apply(pod("a", "app:1")));
    world.run_until(seconds(30)).unwrap();
    world.act(Act::Snapshot { who: Who::Cloud });
    let delete = || Act::Delete {
        resource: "pods".to_owned(),
        namespace: "default".to_owned(),
        name: "a".to_owned(),
        grace: None,
    };
    world.act(delete());
    world.run_until(seconds(60)).unwrap();
    assert_eq!(images(&world), Vec::<String>::new());
    world.act(Act::Restore { who: Who::Cloud });
    world.run_until(seconds(180)).unwrap();
    assert_eq!(images(&world), ["app:1"]);
    world.act(delete());
    world.settle(Duration::from_secs(120)).unwrap();
    assert_eq!(images(&world), Vec::<String>::new());
    assert!(world.cloud_objects().iter().all(|one| one["kind"] != "Pod"));
}

/// Steps that had been handed out started the first pod after the second one ran.
#[test]
fn a_pod_deleted_at_once_does_not_start_beside_the_next_of_its_name() {
    for moment in 0..40 {
        let mut world = World::new(moment, Options::default());
        world.run_until(seconds(30)).unwrap();
        world.act(Act::Apply(pod("a", "app:1")));
        world.act(Act::Delete {
            resource: "pods".to_owned(),
            namespace: "default".to_owned(),
            name: "a".to_owned(),
            grace: Some(0),
        });
        world.act(Act::Apply(pod("a", "app:2")));
        world.run_until(seconds(60)).unwrap();
        assert_eq!(images(&world), ["app:2"]);
    }
}

/// An edge whose call the cloud had taken, and died, never called again.
#[test]
fn an_edge_calls_again_when_the_cloud_dies_as_it_answers() {
    let slow = Options {
        delay: Duration::from_millis(200),
        ..Options::default()
    };
    for millis in (50..1000).step_by(50) {
        let mut world = World::new(13, slow.clone());
        world
            .run_until(Moment(Duration::from_millis(millis)))
            .unwrap();
        let who = Who::Cloud;
        world.act(Act::Kill { who });
        world.settle(Duration::from_secs(120)).unwrap();
    }
}

/// A kubelet that was to wait a moment before it asked again never asked again.
#[test]
fn the_end_of_a_pod_is_told_after_a_disk_refused_it() {
    let mut world = World::new(30, Options::default());
    world.act(Act::Apply(pod("a", "app:1")));
    world.run_until(seconds(30)).unwrap();
    let kind = Cut::Silent;
    world.act(Act::Delete {
        resource: "pods".to_owned(),
        namespace: "default".to_owned(),
        name: "a".to_owned(),
        grace: None,
    });
    world
        .run_until(Moment(Duration::from_millis(30_300)))
        .unwrap();
    world.act(Act::Cut { node: n0(), kind });
    let who = Who::Edge(n0());
    let fault = DiskFault::Full;
    world.act(Act::Disk { who, fault });
    world.run_until(seconds(60)).unwrap();
    let who = Who::Edge(n0());
    let fault = DiskFault::Heal;
    world.act(Act::Disk { who, fault });
    world.run_until(seconds(240)).unwrap();
    world.settle(Duration::from_secs(120)).unwrap();
    assert_eq!(images(&world), Vec::<String>::new());
}

/// A store that only a trim found broken was never tried again, so nobody could connect.
#[test]
fn a_store_that_a_trim_found_broken_is_tried_again() {
    run(5209).unwrap_or_else(|failure| panic!("{failure}"));
}

/// What a node held as its disk was put back was owed to a cloud that was put back later, though the
/// two had agreed on it before, and the cloud had let it go.
#[test]
fn facts_of_before_a_disk_was_put_back_are_owed_to_nobody() {
    let mut world = World::new(
        765,
        Options {
            trim_every: Duration::from_secs(5),
            history: 80,
            ..Options::default()
        },
    );
    world.run_until(seconds(20)).unwrap();
    // The cloud keeps the last record of the stream.
    for name in ["seen", "last"] {
        let (node, name) = (n0(), name.to_owned());
        world.act(Act::EdgeEvent { node, name });
    }
    world.run_until(seconds(30)).unwrap();
    let edge = || Who::Edge(n0());
    world.act(Act::Snapshot { who: edge() });
    world.act(Act::Restore { who: edge() });
    for edit in 0..100 {
        // No pod of the node refers to it: the cloud alone keeps a history of it.
        world.act(Act::Apply(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "c", "namespace": "default"},
            "data": {"edit": edit.to_string()},
        })));
        world.run_until(seconds(31 + edit)).unwrap();
    }
    world.act(Act::Snapshot { who: Who::Cloud });
    world.act(Act::Restore { who: Who::Cloud });
    world.run_until(seconds(150)).unwrap();
    world.act(Act::Kill { who: edge() });
    world.settle(Duration::from_secs(120)).unwrap();
}

/// A shorter freeze within a longer one ended it, but for what already waited for its end.
#[test]
fn a_freeze_within_a_freeze_does_not_shorten_it() {
    run(297).unwrap_or_else(|failure| panic!("{failure}"));
}

/// One of each cause, and the ones that took the longest: what was wrong is named above, or here.
///
/// 5962: an edge was killed as its disk took the batch that opened the stream of a restored cloud
/// anew. The check of SYNC-2, which had not seen it, took the new offsets for those of the old epoch.
///
/// 6271: an edge got an old disk back and asked once more what had been refused. The cloud took it for
/// the successor of a request that it had accepted later.
///
/// 185: a report waited for the disk that took its Device, and was of a device that nobody knew to
/// the check of TWIN-5.
///
/// 680: a disk failed as it took readings that were sent on. The edge looked for them again before
/// the disk was whole, found none, and forgot them until its next start.
///
/// 634: the store let go of the deletion of a model, and with it of when its devices changed last.
///
/// 257, 1124: a node was sent a ConfigMap, told to drop it, and sent it again. Started anew, it knew
/// since when the ConfigMap had been there last; when it went again, before the start or after, a
/// client that had it from the first time passed for one that had never seen it.
///
/// 765: the same as of facts that are owed to nobody, above.
///
/// 2814: a cloud started on a disk that takes no writes, had something to write at its start, and said
/// so. The check of LOUD-1 knew only of stores that are written to later.
///
/// 20372: a request waited and covered up what the cloud had changed since. The next write at the edge
/// was made on what the request said, and named the newest version: it undid that change.
///
/// 4684: a disk failed as it took the deletion of a ConfigMap that a node had edited. With the round
/// it was forgotten who kept the ConfigMap: deleted at last, it stayed at that node.
///
/// 5737, 7967: a disk was wiped, and the end of a pod came with a reconcile. It had a lower offset
/// than reports of the epoch before, and passed for older than they were.
///
/// 6771, 7447, 8821: a node never heard that facts had arrived and, as it had let go of the last
/// record that the cloud named, reconciled. It sent those again that the cloud had taken and let go.
#[test]
fn seeds_that_once_failed() {
    for seed in [
        83, 97, 111, 185, 257, 389, 634, 680, 722, 765, 846, 849, 1124, 2814, 4684, 5737, 5962,
        6271, 6771, 7447, 7967, 8821, 20372,
    ] {
        run(seed).unwrap_or_else(|failure| panic!("{failure}"));
    }
}
