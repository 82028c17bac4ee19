//! What a fuzzer calls.

use bytes::{Buf as _, BytesMut};

use super::packet::{Incoming, decode};

/// Small, so that a fuzzer gets beyond it.
const PACKET_BYTES_MAX: usize = 256;

/// Takes packets off `bytes` until they end or are none. Whatever is read is written.
pub(crate) fn decode_anything(bytes: &[u8]) {
    let mut left = BytesMut::from(bytes);
    let mut sent = BytesMut::new();
    loop {
        let before = left.len();
        match decode(&mut left, PACKET_BYTES_MAX) {
            Err(_) | Ok(None) => return,
            Ok(Some(Incoming::Packet(packet))) => {
                sent.clear();
                packet.encode(&mut sent);
            }
            Ok(Some(Incoming::Oversized { bytes, .. })) => left.advance(bytes.min(left.len())),
        }
        assert!(left.len() < before, "a packet takes its bytes along");
    }
}
