//! kill -9 of either side at random moments, while both write (LOG-2, SYNC-1, SYNC-2, SYNC-4).
//!
//! The seed is printed; `CAUSEWAY_SEED` replays the same choices.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use causeway_simulator::http::Http;
use fastrand::Rng;
use http::Method;
use serde_json::{Value, json};

use crate::road::{event, events_are};
use crate::world::*;

const MAPS: [&str; 4] = ["one", "two", "three", "four"];
const KILLS: usize = 6;
/// Of the Events of a namespace, the cloud keeps the newest thousand.
const EVENTS_MAX: usize = 900;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cloud_killed_while_it_writes_loses_no_answered_write() {
    let mut rng = seeded();
    let world = &mut populated().await;
    let mut writer = Writer::new(world.cloud.http(), rng.fork());
    for _ in 0..KILLS {
        let moment = Duration::from_millis(rng.u64(50..800));
        let _ = tokio::time::timeout(moment, writer.write_maps()).await;
        world.cloud.process.kill().await.unwrap();
        world.cloud.process.start().unwrap();
        world.cloud_ready().await;
    }
    writer.check_maps(&world.cloud.http()).await;
    world.converged().await;
    writer.check_maps(&world.edge().http()).await;
    check_history(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_edge_killed_while_both_write_loses_and_doubles_nothing() {
    let mut rng = seeded();
    let world = &mut populated().await;
    let mut cloud_writer = Writer::new(world.cloud.http(), rng.fork());
    let mut edge_writer = Writer::new(world.edge().http(), rng.fork());
    for _ in 0..KILLS {
        let moment = Duration::from_millis(rng.u64(50..800));
        let both = async { tokio::join!(cloud_writer.write_maps(), edge_writer.write_events()) };
        let _ = tokio::time::timeout(moment, both).await;
        world.edge().crash_and_restart().await;
        world.edge().serving().await;
    }
    cloud_writer.check_maps(&world.cloud.http()).await;
    world.converged().await;
    cloud_writer.check_maps(&world.edge().http()).await;
    edge_writer.check_events(&world.cloud.http()).await;
    check_history(world).await;
}

/// A world whose edge needs all [`MAPS`].
async fn populated() -> World {
    let world = World::start().await;
    let cloud = world.cloud.http();
    for map in MAPS {
        create(&cloud, CONFIG_MAPS, &config_map(map, "0")).await;
    }
    create(
        &cloud,
        PODS,
        &pod("web", "edge-1", "while true; do sleep 1; done", &MAPS),
    )
    .await;
    world.converged().await;
    world
}

fn seeded() -> Rng {
    let given = std::env::var("CAUSEWAY_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("CAUSEWAY_SEED={seed}");
    Rng::with_seed(seed)
}

/// Writes numbers that only grow, and remembers which were answered.
struct Writer {
    api: Http,
    rng: Rng,
    number: u64,
    answered: BTreeMap<&'static str, u64>,
    events: BTreeSet<String>,
}

impl Writer {
    fn new(api: Http, rng: Rng) -> Self {
        Self {
            api,
            rng,
            number: 0,
            answered: BTreeMap::new(),
            events: BTreeSet::new(),
        }
    }

    /// Until the server is gone, or this future is dropped.
    async fn write_maps(&mut self) {
        loop {
            let map = MAPS[self.rng.usize(..MAPS.len())];
            self.number += 1;
            let patch = json!({"data": {"text": self.number.to_string()}});
            match self
                .api
                .merge_patch(&format!("{CONFIG_MAPS}/{map}"), &patch)
                .await
            {
                Ok(_) => {
                    self.answered.insert(map, self.number);
                }
                Err(error) if outcome_unknown(&error) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn write_events(&mut self) {
        while self.events.len() < EVENTS_MAX {
            self.number += 1;
            let name = format!("event-{}", self.number);
            match self
                .api
                .json(Method::POST, EVENTS, Some(&event(&name)))
                .await
            {
                Ok(_) => {
                    self.events.insert(name);
                }
                Err(error) if outcome_unknown(&error) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Every answered number is there, or one written after it whose answer was lost.
    async fn check_maps(&self, api: &Http) {
        assert!(!self.answered.is_empty(), "nothing was written at all");
        for (map, answered) in &self.answered {
            let object = api.get(&format!("{CONFIG_MAPS}/{map}")).await.unwrap();
            let held: u64 = object["data"]["text"].as_str().unwrap().parse().unwrap();
            assert!(
                held >= *answered,
                "{map} at {}: {held}, answered {answered}",
                api.endpoint()
            );
            assert!(held <= self.number, "{map}: {held} was never written");
        }
    }

    async fn check_events(&self, api: &Http) {
        assert!(!self.events.is_empty(), "nothing was written at all");
        events_are(api, &self.events).await;
    }
}

/// In each stream, offsets only grow and no event stands twice, in both stores; and whatever the
/// edge holds of a stream is what the cloud holds at that offset.
async fn check_history(world: &mut World) {
    let (cloud, edge) = (world.cloud.http(), world.edge().http());
    for stream in ["down", "up"] {
        let (cloud, edge) = (history(&cloud, stream).await, history(&edge, stream).await);
        for (offset, id) in &edge {
            if let Some(other) = cloud.get(offset) {
                assert_eq!(id, other, "{stream} at offset {offset}");
            }
        }
    }
}

async fn history(api: &Http, stream: &str) -> BTreeMap<u64, String> {
    let path = format!("/causeway/v1/nodes/edge-1/log?stream={stream}&follow=false");
    let mut lines = api.lines(&path).await.unwrap();
    let mut records = BTreeMap::new();
    let mut ids = BTreeSet::new();
    let mut last = 0;
    while let Some(line) = lines.next().await.unwrap() {
        let record: Value = serde_json::from_slice(&line).unwrap();
        let offset = record["offset"].as_u64().unwrap();
        let id = record["id"].as_str().unwrap().to_owned();
        assert!(offset > last, "{stream}: offset {offset} after {last}");
        assert!(ids.insert(id.clone()), "{stream}: event {id} stands twice");
        records.insert(offset, id);
        last = offset;
    }
    records
}
