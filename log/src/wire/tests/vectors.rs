//! Golden bytes: `../vectors/*.hex`, annotated, one for every frame type. A change here is a change
//! of the protocol.

use std::path::Path;

use super::samples;
use crate::wire::Frame;

/// The bytes of a vector: hex digits, with comments from `#` to the end of the line.
fn vector(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/wire/vectors")
        .join(name);
    let text = std::fs::read_to_string(path.with_extension("hex")).unwrap_or_default();
    let digits: String = text
        .lines()
        .filter_map(|line| line.split('#').next())
        .flat_map(str::chars)
        .filter(|digit| !digit.is_whitespace())
        .collect();
    (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_frame_encodes_to_its_vector() {
    let wrong: Vec<_> = samples()
        .into_iter()
        .map(|(name, frame)| (name, hex(&frame.encode()), hex(&vector(name))))
        .filter(|(_, encoded, golden)| encoded != golden)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_vector_decodes_to_its_frame() {
    for (name, frame) in samples() {
        assert_eq!(Frame::decode(&vector(name)), Ok(frame), "{name}");
    }
}

#[test]
fn no_vector_decodes_when_a_byte_is_missing_or_added() {
    for (name, frame) in samples() {
        let bytes = frame.encode();
        // The bytes of a part are whatever is left.
        let ends = if name == "part" { 0..2 } else { 0..bytes.len() };
        for end in ends {
            assert!(Frame::decode(&bytes[..end]).is_err(), "{name} cut at {end}");
        }
        if name != "part" {
            let more = [&bytes[..], &[0]].concat();
            assert!(Frame::decode(&more).is_err(), "{name} with a byte more");
        }
    }
}

#[test]
fn a_newer_edge_may_say_more_in_its_hello() {
    let Some((
        _,
        Frame::Hello {
            node,
            incarnation,
            held,
            ..
        },
    )) = samples().into_iter().next()
    else {
        panic!("the first sample is a Hello");
    };
    let hello = Frame::Hello {
        version_min: 1,
        version_max: 2,
        node,
        incarnation,
        held,
    };
    let more = [&hello.encode()[..], b"something new"].concat();
    assert_eq!(Frame::decode(&more), Ok(hello));
}
