use causeway_log::{Resource, Uid};
use uuid::Uuid;

use super::*;

fn identity(revision: u64) -> Identity {
    let uid = Uid::Uuid(Uuid::from_u128(1));
    Identity {
        key: Key::new(Resource::core("configmaps"), "default", "c", uid).unwrap(),
        revision: Revision::new(revision),
        kind: Kind::Modified,
        group: "".into(),
        version: "v1".into(),
        output: Output::Objects,
    }
}

#[test]
fn large_lines_are_held_once_and_few_are_kept() {
    let lines = Lines::default();
    let size = KEPT_BYTES_MAX / 4;
    let first = lines.share(identity(1), vec![b'x'; size]);
    let again = lines.share(identity(1), vec![b'x'; size]);
    assert_eq!(first.as_ptr(), again.as_ptr());
    assert_eq!(lines.get(&identity(1)).unwrap().as_ptr(), first.as_ptr());
    for revision in 2..20 {
        lines.share(identity(revision), vec![b'x'; size]);
    }
    assert!(lines.get(&identity(1)).is_none());
    let kept: usize = lines.0.lock().iter().map(|(_, line)| line.len()).sum();
    assert!(kept <= KEPT_BYTES_MAX, "{kept}");
}

#[test]
fn chunks_keep_the_order_of_lines() {
    let mut chunks = Chunks::default();
    let sizes = [1, 2, SHARED_BYTES_MIN, 3, SHARED_BYTES_MIN + 1];
    for (byte, size) in (b'a'..).zip(sizes) {
        chunks.push(vec![byte; size].into());
    }
    let lengths: Vec<_> = std::iter::from_fn(|| chunks.next())
        .map(|chunk| chunk.len())
        .collect();
    assert_eq!(lengths, [3, SHARED_BYTES_MIN, 3, SHARED_BYTES_MIN + 1]);
    assert!(chunks.is_empty());
}
