//! Two ends of one link, over the real sessions and stores, as a model that can be explored
//! completely.
//!
//! A state is everything there is: both disks, what is written and not synced, both sessions, and
//! the frames between them. A step is one thing that one of the parties does, so all orders of
//! sending, delivering, writing, syncing and breaking are covered. Time stands still but for one
//! step that lets lazy acknowledgements fall due.
//!
//! Sessions are copied and observed, stores are opened again from their disk image; nothing of the
//! engine is modelled. Two states are the same when all that decides their future is: counters for
//! metrics are left out.

mod end;
mod model;
mod settings;

pub use end::{End, Side, Write};
pub use model::{Budget, Pair, Setting, Step};
pub use settings::{ALL, BOTH_WAYS, Named, RECEIVER_CRASH, SENDER_CRASH, TRIMMED, WIPED};
