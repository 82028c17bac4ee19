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
    config.twins.history_bytes_max = 7;
    config.twins.history_delay = std::time::Duration::from_millis(250);
    config.dmi.socket = None;
    config.dmi.reports_per_s = 7;
    config.dmi.unknown_after = std::time::Duration::from_secs(90);
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
fn a_socket_at_its_usual_place_moves_with_the_directory_and_no_other_does() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("edge.toml");
    let moved = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let overlay = Overlay {
            dir: Some("/moved".into()),
            ..Overlay::default()
        };
        let config = EdgeConfig::assemble(Some(&file), overlay).unwrap();
        assert_eq!(config.dir, Path::new("/moved"));
        [config.api.socket, config.dmi.socket.unwrap()]
    };
    let usual = moved("node = \"a\"\ndir = \"/there\"\n");
    assert_eq!(
        usual,
        ["/moved/edge.sock", "/moved/dmi.sock"].map(Path::new)
    );
    let named = "[api]\nsocket = \"/run/edge.sock\"\n[dmi]\nsocket = \"/run/dmi.sock\"\n";
    let named = moved(&format!("node = \"a\"\n{named}"));
    assert_eq!(named, ["/run/edge.sock", "/run/dmi.sock"].map(Path::new));
}

#[test]
fn a_command_line_wins_over_the_file_and_needs_none() {
    let overlay = Overlay {
        node: Some(NodeName::new("kiosk").unwrap()),
        dir: Some("/there".into()),
        listen: Some("off".parse().unwrap()),
        auth: Some("none".parse().unwrap()),
        socket: Some("/run/kiosk.sock".into()),
        ..Overlay::default()
    };
    let config = EdgeConfig::assemble(None, overlay.clone()).unwrap();
    assert_eq!((config.api.listen, config.api.auth), (None, ApiAuth::Open));
    assert_eq!(config.api.socket, Path::new("/run/kiosk.sock"));
    let nameless = Overlay {
        node: None,
        ..overlay
    };
    let missing = EdgeConfig::assemble(None, nameless).unwrap_err();
    assert!(matches!(missing, AssembleError::Missing));
    assert!("everybody".parse::<ApiAuth>().is_err());
    assert!("10550".parse::<Listen>().is_err());
}

#[test]
fn a_file_may_leave_node_and_directory_to_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("edge.toml");
    let assemble = |text: &str, node: Option<&str>| {
        std::fs::write(&file, text).unwrap();
        let overlay = Overlay {
            node: node.map(|node| NodeName::new(node).unwrap()),
            dir: Some("/there".into()),
            ..Overlay::default()
        };
        EdgeConfig::assemble(Some(&file), overlay).map_err(|error| error.to_string())
    };
    let config = assemble("[dmi]\nreports_per_s = 7\n", Some("kiosk")).unwrap();
    assert_eq!(
        (config.node.as_str(), config.dmi.reports_per_s),
        ("kiosk", 7)
    );
    assert_eq!(config.api.socket, Path::new("/there/edge.sock"));
    let unnamed = assemble("", None).unwrap_err();
    assert!(unnamed.contains("node: must be given"), "{unnamed}");
    let wrong = assemble("node = \"Edge_1\"\n", Some("kiosk")).unwrap_err();
    assert!(
        wrong.contains("node: "),
        "a mistake that is not used: {wrong}"
    );
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
