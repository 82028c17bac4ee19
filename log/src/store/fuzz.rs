//! What a fuzzer feeds to the decoders of what is on disk.

use bytes::Bytes;

use super::codec;
use super::keys;

/// Hands `bytes` to every decoder of the disk, with a right checksum so that they look at it.
pub fn open_anything(bytes: &[u8]) {
    let key: &[u8] = b"key";
    let (garbage, sealed) = (Bytes::copy_from_slice(bytes), codec::seal_bytes(key, bytes));
    // Whatever they say: they must say it, and in bounded memory.
    let _ = keys::parse_newest(&garbage);
    let _ = keys::parse_stream(&garbage);
    let _ = codec::open_bytes(key, &garbage);
    let _ = codec::open_record(key, &sealed);
    let _ = codec::open_newest(key, &sealed);
    let _ = codec::open_superseded(key, &sealed);
    let _ = codec::open_pending(key, &sealed);
    let _ = codec::open_stream(key, &sealed);
    let _ = codec::open_number(key, &sealed);
}
