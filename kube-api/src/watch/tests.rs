//! The cursor against a client that believes what it is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_log::{Key, Resource, Uid};
use futures_util::FutureExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::cursor::{Cursor, Filter, Kind};
use super::*;
use crate::source::{Change, Expected, Source as _, Write};
use crate::testing::MemorySource;

fn config_maps() -> Resource {
    Resource::core("configmaps")
}

fn filter(selector: &str) -> Filter {
    Filter {
        resource: config_maps(),
        namespace: None,
        name: None,
        labels: LabelSelector::parse(selector).unwrap(),
        fields: FieldSelector::default(),
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Put { name: usize, tier: usize, value: u8 },
    Delete { name: usize },
    Pull,
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..4_usize, 0..2_usize, any::<u8>())
            .prop_map(|(name, tier, value)| Step::Put { name, tier, value }),
        2 => (0..4_usize).prop_map(|name| Step::Delete { name }),
        3 => Just(Step::Pull),
        1 => Just(Step::Reconnect),
    ]
}

struct World {
    source: Arc<MemorySource>,
    lives: u64,
}

impl World {
    fn live(&self, name: usize) -> Option<(Key, Revision)> {
        self.source.view().read(|objects| {
            let entry = objects.get(&config_maps(), "default", &name.to_string())?;
            Some((entry.key().clone(), entry.modified()))
        })
    }

    fn write(&mut self, name: usize, change: Change) {
        let (key, expected) = match self.live(name) {
            Some((key, at)) => (key, Expected::At(at)),
            None => {
                self.lives += 1;
                let uid = Uid::Uuid(uuid::Uuid::from_u128(u128::from(self.lives)));
                let key = Key::new(config_maps(), "default", &name.to_string(), uid).unwrap();
                (key, Expected::Absent)
            }
        };
        let write = Write {
            key,
            expected,
            change,
        };
        self.source.commit(write).now_or_never().unwrap().unwrap();
    }
}

/// A client that keeps a copy by events alone, as an informer does.
struct Client {
    cursor: Cursor,
    copy: BTreeMap<String, Value>,
}

impl Client {
    fn pull(&mut self, view: &View, strict: bool) {
        loop {
            let page = view.read(|objects| self.cursor.take(objects)).unwrap();
            for taken in &page.changes {
                let Some((kind, object)) = self.cursor.tell(taken) else {
                    continue;
                };
                let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
                let known = self.copy.contains_key(&uid);
                match kind {
                    Kind::Added => assert!(!known || !strict, "added twice"),
                    Kind::Modified => assert!(known || !strict, "modified but never added"),
                    Kind::Deleted => {
                        assert!(known || !strict, "deleted but never added");
                        self.copy.remove(&uid);
                        continue;
                    }
                }
                self.copy.insert(uid, object);
            }
            self.cursor.advance(page.upto);
            if !page.more {
                return;
            }
        }
    }
}

fn follow(steps: &[Step], selector: &str) {
    let mut world = World {
        source: MemorySource::cloud(),
        lives: 100,
    };
    let view = world.source.view().clone();
    let at = view.read(causeway_projections::Objects::revision);
    let mut client = Client {
        cursor: Cursor::new(filter(selector), at),
        copy: BTreeMap::new(),
    };
    let mut strict = true;
    for step in steps {
        match *step {
            Step::Put { name, tier, value } => {
                let labels = json!({"tier": (["x", "y"][tier])});
                let object = json!({"metadata": {"labels": labels}, "data": value});
                world.write(name, Change::Put(object));
            }
            Step::Delete { name } if world.live(name).is_some() => {
                let change = Change::Delete {
                    grace_period_seconds: None,
                    confirm: false,
                };
                world.write(name, change);
            }
            Step::Delete { .. } => {}
            Step::Reconnect => {
                client.cursor = Cursor::new(filter(selector), client.cursor.at);
                let (unchanged, at) = view.read(|objects| client.cursor.unchanged(objects));
                client.cursor.learn(&unchanged, at);
                // What changed while away may be told to a client that never knew it.
                strict = false;
            }
            Step::Pull => {
                client.pull(&view, strict);
                let wanted: BTreeMap<String, Value> = view.read(|objects| {
                    let objects = objects.list(&config_maps(), None, None);
                    objects
                        .map(causeway_projections::Entry::object)
                        .filter(|object| filter(selector).labels.matches(object))
                        .map(|it| (it["metadata"]["uid"].as_str().unwrap().to_owned(), it))
                        .collect()
                });
                assert_eq!(client.copy, wanted);
            }
        }
    }
}

proptest! {
    #[test]
    fn a_client_has_what_is_there(steps in prop::collection::vec(step(), 0..60)) {
        follow(&steps, "");
    }

    #[test]
    fn a_selecting_client_has_what_matches(steps in prop::collection::vec(step(), 0..60)) {
        follow(&steps, "tier=x");
    }
}

#[test]
fn pages_are_bounded_and_complete() {
    let mut world = World {
        source: MemorySource::cloud(),
        lives: 100,
    };
    for name in 0..600 {
        world.write(name, Change::Put(json!({"metadata": {}})));
    }
    let view = world.source.view().clone();
    let mut cursor = Cursor::new(filter(""), Revision::new(1));
    let first = view.read(|objects| cursor.take(objects)).unwrap();
    assert!(first.more && first.changes.len() < 600);
    cursor.advance(first.upto);
    let mut client = Client {
        cursor,
        copy: BTreeMap::new(),
    };
    client.pull(&view, true);
    assert_eq!(first.changes.len() + client.copy.len(), 600);
}
