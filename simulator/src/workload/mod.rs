//! What users and faults do, drawn from a seed as data: it can be shown, replayed and shortened.

mod devices;
mod faults;
mod troubles;
mod users;

use std::time::Duration;

use causeway_log::NodeName;
use serde::{Deserialize, Serialize};

use crate::rng::{Purpose, stream};
use crate::world::{Act, Options};

/// Acts with their times, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schedule(pub Vec<(Duration, Act)>);

/// The names of `options`' nodes.
fn names(options: &Options) -> Vec<NodeName> {
    let valid = |name: &str| NodeName::new(name).ok();
    match options.names.is_empty() {
        true => (0..options.nodes)
            .filter_map(|n| valid(&format!("n{n}")))
            .collect(),
        false => options
            .names
            .iter()
            .filter_map(|name| valid(name))
            .collect(),
    }
}

impl Schedule {
    /// What `seed` makes of a world with these options.
    #[must_use]
    pub fn draw(seed: u64, options: &Options) -> Self {
        let mut random = stream(seed, Purpose::Schedule);
        let nodes = names(options);
        let mut acts = Vec::new();
        let times = |per_minute: u32, random: &mut fastrand::Rng| -> Vec<Duration> {
            let count = u64::from(per_minute) * options.safety.as_secs() / 60;
            let millis = u64::try_from(options.safety.as_millis()).unwrap_or(u64::MAX);
            (0..count)
                .map(|_| Duration::from_millis(random.u64(..=millis)))
                .collect()
        };
        for at in times(options.acts_per_minute, &mut random) {
            acts.push((at, users::draw(&mut random, &nodes)));
        }
        for at in times(options.faults_per_minute, &mut random) {
            faults::draw(at, options, &mut random, &nodes, &mut acts);
        }
        troubles::draw(seed, options, &nodes, &mut acts);
        if options.devices {
            devices::draw(seed, options, &nodes, &mut acts);
        }
        // What would end later is healed with everything else.
        acts.retain(|(at, _)| *at < options.safety);
        // Stable: of one moment, the one that was drawn first.
        acts.sort_by_key(|(at, _)| *at);
        Self(acts)
    }
}
