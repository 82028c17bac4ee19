//! What is kept of the desk on disk: mappers, and which devices they may hold.

use std::collections::BTreeSet;

use causeway_projections::twin::DeviceName;
use serde::{Deserialize, Serialize};

use super::info::{Info, InvalidInfo, TEXT_BYTES_MAX};
use super::{DEVICES_MAX, MAPPERS_MAX};

/// Longest name of a device with its namespace: 63 and 253 characters, and what stands between.
const NAME_BYTES_MAX: usize = 320;
/// Longest file that is read. A device stands in it once for the mapper that has it, and for each
/// that is to give it up.
pub(in crate::dmi) const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;

const _: () = assert!(
    2 * DEVICES_MAX * NAME_BYTES_MAX + MAPPERS_MAX * 8 * TEXT_BYTES_MAX <= FILE_BYTES_MAX,
    "what is written can be read"
);

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::dmi) struct Saved {
    version: u32,
    pub(super) mappers: Vec<SavedMapper>,
}

/// One mapper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedMapper {
    pub(super) mapper: Info,
    /// The devices that are its.
    pub(super) devices: BTreeSet<String>,
    /// The devices that are no longer its, and that it was not told so.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) leaving: BTreeSet<String>,
}

const VERSION: u32 = 1;

/// Bytes that are no file of the desk.
#[derive(Debug, thiserror::Error)]
pub(in crate::dmi) enum SavedError {
    /// Longer than a file may be.
    #[error("{bytes} bytes are more than {FILE_BYTES_MAX}")]
    TooLong { bytes: usize },
    /// Not the JSON of it.
    #[error("the file is malformed")]
    Malformed(#[source] serde_json::Error),
    /// Written by another version.
    #[error("the file has version {found}, not {VERSION}")]
    Version { found: u32 },
    /// A mapper in it is none.
    #[error("a mapper in the file is not valid")]
    Mapper(#[from] InvalidInfo),
    /// More mappers or devices than there may be.
    #[error("the file has too many mappers or devices")]
    TooMany,
}

impl Saved {
    pub(super) const fn new(mappers: Vec<SavedMapper>) -> Self {
        Self {
            version: VERSION,
            mappers,
        }
    }

    /// Nobody.
    pub(in crate::dmi) const fn empty() -> Self {
        Self::new(Vec::new())
    }

    pub(in crate::dmi) fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("it has only string keys");
        bytes.push(b'\n');
        bytes
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`SavedError`]
    pub(in crate::dmi) fn decode(bytes: &[u8]) -> Result<Self, SavedError> {
        if bytes.len() > FILE_BYTES_MAX {
            return Err(SavedError::TooLong { bytes: bytes.len() });
        }
        let saved: Self = serde_json::from_slice(bytes).map_err(SavedError::Malformed)?;
        if saved.version != VERSION {
            return Err(SavedError::Version {
                found: saved.version,
            });
        }
        let named = |mapper: &SavedMapper| mapper.devices.len() + mapper.leaving.len();
        let devices: usize = saved.mappers.iter().map(named).sum();
        if saved.mappers.len() > MAPPERS_MAX || devices > 2 * DEVICES_MAX {
            return Err(SavedError::TooMany);
        }
        for mapper in &saved.mappers {
            mapper.mapper.check()?;
        }
        Ok(saved)
    }
}

/// A device's name as it stands in the file: `namespace/name`.
pub(super) fn device(text: &str) -> Option<DeviceName> {
    let (namespace, name) = text.split_once('/')?;
    Some(DeviceName::new(namespace, name))
}
