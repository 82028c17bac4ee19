use super::*;

fn texts(path: &Path) -> Vec<String> {
    fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| line.split_once(' ').unwrap().1.to_owned())
        .collect()
}

#[test]
fn lines_are_cut_at_newlines_and_the_rest_is_a_line_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    let mut log = Log::open(&path, 1 << 20, 2);
    let mut lines = Lines::new(Source::Stdout);
    let now = Timestamp::UNIX_EPOCH;
    lines.feed(now, b"one\ntw", &mut log);
    lines.feed(now, b"o\n\nthree", &mut log);
    lines.finish(now, &mut log);
    assert_eq!(
        texts(&path),
        [
            "stdout F one",
            "stdout F two",
            "stdout F ",
            "stdout F three"
        ]
    );
    let first = fs::read_to_string(&path).unwrap();
    assert!(
        first.starts_with("1970-01-01T00:00:00.000000000Z stdout F one\n"),
        "{first}"
    );
}

#[test]
fn a_very_long_line_is_written_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    let mut log = Log::open(&path, 1 << 20, 2);
    let mut lines = Lines::new(Source::Stderr);
    let long = vec![b'x'; LINE_BYTES_MAX + 3];
    lines.feed(Timestamp::UNIX_EPOCH, &long, &mut log);
    lines.feed(Timestamp::UNIX_EPOCH, b"\n", &mut log);
    let written = texts(&path);
    assert_eq!(written.len(), 2);
    assert!(written[0].starts_with("stderr P xxx"));
    assert_eq!(written[1], "stderr F xxx");
}

#[test]
fn a_full_file_is_rotated_and_only_so_many_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    let mut log = Log::open(&path, 1, 3);
    for line in ["a", "b", "c", "d", "e"] {
        log.write(Timestamp::UNIX_EPOCH, Source::Stdout, true, line.as_bytes());
    }
    assert_eq!(texts(&path), ["stdout F e"]);
    assert_eq!(texts(&dir.path().join("0.log.1")), ["stdout F d"]);
    assert_eq!(texts(&dir.path().join("0.log.2")), ["stdout F c"]);
    assert!(!dir.path().join("0.log.3").try_exists().unwrap());
}

#[test]
fn output_the_disk_refused_is_confessed_once_it_takes_some() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("later");
    let path = missing.join("0.log");
    let mut log = Log::open(&path, 1 << 20, 2);
    log.write(Timestamp::UNIX_EPOCH, Source::Stdout, true, b"gone");
    fs::create_dir(&missing).unwrap();
    log.write(Timestamp::UNIX_EPOCH, Source::Stdout, true, b"here");
    let written = texts(&path);
    assert!(
        written[0].contains("4 bytes of output were lost"),
        "{written:?}"
    );
    assert_eq!(written[1], "stdout F here");
}
