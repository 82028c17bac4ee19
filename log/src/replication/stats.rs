//! What a session counts, for metrics and status.

use crate::id::Offset;
use crate::wire::Encoding;

/// Records of one body encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodingStats {
    /// How many.
    pub records: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// Bytes these took on the wire.
    pub wire_bytes: u64,
}

/// What went one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages.
    pub frames: u64,
    /// Their bytes, without those of the transport.
    pub bytes: u64,
    /// Records in them.
    pub records: u64,
    /// Indexed by the number of the [`Encoding`].
    pub encodings: [EncodingStats; Encoding::ALL.len()],
}

impl Traffic {
    pub(super) fn frame(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }

    pub(super) fn record(&mut self, encoding: Encoding, body_bytes: usize, wire_bytes: usize) {
        self.records += 1;
        if let Some(stats) = self.encodings.get_mut(encoding as usize) {
            stats.records += 1;
            stats.body_bytes += body_bytes as u64;
            stats.wire_bytes += wire_bytes as u64;
        }
    }
}

/// Counters and places of one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionStats {
    /// What this end sent.
    pub sent: Traffic,
    /// What this end received.
    pub received: Traffic,
    /// The own stream has been sent up to here.
    pub sent_upto: Offset,
    /// The peer has the own stream durable up to here.
    pub acked_upto: Offset,
    /// The peer's stream is durable here up to here.
    pub received_upto: Offset,
    /// Everything that the peer's stream had as the session began is durable here.
    pub caught_up: bool,
    /// Bytes sent and not yet acknowledged.
    pub under_way_bytes: usize,
    /// How often a base turned out not to be held.
    pub rewinds: u32,
}
