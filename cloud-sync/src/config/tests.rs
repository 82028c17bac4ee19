use super::*;

#[test]
fn the_shipped_file_says_the_defaults() {
    let text = include_str!("../../../deploy/config/cloud-sync.toml");
    let config = CloudConfig::from_toml(text).expect("the shipped file is valid");
    assert_eq!(config, CloudConfig::new("/var/lib/causeway/cloud"));
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = "api_listen = \"nowhere\"\n[bounds]\nsessions_max = 0\n[control]\nnode_grace = 10\n\
                plane = \"cloud\"\n[kubernetes]\ncluster = \"mine\"\n";
    let error = CloudConfig::from_toml(text).unwrap_err().to_string();
    for part in [
        "dir:",
        "api_listen:",
        "bounds.sessions_max:",
        "control.node_grace:",
        "control.plane:",
        "kubernetes.cluster:",
    ] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
}

#[test]
fn unknown_keys_are_refused() {
    let error = CloudConfig::from_toml("dir = \"x\"\ndri = \"x\"")
        .unwrap_err()
        .to_string();
    assert!(error.contains("dri: is not a known key"), "{error}");
}

#[test]
fn a_dump_is_read_as_what_was_dumped() {
    let mut config = CloudConfig::new("/some \"where\"");
    config.control.node_grace = Duration::from_millis(1500);
    config.control.plane = Plane::Kubernetes;
    config.kubernetes = Kubernetes {
        kubeconfig: Some("/etc/a \"kubeconfig\"".into()),
        context: Some("one".to_owned()),
        cluster: Some(Uuid::from_u128(7)),
        lease_renewal: Duration::from_secs(7),
    };
    config.log.level = Level::Debug;
    assert_eq!(CloudConfig::from_toml(&config.dump()), Ok(config));
}
