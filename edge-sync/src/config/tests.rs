use super::*;

#[test]
fn the_example_file_holds_the_defaults() {
    let example = include_str!("../../../deploy/config/edge-sync.toml");
    let node = NodeName::new("edge-1").unwrap();
    let cloud = "ws://127.0.0.1:10000".parse().unwrap();
    assert_eq!(
        EdgeConfig::parse(example).unwrap(),
        EdgeConfig::new(node, DIR.into(), Some(cloud))
    );
}

#[test]
fn a_dump_reads_back() {
    let node = NodeName::new("kiosk.berlin").unwrap();
    let mut config = EdgeConfig::new(node, "/tmp/edge".into(), None);
    config.api.listen = None;
    config.log.level = Level::Debug;
    assert_eq!(EdgeConfig::parse(&config.dump()).unwrap(), config);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = "node = \"Edge_1\"\ncloud = \"https://x\"\n[api]\nlisten = \"10550\"\nport = 1\n";
    let told = EdgeConfig::parse(text).unwrap_err().to_string();
    for path in [
        "node: ",
        "cloud: ",
        "api.listen: ",
        "api.port: is not a known key",
    ] {
        assert!(told.contains(path), "{path:?} is missing in {told}");
    }
}

#[test]
fn a_file_without_a_node_is_refused() {
    assert!(
        EdgeConfig::parse("")
            .unwrap_err()
            .to_string()
            .contains("node: must be given")
    );
}
