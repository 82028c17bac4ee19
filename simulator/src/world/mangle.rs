//! Something in the middle that breaks connections: what a reliable stream never does, done to the
//! messages on it. The sessions must see it, and begin anew.

use bytes::Bytes;

use super::link::Item;
use super::seen::Kind;
use super::{Side, World};

impl World {
    /// Gives the link a message.
    pub(super) fn send(&mut self, id: u64, to: Side, message: Bytes) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        let mangled = self.nodes[conn.node].link.mangled;
        if mangled == 0 || self.chance.mangles.u32(..1000) >= mangled {
            self.transmit(id, to, Item::Message(message));
            return;
        }
        let kind = match self.chance.mangles.u32(..3) {
            0 => Kind::Lost,
            1 => {
                self.transmit(id, to, Item::Message(message.clone()));
                self.transmit(id, to, Item::Message(message));
                Kind::Doubled
            }
            _ => {
                self.transmit(id, to, Item::Message(message));
                let conn = self.conns.get_mut(&id);
                if !conn.is_some_and(|conn| conn.pipe(to).swap_last()) {
                    return;
                }
                Kind::Swapped
            }
        };
        self.stats.seen.add(kind, 1);
    }
}
