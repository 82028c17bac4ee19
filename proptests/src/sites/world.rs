//! What can happen, and what must hold once nothing happens any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use causeway_kube_api::{Change, Expected, Write, Written};
use causeway_log::digest::Digest;
use causeway_log::replication::Invariant;
use causeway_log::store::memory::{Disk, Fault};
use causeway_log::{Resource, Store, StreamId};
use causeway_projections::Objects;
use causeway_projections::objects::REJECTED_ANNOTATION;
use causeway_projections::rebuild::rebuild;
use serde_json::{Map, Value};

use super::cloud::{Answer, Cloud};
use super::edge::Edge;
use super::objects::{MAPS, NODES, PODS, key, map, pod};
use super::{Counter, node};

/// More steps than any history needs to come to rest.
const STEPS_MAX: usize = 100_000;

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Act {
    /// The cloud writes a ConfigMap.
    Map(usize, u8),
    /// The cloud makes a pod, unless there is one of the name.
    Pod(usize, usize, usize),
    /// The cloud deletes a ConfigMap.
    DeleteMap(usize),
    /// The cloud deletes a pod at once.
    DeletePod(usize),
    /// A node reports the phase of a pod.
    Report(usize, usize, u8),
    /// A program at a node edits a ConfigMap.
    Edit(usize, usize, u8),
    /// A node dials anew, whatever became of its link.
    Dial(usize),
    /// A node loses its link; the cloud does not notice.
    Cut(usize),
    /// A node loses power.
    CrashEdge(usize),
    /// A node gets an empty disk.
    Wipe(usize),
    /// The cloud loses power.
    CrashCloud,
    /// A disk fails: the cloud's, or that of a node.
    Fail(Option<usize>, Fault),
    /// A disk works again, and its store with it.
    Mend(Option<usize>),
    /// History goes: the cloud's, or that of a node.
    Trim(Option<usize>),
    /// So many steps of whoever has something to do.
    Steps(u8),
}

/// See the module documentation of [`super`].
pub struct World {
    cloud: Option<Cloud>,
    edges: [Edge; 2],
    random: fastrand::Rng,
    links: u64,
    lives: u64,
    /// Writes of ConfigMaps that are not answered.
    asked: Vec<(usize, Option<u8>, Answer<Written>)>,
    /// What was answered last, by ConfigMap.
    promised: BTreeMap<usize, Option<u8>>,
    /// ConfigMaps that an edge has edited too: what they hold in the end is not known here.
    edited: BTreeSet<usize>,
    /// Nodes that have forgotten what they reported; the cloud shows it until they report again.
    wiped: [bool; 2],
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl World {
    /// A world in which nothing has happened; `seed` decides who is next.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let clock = Arc::new(Counter::default());
        Self {
            cloud: Some(Cloud::on(Disk::new(), Arc::clone(&clock))),
            edges: [0, 1].map(|index| Edge::on(index, Disk::new(), Arc::clone(&clock))),
            random: fastrand::Rng::with_seed(seed),
            links: 0,
            lives: 0,
            asked: Vec::new(),
            promised: BTreeMap::new(),
            edited: BTreeSet::new(),
            wiped: [false; 2],
        }
    }

    fn cloud(&mut self) -> &mut Cloud {
        self.cloud.as_mut().expect("there is always a cloud")
    }

    /// One thing happens.
    pub fn act(&mut self, act: &Act) {
        match *act {
            Act::Map(name, value) => self.write_map(name, value),
            Act::Pod(name, at, reads) => self.make_pod(name, at, reads),
            Act::DeleteMap(name) => {
                if let Some(answer) = self.cloud().delete("configmaps", MAPS[name]) {
                    self.asked.push((name, None, answer));
                }
            }
            Act::DeletePod(name) => drop(self.cloud().delete("pods", PODS[name])),
            Act::Report(at, name, phase) => self.edges[at].report(PODS[name], phase),
            Act::Edit(at, name, value) => {
                if self.edges[at].edit(MAPS[name], value) {
                    self.edited.insert(name);
                }
            }
            Act::Dial(at) => self.dial(at),
            Act::Cut(at) => self.edges[at].cut(),
            Act::CrashEdge(at) => self.edges[at].crash(),
            Act::Wipe(at) => {
                self.wiped[at] = true;
                self.edges[at].wipe();
            }
            Act::CrashCloud => {
                let crashed = self.cloud.take().map(Cloud::crash);
                self.cloud = crashed;
                // What was not answered may have been done or not.
                for (name, _, _) in self.asked.drain(..) {
                    self.promised.remove(&name);
                }
            }
            Act::Fail(None, fault) => self.cloud().fail(fault),
            Act::Fail(Some(at), fault) => self.edges[at].fail(fault),
            Act::Mend(None) => self.cloud().mend(),
            Act::Mend(Some(at)) => self.edges[at].mend(),
            Act::Trim(None) => self.cloud().trim(),
            Act::Trim(Some(at)) => self.edges[at].trim(),
            Act::Steps(count) => {
                for _ in 0..count {
                    let parties = 5 + self.cloud().links.len();
                    let party = self.random.usize(0..parties);
                    self.step(party);
                }
            }
        }
    }

    fn write_map(&mut self, name: usize, value: u8) {
        self.lives += 1;
        let fresh = key("configmaps", MAPS[name], self.lives);
        let live = self.cloud().live("configmaps", MAPS[name]);
        let (key, expected) = live.map_or((fresh, Expected::Absent), |(key, at, _)| (key, at));
        let change = Change::Put(map(&key, value));
        let answer = self.cloud().write(Write {
            key,
            expected,
            change,
        });
        self.asked.push((name, Some(value), answer));
    }

    fn make_pod(&mut self, name: usize, at: usize, reads: usize) {
        self.lives += 1;
        let key = key("pods", PODS[name], self.lives);
        let change = Change::Put(pod(&key, NODES[at], MAPS[reads]));
        let expected = Expected::Absent;
        drop(self.cloud().write(Write {
            key,
            expected,
            change,
        }));
    }

    fn dial(&mut self, at: usize) {
        self.links += 1;
        let number = self.links;
        self.edges[at].dial(number);
        self.cloud().accept(number, at);
    }

    /// One party does its next thing: a writer, an edge's link, or one of the cloud's.
    fn step(&mut self, party: usize) -> bool {
        let moved = match party {
            0 => self.cloud().write_step(),
            1 | 2 => self.edges[party - 1].write_step(),
            3 | 4 => self.edge_link_step(party - 3),
            link => self.cloud_link_step(link - 5),
        };
        self.take_answers();
        moved
    }

    fn edge_link_step(&mut self, at: usize) -> bool {
        let number = self.edges[at].link.as_ref().map(|(number, _)| *number);
        let (moved, frames) = self.edges[at].link_step();
        let link = self
            .cloud()
            .links
            .iter_mut()
            .find(|link| Some(link.number) == number);
        match link {
            Some(link) => link.line.inbox.extend(frames),
            // The cloud has let go of it: so does the transport.
            None if number.is_some() => self.edges[at].cut(),
            None => {}
        }
        moved
    }

    fn cloud_link_step(&mut self, at: usize) -> bool {
        if at >= self.cloud().links.len() {
            return false;
        }
        let (number, index) = (self.cloud().links[at].number, self.cloud().links[at].index);
        let (moved, frames) = self.cloud().link_step(at);
        if let Some((of_edge, line)) = &mut self.edges[index].link
            && *of_edge == number
        {
            line.inbox.extend(frames);
        }
        if !moved {
            self.cloud().sweep();
        }
        moved
    }

    fn take_answers(&mut self) {
        let promised = &mut self.promised;
        self.asked.retain_mut(|(name, value, answer)| {
            let answered = answer.try_recv();
            if let Ok(Ok(_)) = answered {
                promised.insert(*name, *value);
            }
            matches!(
                answered,
                Err(tokio::sync::oneshot::error::TryRecvError::Empty)
            )
        });
    }

    /// Nothing goes wrong any more: all links come up and everything comes to rest.
    ///
    /// # Panics
    /// When it does not.
    pub fn heal(&mut self) {
        self.cloud().mend();
        self.edges.iter_mut().for_each(Edge::mend);
        // A session may end for a reason that the next one removes.
        for _ in 0..3 {
            self.dial(0);
            self.dial(1);
            let mut steps = 0;
            while self.round() {
                steps += 1;
                assert!(steps < STEPS_MAX, "the world never comes to rest");
            }
        }
    }

    fn round(&mut self) -> bool {
        let mut moved = false;
        for party in 0..5 + self.cloud().links.len() {
            moved |= self.step(party);
        }
        moved
    }

    /// What must hold at rest.
    ///
    /// # Panics
    /// When it does not.
    pub fn check(&mut self) {
        for at in 0..NODES.len() {
            self.check_digests(at);
            self.check_rebuilt(at);
            self.check_held(at);
        }
        self.check_promises();
        self.check_started_again();
    }

    /// A cloud that starts again shows the same, and writes nothing back that it wrote back before.
    fn check_started_again(&mut self) {
        let before = self.cloud().machine.view().read(shown);
        self.cloud = self.cloud.take().map(Cloud::crash);
        while self.cloud().write_step() {}
        assert_eq!(self.cloud().wrote_back, 0, "written back once more");
        let after = self.cloud().machine.view().read(shown);
        assert_eq!(before, after, "{} in the cloud", Invariant::RebuildEqual);
    }

    fn check_digests(&mut self, at: usize) {
        for stream in [StreamId::down(node(at)), StreamId::up(node(at))] {
            let here = root(&*self.edges[at].store, &stream);
            let there = root(&*self.cloud().store, &stream);
            assert_eq!(here, there, "{}: {stream}", Invariant::DigestsEqual);
        }
    }

    /// PROJ-1: what is served is what a start would serve.
    fn check_rebuilt(&self, at: usize) {
        let streams = [StreamId::down(node(at)), StreamId::up(node(at))];
        let rebuilt = rebuild(&*self.edges[at].store, &streams).expect("memory can be read");
        let served = self.edges[at].view.read(shown);
        assert_eq!(served, shown(&rebuilt), "PROJ-1 at {}", NODES[at]);
    }

    /// A node holds its pods, and what they read, as the cloud has it; and nothing else of these,
    /// but what it edited itself.
    fn check_held(&mut self, at: usize) {
        let cluster = self.cloud().machine.view().read(shown);
        let edited = self.edited.clone();
        let of_node = |object: &Value| object["spec"]["nodeName"] == NODES[at];
        let pods: Vec<&Value> = cluster
            .values()
            .filter(|object| object["kind"] == "Pod" && of_node(object))
            .collect();
        let mut wanted: BTreeMap<String, Value> = BTreeMap::new();
        for pod in &pods {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            wanted.insert(format!("pods/{name}"), (*pod).clone());
            let reads = &pod["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"];
            let reads = format!("configmaps/{}", reads.as_str().unwrap_or_default());
            if let Some(map) = cluster.get(&reads) {
                wanted.insert(reads, map.clone());
            }
        }
        let mut held = self.edges[at].view.read(shown);
        for (index, name) in MAPS.iter().enumerate() {
            let name = format!("configmaps/{name}");
            if edited.contains(&index) && !wanted.contains_key(&name) {
                wanted.extend(held.get(&name).map(|held| (name, held.clone())));
            }
        }
        if self.wiped[at] {
            for pod in held.values_mut().chain(wanted.values_mut()) {
                pod.as_object_mut().map(|pod| pod.remove("status"));
            }
        }
        assert_eq!(held, wanted, "what {} holds", NODES[at]);
    }

    /// Nothing that was answered is lost.
    fn check_promises(&mut self) {
        let cluster = self.cloud().machine.view().read(shown);
        for (name, value) in &self.promised {
            if self.edited.contains(name) {
                continue;
            }
            let found = cluster
                .get(&format!("configmaps/{}", MAPS[*name]))
                .map(|map| {
                    map["data"]["setting"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned()
                });
            let wanted = value.map(|value| value.to_string());
            assert_eq!(found, wanted, "what was promised of {}", MAPS[*name]);
        }
    }
}

fn root(store: &dyn Store, stream: &StreamId) -> Option<String> {
    store.stream(stream).expect("memory can be read")?;
    let digest = Digest::of_stream(store, stream).expect("memory can be read");
    Some(format!("{:?}", digest.root()))
}

/// ConfigMaps and pods, without what differs from store to store.
fn shown(objects: &Objects) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for plural in ["configmaps", "pods"] {
        for entry in objects.list(&Resource::core(plural), None, None) {
            let mut object = entry.object();
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("resourceVersion");
                strip_refusal(metadata);
            }
            all.insert(format!("{plural}/{}", entry.key().name), object);
        }
    }
    all
}

/// That a request was refused is told at the edge only.
fn strip_refusal(metadata: &mut Map<String, Value>) {
    let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    annotations.remove(REJECTED_ANNOTATION);
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
}
