//! Against a cluster that is a map: whatever the order in which lists, watches and answers come,
//! and whatever breaks in between, the mirror becomes what the nodes need of the cluster.

use std::collections::{BTreeMap, BTreeSet};

use causeway_log::store::memory::Fault;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::rig::Rig;

const KINDS: [&str; 6] = [
    "nodes",
    "pods",
    "configmaps",
    "services",
    "devices",
    "devicemodels",
];
const DEVICES: usize = 4;
const NAMESPACES: [&str; 2] = ["shop", "bank"];

#[derive(Clone, Debug)]
enum Do {
    /// An object is made or changed.
    Set(usize, u8, u8),
    Remove(usize, u8),
    /// Changes of a kind come in.
    Deliver(usize, u8),
    /// The last change comes again.
    Repeat(usize),
    /// A list begins, or begins again.
    List(usize),
    /// Objects of the list come in, and its end after the last one.
    Page(usize, u8),
    /// What is wanted is asked for; the answers are of this moment and come later.
    Ask,
    Answer(u8),
    /// The disk fails, and all begins again.
    Fail,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Do>> {
    let kind = 0..KINDS.len();
    let step = prop_oneof![
        8 => (kind.clone(), 0..4_u8, any::<u8>()).prop_map(|(k, n, c)| Do::Set(k, n, c)),
        2 => (kind.clone(), 0..4_u8).prop_map(|(k, n)| Do::Remove(k, n)),
        6 => (kind.clone(), 1..5_u8).prop_map(|(k, n)| Do::Deliver(k, n)),
        1 => kind.clone().prop_map(Do::Repeat),
        1 => kind.clone().prop_map(Do::List),
        4 => (kind, 0..4_u8).prop_map(|(k, n)| Do::Page(k, n)),
        3 => Just(Do::Ask),
        3 => any::<u8>().prop_map(Do::Answer),
        1 => Just(Do::Fail),
        1 => Just(Do::Crash),
    ];
    prop::collection::vec(step, 0..60)
}

/// One object: life, version, content.
#[derive(Clone, Copy, Debug)]
struct Object(u64, u64, u8);

#[derive(Default)]
struct Kind {
    objects: BTreeMap<u8, Object>,
    /// Everything that ever happened.
    changes: Vec<Seen>,
    /// How far its watch has got; `None`: it must list.
    place: Option<usize>,
    /// What a list under way has still to show, and from where its watch goes on.
    list: Option<(Vec<Seen>, usize)>,
}

struct World {
    rig: Rig,
    version: u64,
    kinds: [Kind; 6],
    answers: Vec<Seen>,
}

fn name(kind: usize, index: u8) -> (String, &'static str) {
    let namespace = match KINDS[kind] {
        "nodes" => "",
        _ => NAMESPACES[usize::from(index) % 2],
    };
    let names = ["n", "p", "m", "s", "d", "m"];
    (format!("{}{index}", names[kind]), namespace)
}

fn key_of(kind: usize, index: u8, life: u64) -> Key {
    let (name, namespace) = name(kind, index);
    key(KINDS[kind], namespace, &name, life)
}

/// The node that a pod or a device is bound to, and the map or model that it names.
fn bound(content: u8) -> (String, u8) {
    (format!("n{}", content % 4), (content / 4) % 4)
}

fn body(kind: usize, content: u8) -> Value {
    match KINDS[kind] {
        "nodes" if content.is_multiple_of(2) => json!({"metadata": {"labels": {EDGE_LABEL: ""}}}),
        "pods" => {
            let (node, map) = bound(content);
            json!({"spec": {"nodeName": node,
                "containers": [{"envFrom": [{"configMapRef": {"name": format!("m{map}")}}]}]}})
        }
        "devices" => {
            let (node, model) = bound(content);
            json!({"spec": {"nodeName": node, "deviceModelRef": {"name": format!("m{model}")}}})
        }
        _ => json!({"data": content}),
    }
}

fn seen(kind: usize, index: u8, Object(life, version, content): Object) -> Seen {
    present(&key_of(kind, index, life), body(kind, content), version)
}

impl World {
    fn new() -> Self {
        Self {
            rig: Rig::mirror(),
            version: 0,
            kinds: Default::default(),
            answers: Vec::new(),
        }
    }

    fn step(&mut self, step: Do) {
        match step {
            Do::Set(kind, index, content) => self.set(kind, index, content),
            Do::Remove(kind, index) => {
                if let Some(Object(life, ..)) = self.kinds[kind].objects.remove(&index) {
                    let key = key_of(kind, index, life);
                    self.kinds[kind].changes.push(Seen::Gone { key });
                }
            }
            Do::Deliver(kind, count) => self.deliver(kind, count.into()),
            Do::Repeat(kind) => {
                let last = self.kinds[kind]
                    .place
                    .and_then(|place| place.checked_sub(1));
                if let Some(last) = last {
                    let again = self.kinds[kind].changes[last].clone();
                    self.see(vec![again]);
                }
            }
            Do::List(kind) => self.list(kind),
            Do::Page(kind, count) => self.page(kind, count.into()),
            Do::Ask => self.ask(),
            Do::Answer(which) => {
                if !self.answers.is_empty() {
                    let which = usize::from(which) % self.answers.len();
                    let answer = self.answers.remove(which);
                    self.see(vec![answer]);
                }
            }
            Do::Fail => self.fail(),
            Do::Crash => self.restart(),
        }
    }

    /// What comes in next is not taken in.
    fn fail(&mut self) {
        self.rig.disk.set_fault(Fault::Full);
        let next: Vec<Seen> = (0..KINDS.len())
            .flat_map(|kind| {
                let Kind { changes, place, .. } = &self.kinds[kind];
                changes[place.unwrap_or(changes.len())..].to_vec()
            })
            .collect();
        self.rig.see(next);
        self.restart();
    }

    /// The process ends and begins again: questions and watches are gone.
    fn restart(&mut self) {
        let rig = std::mem::replace(&mut self.rig, Rig::mirror());
        rig.disk.heal();
        self.rig = rig.crash();
        self.answers.clear();
        for kind in &mut self.kinds {
            (kind.place, kind.list) = (None, None);
        }
    }

    fn set(&mut self, kind: usize, index: u8, content: u8) {
        self.version += 1;
        let version = self.version;
        let objects = &mut self.kinds[kind].objects;
        // Where a pod is bound never changes in its life.
        let content = match objects.get(&index) {
            Some(Object(.., before)) if KINDS[kind] == "pods" => before % 16 + content / 16 * 16,
            _ => content,
        };
        let object = objects
            .entry(index)
            .or_insert(Object(version, version, content));
        (object.1, object.2) = (version, content);
        let change = seen(kind, index, *object);
        self.kinds[kind].changes.push(change);
    }

    fn see(&mut self, seen: Vec<Seen>) {
        assert!(self.rig.see(seen));
    }

    fn deliver(&mut self, kind: usize, count: usize) {
        let Kind {
            changes,
            place,
            list,
            ..
        } = &mut self.kinds[kind];
        let Some(from) = place.filter(|_| list.is_none()) else {
            return;
        };
        let upto = changes.len().min(from + count);
        *place = Some(upto);
        let seen = changes[from..upto].to_vec();
        self.see(seen);
    }

    fn list(&mut self, kind: usize) {
        let all = self.kinds[kind].objects.iter();
        let all = all.map(|(index, object)| seen(kind, *index, *object));
        let list = (all.collect(), self.kinds[kind].changes.len());
        self.kinds[kind].list = Some(list);
        let resource = resource(KINDS[kind]);
        self.see(vec![Seen::Listing { resource }]);
    }

    fn page(&mut self, kind: usize, count: usize) {
        let Some((rest, after)) = &mut self.kinds[kind].list else {
            return;
        };
        let mut seen: Vec<Seen> = rest.drain(..count.min(rest.len())).collect();
        if rest.is_empty() {
            let after = *after;
            seen.push(Seen::Listed {
                resource: resource(KINDS[kind]),
            });
            (self.kinds[kind].list, self.kinds[kind].place) = (None, Some(after));
        }
        self.see(seen);
    }

    fn ask(&mut self) {
        for want in self.rig.machine.mirror().unwrap().take_wants() {
            let objects = |kind: usize| self.kinds[kind].objects.iter();
            let answers: Vec<Seen> = match &want {
                Want::Object(wanted) => {
                    let kind = KINDS.iter().position(|k| resource(k) == wanted.resource);
                    let found = kind.and_then(|kind| {
                        let mut all = objects(kind).map(|(index, object)| {
                            let Object(life, ..) = *object;
                            (key_of(kind, *index, life), seen(kind, *index, *object))
                        });
                        all.find(|(key, _)| Name::of(key) == *wanted)
                    });
                    let absent = || Seen::Absent {
                        name: wanted.clone(),
                    };
                    vec![found.map_or_else(absent, |(_, seen)| seen)]
                }
                Want::Pods(node) => objects(1)
                    .filter(|(_, Object(.., content))| bound(*content).0 == node.as_str())
                    .map(|(index, object)| seen(1, *index, *object))
                    .collect(),
                Want::Network(namespace) => objects(3)
                    .filter(|(index, _)| name(3, **index).1 == &**namespace)
                    .map(|(index, object)| seen(3, *index, *object))
                    .collect(),
                Want::Devices => {
                    self.list(DEVICES);
                    Vec::new()
                }
                Want::Group(_) => Vec::new(),
            };
            self.answers.extend(answers);
        }
    }

    /// Everything that is under way arrives.
    fn settle(&mut self) {
        for kind in 0..KINDS.len() {
            if self.kinds[kind].place.is_none() && self.kinds[kind].list.is_none() {
                self.list(kind);
            }
        }
        loop {
            for kind in 0..KINDS.len() {
                self.page(kind, usize::MAX);
                self.deliver(kind, usize::MAX / 2);
            }
            self.ask();
            let answers = std::mem::take(&mut self.answers);
            if answers.is_empty() && self.kinds.iter().all(|kind| kind.list.is_none()) {
                return;
            }
            self.see(answers);
        }
    }

    /// What the nodes need, from the rules as they are written down.
    fn needed(&self) -> BTreeSet<(Key, u8)> {
        let objects = |kind: usize| {
            let objects = self.kinds[kind].objects.iter();
            objects.map(move |(index, Object(life, _, content))| {
                (*index, key_of(kind, *index, *life), *content)
            })
        };
        let nodes: BTreeSet<(Key, u8)> = objects(0)
            .filter(|(_, _, content)| content.is_multiple_of(2))
            .map(|(_, key, content)| (key, content))
            .collect();
        let is_ours = |node: &str| nodes.iter().any(|(key, _)| &*key.name == node);
        let pods: Vec<(u8, Key, u8)> = objects(1)
            .filter(|(_, _, content)| is_ours(&bound(*content).0))
            .collect();
        let maps = objects(2).filter(|(index, key, _)| {
            let mut by = pods.iter();
            by.any(|pod| bound(pod.2).1 == *index && pod.1.namespace == key.namespace)
        });
        let services = objects(3)
            .filter(|(_, key, _)| pods.iter().any(|pod| pod.1.namespace == key.namespace));
        let devices: Vec<(u8, Key, u8)> = objects(DEVICES)
            .filter(|(_, _, content)| is_ours(&bound(*content).0))
            .collect();
        let models = objects(5).filter(|(index, key, _)| {
            let mut of = devices.iter();
            of.any(|device| bound(device.2).1 == *index && device.1.namespace == key.namespace)
        });
        let others = maps.chain(services).chain(models);
        let others = others.chain(devices.iter().cloned());
        let others = others.map(|(_, key, content)| (key, content));
        let mut needed: BTreeSet<(Key, u8)> = others.collect();
        needed.extend(pods.iter().map(|(_, key, content)| (key.clone(), *content)));
        needed.extend(nodes);
        needed
    }

    fn held(&self) -> BTreeSet<Key> {
        self.rig.machine.view().read(|objects| {
            let all = objects
                .resources()
                .flat_map(|r| objects.list(r, None, None));
            all.map(|entry| entry.key().clone()).collect()
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_mirror_becomes_what_nodes_need_of_the_cluster(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.settle();
        let needed = world.needed();
        let keys: BTreeSet<Key> = needed.iter().map(|(key, _)| key.clone()).collect();
        prop_assert_eq!(world.held(), keys);
        for (key, content) in &needed {
            let kind = KINDS.iter().position(|kind| resource(kind) == key.resource).unwrap();
            let object = world.rig.get(key).unwrap();
            for (field, value) in body(kind, *content).as_object().unwrap() {
                if field != "metadata" {
                    prop_assert_eq!(&object[field], value);
                }
            }
        }
        // Nothing is written when all of it is seen again, nor after a restart.
        let before = world.rig.store.watermarks().durable;
        for kind in 0..KINDS.len() {
            world.list(kind);
        }
        world.settle();
        prop_assert_eq!(world.rig.store.watermarks().durable, before);
        world.restart();
        world.settle();
        prop_assert_eq!(world.rig.store.watermarks().durable, before);
    }
}
