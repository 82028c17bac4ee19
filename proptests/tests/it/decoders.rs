//! The corpora of the fuzz targets, and what is one step away from them.

use std::path::{Path, PathBuf};

use causeway_proptests::decoders::{ALL, Decoder};
use proptest::prelude::*;

/// What a decoder may allocate whatever it is fed: messages, tables that are made once.
const CONSTANT_BYTES: u64 = 1024 * 1024;

fn corpus(decoder: &Decoder) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(decoder.name);
    let entries = std::fs::read_dir(&dir).expect("every fuzz target has a corpus");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// Feeds it and measures the most that it held at once.
fn feed(decoder: &Decoder, bytes: &[u8]) -> Result<(), TestCaseError> {
    let measured = allocation_counter::measure(|| (decoder.feed)(bytes));
    let bound = CONSTANT_BYTES + decoder.bytes_per_byte * bytes.len() as u64;
    prop_assert!(
        measured.bytes_max <= bound,
        "{} held {} bytes for {} bytes of input",
        decoder.name,
        measured.bytes_max,
        bytes.len()
    );
    Ok(())
}

#[test]
fn every_corpus_is_decoded_in_bounded_memory() {
    for decoder in &ALL {
        let corpus = corpus(decoder);
        assert!(corpus.len() >= 4, "{} has few seeds", decoder.name);
        for bytes in corpus {
            feed(decoder, &bytes).unwrap();
        }
    }
}

/// A change of a seed.
#[derive(Clone, Debug)]
enum Change {
    Set(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Double(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => at().prop_map(Change::Cut),
        2 => (at(), prop::collection::vec(any::<u8>(), 1..10))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => at().prop_map(Change::Double),
    ]
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let place = |at: &prop::sample::Index| at.index(bytes.len() + 1);
        match change {
            Change::Set(at, byte) => {
                let at = place(at);
                if let Some(found) = bytes.get_mut(at) {
                    *found = *byte;
                }
            }
            Change::Cut(at) => bytes.truncate(place(at)),
            Change::Insert(at, more) => {
                let at = place(at);
                bytes.splice(at..at, more.iter().copied());
            }
            Change::Double(at) => {
                let tail = bytes.split_at(place(at)).1.to_vec();
                bytes.extend(tail);
            }
        }
    }
    bytes
}

proptest! {
    #[test]
    fn what_is_almost_right_is_decoded_or_refused_in_bounded_memory(
        which in any::<prop::sample::Index>(),
        seed in any::<prop::sample::Index>(),
        changes in prop::collection::vec(change(), 1..6),
    ) {
        let decoder = which.get(&ALL);
        let corpus = corpus(decoder);
        feed(decoder, &changed(seed.get(&corpus).clone(), &changes))?;
    }

    #[test]
    fn garbage_is_decoded_or_refused_in_bounded_memory(
        which in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        feed(which.get(&ALL), &bytes)?;
    }
}
