//! kill -9 at any moment: nothing reported durable is lost, nothing is there twice.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use causeway_log::batch::{Batch, StreamChange};
use causeway_log::record::Op;
use causeway_log::store::conformance::{down, draft, entries, epoch, key, next};
use causeway_log::store::fjall::{FjallConfig, FjallStore};
use causeway_log::store::{ReadLimit, TrimPolicy};
use causeway_log::{Revision, Slot, Store, WallTime};

const DIR: &str = "CAUSEWAY_TEST_KILL_DIR";
const KILLS: usize = 12;

/// The body of number `n`: some inline, some hashed, each telling its number.
fn body(n: u64) -> Vec<u8> {
    let mut body = n.to_string().into_bytes();
    let len = usize::try_from(n * 37 % 3000).unwrap();
    body.resize(20 + len, b'.');
    body
}

fn open(dir: &Path) -> FjallStore {
    // Small tables, so that flushes and compactions are among what is killed.
    let config = FjallConfig {
        memtable_bytes: 64 * 1024,
        ..FjallConfig::edge()
    };
    FjallStore::open(dir, config).unwrap().0
}

/// The last number written: it is in a key that every batch updates.
fn last(store: &FjallStore) -> u64 {
    let stored = store.newest(&down(), &key("last"), Slot::Object).unwrap();
    stored.map_or(0, |stored| {
        String::from_utf8(stored.record.body.bytes().to_vec())
            .unwrap()
            .parse()
            .unwrap()
    })
}

/// The child: appends batches for ever and says what is durable.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let store = open(Path::new(&dir));
    let streams = vec![StreamChange::Open {
        stream: down(),
        epoch: epoch(1),
    }];
    store
        .append(&Batch {
            streams,
            ..Batch::default()
        })
        .unwrap();
    let mut n = last(&store);
    let policy = TrimPolicy {
        keep_revisions: 50,
        keep_since: WallTime::from_unix_millis(u64::MAX),
        bytes_max: 0,
        facts_max: u64::MAX,
        facts_bytes_max: 0,
        records_per_call_max: 20,
    };
    let mut out = std::io::stdout();
    loop {
        let count = 1 + n % 9;
        let mut batch: Vec<_> = (n + 1..=n + count)
            .map(|n| next(&down(), draft(Op::Put, &format!("n{n}"), &body(n))))
            .collect();
        n += count;
        batch.push(next(
            &down(),
            draft(Op::Put, "last", n.to_string().as_bytes()),
        ));
        store.append(&entries(batch)).unwrap();
        store.sync().unwrap();
        writeln!(out, "durable {n}").unwrap();
        out.flush().unwrap();
        if n.is_multiple_of(10) {
            store.trim(&policy).unwrap();
        }
    }
}

#[test]
fn nothing_durable_is_lost_by_kill_nine() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(11);
    let mut reported = 0;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["kill::child", "--exact", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..random.usize(1..120) {
            let line = lines.by_ref().map(Result::unwrap).find_map(|line| {
                line.rsplit_once("durable ")
                    .map(|(_, n)| n.parse::<u64>().unwrap())
            });
            reported = line.expect("the child goes on until it is killed");
        }
        child.kill().unwrap();
        // What it said before it died counts too.
        for line in lines.map_while(Result::ok) {
            if let Some((_, n)) = line.rsplit_once("durable ") {
                reported = n.parse().unwrap_or(reported);
            }
        }
        child.wait().unwrap();
        check(dir.path(), reported, kill);
    }
}

fn check(dir: &Path, reported: u64, kill: usize) {
    let store = open(dir);
    let found = last(&store);
    assert!(
        found >= reported,
        "kill {kill}: {reported} was durable, {found} is left"
    );
    let mut seen = Vec::new();
    let mut after = Revision::ZERO;
    loop {
        let page = store.read(&down(), after, ReadLimit::SCAN).unwrap();
        let Some(end) = page.last() else { break };
        after = end.revision;
        for stored in page {
            let name = &stored.record.header.key.name;
            if let Some(n) = name.strip_prefix('n') {
                let n: u64 = n.parse().unwrap();
                assert_eq!(
                    stored.record.body.bytes(),
                    &body(n),
                    "kill {kill}: number {n}"
                );
                seen.push(n);
            }
        }
    }
    assert_eq!(
        seen,
        (1..=found).collect::<Vec<_>>(),
        "kill {kill}: each once and in order"
    );
    let report = store.verify().unwrap();
    assert!(report.is_sound(), "kill {kill}: {:?}", report.damage);
}
