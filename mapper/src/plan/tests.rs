//! The plan of one device, step by step.

use causeway_dmi::BACKOFF_MIN;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn property(name: &str, desired: Option<&str>) -> Property {
    Property {
        name: name.to_owned(),
        is_writable: true,
        desired: desired.map(value),
        collect_cycle: SECOND,
        is_reported: true,
        ..Property::default()
    }
}

fn value(value: &str) -> Value {
    Value {
        value: value.to_owned(),
        ..Value::default()
    }
}

fn spec(properties: Vec<Property>) -> DeviceSpec {
    DeviceSpec {
        name: "t".to_owned(),
        properties,
        ..DeviceSpec::default()
    }
}

/// A device that does what it is told, and a node that listens.
struct World {
    plan: Plan,
    now: Duration,
    values: BTreeMap<String, String>,
    node_is_there: bool,
    told: Vec<String>,
}

impl World {
    fn new(spec: &DeviceSpec) -> Self {
        Self {
            plan: Plan::new(spec, Duration::ZERO),
            now: Duration::ZERO,
            values: BTreeMap::new(),
            node_is_there: true,
            told: Vec::new(),
        }
    }

    /// Does what is to be done until `until`; says what it was, apart from waits and asks.
    fn run(&mut self, until: Duration) -> Vec<String> {
        let mut steps = Vec::new();
        for _ in 0..10_000 {
            let step = self.plan.next(self.now);
            if let Step::Wait { until: next } = step {
                assert!(next > self.now, "a wait that is over at once");
                if next > until {
                    self.now = until;
                    return steps;
                }
                self.now = next;
            } else {
                self.take(step, &mut steps);
            }
        }
        panic!("no end of steps: {steps:?}");
    }

    fn take(&mut self, step: Step, steps: &mut Vec<String>) {
        match step {
            Step::Open => {
                steps.push("open".to_owned());
                self.plan.opened();
            }
            Step::Write { property, value } => {
                steps.push(format!("write {}={}", property.name, value.value));
                self.values
                    .insert(property.name.clone(), value.value.clone());
                self.plan.wrote(&property.name, value, self.now);
            }
            Step::Read { property } => {
                let value = self.values.get(&property.name).cloned().unwrap_or_default();
                self.plan.read(&property.name, value, self.now);
            }
            Step::Ask => self.plan.asked(State::Online, self.now),
            Step::Report { values } if self.node_is_there => {
                self.told.extend(values.iter().map(|(name, taken)| {
                    let observed = taken.observed.as_ref().map(|it| it.value.as_str());
                    let value = taken.value.as_deref().unwrap_or("-");
                    format!("{name}={value} saw {}", observed.unwrap_or("-"))
                }));
                self.plan.told(&values);
            }
            Step::ReportState { state } if self.node_is_there => {
                self.told.push(state.as_str().to_owned());
                self.plan.told_state(state);
            }
            Step::Report { .. } | Step::ReportState { .. } => {
                steps.push("node away".to_owned());
                self.plan.not_told(self.now, 0.0);
            }
            Step::Wait { .. } => unreachable!("waits are taken before"),
        }
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }
}

#[test]
fn a_desired_value_is_written_once_and_reported_with_what_became_of_it() {
    let mut world = World::new(&spec(vec![property("target", Some("20"))]));
    assert_eq!(world.run(SECOND * 5), ["open", "write target=20"]);
    assert_eq!(world.told(), ["online", "target=20 saw 20"]);
    // The device goes its own way: it is reported, and not overruled.
    world.values.insert("target".to_owned(), "25".to_owned());
    assert!(world.run(SECOND * 10).is_empty());
    assert_eq!(world.told(), ["target=25 saw -"]);
}

#[test]
fn a_value_that_stays_is_told_once() {
    let mut world = World::new(&spec(vec![property("a", None), property("b", None)]));
    world.values.insert("a".to_owned(), "1".to_owned());
    world.run(SECOND * 30);
    assert_eq!(world.told(), ["online", "a=1 saw -", "b= saw -"]);
}

#[test]
fn what_the_node_missed_it_is_told_later_and_only_the_latest() {
    let mut world = World::new(&spec(vec![property("a", None)]));
    world.run(SECOND);
    world.told();
    world.node_is_there = false;
    for n in 0..20 {
        world.values.insert("a".to_owned(), n.to_string());
        world.run(SECOND * (2 + n));
    }
    assert!(world.told().is_empty());
    world.node_is_there = true;
    world.run(SECOND * 80);
    assert_eq!(world.told(), ["a=19 saw -"]);
}

#[test]
fn a_value_that_went_back_before_the_node_was_told_is_not_told() {
    let mut world = World::new(&spec(vec![property("a", None)]));
    world.run(SECOND);
    world.told();
    world.node_is_there = false;
    world.values.insert("a".to_owned(), "1".to_owned());
    world.run(SECOND * 3);
    world.values.remove("a");
    world.run(SECOND * 5);
    world.node_is_there = true;
    world.run(SECOND * 80);
    assert!(world.told().is_empty());
}

#[test]
fn a_device_that_broke_is_opened_again_later_and_told_again_what_is_desired() {
    let mut world = World::new(&spec(vec![property("target", Some("20"))]));
    world.run(SECOND * 2);
    world.told();
    world.plan.broke(world.now, 0.5);
    let before = world.now;
    assert_eq!(world.run(SECOND * 4), ["open", "write target=20"]);
    assert!(world.now > before);
    assert_eq!(world.told(), ["offline", "online", "target=- saw 20"]);
}

#[test]
fn a_write_that_fails_does_not_stop_reading() {
    let mut plan = Plan::new(
        &spec(vec![property("a", Some("1")), property("b", None)]),
        Duration::ZERO,
    );
    plan.opened();
    plan.told_state(State::Online);
    plan.refused("a", Duration::ZERO, 0.5);
    let Step::Read { property } = plan.next(Duration::ZERO) else {
        panic!("{:?}", plan.next(Duration::ZERO));
    };
    assert_eq!(property.name, "a");
    plan.read("a", "0".to_owned(), Duration::ZERO);
    let later = plan.next(BACKOFF_MIN);
    assert!(matches!(later, Step::Write { .. }), "{later:?}");
}

#[test]
fn a_new_description_keeps_what_stays() {
    let first = spec(vec![property("target", Some("20")), property("old", None)]);
    let mut world = World::new(&first);
    world.run(SECOND * 2);
    world.told();
    let second = spec(vec![property("target", Some("22")), property("new", None)]);
    assert!(!world.plan.update(&second, world.now), "reached as before");
    assert_eq!(world.run(SECOND * 4), ["write target=22"]);
    assert_eq!(world.told(), ["new= saw -", "target=22 saw 22"]);
}

#[test]
fn what_is_read_only_is_never_written() {
    let mut fixed = property("temperature", Some("20"));
    fixed.is_writable = false;
    let mut world = World::new(&spec(vec![fixed]));
    assert_eq!(world.run(SECOND * 5), ["open"]);
}

#[test]
fn what_is_not_reported_is_not_read() {
    let mut silent = property("a", None);
    silent.is_reported = false;
    let mut world = World::new(&spec(vec![silent]));
    world.run(SECOND * 30);
    assert_eq!(world.told(), ["online"]);
}
