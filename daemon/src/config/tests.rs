use std::net::SocketAddr;

use super::*;

#[derive(Debug, PartialEq)]
struct Sample {
    listen: SocketAddr,
    keep: Duration,
    limit: u64,
    names: Vec<String>,
}

fn read(root: &mut Section) -> Sample {
    let listen = root.text("listen");
    let listen = root.require("listen", listen);
    let mut store = root.section("store");
    Sample {
        listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
        keep: store.duration("keep").unwrap_or(Duration::from_secs(60)),
        limit: store.number("limit", 1..=10).unwrap_or(1),
        names: root.texts("names"),
    }
}

#[test]
fn a_good_file_is_read() {
    let text = "listen = \"127.0.0.1:80\"\nnames = [\"a\"]\n[store]\nkeep = \"2h\"\nlimit = 3\n";
    let sample = parse(text, read).unwrap();
    assert_eq!(sample.keep, Duration::from_secs(7200));
    assert_eq!((sample.limit, sample.names), (3, vec!["a".to_owned()]));
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = "listne = 1\nnames = \"a\"\n[store]\nkeep = \"soon\"\nlimit = 11\nextra = true\n";
    let told = parse(text, read).unwrap_err().to_string();
    for line in [
        "listen: must be given",
        "listne: is not a known key",
        "names: must be a list of texts, not a text",
        "store.keep: must be a whole number with a unit: ms, s, m, h or d",
        "store.limit: must be 1 to 10",
        "store.extra: is not a known key",
    ] {
        assert!(told.contains(line), "{line:?} is missing in {told}");
    }
}

#[test]
fn broken_syntax_is_one_mistake() {
    assert_eq!(parse("= =", read).unwrap_err().0.len(), 1);
}

#[test]
fn a_wrong_value_is_not_also_missing() {
    let mistakes = parse("listen = \"nowhere\"", read).unwrap_err();
    assert_eq!(mistakes.0.len(), 1, "{mistakes}");
}

#[test]
fn durations_read_back() {
    for text in ["250ms", "30s", "10m", "1440m"] {
        assert_eq!(format_duration(parse_duration(text).unwrap()), text);
    }
    assert_eq!(parse_duration("7d").unwrap(), Duration::from_secs(604_800));
    for text in [
        "",
        "s",
        "5",
        "-1s",
        "1.5s",
        "99999999999999999999s",
        "18446744073709551615d",
    ] {
        assert_eq!(parse_duration(text), Err(InvalidDuration), "{text}");
    }
}
