//! The worlds that are explored completely.

use super::Write::{Delete, Put};
use super::{Budget, Setting};

/// A setting with the name under which its states are told.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// The name.
    pub name: &'static str,
    /// What happens in it.
    pub setting: Setting,
}

const NOTHING: Budget = Budget {
    cuts: 0,
    edge_crashes: 0,
    cloud_crashes: 0,
    wipes: 0,
    trims: 0,
    passes: 0,
};

/// A receiver that crashes.
pub const RECEIVER_CRASH: Named = Named {
    name: "receiver-crash",
    setting: Setting {
        edge: &[],
        cloud: &[Put("a", "1"), Put("bb", "1")],
        budget: Budget {
            cuts: 1,
            edge_crashes: 1,
            ..NOTHING
        },
    },
};

/// A sender that crashes.
pub const SENDER_CRASH: Named = Named {
    name: "sender-crash",
    setting: Setting {
        edge: &[],
        cloud: &[Put("a", "1"), Delete("a")],
        budget: Budget {
            cuts: 1,
            cloud_crashes: 1,
            ..NOTHING
        },
    },
};

/// Both directions at once.
pub const BOTH_WAYS: Named = Named {
    name: "both-ways",
    setting: Setting {
        edge: &[Put("a", "1")],
        cloud: &[Put("bb", "1")],
        budget: Budget {
            edge_crashes: 1,
            ..NOTHING
        },
    },
};

/// A receiver whose disk is replaced.
pub const WIPED: Named = Named {
    name: "wiped",
    setting: Setting {
        edge: &[Put("a", "1")],
        cloud: &[Put("bb", "1")],
        budget: Budget {
            wipes: 1,
            ..NOTHING
        },
    },
};

/// History that is trimmed under a session.
pub const TRIMMED: Named = Named {
    name: "trimmed",
    setting: Setting {
        edge: &[],
        cloud: &[Put("a", "1"), Delete("a")],
        budget: Budget {
            cuts: 1,
            trims: 1,
            passes: 1,
            ..NOTHING
        },
    },
};

/// All of them.
pub const ALL: [Named; 5] = [RECEIVER_CRASH, SENDER_CRASH, BOTH_WAYS, WIPED, TRIMMED];
