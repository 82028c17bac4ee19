//! MQTT 3.1.1 on the wire: packets, topics, and a stream of packets. Shared by the client of an
//! external broker and by the embedded one.
//!
//! # Guarantees
//! - Nothing is allocated for a packet before its length is known to be within the bound. A
//!   publish beyond it is passed over as it arrives, and told by its head alone
//!   ([`Incoming::Oversized`]): who receives it can still acknowledge it, so that one too large
//!   message does not stand in the way of all that follow.
//! - Decoding never panics, whatever the bytes.

#[cfg(feature = "testing")]
mod fuzz;
mod packet;
#[cfg(test)]
mod tests;
mod topic;
mod wire;

#[cfg(feature = "testing")]
pub(crate) use fuzz::decode_anything;
#[cfg(feature = "broker")]
pub(super) use packet::Will;
pub(super) use packet::{Connect, Incoming, Packet, ProtocolError, Publish, Qos};
#[cfg(feature = "broker")]
pub(super) use topic::matches;
pub(super) use topic::{is_filter, is_topic};
pub(super) use wire::{Wire, WireError};

/// Longest filter, and longest topic of a client, that the embedded broker takes. MQTT allows 65,535
/// bytes; the topics of this bus are far shorter.
pub(super) const TOPIC_BYTES_MAX: usize = 1024;
