//! PLAN-1, PLAN-2 and PLAN-3 under any sequence of events: of pods, of the config they read, of
//! containers, of edged itself.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::model::{World, deleted, pod};
use crate::plan::{Observed, ObservedContainer, Plan, plan_names};
use crate::pod::{ConfigKind, ConfigRef, DesiredPod, RestartPolicy, hash_all};
use crate::run::found_name;

/// Something that happens to the world.
#[derive(Clone, Debug)]
enum Happening {
    /// The API wants this life of this name, with these traits, instead of what it wanted before.
    Want { name: u8, life: u8, traits: u16 },
    /// A ConfigMap has this content, is gone, or nothing is known of it.
    Config { name: u8, known: Option<Option<u8>> },
    /// The API deletes a pod gracefully.
    Delete { name: u8 },
    /// The API does not know a pod any more.
    Forget { name: u8 },
    /// Some container that runs ends.
    End { pick: u8, code: i32, seconds: u64 },
    /// edged is started anew.
    Restart,
    /// Time goes by.
    Pass { seconds: u64 },
    /// Some of the planned steps are done; the rest is lost.
    Steps { count: u8, twice: bool },
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0..2_u8, 0..3_u8, any::<u16>()).prop_map(|(name, life, traits)| Happening::Want {
            name,
            life,
            traits
        }),
        (0..2_u8, prop::option::of(prop::option::of(0..3_u8)))
            .prop_map(|(name, known)| Happening::Config { name, known }),
        (0..2_u8).prop_map(|name| Happening::Delete { name }),
        (0..2_u8).prop_map(|name| Happening::Forget { name }),
        (any::<u8>(), 0..2_i32, 0..900_u64).prop_map(|(pick, code, seconds)| Happening::End {
            pick,
            code,
            seconds
        }),
        Just(Happening::Restart),
        (0..400_u64).prop_map(|seconds| Happening::Pass { seconds }),
        (0..6_u8, any::<bool>()).prop_map(|(count, twice)| Happening::Steps { count, twice }),
    ]
}

/// What the API wants, kept beside the world so that it can be changed pod by pod.
#[derive(Default)]
struct Api(BTreeMap<u8, Value>);

impl Api {
    fn want(&mut self, name: u8, life: u8, traits: u16) {
        let mut object = pod(&format!("u{name}{life}"), &format!("pod-{name}"));
        let policies = ["Always", "OnFailure", "Never"];
        object["spec"]["restartPolicy"] = policies[usize::from(traits % 3)].into();
        if traits & 4 != 0 {
            object["spec"]["initContainers"] = json!([{"name": "first"}]);
        }
        if traits & 8 != 0 {
            object["spec"]["containers"][0]["image"] = "other".into();
        }
        if traits & 16 != 0 {
            object["spec"]["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
        }
        if traits & 32 != 0 {
            let containers = object["spec"]["containers"].as_array_mut().unwrap();
            containers.push(json!({"name": "second"}));
        }
        let optional = traits & 64 != 0;
        if traits & 128 != 0 {
            object["spec"]["containers"][0]["envFrom"] =
                json!([{"configMapRef": {"name": "config-0", "optional": optional}}]);
        }
        if traits & 256 != 0 {
            let volume =
                json!({"name": "config", "configMap": {"name": "config-1", "optional": optional}});
            let volumes = object["spec"].as_object_mut().unwrap().entry("volumes");
            let volumes = volumes.or_insert_with(|| json!([])).as_array_mut().unwrap();
            volumes.push(volume);
        }
        self.0.insert(name, object);
    }
}

fn learn(world: &mut World, name: u8, known: Option<Option<u8>>) {
    let reference = ConfigRef {
        kind: ConfigKind::ConfigMap,
        namespace: "default".to_owned(),
        name: format!("config-{name}"),
    };
    let data = |value: u8| [("key".to_owned(), vec![value].into())].into();
    match known {
        None => world.configs.known.remove(&reference),
        Some(content) => world.configs.known.insert(reference, content.map(data)),
    };
}

/// Whether a pod that keeps running does, as its objects say now.
fn runs(world: &World, pod: &DesiredPod) -> bool {
    let (Some(found), Ok(volumes)) = (world.observed.pods.get(&pod.uid), &pod.volumes) else {
        return false;
    };
    let is_running = |container: &&ObservedContainer| container.runs();
    let runs = pod.containers.iter().all(|container| {
        let mut running = found.containers.iter().filter(is_running);
        running.any(|one| {
            one.container.name == container.name && one.container.spec_hash == container.spec_hash
        })
    });
    runs && (volumes.is_empty() || found.volumes == Some(hash_all(volumes)))
}

fn happen(world: &mut World, api: &mut Api, happening: &Happening) {
    match happening {
        Happening::Want { name, life, traits } => api.want(*name, *life, *traits),
        Happening::Config { name, known } => learn(world, *name, *known),
        Happening::Delete { name } => {
            if let Some(object) = api.0.get_mut(name) {
                *object = deleted(object.clone(), 5);
            }
        }
        Happening::Forget { name } => {
            api.0.remove(name);
        }
        Happening::End {
            pick,
            code,
            seconds,
        } => {
            let uids: Vec<String> = world.observed.pods.keys().cloned().collect();
            let running: Vec<(String, String)> = uids
                .iter()
                .flat_map(|uid| {
                    world
                        .running(uid)
                        .into_iter()
                        .map(|(name, _)| (uid.clone(), name))
                })
                .collect();
            if !running.is_empty() {
                let (uid, name) = &running[usize::from(*pick) % running.len()];
                world.end(uid, name, *code, Duration::from_secs(*seconds));
            }
        }
        Happening::Restart => world.state = super::PlanState::default(),
        Happening::Pass { seconds } => world.pass(Duration::from_secs(*seconds)),
        Happening::Steps { count, twice } => {
            let plan = world.plan();
            let steps = plan
                .pods
                .iter()
                .flat_map(|pod| pod.actions.iter().map(|step| (&pod.uid, step)));
            // The steps of a pod end with the first that is lost.
            for (uid, step) in steps.take(usize::from(*count)) {
                world.act(uid, step);
                world.check();
                if *twice {
                    let once = format!("{:?}", world.observed);
                    world.act(uid, step);
                    assert_eq!(format!("{:?}", world.observed), once, "PLAN-2: {step:?}");
                }
            }
            api.0.retain(|_, object| {
                !world
                    .confirmed
                    .iter()
                    .any(|uid| object["metadata"]["uid"] == uid.as_str())
            });
        }
    }
    let wanted: Vec<Value> = api.0.values().cloned().collect();
    world.want(&wanted);
}

/// What [`plan`] says, in the order of uids.
fn whole(world: &World) -> Plan {
    let mut plan = world.clone().plan();
    plan.pods.sort_by(|a, b| a.uid.cmp(&b.uid));
    plan
}

/// What planning each name for itself says.
fn by_name(world: &World) -> Plan {
    let mut names: BTreeMap<(String, String), (Vec<DesiredPod>, Observed)> = BTreeMap::new();
    for pod in &world.desired {
        let name = (pod.namespace.clone(), pod.name.clone());
        names.entry(name).or_default().0.push(pod.clone());
    }
    for (uid, found) in &world.observed.pods {
        let desired = world.desired.iter().find(|pod| pod.uid == *uid);
        let wanted = desired.map(|pod| (pod.namespace.clone(), pod.name.clone()));
        let name = wanted.unwrap_or_else(|| found_name(uid, found.sandbox.as_ref()));
        let (_, observed) = names.entry(name).or_default();
        observed.pods.insert(uid.clone(), found.clone());
    }
    let (mut all, mut state) = (Plan::default(), world.state.clone());
    for (desired, observed) in names.values() {
        let plan = plan_names(desired, observed, world.now, &world.timing, &mut state);
        all.pods.extend(plan.pods);
        all.backing_off.extend(plan.backing_off);
        all.wake = [all.wake, plan.wake].into_iter().flatten().min();
    }
    all.pods.sort_by(|a, b| a.uid.cmp(&b.uid));
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_the_rules_and_comes_to_rest(
        history in prop::collection::vec(happening(), 1..60),
    ) {
        let (mut world, mut api) = (World::default(), Api::default());
        for happening in &history {
            happen(&mut world, &mut api, happening);
            // PLAN-3
            world.check();
            prop_assert_eq!(by_name(&world), whole(&world));
        }
        // Nothing happens any more: containers that were waited for come, then there is rest.
        for _ in 0..4 {
            world.settle();
            world.check();
            world.pass(Duration::from_secs(300));
        }
        prop_assert_eq!(world.step(), vec![], "PLAN-1");
        for pod in &world.desired {
            prop_assert!(pod.deletion.is_none(), "a deleted pod was never confirmed");
            let is_known = pod.volumes.is_ok()
                && pod.containers.iter().all(|container| container.config.is_ok());
            if is_known && pod.restart == RestartPolicy::Always && pod.init.is_empty() {
                prop_assert!(runs(&world, pod), "{} does not run as it should", pod.name);
            }
        }
        for uid in world.observed.pods.keys() {
            prop_assert!(world.desired.iter().any(|pod| pod.uid == *uid), "an orphan is left");
        }
    }
}
