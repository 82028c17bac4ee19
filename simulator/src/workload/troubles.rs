//! What goes wrong, or is done, as a whole: each kind from a stream of its own, so that one more
//! changes nothing of the others.

use std::time::Duration;

use causeway_log::NodeName;
use causeway_log::wire::PROTOCOL_VERSION;
use serde_json::json;

use super::faults::break_disk;
use crate::rng::{Purpose, stream};
use crate::world::{Act, DiskFault, Options, Who};

type Acts = Vec<(Duration, Act)>;

/// How often each kind happens, on average.
const EVERY: Duration = Duration::from_secs(120);
/// Events are written that often.
const FACTS_EVERY: Duration = Duration::from_secs(10);

pub(super) fn draw(seed: u64, options: &Options, nodes: &[NodeName], acts: &mut Acts) {
    let mut some = |is_on: bool, purpose, every, one: One| {
        if is_on {
            let mut random = stream(seed, purpose);
            let count = 1 + options.safety.as_millis() / Duration::as_millis(&every);
            for _ in 0..count {
                let at = options.safety.mul_f64(random.f64());
                one(at, nodes, &mut random, acts);
            }
        }
    };
    some(options.freezes, Purpose::Freezes, EVERY, freeze);
    some(options.storms, Purpose::Storms, EVERY, storm);
    some(options.rolls, Purpose::Rolls, EVERY, roll);
    some(options.releases, Purpose::Releases, EVERY, release);
    some(options.facts, Purpose::Facts, FACTS_EVERY, fact);
    some(options.rollouts, Purpose::Rollouts, EVERY, rollout);
    some(options.misreads, Purpose::Reads, EVERY, misread);
    some(options.mangles, Purpose::Mangles, EVERY, mangle);
}

type One = fn(Duration, &[NodeName], &mut fastrand::Rng, &mut Acts);

fn millis(random: &mut fastrand::Rng, most: u64) -> Duration {
    Duration::from_millis(random.u64(1..=most))
}

/// One time in so many the cloud, otherwise one of the edges.
fn cloud_or_edge(one_in: u32, nodes: &[NodeName], random: &mut fastrand::Rng) -> Who {
    match random.u32(..one_in) {
        0 => Who::Cloud,
        _ => Who::Edge(nodes[random.usize(..nodes.len())].clone()),
    }
}

fn freeze(at: Duration, nodes: &[NodeName], random: &mut fastrand::Rng, acts: &mut Acts) {
    let node = nodes[random.usize(..nodes.len())].clone();
    let who = match random.u32(..3) {
        0 => Who::Cloud,
        1 => Who::Edge(node),
        _ => Who::Edged(node),
    };
    let lasts = millis(random, 60_000);
    acts.push((at, Act::Freeze { who, lasts }));
}

/// All connections break, and the cloud may die while all come back.
fn storm(at: Duration, nodes: &[NodeName], random: &mut fastrand::Rng, acts: &mut Acts) {
    for node in nodes {
        acts.push((at, Act::Reset { node: node.clone() }));
    }
    if random.bool() {
        let who = Who::Cloud;
        let dies = at + millis(random, 5_000);
        let starts = dies + millis(random, 20_000);
        acts.push((dies, Act::Kill { who: who.clone() }));
        acts.push((starts, Act::Start { who }));
    }
}

fn roll(at: Duration, _: &[NodeName], random: &mut fastrand::Rng, acts: &mut Acts) {
    let act = Act::Roll {
        drain: millis(random, 10_000),
        gap: millis(random, 30_000),
        swallows: random.bool(),
    };
    acts.push((at, act));
}

/// Another release is tried, and maybe given up again.
fn release(at: Duration, nodes: &[NodeName], random: &mut fastrand::Rng, acts: &mut Acts) {
    let own = PROTOCOL_VERSION;
    let who = cloud_or_edge(4, nodes, random);
    let versions = [(own - 1, own - 1), (own, own + 1), (own + 1, own + 2)];
    let versions = versions[random.usize(..versions.len())];
    let back = at + millis(random, 120_000);
    acts.push((
        at,
        Act::Release {
            who: who.clone(),
            versions,
        },
    ));
    let versions = (own, own);
    acts.push((back, Act::Release { who, versions }));
}

/// A disk fails to read, always or now and then.
fn misread(at: Duration, nodes: &[NodeName], random: &mut fastrand::Rng, acts: &mut Acts) {
    let who = cloud_or_edge(3, nodes, random);
    let one_in = match random.bool() {
        true => 1,
        false => random.u32(2..=50),
    };
    let until = at + millis(random, 30_000);
    break_disk(at..until, who, DiskFault::ReadFails { one_in }, acts);
}

/// Something in the middle breaks connections for a while.
fn mangle(at: Duration, nodes: &[NodeName], random: &mut fastrand::Rng, acts: &mut Acts) {
    let node = nodes[random.usize(..nodes.len())].clone();
    let per_mille = random.u32(20..=500);
    let until = at + millis(random, 60_000);
    acts.push((
        at,
        Act::Mangle {
            node: node.clone(),
            per_mille,
        },
    ));
    acts.push((until, Act::Mangle { node, per_mille: 0 }));
}

fn fact(at: Duration, nodes: &[NodeName], random: &mut fastrand::Rng, acts: &mut Acts) {
    let node = nodes[random.usize(..nodes.len())].clone();
    let name = format!("event-{}", random.u32(..1000));
    acts.push((at, Act::EdgeEvent { node, name }));
}

/// A user rolls the next version of everything out, in a moment or in a while.
fn rollout(at: Duration, nodes: &[NodeName], random: &mut fastrand::Rng, acts: &mut Acts) {
    let image = format!("app:{}", random.u32(100..200));
    let pause = millis(random, 3_000);
    for (number, node) in (0..).zip(nodes) {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": format!("rolled-{number}"), "namespace": "default"},
            "spec": {
                "nodeName": node.as_str(),
                "terminationGracePeriodSeconds": 2,
                "containers": [{"name": "main", "image": image, "command": ["serve"]}],
            },
        });
        acts.push((at + pause * number, Act::Apply(pod)));
    }
}
