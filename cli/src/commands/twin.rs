//! `causeway twin`: the devices of a node, what is wanted of them, what they report and reported.

use anyhow::Result;
use causeway_daemon::config::{format_duration, parse_duration};
use causeway_simulator::http::{Http, HttpError};
use serde_json::{Value, json};

use super::log::{Side, choose};
use crate::exit::{Code, Coded};
use crate::locate::Target;
use crate::output::{Table, cell, data, json, talk};

mod history;

/// Show the devices of a node: what is desired, what is reported, and what was read
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  causeway twin edge-1                              the devices of the node
  causeway twin edge-1 default/thermostat           desired and reported, property by property
  causeway twin edge-1 thermostat --at cloud        as the cloud has it
  causeway twin edge-1 thermostat --history temperature --since 1h
  causeway twin edge-1 thermostat --history temperature --since 2026-11-20T04:00:00Z --csv

A twin has two sides. The cloud desires (spec.properties[].desired of the Device), the device
reports; neither side ever changes the other. A property is in sync when it is what is desired. Both
ends of the road keep both sides; the digests say whether they have the same of them.

The latest value of a property is always kept. Readings are kept one by one when the Device says so:
  kubectl annotate device thermostat causeway.dev/history='temperature=all, heating=every:10s'
  kubectl annotate device thermostat causeway.dev/history='temperature=change:0.5'
They are recorded at the node, also while it is cut off, and travel to the cloud in order; read them
at either end.")]
pub(crate) struct Args {
    /// Name of the node
    node: String,
    /// One device, as NAMESPACE/NAME; a name alone is in the namespace default
    #[arg(value_name = "[NAMESPACE/]DEVICE")]
    device: Option<String>,
    /// The kept readings of this property, oldest first
    #[arg(long, value_name = "PROPERTY", requires = "device")]
    history: Option<String>,
    /// Only readings at least so new: RFC 3339 time, or how long ago (90s, 5m, 2h, 7d)
    #[arg(long, value_name = "TIME", requires = "history")]
    since: Option<String>,
    /// Only readings at most so new: RFC 3339 time, or how long ago
    #[arg(long, value_name = "TIME", requires = "history")]
    until: Option<String>,
    /// At most so many readings
    #[arg(long, value_name = "N", requires = "history")]
    limit: Option<u64>,
    /// Whose store to read: the edge itself if it answers, the cloud otherwise
    #[arg(long, value_enum)]
    at: Option<Side>,
    /// Answer as JSON; of a history, one object a line
    #[arg(long)]
    json: bool,
    /// A history as CSV
    #[arg(long, requires = "history", conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    target: Target,
}

/// Asks and prints.
pub(crate) async fn run(args: Args) -> Result<Code> {
    let (server, side) = choose(&args.target, &args.node, args.at).await?;
    let base = format!("/causeway/v1/nodes/{}/twins", args.node);
    let Some(device) = &args.device else {
        return list(&args, &server, &base).await;
    };
    let (namespace, name) = device.split_once('/').unwrap_or(("default", device));
    if namespace.is_empty() || name.is_empty() || name.contains('/') {
        let what = format!("{device:?} is no NAMESPACE/NAME of a device");
        return Err(Coded::usage(what).into());
    }
    let path = format!("{base}/{namespace}/{name}");
    match &args.history {
        Some(property) => history::run(&args, &server, &path, property).await,
        None => one(&args, &server, &path, side).await,
    }
}

/// All devices of the node, page by page.
async fn list(args: &Args, server: &Http, base: &str) -> Result<Code> {
    let mut devices = Vec::new();
    let mut after = None;
    loop {
        let path = match &after {
            None => base.to_owned(),
            Some(after) => format!("{base}?after={after}"),
        };
        let page = server.get(&path).await.map_err(explain)?;
        devices.extend(page["devices"].as_array().cloned().unwrap_or_default());
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    if args.json {
        json(&json!({ "node": args.node, "devices": devices }))?;
        return Ok(Code::Done);
    }
    if devices.is_empty() {
        talk(format_args!("{} has no devices", args.node));
        return Ok(Code::Done);
    }
    let mut table = Table::new(&[
        "NAMESPACE",
        "NAME",
        "MODEL",
        "STATE",
        "PROPERTIES",
        "OPEN",
        "DIGEST",
    ]);
    for device in &devices {
        table.row(vec![
            cell(device, "/namespace"),
            cell(device, "/name"),
            model_of(device),
            cell(device, "/state/state"),
            cell(device, "/count"),
            cell(device, "/delta"),
            cell(device, "/digest"),
        ]);
    }
    table.print()?;
    Ok(Code::Done)
}

fn model_of(device: &Value) -> String {
    let model = cell(device, "/model");
    match device["modelIsHere"].as_bool() {
        Some(false) if model != "-" => format!("{model} (missing)"),
        Some(_) | None => model,
    }
}

/// One device, and whether the other end has the same of it.
async fn one(args: &Args, server: &Http, path: &str, side: Side) -> Result<Code> {
    let mut twin = server.get(path).await.map_err(explain)?;
    let other = match side {
        Side::Edge => args.target.cloud(),
        Side::Cloud => args.target.edge(&args.node),
    };
    // Whoever gave one address asks one end.
    let other = match other {
        Ok(other) => other.get(path).await.ok(),
        Err(_) => None,
    };
    let digest = |twin: &Value| twin["digest"].as_str().map(str::to_owned);
    let (here, there) = (digest(&twin), other.as_ref().and_then(digest));
    let (cloud, edge) = match side {
        Side::Cloud => (here, there),
        Side::Edge => (there, here),
    };
    twin["digests"] = json!({ "cloud": cloud, "edge": edge });
    if args.json {
        twin["at"] = match side {
            Side::Cloud => "cloud".into(),
            Side::Edge => "edge".into(),
        };
        json(&twin)?;
        return Ok(Code::Done);
    }
    for line in heading(&twin, jiff::Timestamp::now()) {
        data(line)?;
    }
    properties(&twin, jiff::Timestamp::now()).print()?;
    Ok(Code::Done)
}

fn heading(twin: &Value, now: jiff::Timestamp) -> Vec<String> {
    let protocol = match cell(twin, "/protocol").as_str() {
        "-" => String::new(),
        protocol => format!(", protocol {protocol}"),
    };
    let (namespace, name) = (cell(twin, "/namespace"), cell(twin, "/name"));
    let mut lines = vec![format!(
        "{namespace}/{name}  model {}{protocol}",
        model_of(twin)
    )];
    if twin["state"].is_object() {
        let online = match age(&twin["state"]["lastOnline"], now) {
            None => String::new(),
            Some(age) => format!(", last online {age} ago"),
        };
        let doubt = match twin["state"]["said"].as_str() {
            None => String::new(),
            Some("") => " as its mapper cannot be heard".to_owned(),
            Some(said) => format!(" as its mapper cannot be heard, last said {said}"),
        };
        lines.push(format!(
            "state {}{doubt}{online}",
            cell(twin, "/state/state")
        ));
    }
    if let Some(mistake) = twin["historyMistake"].as_str() {
        lines.push(format!(
            "no readings are kept, causeway.dev/history is wrong: {mistake}"
        ));
    }
    let digests = &twin["digests"];
    let line = match (digests["cloud"].as_str(), digests["edge"].as_str()) {
        (Some(cloud), Some(edge)) if cloud == edge => {
            format!("equal at cloud and edge, digest {cloud}")
        }
        (Some(cloud), Some(edge)) => {
            format!("different: digest {cloud} at the cloud, {edge} at the edge")
        }
        (Some(cloud), None) => format!("digest {cloud} at the cloud; the edge does not answer"),
        (None, Some(edge)) => format!("digest {edge} at the edge; the cloud does not answer"),
        (None, None) => "no digest".to_owned(),
    };
    lines.push(line);
    lines
}

fn properties(twin: &Value, now: jiff::Timestamp) -> Table {
    let mut table = Table::new(&[
        "PROPERTY", "TYPE", "DESIRED", "VERSION", "REPORTED", "VERSION", "AGE", "IN SYNC",
        "HISTORY",
    ]);
    for property in twin["properties"].as_array().into_iter().flatten() {
        let in_sync = match (property["delta"].as_bool(), &property["desired"]["value"]) {
            (Some(true), _) => "no",
            (_, Value::Null) => "-",
            _ => "yes",
        };
        let kind = match property["access"].as_str() {
            Some("ReadOnly") => format!("{}, read only", cell(property, "/type")),
            Some(_) | None => cell(property, "/type"),
        };
        table.row(vec![
            cell(property, "/name"),
            kind,
            cell(property, "/desired/value"),
            cell(property, "/desired/version"),
            cell(property, "/reported/value"),
            cell(property, "/reported/version"),
            age(&property["reported"]["time"], now).unwrap_or_else(|| "-".to_owned()),
            in_sync.to_owned(),
            cell(property, "/history"),
        ]);
    }
    table
}

/// How long ago a time was, in its largest unit; `None` for the epoch, which is no time.
fn age(time: &Value, now: jiff::Timestamp) -> Option<String> {
    let time: jiff::Timestamp = time.as_str()?.parse().ok()?;
    if time == jiff::Timestamp::UNIX_EPOCH {
        return None;
    }
    let seconds = u64::try_from(now.duration_since(time).as_secs()).unwrap_or(0);
    Some(match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    })
}

/// What there is not is told in the words of the server.
fn explain(error: HttpError) -> anyhow::Error {
    match error.status() {
        Some(http::StatusCode::NOT_FOUND) => Coded::failed(error.to_string()).into(),
        Some(http::StatusCode::BAD_REQUEST) => Coded::usage(error.to_string()).into(),
        Some(_) | None => error.into(),
    }
}

/// Checks a time and gives it as the server reads it: a time, or how long ago.
fn moment(flag: &str, text: &str) -> Result<String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.to_string());
    }
    match parse_duration(text) {
        Ok(ago) => Ok(format_duration(ago)),
        Err(_) => {
            let what = format!("--{flag} {text:?} is no RFC 3339 time and no duration");
            Err(Coded::usage(what).into())
        }
    }
}

#[cfg(test)]
mod tests;
