//! The definitions of Device, DeviceModel and DeviceStatus: the files that are installed on clusters
//! too, so that manifests mean the same everywhere.

use std::sync::LazyLock;

use serde_json::Value;

const FILES: [&str; 3] = [
    include_str!("../../../deploy/kubernetes/chart/crds/devices.yaml"),
    include_str!("../../../deploy/kubernetes/chart/crds/devicemodels.yaml"),
    include_str!("../../../deploy/kubernetes/chart/crds/devicestatuses.yaml"),
];

static DEFINITIONS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    FILES
        .iter()
        .map(|text| serde_saphyr::from_str(text).expect("the definitions are YAML"))
        .collect()
});

/// The definitions, as their files have them.
#[must_use]
pub fn definitions() -> &'static [Value] {
    &DEFINITIONS
}

#[cfg(test)]
mod tests;
