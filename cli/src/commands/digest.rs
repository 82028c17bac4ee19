//! `causeway digest`: whether both sides hold the same.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use causeway_daemon::config::parse_duration;
use causeway_simulator::wait::eventually;
use serde_json::{Value, json};

use crate::exit::Code;
use crate::locate::Target;
use crate::output::{Table, cell, data, json};

/// Compare what a node and the cloud hold of both streams, key by key
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  causeway digest edge-1               exit code 0: equal; 2: where they differ
  causeway digest edge-1 --wait 10s    allow so long for what is under way
  causeway digest edge-1 --json")]
pub(crate) struct Args {
    /// Name of the node
    node: String,
    /// How long they may differ before it counts
    #[arg(long, default_value = "0s", value_parser = wait)]
    wait: Duration,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

fn wait(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

/// Asks both, compares, prints.
pub(crate) async fn run(args: Args) -> Result<Code> {
    let path = format!("/causeway/v1/nodes/{}/digest?entries=true", args.node);
    let (cloud, edge) = (args.target.cloud()?, args.target.edge(&args.node)?);
    let ask = async || -> Result<Comparison> {
        let cloud = cloud.get(&path).await.context("cannot ask the cloud")?;
        let edge = edge.get(&path).await.context("cannot ask the edge")?;
        Ok(Comparison::of(&cloud, &edge))
    };
    // Asked anew until equal; what the last look showed is what is reported. A side that does not
    // answer may be starting.
    let mut last = ask().await;
    if !last.as_ref().is_ok_and(Comparison::equal) {
        let _ = eventually("digests", args.wait, async || {
            last = ask().await;
            if last.as_ref().is_ok_and(Comparison::equal) {
                Ok(())
            } else {
                Err(String::new())
            }
        })
        .await;
    }
    let comparison = last?;
    if args.json {
        json(&comparison.as_json(&args.node))?;
    } else {
        comparison.print(&args.node)?;
    }
    Ok(if comparison.equal() {
        Code::Done
    } else {
        Code::Different
    })
}

/// Both streams of one node, as its two ends hold them.
#[derive(Debug)]
struct Comparison {
    streams: Vec<Stream>,
}

#[derive(Debug)]
struct Stream {
    direction: &'static str,
    keys: usize,
    digests: [String; 2],
    epochs: [String; 2],
    differences: Vec<Difference>,
}

/// A key and slot whose newest records are not the same.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    what: String,
    cloud: Option<String>,
    edge: Option<String>,
}

impl Comparison {
    fn of(cloud: &Value, edge: &Value) -> Self {
        let streams = ["down", "up"];
        Self {
            streams: streams
                .map(|name| Stream::of(name, &cloud[name], &edge[name]))
                .into(),
        }
    }

    fn equal(&self) -> bool {
        self.streams.iter().all(Stream::equal)
    }

    fn as_json(&self, node: &str) -> Value {
        let mut answer = json!({ "node": node, "equal": self.equal() });
        for stream in &self.streams {
            let differences: Vec<_> = stream
                .differences
                .iter()
                .map(|one| json!({"key": one.what, "cloud": one.cloud, "edge": one.edge}))
                .collect();
            answer[stream.direction] = json!({
                "equal": stream.equal(),
                "keys": stream.keys,
                "digest": {"cloud": stream.digests[0], "edge": stream.digests[1]},
                "epoch": {"cloud": stream.epochs[0], "edge": stream.epochs[1]},
                "differences": differences,
            });
        }
        answer
    }

    fn print(&self, node: &str) -> Result<()> {
        for stream in &self.streams {
            let Stream {
                direction,
                keys,
                digests,
                epochs,
                differences,
            } = stream;
            if stream.equal() {
                data(format_args!(
                    "{node} {direction:<4}  equal: {keys} keys, digest {}",
                    digests[0]
                ))?;
                continue;
            }
            data(format_args!("{node} {direction:<4}  different:"))?;
            if epochs[0] != epochs[1] {
                data(format_args!(
                    "  epoch: cloud {}, edge {}",
                    epochs[0], epochs[1]
                ))?;
            }
            let mut table = Table::new(&["  KEY", "CLOUD", "EDGE"]);
            let side =
                |side: &Option<String>| side.clone().unwrap_or_else(|| "has none".to_owned());
            for one in differences {
                table.row(vec![
                    format!("  {}", one.what),
                    side(&one.cloud),
                    side(&one.edge),
                ]);
            }
            table.print()?;
        }
        Ok(())
    }
}

impl Stream {
    fn of(direction: &'static str, cloud: &Value, edge: &Value) -> Self {
        let (held_by_cloud, held_by_edge) = (entries(cloud), entries(edge));
        let mut differences = Vec::new();
        for (what, version) in &held_by_cloud {
            let other = held_by_edge.get(what);
            if other != Some(version) {
                let (cloud, edge) = (Some(version.clone()), other.cloned());
                differences.push(Difference {
                    what: what.clone(),
                    cloud,
                    edge,
                });
            }
        }
        for (what, version) in &held_by_edge {
            if !held_by_cloud.contains_key(what) {
                let edge = Some(version.clone());
                differences.push(Difference {
                    what: what.clone(),
                    cloud: None,
                    edge,
                });
            }
        }
        Self {
            direction,
            keys: held_by_cloud.len().max(held_by_edge.len()),
            digests: [cell(cloud, "/digest"), cell(edge, "/digest")],
            epochs: [cell(cloud, "/epoch"), cell(edge, "/epoch")],
            differences,
        }
    }

    fn equal(&self) -> bool {
        let [cloud, edge] = &self.epochs;
        self.differences.is_empty() && self.digests[0] == self.digests[1] && cloud == edge
    }
}

/// What is held, by key and slot: version and content.
fn entries(stream: &Value) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    for entry in stream["entries"].as_array().into_iter().flatten() {
        let key = entry["key"]
            .as_str()
            .map_or_else(|| key_text(&entry["key"]), str::to_owned);
        let hash: String = cell(entry, "/hash").chars().take(12).collect();
        let what = format!("{key} {}", cell(entry, "/slot"));
        entries.insert(what, format!("v{} {hash}", cell(entry, "/version")));
    }
    entries
}

fn key_text(key: &Value) -> String {
    let parts = ["/namespace", "/resource", "/name", "/uid"].map(|part| cell(key, part));
    let [namespace, resource, name, uid] = parts;
    let short: String = uid.chars().take(8).collect();
    match namespace.as_str() {
        "-" => format!("{resource}/{name} ({short})"),
        namespace => format!("{namespace}/{resource}/{name} ({short})"),
    }
}

#[cfg(test)]
mod tests;
