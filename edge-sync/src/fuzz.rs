//! What a fuzzer feeds to the decoders of what devices send.

/// Takes MQTT packets off `bytes`, as of a connection, until they end or are none.
///
/// # Panics
/// When a packet is taken and no byte with it.
pub fn mqtt(bytes: &[u8]) {
    crate::bus::decode_anything(bytes);
}
