use super::*;

#[test]
fn the_example_file_is_valid_and_shows_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config/edged.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let config = EdgedConfig::parse(&text).unwrap();
    assert_eq!(config.node.as_str(), "edge-1");
    assert_eq!(config.labels["site"], "example");
    // Every default that the file shows as a comment is the default of the code.
    let shown: String = text
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|line| line.contains(" = "))
                .unwrap_or(line)
                .to_owned()
                + "\n"
        })
        .collect();
    let spelled = EdgedConfig::parse(&shown).unwrap();
    assert_eq!(format!("{config:?}"), format!("{spelled:?}"));
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = r#"
        api = "ftp://x"
        labels = ["no-equals"]
        surprise = 1
        [runtime]
        kind = "docker"
        [restart]
        backoff_first = "10m"
        backoff_max = "1m"
    "#;
    let Mistakes(mistakes) = EdgedConfig::parse(text).unwrap_err();
    let mut paths: Vec<&str> = mistakes
        .iter()
        .map(|mistake| mistake.path.as_str())
        .collect();
    paths.sort_unstable();
    let wanted = [
        "api",
        "labels",
        "node",
        "restart.backoff_first",
        "runtime.kind",
        "surprise",
    ];
    assert_eq!(paths, wanted);
}
