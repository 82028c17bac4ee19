//! Measures the store on disk: `cargo run --release -p causeway-log --example append_bench
//! --features testing [SECONDS] [DIRECTORY]`.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::time::Duration;

use causeway_log::store::fjall::bench::{Rates, measure};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(3.0), |text| text.parse())?;
    let parent = arguments.next().unwrap_or_else(|| "target".to_owned());
    let dir = tempfile::tempdir_in(parent)?;
    let rates = measure(dir.path(), Duration::try_from_secs_f64(seconds)?);
    let Rates {
        append_synced_batched,
        update_synced_batched,
        append_synced_single,
        scan,
    } = rates;
    println!("append_synced_batched {append_synced_batched:>12.0} records/s");
    println!("update_synced_batched {update_synced_batched:>12.0} records/s");
    println!("append_synced_single  {append_synced_single:>12.0} records/s");
    println!("scan                  {scan:>12.0} records/s");
    Ok(())
}
