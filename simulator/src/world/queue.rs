//! What will happen, in order.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::{Act, Side, Who};

/// Something that happens at a moment. What carries a `life` means nothing to a later one.
#[derive(Debug)]
pub(super) enum Event {
    Act(Box<Act>),
    /// The oldest item of a pipe is due at its end.
    Deliver {
        conn: u64,
        to: Side,
    },
    /// An end of a connection learns that it is over.
    Lost {
        conn: u64,
        at: Side,
        why: &'static str,
    },
    /// The call of an edge reaches the cloud.
    Accept {
        conn: u64,
    },
    /// The answer of the cloud reaches the edge.
    Dialed {
        conn: u64,
    },
    DialFailed {
        node: usize,
        life: u64,
        retry_after: Option<Duration>,
    },
    Dial {
        node: usize,
        life: u64,
    },
    Timer {
        conn: u64,
        side: Side,
        at: Duration,
    },
    /// A session of the cloud looks whether it is to close.
    Fence {
        conn: u64,
    },
    /// Readings of devices that wait at a node are due.
    Drain {
        node: usize,
        life: u64,
    },
    /// A store lets go of its history.
    Trim {
        owner: Owner,
        life: u64,
    },
    /// A writer takes what waits.
    Round {
        owner: Owner,
        life: u64,
    },
    /// Its disk has done it.
    Synced {
        owner: Owner,
        life: u64,
    },
    /// The watchdog of a store looks whether it can write again.
    Recover {
        owner: Owner,
        life: u64,
    },
    /// A turn of the controllers.
    Turn {
        life: u64,
    },
    Tick {
        life: u64,
    },
    FlushAcks {
        life: u64,
    },
    /// A round of a kubelet.
    Look {
        node: usize,
        at: Duration,
    },
    /// The next step of a job of a kubelet.
    Step {
        node: usize,
        life: u64,
        uid: String,
    },
    /// A process ends.
    Exit {
        node: usize,
        boot: u64,
        container: String,
        code: i32,
    },
    /// A machine has booted.
    Boot {
        node: usize,
        boot: u64,
    },
    /// A user tries.
    Ask {
        user: usize,
    },
    /// A client of an API reads what it watches.
    Pull {
        client: usize,
    },
    Flap {
        node: usize,
        flap: u64,
    },
    /// A process goes on that stood still.
    Thaw {
        who: Box<Who>,
    },
    /// A cloud that was asked to stop has ended.
    Drained {
        life: u64,
        gap: Duration,
    },
    /// AUTO-1 is looked at.
    Calm {
        node: usize,
        calm: u64,
    },
    /// FAIR-1 is looked at.
    Fair {
        node: usize,
        fair: u64,
        offset: u64,
    },
}

impl Event {
    /// Whose store it has to do with, if it writes to one.
    pub(super) const fn writes(&self) -> Option<Owner> {
        let (Self::Round { owner, .. }
        | Self::Synced { owner, .. }
        | Self::Trim { owner, .. }
        | Self::Recover { owner, .. }) = self
        else {
            return None;
        };
        Some(*owner)
    }
}

/// Whose store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Cloud,
    Edge(usize),
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Entry>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    at: Duration,
    number: u64,
    event: Event,
}

impl Queue {
    pub(super) fn push(&mut self, at: Duration, event: Event) {
        self.next += 1;
        self.heap.push(Entry {
            at,
            number: self.next,
            event,
        });
    }

    /// The next event, if it is due by `until`.
    pub(super) fn pop(&mut self, until: Duration) -> Option<(Duration, Event)> {
        if self.heap.peek()?.at > until {
            return None;
        }
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }
}

impl Ord for Entry {
    /// The earliest is the greatest; of one moment, the one that was pushed first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}
