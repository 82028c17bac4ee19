//! Releases that speak other versions of the protocol.

use bytes::Bytes;
use causeway_log::wire::{Frame, PROTOCOL_VERSION};

use super::{Who, World};

/// Versions of the protocol, from the lowest to the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Versions {
    lowest: u8,
    highest: u8,
}

impl Versions {
    /// What this release speaks.
    pub(super) const OWN: Self = Self {
        lowest: PROTOCOL_VERSION,
        highest: PROTOCOL_VERSION,
    };

    fn have_common(self, other: Self) -> bool {
        self.lowest.max(other.lowest) <= self.highest.min(other.highest)
    }
}

impl From<(u8, u8)> for Versions {
    fn from((a, b): (u8, u8)) -> Self {
        Self {
            lowest: a.min(b),
            highest: a.max(b),
        }
    }
}

impl World {
    /// A process is replaced by another release.
    pub(super) fn release(&mut self, who: &Who, versions: Versions) {
        let speaks = match who {
            Who::Cloud => &mut self.cloud_speaks,
            Who::Edge(node) => match self.names.get(node) {
                Some(n) => &mut self.nodes[*n].speaks,
                None => return,
            },
            Who::Edged(_) => return,
        };
        if std::mem::replace(speaks, versions) == versions {
            return;
        }
        let runs = match who {
            Who::Cloud => self.cloud.is_some(),
            Who::Edge(node) | Who::Edged(node) => {
                (self.find(node)).is_some_and(|n| self.nodes[n].edge.is_some())
            }
        };
        if runs {
            self.kill(who);
            self.start(who);
        }
    }

    pub(super) fn speaks_alike(&self, n: usize) -> bool {
        self.nodes[n].speaks.have_common(self.cloud_speaks)
    }

    /// What a release says in its greeting. All speak what this one does, or nothing that it
    /// understands.
    pub(super) fn as_released(&self, n: usize, frame: Bytes) -> Bytes {
        let own = (self.nodes[n].speaks, self.cloud_speaks) == (Versions::OWN, Versions::OWN);
        if own {
            return frame;
        }
        let Ok(Frame::Hello {
            node,
            incarnation,
            held,
            ..
        }) = Frame::decode(&frame)
        else {
            return frame;
        };
        let (version_min, version_max) = match self.speaks_alike(n) {
            true => (PROTOCOL_VERSION - 1, PROTOCOL_VERSION + 1),
            false => (PROTOCOL_VERSION + 1, PROTOCOL_VERSION + 2),
        };
        let greeting = Frame::Hello {
            version_min,
            version_max,
            node,
            incarnation,
            held,
        };
        greeting.encode()
    }
}
