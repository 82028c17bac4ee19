//! Paths of the API.

use std::fmt::Write as _;

/// One part of a path or query, with whatever has a meaning in URLs written out. Names in keys come
/// from edges too.
#[must_use]
pub fn segment(part: &str) -> String {
    let mut written = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                written.push(char::from(byte));
            }
            // A part that is only dots would be another path.
            b'.' if part.bytes().any(|byte| byte != b'.') => written.push('.'),
            byte => {
                let _ = write!(written, "%{byte:02X}");
            }
        }
    }
    written
}
