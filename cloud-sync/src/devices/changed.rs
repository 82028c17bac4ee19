//! Which devices are to be looked at.

use std::collections::BTreeSet;

use causeway_projections::twin::DeviceName;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Names of devices whose status may have to be written. The machine marks, the publisher takes; a
/// name that waits is there once, and only devices that the cluster has are marked.
#[derive(Debug, Default)]
pub struct Changed {
    names: Mutex<BTreeSet<DeviceName>>,
    wake: Notify,
}

impl Changed {
    /// A device is to be looked at.
    pub fn mark(&self, name: DeviceName) {
        if self.names.lock().insert(name) {
            self.wake.notify_one();
        }
    }

    /// Takes all names that wait.
    #[must_use]
    pub fn take(&self) -> BTreeSet<DeviceName> {
        std::mem::take(&mut *self.names.lock())
    }

    /// Waits for names, and takes them all.
    pub async fn taken(&self) -> BTreeSet<DeviceName> {
        loop {
            let names = self.take();
            if !names.is_empty() {
                return names;
            }
            self.wake.notified().await;
        }
    }
}
