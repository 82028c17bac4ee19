//! The systemd unit starts this daemon as it can be started.

use std::path::Path;
use std::process::Command;

const UNIT: &str = include_str!("../../../deploy/systemd/cloud-sync.service");
const CONFIG: &str = include_str!("../../../deploy/config/cloud-sync.toml");

/// The command of the unit, on one line.
fn command() -> String {
    let whole = UNIT.replace("\\\n", " ");
    let start = whole
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    start.expect("the unit starts something").to_owned()
}

#[test]
fn the_unit_starts_the_daemon_with_the_shipped_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("cloud-sync.toml"), CONFIG).unwrap();
    std::fs::write(path("kubeconfig"), "").unwrap();
    // What systemd puts there.
    for file in ["kubeconfig", "cloud-sync.toml"] {
        let loads = format!("LoadCredential={file}:/etc/causeway/{file}");
        assert!(UNIT.contains(&loads), "{file}");
    }
    let command = command()
        .replace("${CREDENTIALS_DIRECTORY}", &path(""))
        .replace("${STATE_DIRECTORY}", &path("state"));
    let mut words = command.split_whitespace();
    let program = words.next().map(Path::new).unwrap();
    assert_eq!(program.file_name().unwrap(), "cloud-sync");
    let output = Command::new(env!("CARGO_BIN_EXE_cloud-sync"))
        .args(words)
        .arg("--check-config")
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
