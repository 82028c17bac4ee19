//! What goes wrong. Most faults end by themselves after a while; those that do not are healed
//! before the liveness phase.

use std::ops::Range;
use std::time::Duration;

use causeway_log::NodeName;

use crate::world::{Act, Cut, DiskFault, Options, Who};

/// A fault at `at`, and its end.
pub(super) fn draw(
    at: Duration,
    options: &Options,
    random: &mut fastrand::Rng,
    nodes: &[NodeName],
    acts: &mut Vec<(Duration, Act)>,
) {
    let node = nodes[random.usize(..nodes.len())].clone();
    let until = at + Duration::from_millis(random.u64(10..=120_000));
    match random.u32(..100) {
        0..30 => {
            let kinds = [Cut::Silent, Cut::Reset, Cut::Up, Cut::Down];
            let kind = kinds[random.usize(..kinds.len())];
            acts.push((
                at,
                Act::Cut {
                    node: node.clone(),
                    kind,
                },
            ));
            acts.push((until, Act::Heal { node }));
        }
        30..38 => {
            let up = Duration::from_millis(random.u64(50..=20_000));
            let down = Duration::from_millis(random.u64(50..=20_000));
            acts.push((
                at,
                Act::Flap {
                    node: node.clone(),
                    up,
                    down,
                },
            ));
            acts.push((until, Act::Heal { node }));
        }
        38..46 => {
            let slow = Act::Slow {
                node: node.clone(),
                delay: Duration::from_millis(random.u64(..=2000)),
                jitter: Duration::from_millis(random.u64(..=1000)),
                bytes_per_second: random.u64(500..=50_000),
                loss: random.f64() * 0.3,
            };
            acts.push((at, slow));
            acts.push((until, Act::Heal { node }));
        }
        46..62 => {
            let who = match random.u32(..3) {
                0 => Who::Cloud,
                1 => Who::Edge(node),
                _ => Who::Edged(node),
            };
            acts.push((at, Act::Kill { who: who.clone() }));
            acts.push((until.min(at + Duration::from_secs(20)), Act::Start { who }));
        }
        62..72 => acts.push((at, Act::Reboot { node })),
        number => on_disks_and_clocks((at, until, number), options, random, node, acts),
    }
}

/// The rest of the faults: what happens to clocks and disks.
fn on_disks_and_clocks(
    (at, until, number): (Duration, Duration, u32),
    options: &Options,
    random: &mut fastrand::Rng,
    node: NodeName,
    acts: &mut Vec<(Duration, Act)>,
) {
    let who = |random: &mut fastrand::Rng| match random.u32(..3) {
        0 => Who::Cloud,
        _ => Who::Edge(node.clone()),
    };
    match number {
        72..80 if options.jumps_clocks => {
            let far = 1000 * 60 * 60 * 24 * 365 * 2;
            let by = random.i64(-far..=far);
            let who = who(random);
            acts.push((at, Act::Clock { who, by }));
        }
        80..90 if options.breaks_disks => {
            let kinds = [DiskFault::Full, DiskFault::WriteFails, DiskFault::SyncFails];
            let fault = kinds[random.usize(..kinds.len())];
            let who = who(random);
            let until = until.min(at + Duration::from_secs(30));
            break_disk(at..until, who, fault, acts);
        }
        90..100 if options.loses_disks => {
            let who = who(random);
            if random.bool() {
                acts.push((at, Act::Wipe { who }));
            } else {
                acts.push((at, Act::Snapshot { who: who.clone() }));
                acts.push((until, Act::Restore { who }));
            }
        }
        _ => {}
    }
}

/// A disk has a fault for a while.
pub(super) fn break_disk(
    during: Range<Duration>,
    who: Who,
    fault: DiskFault,
    acts: &mut Vec<(Duration, Act)>,
) {
    let healed = Act::Disk {
        who: who.clone(),
        fault: DiskFault::Heal,
    };
    acts.push((during.start, Act::Disk { who, fault }));
    acts.push((during.end, healed));
}
