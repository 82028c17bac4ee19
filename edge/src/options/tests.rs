use clap::Parser;

use super::{Options, OptionsError};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

fn options(line: &str) -> Options {
    Line::try_parse_from(std::iter::once("edge").chain(line.split_whitespace()))
        .unwrap()
        .options
}

#[test]
fn what_stands_on_the_line_is_what_runs() {
    let line = "--node shop-7 --dir state --cloud ws://127.0.0.1:10000 --api-listen 127.0.0.1:7 \
                --label site=berlin --stop-pods-on-exit";
    let edge = options(line).read().unwrap();
    assert_eq!(edge.sync.node.as_str(), "shop-7");
    assert_eq!(edge.sync.api.listen, Some("127.0.0.1:7".parse().unwrap()));
    assert!(edge.sync.cloud.is_some());
    let kubelet = edge.kubelet.unwrap();
    assert_eq!(kubelet.node, edge.sync.node);
    assert_eq!(kubelet.labels["site"], "berlin");
    assert!(kubelet.stop_pods_on_exit);
}

#[test]
fn a_node_may_run_no_pods() {
    let edge = options("--node n --dir d --no-kubelet").read().unwrap();
    assert!(edge.kubelet.is_none());
}

#[test]
fn the_line_wins_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("edge-sync.toml");
    std::fs::write(&file, "node = \"of-the-file\"\ndir = \"there\"\n").unwrap();
    let file = file.display();
    let edge = options(&format!("--config {file} --node of-the-line"));
    let edge = edge.read().unwrap();
    assert_eq!(edge.sync.node.as_str(), "of-the-line");
    assert_eq!(edge.sync.dir, std::path::Path::new("there"));
}

#[test]
fn a_file_need_not_say_what_the_line_says() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("edge-sync.toml");
    std::fs::write(&file, "[mqtt]\nmode = \"off\"\n").unwrap();
    let line = format!("--config {} --node of-the-line --dir there", file.display());
    let edge = options(&line).read().unwrap();
    assert_eq!(edge.sync.node.as_str(), "of-the-line");
    assert_eq!(edge.sync.dir, std::path::Path::new("there"));
    assert_eq!(edge.kubelet.unwrap().dir, edge.sync.dir.join("edged"));
}

#[test]
fn names_and_files_that_are_wrong_are_told_apart() {
    let wrong = options("--node Not_A_Name --dir d").read();
    assert!(matches!(wrong, Err(OptionsError::Name(_))));
    let missing = options("--config there-is-no-such-file.toml").read();
    assert!(matches!(missing, Err(OptionsError::Config(_))));
    assert!(Line::try_parse_from(["edge", "--node", "n"]).is_err());
}
