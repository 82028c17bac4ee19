//! What a store says by itself: that a status or twin ended with its object.

use crate::batch::Entry;
use crate::body::Body;
use crate::id::{EventId, Version};
use crate::record::{Draft, Op, Slot};
use crate::store::codec;

/// Says that what a slot holds of the life before ended with it, just before `entry` begins another
/// life. In a copy it shares the offset of the entry: the peer may have said nothing, because it has
/// let go of all that by now.
pub(super) fn ended_with(entry: &Entry, slot: Slot) -> Entry {
    let draft = &entry.draft;
    let op = match slot {
        Slot::Twin => Op::Twin,
        Slot::Status | Slot::Object | Slot::Request | Slot::Fact => Op::Status,
    };
    // No writer named this event: its name is derived.
    let mut hasher = blake3::Hasher::new();
    hasher.update(draft.id.uuid().as_bytes());
    hasher.update(&[codec::op_byte(op)]);
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    Entry {
        stream: entry.stream.clone(),
        place: entry.place,
        draft: Draft {
            id: EventId::new(uuid::Builder::from_custom_bytes(id).into_uuid()),
            cause: None,
            time: draft.time,
            key: draft.key.clone(),
            version: Some(Version::ZERO),
            op,
            body: Body::EMPTY,
        },
    }
}
