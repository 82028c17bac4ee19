//! One suite for every store: what the [`Store`] contract says, check by check.
//!
//! A store passes by running [`run_all`] from a test, with a [`Harness`] that can take its power
//! away.

use bytes::Bytes;
use uuid::Uuid;

use crate::batch::{Batch, CursorName, Entry, Place, StreamChange};
use crate::body::Body;
use crate::id::{Epoch, EventId, Offset, Revision, StreamId, Version, WallTime};
use crate::key::{Key, NodeName, Resource, Uid};
use crate::record::{Draft, Op, Slot, Stored};
use crate::store::{Appended, ReadLimit, Store, TrimPolicy, Trimmed};

mod appending;
mod burying;
mod crashing;
mod reading;
mod trimming;

/// A store under test.
pub trait Harness {
    /// The store as it now is.
    fn store(&self) -> &dyn Store;

    /// The power goes, everything unsynced is lost, and the store is opened again.
    fn crash(&mut self);
}

/// One check; panics when the store breaks the contract. Starts on an empty store.
pub type Check = fn(&mut dyn Harness);

/// All checks by name.
pub const CHECKS: &[(&str, Check)] = &[
    (
        "revisions_grow_over_all_streams",
        appending::revisions_grow_over_all_streams,
    ),
    (
        "own_offset_and_version_are_the_revision",
        appending::own_offset_and_version_are_the_revision,
    ),
    (
        "a_failed_condition_refuses_the_whole_batch",
        appending::failed_condition_refuses_all,
    ),
    (
        "conditions_see_the_state_before_the_batch",
        appending::conditions_see_the_state_before,
    ),
    (
        "a_closed_stream_takes_nothing",
        appending::closed_stream_takes_nothing,
    ),
    (
        "offsets_of_a_copy_grow_within_an_epoch",
        appending::offsets_of_a_copy_grow,
    ),
    (
        "stream_changes_never_go_back",
        appending::stream_changes_never_go_back,
    ),
    ("limits_are_enforced", appending::limits_are_enforced),
    (
        "rows_and_cursors_go_with_their_batch",
        appending::rows_and_cursors_go_with_their_batch,
    ),
    (
        "since_survives_updates_and_ends_with_delete",
        appending::since_ends_with_delete,
    ),
    (
        "a_record_read_is_the_record_written",
        reading::record_read_is_record_written,
    ),
    ("reads_stop_at_durable", reading::reads_stop_at_durable),
    (
        "pages_cover_everything_once",
        reading::pages_cover_everything_once,
    ),
    (
        "coalesced_gives_the_newest_and_all_facts",
        reading::coalesced_gives_newest_and_facts,
    ),
    (
        "coalesced_pages_are_exact",
        reading::coalesced_pages_are_exact,
    ),
    ("held_at_walks_back", reading::held_at_walks_back),
    (
        "scan_newest_is_in_key_order",
        reading::scan_newest_is_in_key_order,
    ),
    (
        "a_crash_loses_only_what_was_not_synced",
        crashing::loses_only_unsynced,
    ),
    (
        "everything_synced_is_as_it_was",
        crashing::synced_is_as_it_was,
    ),
    (
        "a_crash_on_an_empty_store_is_harmless",
        crashing::empty_store,
    ),
    (
        "numbers_of_trimmed_records_are_not_used_again",
        crashing::trimmed_numbers_stay_used,
    ),
    (
        "the_window_keeps_the_newest",
        trimming::window_keeps_the_newest,
    ),
    (
        "a_tombstone_waits_for_the_peer",
        trimming::tombstone_waits_for_the_peer,
    ),
    (
        "a_tombstone_nobody_gets_waits_for_the_window",
        trimming::unreplicated_tombstone,
    ),
    (
        "facts_go_when_acked_or_over_quota",
        trimming::facts_go_when_acked_or_over_quota,
    ),
    (
        "received_facts_keep_to_their_bytes",
        trimming::received_facts_keep_to_their_bytes,
    ),
    (
        "a_bound_of_bytes_cuts_the_window",
        trimming::bytes_cut_the_window,
    ),
    (
        "trimming_is_bounded_and_resumes",
        trimming::bounded_and_resumes,
    ),
    (
        "shared_bodies_are_kept_once_and_freed_at_last",
        trimming::shared_bodies,
    ),
    (
        "a_dropped_stream_leaves_nothing",
        trimming::dropped_stream_leaves_nothing,
    ),
    ("history_has_no_gaps", trimming::history_has_no_gaps),
    (
        "a_tombstone_takes_along_what_else_is_kept",
        burying::tombstone_takes_all,
    ),
    (
        "an_end_going_up_waits_for_the_end_coming_down",
        burying::end_going_up_waits,
    ),
    (
        "a_request_goes_before_its_answer",
        burying::request_before_answer,
    ),
    (
        "requests_of_live_objects_stay",
        burying::requests_of_live_objects_stay,
    ),
    (
        "nothing_goes_before_its_consumer_has_it",
        burying::nothing_unconsumed_goes,
    ),
    (
        "a_reconciled_end_speaks_of_one_slot",
        burying::reconciled_end_is_one_slot,
    ),
    (
        "another_life_begins_without_what_ended",
        burying::another_life_begins_without_what_ended,
    ),
    (
        "another_life_begins_without_it_in_a_copy_too",
        burying::another_life_begins_in_a_copy,
    ),
];

/// Runs every check, each on a store that `make` gives empty.
pub fn run_all<H: Harness>(mut make: impl FnMut() -> H) {
    for (name, check) in CHECKS {
        tracing::info!(check = name, "conformance");
        check(&mut make());
    }
}

/// A node's stream from the cloud.
#[must_use]
pub fn down() -> StreamId {
    StreamId::down(NodeName::new("edge-1").expect("a valid name"))
}

/// A node's stream to the cloud.
#[must_use]
pub fn up() -> StreamId {
    StreamId::up(NodeName::new("edge-1").expect("a valid name"))
}

/// An epoch by number.
#[must_use]
pub const fn epoch(number: u128) -> Epoch {
    Epoch::new(Uuid::from_u128(number))
}

/// The key of a ConfigMap.
#[must_use]
pub fn key(name: &str) -> Key {
    Key::new(Resource::core("configmaps"), "default", name, Uid::None).expect("a valid key")
}

/// A record about a ConfigMap.
#[must_use]
pub fn draft(op: Op, name: &str, body: &[u8]) -> Draft {
    Draft {
        id: EventId::new(Uuid::from_u128(body.len() as u128 + 1)),
        cause: None,
        time: WallTime::from_unix_millis(1_000),
        key: key(name),
        version: None,
        op,
        body: Body::new(Bytes::copy_from_slice(body)),
    }
}

/// An entry of a stream that the store writes.
#[must_use]
pub fn next(stream: &StreamId, draft: Draft) -> Entry {
    Entry {
        stream: stream.clone(),
        place: Place::Next,
        draft,
    }
}

/// An entry of a copy.
#[must_use]
pub fn at(stream: &StreamId, offset: u64, draft: Draft) -> Entry {
    Entry {
        stream: stream.clone(),
        place: Place::At(Offset::new(offset)),
        draft,
    }
}

/// A batch of entries alone.
#[must_use]
pub fn entries(entries: Vec<Entry>) -> Batch {
    Batch {
        entries,
        ..Batch::default()
    }
}

fn changes(streams: Vec<StreamChange>) -> Batch {
    Batch {
        streams,
        ..Batch::default()
    }
}

/// Appends and syncs.
///
/// # Panics
/// When the store refuses.
pub fn commit(store: &dyn Store, batch: &Batch) -> Appended {
    let appended = store.append(batch).expect("the batch is good");
    store.sync().expect("the disk is good");
    appended
}

/// Opens a stream in epoch 1.
///
/// # Panics
/// When the store refuses.
pub fn open(store: &dyn Store, stream: &StreamId) {
    commit(
        store,
        &changes(vec![StreamChange::Open {
            stream: stream.clone(),
            epoch: epoch(1),
        }]),
    );
}

fn put(store: &dyn Store, stream: &StreamId, op: Op, name: &str, body: &[u8]) -> Revision {
    let appended = commit(store, &entries(vec![next(stream, draft(op, name, body))]));
    let [revision] = appended.revisions.as_slice() else {
        panic!("one entry, one revision")
    };
    *revision
}

fn acked(store: &dyn Store, stream: &StreamId, upto: Revision) {
    let upto = upto.as_own_offset();
    commit(
        store,
        &changes(vec![StreamChange::Acked {
            stream: stream.clone(),
            upto,
        }]),
    );
}

/// The consumer of what came up has taken everything.
fn consumed(store: &dyn Store) {
    let place = store.watermarks().written.as_own_offset();
    let StreamId::Node(node, _) = up() else {
        return;
    };
    let cursors = vec![(CursorName::write_back(&node), place)];
    commit(
        store,
        &Batch {
            cursors,
            ..Batch::default()
        },
    );
}

fn info(store: &dyn Store, stream: &StreamId) -> crate::store::StreamInfo {
    store.stream(stream).expect("readable").expect("open")
}

fn read_all(store: &dyn Store, stream: &StreamId) -> Vec<Stored> {
    store.read(stream, Revision::ZERO, ALL).expect("readable")
}

fn revisions(records: &[Stored]) -> Vec<u64> {
    records.iter().map(|stored| stored.revision.get()).collect()
}

fn newest(store: &dyn Store, stream: &StreamId, name: &str) -> Option<Stored> {
    store
        .newest(stream, &key(name), Slot::Object)
        .expect("readable")
}

/// Everything in one page.
const ALL: ReadLimit = ReadLimit {
    records: usize::MAX,
    bytes: usize::MAX,
};

/// Removes everything the contract lets go.
const KEEP_NOTHING: TrimPolicy = TrimPolicy {
    keep_revisions: 0,
    keep_since: WallTime::from_unix_millis(u64::MAX),
    bytes_max: 0,
    facts_max: u64::MAX,
    facts_bytes_max: 0,
    records_per_call_max: usize::MAX,
};

fn trim_all(store: &dyn Store, policy: &TrimPolicy) -> Trimmed {
    let mut total = Trimmed::default();
    loop {
        let trimmed = store.trim(policy).expect("the disk is good");
        total.records += trimmed.records;
        total.bodies += trimmed.bodies;
        total.facts_dropped += trimmed.facts_dropped;
        if !trimmed.more {
            return total;
        }
    }
}

const fn version(number: u64) -> Version {
    Version::new(number)
}
