//! How much memory an idle session keeps:
//! `cargo run -p causeway-daemon --features testing --example idle_sessions -- 2000`.

use std::io::Write as _;
use std::sync::Arc;

use causeway_daemon::session_driver::{Control, drive};
use causeway_daemon::tasks::{Shutdown, spawn};
use causeway_daemon::testing::TestEnd;
use causeway_daemon::ws::WsTransport;
use causeway_log::NodeName;
use causeway_log::replication::Role;
use causeway_log::wire::Encoder;
use tokio::net::{TcpListener, TcpStream};

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let count: usize = std::env::args()
        .nth(1)
        .map_or(Ok(1000), |text| text.parse())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut ends = Vec::new();
    for number in 0..count {
        let node = NodeName::new(&format!("edge-{number}"))?;
        ends.push((
            TestEnd::new(Role::Cloud, node.clone()),
            TestEnd::new(Role::Edge, node),
        ));
    }
    let (shutdown, encoder) = (Shutdown::new(), Arc::new(Encoder::default()));
    let before = resident_bytes()?;
    let mut sessions = Vec::new();
    for (cloud, edge) in &ends {
        let dialed = TcpStream::connect(listener.local_addr()?).await?;
        let (accepted, _) = listener.accept().await?;
        let sides = [
            WsTransport::server(accepted).await,
            WsTransport::client(dialed).await,
        ];
        for (end, side) in [cloud, edge].into_iter().zip(sides) {
            let config = end.config().with_encoder(Arc::clone(&encoder));
            let control = Control::from(shutdown.token());
            sessions.push(spawn(
                "session",
                drive(config, side, Arc::clone(end), control),
            ));
        }
    }
    for (cloud, edge) in &ends {
        cloud.until(|| !cloud.starts().is_empty()).await;
        edge.until(|| !edge.starts().is_empty()).await;
    }
    let mut out = std::io::stdout();
    let each = |after: usize| after.saturating_sub(before) / sessions.len();
    writeln!(
        out,
        "idle: {} bytes a session and its share of the store",
        each(resident_bytes()?)
    )?;
    Ok(())
}

fn resident_bytes() -> Result<usize, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .ok_or("no VmRSS")?;
    let kilobytes: usize = line.split_whitespace().nth(1).ok_or("no value")?.parse()?;
    Ok(kilobytes * 1024)
}
