//! Body encodings: each is chosen where it is smallest, and none ever gives other bytes.

use proptest::prelude::*;

use crate::body::Body;
use crate::limits::BODY_BYTES_MAX;
use crate::replication::Invariant;
use crate::wire::body::{Encoded, WireBody};
use crate::wire::cursor::Reader;
use crate::wire::{BodyError, Encoder, Encoding, Packed};

const POD: &[u8] = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"creationTimestamp":"2026-03-01T10:00:00Z","labels":{"app":"web"},"name":"web-5d4f8c7b9-x2x4z","namespace":"default","uid":"0c3f7a3e-6f5d-4f6a-9a53-2f0f5b1d1c1e"},"spec":{"containers":[{"image":"nginx:1.27","imagePullPolicy":"IfNotPresent","name":"web","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","nodeName":"edge-1","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}"#;

fn body(bytes: &[u8]) -> Body {
    Body::from(bytes.to_vec())
}

fn wire(encoded: &Encoded) -> WireBody<'_> {
    let mut input = Reader::new(&encoded.wire);
    let wire = WireBody::decode(encoded.encoding as u8, &mut input).unwrap();
    input.end().unwrap();
    wire
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

#[test]
fn the_smallest_encoding_is_chosen() {
    let encoder = Encoder::default();
    let pod = body(POD);
    let choice = |text: &[u8], base: Option<&Body>| encoder.encode(&body(text), base).encoding;
    assert_eq!(choice(b"", Some(&pod)), Encoding::Empty);
    assert_eq!(choice(b"{}", None), Encoding::Raw);
    assert_eq!(choice(&noise(1, 5000), None), Encoding::Raw);
    assert_eq!(choice(POD, None), Encoding::Zstd);
    assert_eq!(choice(POD, Some(&pod)), Encoding::Same);
    assert_eq!(choice(&[POD, b" "].concat(), Some(&pod)), Encoding::Delta);
    assert_eq!(choice(POD, Some(&body(&noise(1, 5000)))), Encoding::Zstd);
}

#[test]
fn the_dictionary_pays_on_the_first_object() {
    let with = Encoder::default().encode(&body(POD), None).wire.len();
    assert!(with < POD.len() / 3, "{with} of {}", POD.len());
}

#[test]
fn a_wrong_base_is_an_error() {
    let (old, new) = (body(POD), body(&[POD, b" "].concat()));
    let encoded = Encoder::default().encode(&new, Some(&old));
    assert_eq!(wire(&encoded).base(), Some(old.hash().short()));
    assert_eq!(wire(&encoded).open(None), Err(BodyError::Base));
    // Even a base that passed the short hash could not lead to other bytes.
    assert!(
        wire(&encoded)
            .open(Some(&body(&noise(1, POD.len()))))
            .is_err(),
        "{}",
        Invariant::RightBytes
    );
    assert_eq!(wire(&encoded).open(Some(&old)), Ok(new));
}

#[test]
fn a_block_that_decodes_to_more_than_declared_is_damaged() {
    let large = body(&vec![b'x'; 1_000_000]);
    let encoded = Encoder::default().encode(&large, None);
    let WireBody::Zstd { dictionary, packed } = wire(&encoded) else {
        panic!("it packs well")
    };
    assert!(packed.block.len() < 1000);
    let lie = WireBody::Zstd {
        dictionary,
        packed: Packed {
            size: 1000,
            ..packed
        },
    };
    assert_eq!(lie.open(None), Err(BodyError::Damaged));
    let lie = WireBody::Zstd {
        dictionary,
        packed: Packed {
            size: 1_000_001,
            ..packed
        },
    };
    assert_eq!(lie.open(None), Err(BodyError::Damaged));
    let other = WireBody::Zstd {
        dictionary,
        packed: Packed {
            hash: [0; 8],
            ..packed
        },
    };
    assert_eq!(other.open(None), Err(BodyError::Hash));
    let unknown = WireBody::Zstd {
        dictionary: 9,
        packed,
    };
    assert_eq!(unknown.open(None), Err(BodyError::Dictionary { number: 9 }));
}

#[test]
fn a_declared_size_over_the_limit_is_refused_unread() {
    let mut bytes = vec![1];
    bytes.extend([0xff, 0xff, 0xff, 0xff, 0x7f]);
    bytes.extend([0; 9]);
    let refused = WireBody::decode(2, &mut Reader::new(&bytes));
    assert!(
        matches!(refused, Err(crate::wire::WireError::TooLarge { .. })),
        "{refused:?}"
    );
}

#[test]
fn the_largest_bodies_are_deltas_of_each_other() {
    let old = noise(1, BODY_BYTES_MAX);
    let mut new = old.clone();
    new[BODY_BYTES_MAX / 2] ^= 1;
    let (old, new) = (body(&old), body(&new));
    let encoded = Encoder::default().encode(&new, Some(&old));
    assert_eq!(encoded.encoding, Encoding::Delta);
    assert!(encoded.wire.len() < 6000, "{}", encoded.wire.len());
    assert_eq!(wire(&encoded).open(Some(&old)), Ok(new));
}

#[test]
fn what_is_remembered_is_bounded() {
    let encoder = Encoder::new(50_000);
    for seed in 0..100 {
        encoder.encode(&body(&noise(seed, 5000)), None);
    }
    let (first, last) = (body(&noise(0, 5000)), body(&noise(99, 5000)));
    encoder.encode(&last, None);
    assert_eq!(encoder.hits_and_misses(), (1, 100));
    encoder.encode(&first, None);
    assert_eq!(encoder.hits_and_misses(), (1, 101));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_encoded_opens_to_itself(
        text in prop::collection::vec(any::<u8>(), 0..3000),
        base in proptest::option::of(prop::collection::vec(any::<u8>(), 0..3000)),
        is_edit in any::<bool>(),
    ) {
        let base = base.map(|base| body(&base));
        let text = match &base {
            Some(base) if is_edit => [base.bytes(), &text[..text.len().min(10)]].concat(),
            Some(_) | None => text,
        };
        let encoded = Encoder::default().encode(&body(&text), base.as_ref());
        prop_assert_eq!(wire(&encoded).open(base.as_ref()), Ok(body(&text)));
    }

    #[test]
    fn damaged_blocks_never_give_other_bytes(
        at in any::<prop::sample::Index>(),
        value in 1_u8..,
    ) {
        let (old, new) = (body(POD), body(&[b"[", POD, b"]"].concat()));
        for base in [None, Some(&old)] {
            let encoded = Encoder::default().encode(&new, base);
            let mut bytes = encoded.wire.to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= value;
            let mut input = Reader::new(&bytes);
            if let Ok(wire) = WireBody::decode(encoded.encoding as u8, &mut input)
                && let Ok(opened) = wire.open(base)
            {
                // Only a bit of the base's own name can change without being noticed here; the
                // session compares it with what it holds.
                prop_assert_eq!(opened, new.clone());
            }
        }
    }
}
