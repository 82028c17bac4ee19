//! Serves an empty cloud in memory, for trying clients against the REST server:
//! `cargo run -p causeway-kube-api --features testing --example serve -- 127.0.0.1:8080`

use causeway_kube_api::testing::MemorySource;
use causeway_kube_api::{ServerConfig, router};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let config = ServerConfig {
            warn_uncontrolled: true,
            ..ServerConfig::default()
        };
        axum::serve(listener, router(MemorySource::cloud(), config)).await?;
        Ok(())
    })
}
