use std::collections::BTreeMap;
use std::time::Duration;

use super::pod::{PodView, status};
use super::*;
use crate::plan::tests::model::{World, deleted, pod};
use crate::pod::NodeFacts;
use crate::runtime::RuntimeInfo;

const SHORT: Duration = Duration::from_secs(1);

/// The status of the only pod of a world, planned for a moment ago.
fn tell(world: &mut World, object: &Value, previous: &Value, now: Timestamp) -> Value {
    let plan = world.plan();
    let node = NodeFacts {
        name: "edge-1".to_owned(),
        address: "127.0.0.1".to_owned(),
    };
    let runtime = RuntimeInfo {
        name: "process",
        version: "1".to_owned(),
        development_only: true,
    };
    let nothing = crate::plan::ObservedPod::default();
    status(&PodView {
        object,
        desired: Ok(&world.desired[0]),
        observed: world.observed.pods.get("u1").unwrap_or(&nothing),
        backing_off: &plan.backing_off,
        failures: &BTreeMap::new(),
        previous,
        node: &node,
        runtime: &runtime,
        now,
    })
}

fn condition_of<'s>(status: &'s Value, kind: &str) -> &'s Value {
    conditions(status)
        .iter()
        .find(|one| one["type"] == kind)
        .unwrap()
}

fn policy(mut object: Value, policy: &str) -> Value {
    object["spec"]["restartPolicy"] = policy.into();
    object
}

#[test]
fn the_phase_follows_the_containers() {
    for (restart, code, phase) in [
        ("Always", 1, "Running"),
        ("Always", 0, "Running"),
        ("OnFailure", 0, "Succeeded"),
        ("OnFailure", 1, "Running"),
        ("Never", 0, "Succeeded"),
        ("Never", 1, "Failed"),
    ] {
        let object = policy(pod("u1", "web"), restart);
        let mut world = World::with(std::slice::from_ref(&object));
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(
            tell(&mut world, &object, &Value::Null, now)["phase"],
            "Pending"
        );
        world.settle();
        assert_eq!(
            tell(&mut world, &object, &Value::Null, now)["phase"],
            "Running"
        );
        world.end("u1", "main", code, SHORT);
        let after = tell(&mut world, &object, &Value::Null, now);
        assert_eq!(after["phase"], phase, "{restart} after exit {code}");
    }
}

#[test]
fn saying_it_again_says_the_same() {
    let object = pod("u1", "web");
    let mut world = World::with(std::slice::from_ref(&object));
    world.settle();
    let first = tell(&mut world, &object, &Value::Null, Timestamp::UNIX_EPOCH);
    let later = Timestamp::from_second(1000).unwrap();
    let second = tell(&mut world, &object, &first, later);
    assert_eq!(first, second);
    assert_eq!(patch(&first, &second, "u1"), None);
}

#[test]
fn a_condition_has_the_time_of_its_last_change() {
    let object = pod("u1", "web");
    let mut world = World::with(std::slice::from_ref(&object));
    world.settle();
    let first = tell(&mut world, &object, &Value::Null, Timestamp::UNIX_EPOCH);
    assert_eq!(
        condition_of(&first, "Ready")["lastTransitionTime"],
        "1970-01-01T00:00:00Z"
    );
    world.end("u1", "main", 1, SHORT);
    let second = tell(
        &mut world,
        &object,
        &first,
        Timestamp::from_second(60).unwrap(),
    );
    assert_eq!(condition_of(&second, "Ready")["status"], "False");
    assert_eq!(
        condition_of(&second, "Ready")["lastTransitionTime"],
        "1970-01-01T00:01:00Z"
    );
    let unchanged = condition_of(&second, "PodScheduled");
    assert_eq!(unchanged["lastTransitionTime"], "1970-01-01T00:00:00Z");
}

#[test]
fn a_crash_loop_shows_what_it_waits_for_and_how_it_ended_before() {
    let object = pod("u1", "web");
    let mut world = World::with(std::slice::from_ref(&object));
    world.settle();
    world.end("u1", "main", 1, SHORT);
    world.settle();
    world.end("u1", "main", 7, SHORT);
    let told = tell(&mut world, &object, &Value::Null, Timestamp::UNIX_EPOCH);
    let container = &told["containerStatuses"][0];
    let waiting = &container["state"]["waiting"];
    assert_eq!(waiting["reason"], "CrashLoopBackOff");
    let message = "back-off 10s restarting failed container=main pod=web_default(u1)";
    assert_eq!(waiting["message"], message);
    assert_eq!(container["lastState"]["terminated"]["exitCode"], 7);
    assert_eq!(container["restartCount"], 1);
}

#[test]
fn conditions_of_others_are_kept() {
    let object = pod("u1", "web");
    let mut world = World::with(std::slice::from_ref(&object));
    world.settle();
    let theirs = json!({"type": "example.com/Gate", "status": "True"});
    let previous = json!({"conditions": [theirs]});
    let told = tell(&mut world, &object, &previous, Timestamp::UNIX_EPOCH);
    assert_eq!(condition_of(&told, "example.com/Gate"), &theirs);
    assert_eq!(conditions(&told).len(), 5);
}

#[test]
fn a_pod_that_ended_by_deletion_is_over() {
    let object = deleted(pod("u1", "web"), 1);
    let mut world = World::with(&[pod("u1", "web")]);
    world.settle();
    world.want(std::slice::from_ref(&object));
    world.step();
    let told = tell(&mut world, &object, &Value::Null, Timestamp::UNIX_EPOCH);
    assert_eq!(told["phase"], "Failed");
}

#[test]
fn a_patch_turns_one_status_into_the_other() {
    let before = json!({"a": 1, "gone": 2, "map": {"x": 1, "y": 2}, "list": [1, 2]});
    let after = json!({"a": 1, "map": {"x": 3}, "list": [3], "new": true});
    let patch = patch(&before, &after, "u1").unwrap();
    let status = &patch["status"];
    assert_eq!(
        *status,
        json!({"gone": null, "map": {"x": 3, "y": null}, "list": [3], "new": true})
    );
    assert_eq!(patch["metadata"]["uid"], "u1");
}

#[test]
fn the_quality_of_service_follows_the_resources() {
    for (resources, class) in [
        (json!({}), "BestEffort"),
        (json!({"requests": {"cpu": "1"}}), "Burstable"),
        (
            json!({"limits": {"cpu": "1", "memory": "1Gi"}}),
            "Guaranteed",
        ),
        (
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}),
            "Burstable",
        ),
    ] {
        let mut object = pod("u1", "web");
        object["spec"]["containers"][0]["resources"] = resources;
        let mut world = World::with(std::slice::from_ref(&object));
        let told = tell(&mut world, &object, &Value::Null, Timestamp::UNIX_EPOCH);
        assert_eq!(told["qosClass"], class);
    }
}
