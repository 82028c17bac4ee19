//! `causeway log`: the records of a node's streams.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use causeway_log::NodeName;
use causeway_simulator::http::{Http, HttpError, Lines};
use causeway_simulator::replay::first_line;
use clap::ValueEnum;
use serde_json::Value;

use crate::exit::Code;
use crate::locate::Target;
use crate::output::{cell, data, talk};

/// Show the records of a node's streams, oldest first
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  causeway log edge-1                        everything the history window still holds
  causeway log edge-1 --follow --stream up   what the edge says, as it says it
  causeway log edge-1 --since 120 --bodies   with the objects (data of Secrets is blanked)
  causeway log edge-1 --export edge-1.ndjson the same to a file, to replay or to send to somebody
  causeway log edge-1 --json | jq -c '[.stream, .op, .key.name]'

  ⇣ travels to the edge, ⇡ travels to the cloud. Revisions and order are those of the store asked:
  the edge itself if it answers, the cloud otherwise; --at says which.")]
pub(crate) struct Args {
    /// Name of the node
    node: String,
    /// Which direction
    #[arg(long, value_enum, default_value_t)]
    stream: Stream,
    /// Go on with records as they come
    #[arg(long, short)]
    follow: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Only records after this revision
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    since: u64,
    /// With bodies
    #[arg(long)]
    bodies: bool,
    /// Write the whole history to a file, with bodies, for `causeway sim replay`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["follow", "json", "stream"])]
    export: Option<PathBuf>,
    /// Whose store to read
    #[arg(long, value_enum)]
    at: Option<Side>,
    #[command(flatten)]
    target: Target,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Stream {
    /// From the cloud to the edge
    Down,
    /// From the edge to the cloud
    Up,
    /// Both, in the order of the store
    #[default]
    Both,
}

/// One of the two stores that hold a node's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    /// The cloud's
    Cloud,
    /// The edge's
    Edge,
}

/// Prints them.
pub(crate) async fn run(args: Args) -> Result<Code> {
    let (server, _) = choose(&args.target, &args.node, args.at).await?;
    let stream = match args.stream {
        Stream::Down => "down",
        Stream::Up => "up",
        Stream::Both => "both",
    };
    let path = format!(
        "/causeway/v1/nodes/{}/log?stream={stream}&after={}&follow={}&bodies={}",
        args.node,
        args.since,
        args.follow,
        args.bodies || args.export.is_some(),
    );
    let mut lines = server.lines(&path).await?;
    if let Some(file) = &args.export {
        return export(&args.node, &mut lines, file).await;
    }
    while let Some(line) = lines.next().await? {
        if line.is_empty() {
            continue;
        }
        if args.json {
            data(String::from_utf8_lossy(&line))?;
        } else {
            let record: Value = serde_json::from_slice(&line)?;
            data(describe(&record))?;
        }
    }
    if args.follow {
        talk("the server ended the stream");
    }
    Ok(Code::Done)
}

/// Writes the lines as they are, below one that says whose they are.
async fn export(node: &str, lines: &mut Lines, file: &Path) -> Result<Code> {
    let what = || format!("cannot write {}", file.display());
    let node = NodeName::new(node)?;
    let mut out = BufWriter::new(File::create(file).with_context(what)?);
    writeln!(out, "{}", first_line(&node)).with_context(what)?;
    let mut records = 0_u64;
    while let Some(line) = lines.next().await? {
        if line.is_empty() {
            continue;
        }
        out.write_all(&line).with_context(what)?;
        out.write_all(b"\n").with_context(what)?;
        records += 1;
    }
    out.flush().with_context(what)?;
    talk(format_args!(
        "{records} records of {node} in {}",
        file.display()
    ));
    Ok(Code::Done)
}

/// The end to ask about a node: the one that `at` names, else the edge itself when it answers.
pub(super) async fn choose(target: &Target, node: &str, at: Option<Side>) -> Result<(Http, Side)> {
    let side = match at {
        Some(side) => side,
        None if target.cloud.is_some() && target.edge.is_none() => Side::Cloud,
        None => match target.edge(node)?.text("/healthz").await {
            Err(HttpError::Connect { .. }) if target.edge.is_none() => {
                talk(format_args!(
                    "{node} does not answer; this is what the cloud has"
                ));
                Side::Cloud
            }
            Ok(_) | Err(_) => Side::Edge,
        },
    };
    let server = match side {
        Side::Cloud => target.cloud()?,
        Side::Edge => target.edge(node)?,
    };
    Ok((server, side))
}

/// A record on one line for people:
/// `⇣    118  04:31:07.250  Put     hello/configmaps/greeting  v117  212 B`.
fn describe(record: &Value) -> String {
    let key = &record["key"];
    let mut about = String::new();
    for part in ["/namespace", "/resource", "/name"] {
        match cell(key, part).as_str() {
            "-" => {}
            part => {
                if !about.is_empty() {
                    about.push('/');
                }
                about.push_str(part);
            }
        }
    }
    let arrow = match record["stream"].as_str() {
        Some(stream) if stream.ends_with("down") => "⇣",
        Some(stream) if stream.ends_with("up") => "⇡",
        Some(_) | None => "·",
    };
    let revision = cell(record, "/revision");
    let time = time_of_day(&record["time"]);
    let op = cell(record, "/op");
    let mut line = format!("{arrow} {revision:>7}  {time}  {op:<6}  {about}");
    if let Some(version) = record["version"].as_u64().filter(|version| *version > 0) {
        line.push_str(&format!("  v{version}"));
    }
    if let Some(bytes) = record["bytes"].as_u64().filter(|bytes| *bytes > 0) {
        line.push_str(&format!("  {bytes} B"));
    }
    if let Some(cause) = record["cause"].as_str() {
        line.push_str(&format!(
            "  ← {}",
            cause.rsplit('-').next().unwrap_or(cause)
        ));
    }
    if !record["body"].is_null() {
        line.push_str(&format!("\n           {}", record["body"]));
    }
    line
}

/// The time of day of an RFC 3339 time or of milliseconds since 1970, as UTC.
fn time_of_day(time: &Value) -> String {
    let stamp = match time {
        Value::String(text) => text.parse::<jiff::Timestamp>().ok(),
        Value::Number(number) => number
            .as_i64()
            .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    stamp.map_or_else(
        || "-".to_owned(),
        |stamp| stamp.strftime("%H:%M:%S%.3f").to_string(),
    )
}

#[cfg(test)]
mod tests;
