//! Device twins: what the cloud wants of a device's properties, and what the device reports.
//!
//! ```text
//!   Device, DeviceModel ─▶ Desired   one document a device; the cloud is its only writer (down)
//!   device, mapper      ─▶ Reported  one document a device; its node is its only writer (up)
//!                           │
//!                Twin = Desired × Reported: delta, and the same digest at both ends
//! ```
//!
//! A document holds a [`Property`] for each name: a value or a tombstone, with a version that only
//! grows. Documents are the bodies of `Twin` records under the Device's key.
//!
//! [`Twins`] folds the records of a node into its devices; [`status`] shows what a device reports
//! as the API has it; [`history`] is about readings that are kept one by one, and [`rows`] about where
//! they wait.
//!
//! # Guarantees
//! - **TWIN-1**: [`Properties::merge`] is idempotent, commutative and associative, whatever the
//!   documents: of one name the larger version wins, and of equal versions the larger value.
//!   Wall clocks have no say.
//! - **TWIN-2**: the two sides are two documents. Nothing that is reported can change what is
//!   desired, nor the other way round.
//! - What changes nothing makes no new document: an echo costs no record.

mod asked;
mod desired;
mod device;
mod document;
pub mod fold;
pub mod history;
mod properties;
pub mod reader;
mod reported;
pub mod rows;
pub mod status;
#[cfg(test)]
mod tests;
mod value;

use causeway_log::Resource;

pub use asked::may_ask;
pub use desired::Desired;
pub use device::{DeviceError, Rules, check, wishes};
pub use document::{Digest, DocumentError, Twin};
pub use fold::{Device, DeviceName, Twins, rebuild_twins};
pub use properties::{Properties, Property, TwinVersion, Value};
pub use reported::{Refused, Report, Reported, State, Took};
pub use value::{Kind, Rule, ValueError, is_name};

/// API group of Devices, DeviceModels and DeviceStatuses.
pub const GROUP: &str = "devices.kubeedge.io";
/// The version of [`GROUP`] that objects are written in.
pub const VERSION: &str = "v1beta1";

/// Plural name of Devices.
pub const DEVICES: &str = "devices";
/// Plural name of DeviceModels.
pub const MODELS: &str = "devicemodels";
/// Plural name of DeviceStatuses.
pub const STATUSES: &str = "devicestatuses";

/// The resource of Devices.
#[must_use]
pub fn devices() -> Resource {
    Resource::new(GROUP, DEVICES)
}

/// The resource of DeviceModels.
#[must_use]
pub fn models() -> Resource {
    Resource::new(GROUP, MODELS)
}

/// The resource of DeviceStatuses.
#[must_use]
pub fn statuses() -> Resource {
    Resource::new(GROUP, STATUSES)
}

/// Longest name of a property, in characters; as KubeEdge has it.
pub const NAME_CHARS_MAX: usize = 128;
/// Longest value of a property. KubeEdge takes 512 characters of a small set; text of any kind up
/// to here contains all of them.
pub const VALUE_BYTES_MAX: usize = 4096;
/// Most entries of a value's metadata.
pub const METADATA_ENTRIES_MAX: usize = 16;
/// Longest key or value of metadata.
pub const METADATA_BYTES_MAX: usize = 256;
/// Most properties of a device, tombstones included.
pub const PROPERTIES_MAX: usize = 1024;
/// Tombstones kept in a document; the oldest go first. What they guard against, a value from
/// before the deletion, can come only from a document that old.
pub const TOMBSTONES_MAX: usize = 128;
/// Longest encoded document that is read.
pub const DOCUMENT_BYTES_MAX: usize = causeway_log::limits::BODY_BYTES_MAX;

const _: () = assert!(TOMBSTONES_MAX < PROPERTIES_MAX);
