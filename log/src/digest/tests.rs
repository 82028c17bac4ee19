//! Digests.

use proptest::prelude::*;
use uuid::Uuid;

use super::{Digest, DigestEntry, is_gone};
use crate::body::Body;
use crate::id::{EventId, Offset, Version, WallTime};
use crate::key::{Key, Resource, Uid};
use crate::record::{Header, Op, Record};

fn record(name: &str, version: u64, op: Op, text: &str) -> Record {
    let header = Header {
        offset: Offset::new(1),
        id: EventId::new(Uuid::from_u128(1)),
        cause: None,
        time: WallTime::default(),
        key: Key::new(Resource::core("configmaps"), "default", name, Uid::None).unwrap(),
        version: Version::new(version),
        op,
    };
    Record {
        header,
        body: Body::from(text.as_bytes().to_vec()),
    }
}

fn entry(name: &str, version: u64, op: Op, text: &str) -> DigestEntry {
    DigestEntry::of(&record(name, version, op, text)).unwrap()
}

#[test]
fn entries_are_frozen() {
    let entry = entry("a", 7, Op::Put, "{}");
    assert_eq!(entry.key.to_string(), GOLDEN_KEY);
    let state: String = entry
        .state
        .to_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(state, GOLDEN_STATE);
    let mut digest = Digest::default();
    digest.add(&entry);
    assert_eq!(digest.root().to_string(), GOLDEN_ROOT);
}

const GOLDEN_KEY: &str = "fcef856ca08a6b61dc0a2783a7e68bb0";
const GOLDEN_STATE: &str = "c1cee6803afb4c6a6e46dd10defc9b56";
const GOLDEN_ROOT: &str = "3f02617cec08c17e0b9cc3acb46d3327";

#[test]
fn an_entry_says_what_is_there_and_not_how_it_came_to_be() {
    let first = record("a", 7, Op::Put, "{}");
    let mut second = first.clone();
    second.header.offset = Offset::new(99);
    second.header.id = EventId::new(Uuid::from_u128(2));
    second.header.time = WallTime::from_unix_millis(5);
    assert_eq!(DigestEntry::of(&first), DigestEntry::of(&second));
    second.header.cause = Some(EventId::new(Uuid::from_u128(3)));
    assert_ne!(DigestEntry::of(&first), DigestEntry::of(&second));
}

#[test]
fn slots_versions_ops_and_bodies_differ() {
    let base = entry("a", 7, Op::Put, "{}");
    assert_ne!(base.key, entry("b", 7, Op::Put, "{}").key);
    assert_ne!(base.key, entry("a", 7, Op::Status, "{}").key);
    assert_ne!(base.state, entry("a", 8, Op::Put, "{}").state);
    assert_ne!(base.state, entry("a", 7, Op::Put, "{ }").state);
    assert_ne!(
        entry("a", 7, Op::Apply, "{}").state,
        entry("a", 7, Op::Reject, "{}").state,
    );
    assert_eq!(
        base.state.header,
        entry("a", 7, Op::Put, "{ }").state.header
    );
}

#[test]
fn what_is_gone_has_no_entry() {
    assert!(is_gone(&record("a", 7, Op::Delete, "")));
    assert!(is_gone(&record("a", 7, Op::Status, "")));
    let mut answer = record("a", 7, Op::Apply, "");
    assert!(is_gone(&answer));
    answer.header.cause = Some(EventId::new(Uuid::from_u128(3)));
    assert!(!is_gone(&answer), "an accepted request");
}

#[test]
fn an_entry_added_twice_does_not_cancel_itself_out() {
    let mut digest = Digest::default();
    let entry = entry("a", 7, Op::Put, "{}");
    digest.add(&entry);
    digest.add(&entry);
    assert_ne!(digest.root(), Digest::default().root());
}

#[test]
fn a_summary_is_readable() {
    let summary = Digest::default().summary();
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["keys"], 0);
    assert_eq!(json["buckets"].as_array().unwrap().len(), 256);
}

proptest! {
    #[test]
    fn the_order_of_additions_does_not_matter(
        names in prop::collection::hash_map("[a-z]{1,8}", any::<u64>(), 0..50),
    ) {
        let entries: Vec<_> =
            names.iter().map(|(name, version)| entry(name, *version, Op::Put, "{}")).collect();
        let mut forward = Digest::default();
        entries.iter().for_each(|entry| forward.add(entry));
        let mut backward = Digest::default();
        entries.iter().rev().for_each(|entry| backward.add(entry));
        prop_assert_eq!(forward, backward);
    }
}
