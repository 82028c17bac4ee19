//! A mapper in Python, by Google's gRPC: another implementation of every layer below the messages.
//!
//! Without a Python that has it these tests pass and say so; `cargo xtask test` reports the tier as
//! skipped, and with CI=true as a failure.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::unix::pipe;

use crate::mappers::site::{Site, device};
use crate::within;

/// Names the Python to use.
const PYTHON: &str = "CAUSEWAY_PYTHON";

/// `None` where there is none that has gRPC.
#[expect(clippy::print_stdout, reason = "a test that tests nothing says so")]
fn python() -> Option<PathBuf> {
    let python = std::env::var_os(PYTHON).unwrap_or_else(|| "python3".into());
    let modules = ["-c", "import grpc, grpc_tools.protoc"];
    let asked = Command::new(&python).args(modules).output();
    if asked.is_ok_and(|asked| asked.status.success()) {
        return Some(python.into());
    }
    println!("skipped: no Python with grpcio and grpcio-tools");
    None
}

/// A mapper that runs, and what it says.
struct Mapper {
    process: Child,
    said: Lines<BufReader<pipe::Receiver>>,
    _stdin: ChildStdin,
}

impl Mapper {
    fn start(python: &Path, site: &Site) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/python");
        let modules = site.dir.path().join("modules");
        std::fs::create_dir_all(&modules).unwrap();
        let mut process = Command::new(python)
            .arg(here.join("mapper.py"))
            .arg(site.socket())
            .arg(site.dir.path().join("python.sock"))
            .arg(modules)
            .arg(here.join("dmi.proto"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take().unwrap();
        let stdout = process.stdout.take().unwrap();
        let stdout = pipe::Receiver::from_owned_fd(stdout.into()).unwrap();
        Self {
            process,
            said: BufReader::new(stdout).lines(),
            _stdin: stdin,
        }
    }

    async fn says(&mut self, wanted: &str) {
        let saying = async {
            while let Some(line) = self.said.next_line().await.unwrap() {
                if line == wanted {
                    return;
                }
            }
            panic!("it ended before it said {wanted:?}");
        };
        within(wanted, saying).await;
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_mapper_in_python_serves_devices() {
    let Some(python) = python() else {
        return;
    };
    let mut site = Site::start().await;
    site.model();
    let mut hall = device("hall", "modbus", "20");
    hall["spec"]["protocol"]["configData"] = json!({ "slave": 7, "port": "/dev/ttyS0" });
    site.put("devices", "hall", &hall);
    site.knows(&["hall"]).await;

    let mut mapper = Mapper::start(&python, &site);
    mapper.says("knows 1 models and 1 devices").await;
    let settings = "settings hall {'port': '/dev/ttyS0', 'slave': 7}";
    mapper.says(settings).await;
    mapper.says("drives hall 20").await;
    let refused = "refused INVALID_ARGUMENT refused: \"target\": the value is not acceptable: \
                   the value is not of type FLOAT";
    mapper.says(refused).await;
    site.cloud_hears("hall", "target", "20").await;

    // Desired values of later, a device that comes, one that goes.
    site.device("hall", "modbus", "21");
    mapper.says("drives hall 21").await;
    site.cloud_hears("hall", "target", "21").await;
    site.device("attic", "modbus", "15");
    mapper.says("registered attic").await;
    mapper.says("drives attic 15").await;
    site.cloud_hears("attic", "target", "15").await;
    site.gone("attic");
    mapper.says("removed attic").await;

    // The mapper does not notice that its node was started anew.
    site.stop_edge().await;
    site.device("hall", "modbus", "22");
    site.start_edge().await;
    mapper.says("drives hall 22").await;
    site.cloud_hears("hall", "target", "22").await;
    site.stop().await;
}
