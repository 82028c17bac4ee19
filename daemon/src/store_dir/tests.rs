use causeway_log::store::fjall::FjallConfig;

use super::*;

#[test]
fn a_store_directory_is_private_and_has_one_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/b");
    let store = open(&dir, FjallConfig::edge()).unwrap();
    assert_eq!(
        std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let second = open(&dir, FjallConfig::edge()).unwrap_err();
    assert!(
        matches!(second, StoreDirError::Open(OpenError::Locked { .. })),
        "{second:?}"
    );
    drop(store);
}

#[test]
fn a_file_in_the_way_is_told() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("taken");
    std::fs::write(&path, "").unwrap();
    let refused = open(&path, FjallConfig::edge()).unwrap_err();
    assert!(refused.to_string().contains("taken"), "{refused}");
}

#[test]
fn the_disk_has_a_size() {
    let space = disk_space(Path::new("/")).unwrap();
    assert!(space.free_bytes <= space.total_bytes);
}

#[test]
fn a_policy_keeps_what_is_young() {
    let now = WallTime::from_unix_millis(100_000_000_000);
    let policy = History::EDGE.policy(now);
    assert_eq!(
        policy.keep_since.unix_millis(),
        100_000_000_000 - 24 * 60 * 60 * 1000
    );
    assert_eq!(
        History::EDGE.policy(WallTime::default()).keep_since,
        WallTime::default()
    );
}
