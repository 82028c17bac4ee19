//! Requests as clients on Unix sockets begin them, byte by byte.

use crate::authority::Authority;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Settings, of which one is as long as a frame of headers may be.
const SETTINGS: &[u8] = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80";

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let header = [length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
    [&header, payload].concat()
}

fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
    [PREFACE, SETTINGS, &frames.concat()].concat()
}

/// Rewrites it in pieces of every length; all must come to the same.
fn rewritten(bytes: &[u8]) -> Vec<u8> {
    let mut whole = bytes.to_vec();
    Authority::new().rewrite(&mut whole);
    for size in 1..32 {
        let mut pieces = bytes.to_vec();
        let mut authority = Authority::new();
        pieces
            .chunks_mut(size)
            .for_each(|piece| authority.rewrite(piece));
        assert_eq!(pieces, whole, "in pieces of {size}");
    }
    whole
}

/// Text before the value of `:authority`, and after it.
fn block(value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap();
    let mut block = b"@\x05:path\x02/a@\n:authority".to_vec();
    block.push(length);
    block.extend_from_slice(value);
    block.extend_from_slice(b"\x83\x86@\x0ccontent-type\x10application/grpc@\x02te\x08trailers");
    block
}

#[test]
fn what_grpc_in_cpp_and_python_sends_becomes_a_host() {
    let sent = connection(&[
        frame(1, 4, &block(b"tmp%2Fdmi.sock")),
        frame(0, 1, b"\0\0\0\0\0 :authority\x0btmp%2Fx.sock"),
    ]);
    let wanted = connection(&[
        frame(1, 4, &block(b"tmp-2Fdmi.sock")),
        frame(0, 1, b"\0\0\0\0\0 :authority\x0btmp%2Fx.sock"),
    ]);
    assert_eq!(rewritten(&sent), wanted);
}

/// `:authority` by its index, and a value in the code of RFC 7541, as Go has it.
fn coded(value: &[u8]) -> Vec<u8> {
    let length = 0x80 | u8::try_from(value.len()).unwrap();
    [&[0x83, 0x86, 0x41, length], value, b"\x04\x02/a"].concat()
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

#[test]
fn what_grpc_in_go_sends_becomes_a_host_of_the_same_length() {
    let cases = [
        // /etc/kubeedge/dmi.sock and 3etc3kubeedge3dmi.sock
        (
            "60a9231d6d8ca59262b125265d07275f",
            "64a9233d6d8ca59262b325265d07275f",
        ),
        // %2Fetc%2Fkubeedge%2Fdmi.sock and .2Fetc.2Fkubeedge.2Fdmi.sock
        (
            "54584a922a2c3d6d8ca59262aa2c325265d07275",
            "5c584a922e2c3d6d8ca59262ae2c325265d07275",
        ),
    ];
    for (sent, wanted) in cases {
        let (sent, wanted) = (hex(sent), hex(wanted));
        let sent = connection(&[frame(1, 4, &coded(&sent))]);
        let wanted = connection(&[frame(1, 4, &coded(&wanted))]);
        assert_eq!(rewritten(&sent), wanted);
    }
}

#[test]
fn headers_may_be_padded_weighted_and_cut_anywhere() {
    let (sent, wanted) = (block(b"a/b"), block(b"a-b"));
    for cut in 0..sent.len() {
        let frames = |block: &[u8]| {
            let (head, tail) = block.split_at(cut);
            let padded = [&[3][..], &[0, 0, 0, 0, 16], head, &[0x41, 0x01, b'/']].concat();
            connection(&[frame(1, 0x28, &padded), frame(9, 4, tail)])
        };
        assert_eq!(rewritten(&frames(&sent)), frames(&wanted), "cut at {cut}");
    }
}

#[test]
fn hosts_and_other_headers_stay_as_they_are() {
    let sent = connection(&[
        frame(1, 4, &block(b"localhost")),
        frame(1, 4, b"@\x03\x61/b\x03c/d\x41\x00\x3f\xe1\x1f\xff\xff\x03"),
        frame(6, 0, b"12345678"),
    ]);
    assert_eq!(rewritten(&sent), sent);
}

#[test]
fn nonsense_is_passed_on_without_a_panic() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..2000 {
        let length = random.usize(..200);
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
            .take(length)
            .collect();
        rewritten(&noise);
        let flags = random.u8(..);
        rewritten(&connection(&[frame(1, flags, &noise), frame(9, 0, &noise)]));
    }
}
