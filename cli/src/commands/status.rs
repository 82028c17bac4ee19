//! `causeway status`: how the cloud, the links and the nodes are.

use anyhow::Result;
use causeway_simulator::http::{Http, HttpError};
use serde_json::{Map, Value, json};

use super::link::describe;
use crate::exit::{Code, Coded};
use crate::locate::Target;
use crate::output::{Table, cell, data, json};

/// Show the cloud, the links, the nodes, and how far each stream is acked
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  causeway status
  causeway status --json | jq '.cloud.nodes[].down'
  causeway status --cloud 127.0.0.1:10080

Columns: DOWN and UP are acked/head offsets of the streams from and to the cloud, as the cloud
knows them; LAG is how many offsets are not acked yet.")]
pub(crate) struct Args {
    /// Answer as JSON: what `up`, the cloud and each edge say of themselves
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Asks everybody and shows what they say; who does not answer is shown as that.
pub(crate) async fn run(args: Args) -> Result<Code> {
    let everything = gather(&args.target).await?;
    if args.json {
        json(&everything)?;
    } else {
        print(&everything)?;
    }
    let anybody = everything["cloud"]["error"].is_null()
        || everything["edges"]
            .as_object()
            .is_some_and(|edges| edges.values().any(|edge| edge["error"].is_null()));
    if anybody {
        Ok(Code::Done)
    } else {
        Err(Coded::unavailable("nobody answers").into())
    }
}

async fn gather(target: &Target) -> Result<Value> {
    let mut edges = Map::new();
    let mut everything = json!({});
    if target.cloud.is_some() || target.edge.is_some() {
        if target.cloud.is_some() {
            everything["cloud"] = ask(&target.cloud()?).await;
        }
        if target.edge.is_some() {
            let edge = ask(&target.edge("")?).await;
            edges.insert(cell(&edge, "/node"), edge);
        }
    } else {
        let up = target.up()?;
        everything["up"] = answer(target.control()?.get("/v1/status").await);
        everything["cloud"] = ask(&Http::tcp(up.cloud.api)).await;
        for node in &up.nodes {
            edges.insert(node.name.clone(), ask(&node.http()).await);
        }
    }
    everything["edges"] = Value::Object(edges);
    Ok(everything)
}

async fn ask(server: &Http) -> Value {
    answer(server.get("/causeway/v1/status").await)
}

fn answer(result: Result<Value, HttpError>) -> Value {
    result.unwrap_or_else(|error| json!({ "error": error.to_string() }))
}

fn print(everything: &Value) -> Result<()> {
    let cloud = &everything["cloud"];
    match cloud["error"].as_str() {
        Some(error) => data(format_args!("cloud  down: {error}"))?,
        None if cloud.is_null() => {}
        None => {
            let nodes = cloud["nodes"].as_array().map_or(0, Vec::len);
            let revision = cell(cloud, "/store/durable");
            data(format_args!(
                "cloud  serving, nodes: {nodes}, durable revision: {revision}"
            ))?;
        }
    }
    let mut table = Table::new(&["NODE", "PROCESS", "LINK", "SESSION", "DOWN", "UP", "LAG"]);
    let mut names: Vec<String> = Vec::new();
    for node in cloud["nodes"].as_array().into_iter().flatten() {
        names.push(cell(node, "/node"));
    }
    let edges = everything["edges"].as_object();
    names.extend(edges.into_iter().flatten().map(|(name, _)| name.clone()));
    names.sort();
    names.dedup();
    for name in names {
        table.row(row(everything, &name));
    }
    if !table.is_empty() {
        data("")?;
        table.print()?;
    }
    Ok(())
}

fn row(everything: &Value, name: &str) -> Vec<String> {
    let named = |list: &Value, field: &str| -> Value {
        let mut entries = list.as_array().into_iter().flatten();
        entries
            .find(|entry| entry[field] == name)
            .cloned()
            .unwrap_or(Value::Null)
    };
    let process = named(&everything["up"]["nodes"], "name");
    let seen = named(&everything["cloud"]["nodes"], "node");
    let edge = &everything["edges"][name];
    let running = match (process["pid"].as_u64(), edge["error"].is_null()) {
        (Some(pid), true) => format!("{pid}"),
        (Some(pid), false) => format!("{pid} (silent)"),
        (None, true) if !edge.is_null() => "serving".to_owned(),
        (None, true) => "-".to_owned(),
        (None, false) => "down".to_owned(),
    };
    let link = match process["link"].is_null() {
        true => "-".to_owned(),
        false => describe(&process["link"]),
    };
    let session = match seen["connected"].as_bool() {
        Some(true) => "connected".to_owned(),
        Some(false) => "away".to_owned(),
        None => cell(edge, "/link/state"),
    };
    let stream = |direction: &str| {
        let side = if seen.is_null() { edge } else { &seen };
        let acked = cell(side, &format!("/{direction}/acked"));
        let head = cell(side, &format!("/{direction}/head"));
        if acked == "-" {
            head
        } else {
            format!("{acked}/{head}")
        }
    };
    let lag = cell(&seen, "/down/lag");
    vec![
        name.to_owned(),
        running,
        link,
        session,
        stream("down"),
        stream("up"),
        lag,
    ]
}
