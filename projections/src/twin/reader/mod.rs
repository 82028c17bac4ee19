//! Reading twins and kept readings out of a store, the same at both ends.
//!
//! A node's `down` and `up` streams lie in the node's own store and, received, in the cloud's. What
//! is asked of one device costs what the store holds of that device, not of the node.

use std::sync::Arc;

use causeway_log::error::ReadError;
use causeway_log::store::ReadLimit;
use causeway_log::{Key, NodeName, Op, Resource, Revision, Slot, Store, Stored, StreamId, Uid};
use serde_json::Value as Json;

use super::{Desired, DocumentError, Reported, Rules, Twin};
use crate::twin;

mod readings;
#[cfg(test)]
mod tests;

pub use readings::{Asked, Extent, InvalidPlace, Item, Page, Place, extent, page};

/// Most devices of one page of [`devices`].
pub const DEVICES_PER_PAGE_MAX: usize = 1000;

/// A device as the two streams of its node have it in one store.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The Device's key in the life that it is in.
    pub key: Key,
    /// The Device, without its status.
    pub device: Json,
    /// The DeviceModel it names, when the node has it.
    pub model: Option<Json>,
    /// What both say of its properties.
    pub rules: Rules,
    /// Both documents.
    pub twin: Twin,
    /// The newest revision of what is shown here.
    pub changed: Revision,
}

/// A twin cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The store cannot be read.
    #[error("cannot read the store")]
    Read(#[from] ReadError),
    /// A record of a twin holds no document.
    #[error("the record of {key} at revision {revision} is no document of a twin")]
    Document {
        /// Whose record.
        key: Key,
        /// Where it is.
        revision: Revision,
        /// What is wrong with it.
        #[source]
        source: DocumentError,
    },
}

/// One device of a node by its name; `None` when the node has no such device.
///
/// # Errors
/// [`LookError`]
pub fn device(
    store: &dyn Store,
    node: &NodeName,
    namespace: &str,
    name: &str,
) -> Result<Option<Seen>, LookError> {
    let resource = twin::devices();
    let down = named(
        store,
        &StreamId::down(node.clone()),
        &resource,
        namespace,
        name,
    )?;
    let Some(put) = down.iter().rev().find(|it| it.record.header.op == Op::Put) else {
        return Ok(None);
    };
    let up = named(
        store,
        &StreamId::up(node.clone()),
        &resource,
        namespace,
        name,
    )?;
    // One without a body, or from before an end of the object, says nothing any more.
    let twin_in = |records: &[Stored]| {
        let of_life = |it: &&Stored| it.record.header.key == put.record.header.key;
        let ended = records
            .iter()
            .filter(of_life)
            .find(|it| it.record.header.op == Op::Delete)
            .map(|it| it.revision);
        records
            .iter()
            .filter(of_life)
            .find(|it| it.record.header.op == Op::Twin && !it.record.body.is_empty())
            .filter(|it| ended.is_none_or(|ended| ended < it.revision))
            .cloned()
    };
    let (desired, reported) = (twin_in(&down), twin_in(&up));
    seen(store, node, put, desired, reported).map(Some)
}

/// The devices of a node in the order of namespace and name, after one of them, at most `limit` and
/// [`DEVICES_PER_PAGE_MAX`].
///
/// # Errors
/// [`LookError`]
pub fn devices(
    store: &dyn Store,
    node: &NodeName,
    after: Option<(&str, &str)>,
    limit: usize,
) -> Result<Vec<Seen>, LookError> {
    let limit = limit.min(DEVICES_PER_PAGE_MAX);
    let down = StreamId::down(node.clone());
    let resource = twin::devices();
    let (namespace, name) = after.unwrap_or(("", ""));
    let mut last = (before(&resource, namespace, name), Slot::Object);
    let mut devices = Vec::new();
    while devices.len() < limit {
        let page = store.scan_newest(&down, Some((&last.0, last.1)), PAGE)?;
        let Some(end) = page.last().map(|it| &it.record.header) else {
            break;
        };
        last = (end.key.clone(), end.op.slot());
        for stored in &page {
            let key = &stored.record.header.key;
            if key.resource != resource {
                return Ok(devices);
            }
            let is_after = (&*key.namespace, &*key.name) != (namespace, name);
            if stored.record.header.op == Op::Put && is_after && devices.len() < limit {
                devices.extend(device(store, node, &key.namespace, &key.name)?);
            }
        }
    }
    Ok(devices)
}

/// What a search by key reads at a time.
const PAGE: ReadLimit = ReadLimit {
    records: 256,
    bytes: 256 * 1024,
};

/// A key that stands before all lives of a name.
fn before(resource: &Resource, namespace: &str, name: &str) -> Key {
    Key {
        resource: resource.clone(),
        namespace: namespace.into(),
        name: name.into(),
        uid: Uid::None,
    }
}

/// The newest records of all slots and lives of a name, in the order of keys.
fn named(
    store: &dyn Store,
    stream: &StreamId,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Result<Vec<Stored>, ReadError> {
    let first = before(resource, namespace, name);
    let mut found: Vec<Stored> = Vec::new();
    let mut last = (first.clone(), Slot::Object);
    loop {
        let page = store.scan_newest(stream, Some((&last.0, last.1)), PAGE)?;
        let Some(end) = page.last().map(|it| &it.record.header) else {
            return Ok(found);
        };
        last = (end.key.clone(), end.op.slot());
        let is_over = !end.key.same_name(&first);
        let same = page
            .into_iter()
            .filter(|stored| stored.record.header.key.same_name(&first));
        found.extend(same);
        if is_over {
            return Ok(found);
        }
    }
}

/// A device put together from its records.
fn seen(
    store: &dyn Store,
    node: &NodeName,
    put: &Stored,
    desired: Option<Stored>,
    reported: Option<Stored>,
) -> Result<Seen, LookError> {
    let key = put.record.header.key.clone();
    let device = json_of(put);
    let mut twin = Twin::default();
    let mut changed = put.revision;
    let wrong = |stored: &Stored| {
        let (key, revision) = (stored.record.header.key.clone(), stored.revision);
        move |source| LookError::Document {
            key,
            revision,
            source,
        }
    };
    if let Some(stored) = desired {
        changed = changed.max(stored.revision);
        twin.desired = Desired::decode(stored.record.body.bytes())
            .map(Arc::new)
            .map_err(wrong(&stored))?;
    }
    if let Some(stored) = reported {
        changed = changed.max(stored.revision);
        twin.reported = Reported::decode(stored.record.body.bytes())
            .map(Arc::new)
            .map_err(wrong(&stored))?;
    }
    let model = match device["spec"]["deviceModelRef"]["name"].as_str() {
        None => None,
        Some(model) => {
            let resource = twin::models();
            let down = StreamId::down(node.clone());
            let found = named(store, &down, &resource, &key.namespace, model)?;
            found
                .iter()
                .rev()
                .find(|it| it.record.header.op == Op::Put)
                .map(json_of)
        }
    };
    Ok(Seen {
        rules: Rules::of(&device, model.as_ref()),
        key,
        device,
        model,
        twin,
        changed,
    })
}

/// The object of a record; `null` for bytes that are none, which has no properties.
fn json_of(stored: &Stored) -> Json {
    serde_json::from_slice(stored.record.body.bytes()).unwrap_or_default()
}
