//! `causeway sim replay`: what a node's history leads to.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use causeway_simulator::replay::{Line, Replay, parse_line};

use crate::exit::{Code, Coded};
use crate::output::{data, talk};

/// Put a node's exported history through the same folds and planner, and print the decisions
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  causeway log edge-1 --export edge-1.ndjson
  causeway sim replay edge-1.ndjson          each record, and below it what the node does
  causeway sim replay edge-1.ndjson --decisions
                                             only records that lead to something

The runtime is an ideal one: every step succeeds at once and nothing ends by itself, so these are
the decisions that the history alone asks for. A history that was trimmed begins in the middle.")]
pub(super) struct Args {
    /// The history
    file: PathBuf,
    /// Only records that lead to a decision
    #[arg(long)]
    decisions: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Prints them.
pub(super) fn run(args: &Args) -> Result<Code> {
    let what = || format!("cannot read {}", args.file.display());
    let file = File::open(&args.file).with_context(what)?;
    let wrong = |error: &dyn std::fmt::Display| {
        Coded::config(format!("{} is no history: {error}", args.file.display()))
    };
    let mut lines = BufReader::new(file).lines();
    let first = lines
        .next()
        .transpose()
        .with_context(what)?
        .unwrap_or_default();
    let node = Line::parse(&first).map_err(|error| wrong(&error))?.node;
    let mut replay = Replay::new(node.clone());
    let (mut records, mut decisions) = (0_u64, 0_usize);
    for (index, line) in lines.enumerate() {
        let line = line.with_context(what)?;
        if line.is_empty() {
            continue;
        }
        let number = index.saturating_add(2);
        let (stream, stored) = parse_line(&node, number, &line).map_err(|error| wrong(&error))?;
        let event = replay.record(&stream, &stored);
        records += 1;
        decisions += event.decisions.len();
        if args.decisions && event.decisions.is_empty() {
            continue;
        }
        if args.json {
            let steps = event.decisions.iter();
            data(serde_json::json!({
                "revision": event.revision, "stream": event.stream,
                "op": format!("{:?}", event.op), "about": event.about,
                "decisions": steps.map(|step| serde_json::json!({
                    "pod": step.pod, "what": step.what,
                })).collect::<Vec<_>>(),
            }))?;
            continue;
        }
        let arrow = if event.stream == "up" { '⇡' } else { '⇣' };
        let (revision, op) = (event.revision, format!("{:?}", event.op));
        data(format_args!(
            "{arrow} {revision:>7}  {op:<6}  {}",
            event.about
        ))?;
        for step in event.decisions {
            data(format_args!("             → {}: {}", step.pod, step.what))?;
        }
    }
    if !args.json {
        for (pod, images) in replay.running() {
            data(format_args!(
                "in the end   {pod} runs {}",
                images.join(" + ")
            ))?;
        }
    }
    talk(format_args!(
        "{records} records of {node}, {decisions} decisions"
    ));
    Ok(Code::Done)
}
