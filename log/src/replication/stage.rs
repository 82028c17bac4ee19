//! From what a session asks for to what a store appends.

use super::{Incoming, Role, SessionWrite};
use crate::batch::{Batch, Entry, Place, StreamChange};
use crate::error::ReadError;
use crate::id::StreamId;
use crate::key::NodeName;
use crate::store::Store;

impl SessionWrite {
    /// Adds this write of a session of `node` to a batch, on top of what the batch already holds.
    /// The caller makes sure that the session is still the newest of its node (SYNC-3).
    ///
    /// # Errors
    /// [`ReadError`]; nothing was added.
    pub fn stage(
        self,
        role: Role,
        node: &NodeName,
        store: &dyn Store,
        batch: &mut Batch,
    ) -> Result<(), ReadError> {
        let own = StreamId::Node(node.clone(), role.sends());
        match self {
            Self::Barrier => {}
            Self::OpenOwn { epoch } => {
                batch
                    .streams
                    .push(StreamChange::Open { stream: own, epoch });
            }
            Self::Acked { upto } => {
                batch
                    .streams
                    .push(StreamChange::Acked { stream: own, upto });
            }
            Self::Incoming(incoming) => {
                let stream = StreamId::Node(node.clone(), role.sends().opposite());
                stage_incoming(incoming, stream, store, batch)?;
            }
        }
        Ok(())
    }
}

fn stage_incoming(
    incoming: Incoming,
    stream: StreamId,
    store: &dyn Store,
    batch: &mut Batch,
) -> Result<(), ReadError> {
    let Incoming {
        epoch,
        records,
        upto,
        caught_up: _,
    } = incoming;
    let in_batch = batch.streams.iter().rev().find_map(|change| match change {
        StreamChange::Open {
            stream: opened,
            epoch,
        } if *opened == stream => Some(*epoch),
        StreamChange::Open { .. }
        | StreamChange::Received { .. }
        | StreamChange::Acked { .. }
        | StreamChange::Drop { .. } => None,
    });
    let current = match in_batch {
        Some(epoch) => Some(epoch),
        None => store.stream(&stream)?.map(|info| info.epoch),
    };
    if current != Some(epoch) {
        batch.streams.push(StreamChange::Open {
            stream: stream.clone(),
            epoch,
        });
    }
    batch
        .entries
        .extend(records.into_iter().map(|(offset, draft)| Entry {
            stream: stream.clone(),
            place: Place::At(offset),
            draft,
        }));
    if let Some(upto) = upto {
        batch.streams.push(StreamChange::Received { stream, upto });
    }
    Ok(())
}
