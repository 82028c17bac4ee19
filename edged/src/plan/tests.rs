pub(crate) mod model;
mod properties;

use std::time::Duration;

use serde_json::{Value, json};

use self::model::{World, deleted, pod};
use super::*;
use crate::runtime::ContainerState;

const SHORT: Duration = Duration::from_secs(1);

fn policy(mut pod: Value, policy: &str) -> Value {
    pod["spec"]["restartPolicy"] = policy.into();
    pod
}

fn start(container: &str, attempt: u32) -> Action {
    Action::Start {
        container: container.to_owned(),
        attempt,
    }
}

#[test]
fn a_new_pod_gets_a_sandbox_then_its_containers() {
    let mut world = World::with(&[pod("u1", "web")]);
    assert_eq!(world.step(), [Action::RunSandbox, start("main", 0)]);
    assert_eq!(world.step(), []);
    assert_eq!(world.running("u1"), [("main".to_owned(), 0)]);
}

#[test]
fn volumes_are_written_before_anything_runs_and_again_when_they_change() {
    let mut object = pod("u1", "web");
    object["spec"]["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
    let mut world = World::with(&[object.clone()]);
    assert_eq!(
        world.step(),
        [Action::WriteVolumes, Action::RunSandbox, start("main", 0)]
    );
    assert_eq!(world.step(), []);
    world.observed.pods.get_mut("u1").unwrap().volumes = Some(0);
    assert_eq!(world.step(), [Action::WriteVolumes]);
}

#[test]
fn restart_policies_decide_what_happens_after_the_end() {
    for (restart, code, again) in [
        ("Always", 0, true),
        ("Always", 1, true),
        ("OnFailure", 0, false),
        ("OnFailure", 1, true),
        ("Never", 0, false),
        ("Never", 1, false),
    ] {
        let mut world = World::with(&[policy(pod("u1", "web"), restart)]);
        world.settle();
        world.end("u1", "main", code, SHORT);
        let expected = if again {
            vec![start("main", 1)]
        } else {
            vec![]
        };
        assert_eq!(world.step(), expected, "{restart} after exit {code}");
    }
}

#[test]
fn the_delay_between_restarts_doubles_up_to_its_bound() {
    let mut world = World::with(&[pod("u1", "web")]);
    world.settle();
    for (attempt, delay) in [0, 10, 20, 40, 80, 160, 300, 300].into_iter().enumerate() {
        world.end("u1", "main", 1, SHORT);
        let delay = Duration::from_secs(delay);
        if !delay.is_zero() {
            let plan = world.plan();
            assert_eq!(plan.pods, [], "attempt {attempt}");
            assert_eq!(plan.wake, Some(Moment(world.now.0 + delay)));
            world.pass(delay - Duration::from_millis(1));
            assert_eq!(world.step().len(), 0);
            world.pass(Duration::from_millis(1));
        }
        world.settle();
        assert_eq!(world.running("u1").len(), 1, "attempt {attempt}");
    }
}

#[test]
fn a_long_run_forgives_what_was_before() {
    let mut world = World::with(&[pod("u1", "web")]);
    world.settle();
    for _ in 0..4 {
        world.end("u1", "main", 1, SHORT);
        world.plan();
        world.pass(Duration::from_secs(300));
        world.settle();
    }
    world.end("u1", "main", 1, Duration::from_secs(600));
    assert!(world.step().contains(&start("main", 5)));
    world.end("u1", "main", 1, SHORT);
    assert_eq!(
        world.plan().wake,
        Some(Moment(world.now.0 + Duration::from_secs(10)))
    );
}

#[test]
fn the_backoff_survives_the_loss_of_the_planners_memory() {
    let mut world = World::with(&[pod("u1", "web")]);
    world.settle();
    for _ in 0..3 {
        world.end("u1", "main", 1, SHORT);
        world.plan();
        world.pass(Duration::from_secs(300));
        world.settle();
    }
    world.end("u1", "main", 1, SHORT);
    world.state = PlanState::default();
    assert_eq!(
        world.plan().wake,
        Some(Moment(world.now.0 + Duration::from_secs(40)))
    );
}

/// Attempts that were replaced are no crashes, and what crashed before the change was another thing.
#[test]
fn what_is_changed_starts_with_a_clean_record() {
    for forgets in [false, true] {
        let mut world = World::with(&[pod("u1", "web")]);
        world.settle();
        for _ in 0..5 {
            world.end("u1", "main", 1, SHORT);
            world.plan();
            world.pass(Duration::from_secs(300));
            world.settle();
        }
        for version in 0..5 {
            let mut changed = pod("u1", "web");
            changed["spec"]["containers"][0]["image"] = format!("busybox:{version}").into();
            world.want(&[changed]);
            world.settle();
        }
        world.end("u1", "main", 1, SHORT);
        if forgets {
            world.state = PlanState::default();
        }
        world.settle();
        assert_eq!(world.running("u1"), [("main".to_owned(), 11)]);
        world.end("u1", "main", 1, SHORT);
        let second = world.plan().wake;
        assert_eq!(second, Some(Moment(world.now.0 + Duration::from_secs(10))));
        // How many of the attempts were replaced cannot be told any more.
        world.state = PlanState::default();
        let presumed = world.plan().wake;
        assert_eq!(
            presumed,
            Some(Moment(world.now.0 + Duration::from_secs(40)))
        );
    }
}

#[test]
fn init_containers_run_one_after_the_other_before_the_rest() {
    let mut object = pod("u1", "web");
    object["spec"]["initContainers"] = json!([{"name": "a"}, {"name": "b"}]);
    let mut world = World::with(&[object]);
    assert_eq!(world.step(), [Action::RunSandbox, start("a", 0)]);
    assert_eq!(world.step(), []);
    world.end("u1", "a", 1, SHORT);
    assert_eq!(world.step(), [start("a", 1)]);
    world.end("u1", "a", 0, SHORT);
    assert_eq!(world.step(), [start("b", 0)]);
    world.end("u1", "b", 0, SHORT);
    assert_eq!(world.step(), [start("main", 0)]);
    assert_eq!(world.step(), []);
}

#[test]
fn a_failed_init_container_of_a_pod_that_never_restarts_ends_the_pod() {
    let mut object = policy(pod("u1", "web"), "Never");
    object["spec"]["initContainers"] = json!([{"name": "a"}]);
    let mut world = World::with(&[object]);
    world.settle();
    world.end("u1", "a", 1, SHORT);
    assert_eq!(world.step(), []);
}

#[test]
fn a_sidecar_runs_beside_the_others_and_ends_after_them() {
    let mut object = policy(pod("u1", "web"), "Never");
    object["spec"]["initContainers"] = json!([{"name": "proxy", "restartPolicy": "Always"}]);
    let mut world = World::with(&[object]);
    world.settle();
    assert_eq!(world.running("u1").len(), 2);
    world.end("u1", "proxy", 1, SHORT);
    assert_eq!(world.step(), [start("proxy", 1)]);
    world.end("u1", "main", 0, SHORT);
    world.settle();
    assert_eq!(world.running("u1"), []);
    assert_eq!(world.stopped, [StopReason::PodEnded]);
}

#[test]
fn a_deleted_pod_is_stopped_with_its_grace_then_removed_then_confirmed() {
    let mut world = World::with(&[pod("u1", "web")]);
    world.settle();
    world.want(&[deleted(pod("u1", "web"), 7)]);
    let [
        Action::Stop {
            grace,
            why: StopReason::Deleted,
            ..
        },
    ] = world.step()[..]
    else {
        panic!("not a stop");
    };
    assert_eq!(grace, Duration::from_secs(7));
    assert_eq!(
        world.step(),
        [Action::RemovePod {
            sandbox: Some(SandboxId("u1".to_owned()))
        }]
    );
    assert_eq!(world.step(), [Action::Confirm]);
    assert_eq!(world.step(), []);
    assert_eq!(world.confirmed, ["u1"]);
}

#[test]
fn a_pod_deleted_before_it_ran_is_confirmed_at_once() {
    let mut world = World::with(&[deleted(pod("u1", "web"), 30)]);
    assert_eq!(world.step(), [Action::Confirm]);
}

#[test]
fn what_nobody_wants_is_stopped_and_removed() {
    let mut world = World::with(&[pod("u1", "web")]);
    world.settle();
    world.want(&[]);
    world.settle();
    assert!(world.observed.pods.is_empty());
    assert_eq!(world.stopped, [StopReason::Orphan]);
    assert_eq!(world.confirmed, Vec::<String>::new());
}

#[test]
fn a_new_life_of_a_name_waits_for_the_end_of_the_old_one() {
    let mut world = World::with(&[pod("u1", "web")]);
    world.settle();
    world.want(&[pod("u2", "web")]);
    let plan = world.plan();
    assert!(plan.pods.iter().all(|pod| pod.uid == "u1"), "{plan:?}");
    world.settle();
    assert_eq!(world.running("u2"), [("main".to_owned(), 0)]);
    assert!(!world.observed.pods.contains_key("u1"));
}

/// Steps that were handed out go on after their pod is gone, and start it yet.
#[test]
fn a_new_life_of_a_name_waits_for_steps_that_may_start_the_old_one() {
    let mut world = World::with(&[pod("u1", "web")]);
    let handed_out = world.plan().pods.remove(0);
    let name = ("default".to_owned(), "web".to_owned());
    world.observed.starting.insert("u1".to_owned(), name);
    let wanted_before = world.desired.clone();
    world.want(&[pod("u2", "web")]);
    assert_eq!(world.plan().pods, []);
    let wanted = std::mem::replace(&mut world.desired, wanted_before);
    for action in &handed_out.actions {
        world.act("u1", action);
    }
    world.desired = wanted;
    world.observed.starting.clear();
    world.settle();
    assert_eq!(world.running("u2"), [("main".to_owned(), 0)]);
    assert_eq!(world.stopped, [StopReason::Orphan]);
}

#[test]
fn a_changed_container_is_replaced() {
    let mut world = World::with(&[pod("u1", "web")]);
    world.settle();
    let mut changed = pod("u1", "web");
    changed["spec"]["containers"][0]["image"] = "busybox:2".into();
    world.want(&[changed]);
    world.settle();
    assert_eq!(world.running("u1"), [("main".to_owned(), 1)]);
    assert_eq!(world.stopped, [StopReason::SpecChanged]);
}

#[test]
fn an_unhealthy_container_is_replaced() {
    let mut world = World::with(&[pod("u1", "web")]);
    world.settle();
    let found = &mut world.observed.pods.get_mut("u1").unwrap().containers[0];
    found.health.unhealthy = Some("failed liveness probe: no".to_owned());
    world.settle();
    assert_eq!(world.running("u1"), [("main".to_owned(), 1)]);
}

#[test]
fn a_container_whose_config_is_missing_waits_until_it_appears() {
    let mut object = pod("u1", "web");
    object["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "later"}}]);
    let mut world = World::with(&[object]);
    assert_eq!(world.step(), [Action::RunSandbox]);
    assert_eq!(world.step(), []);
    let healthy = world.desired[0].clone();
    let main = &mut world.desired[0].containers[0];
    main.config = World::with(&[pod("u1", "web")]).desired[0].containers[0]
        .config
        .clone();
    assert_eq!(world.step(), [start("main", 0)]);
    assert!(healthy.containers[0].config.is_err());
}

#[test]
fn a_pod_that_has_ended_is_never_started_again_even_when_its_containers_are_forgotten() {
    let mut object = policy(pod("u1", "web"), "Never");
    object["status"] = json!({"phase": "Succeeded"});
    assert_eq!(World::with(&[object]).step(), []);
}

#[test]
fn only_the_last_two_attempts_are_kept() {
    let mut world = World::with(&[pod("u1", "web")]);
    world.settle();
    for _ in 0..5 {
        world.end("u1", "main", 1, SHORT);
        world.plan();
        world.pass(Duration::from_secs(300));
        world.settle();
    }
    let attempts: Vec<u32> = world.observed.pods["u1"]
        .containers
        .iter()
        .map(|found| found.container.attempt)
        .collect();
    assert_eq!(attempts, [4, 5]);
}

#[test]
fn a_created_container_is_started_not_created_again() {
    let mut world = World::with(&[pod("u1", "web")]);
    world.settle();
    world.observed.pods.get_mut("u1").unwrap().containers[0]
        .container
        .state = ContainerState::Created;
    assert_eq!(world.step(), [start("main", 0)]);
}
