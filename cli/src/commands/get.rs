//! `causeway get`: what a node saw, now or then.

use anyhow::{Context as _, Result};
use causeway_simulator::http::HttpError;
use clap::ValueEnum;
use serde_json::{Value, json};

use super::log::Side;
use crate::discovery::Kinds;
use crate::exit::{Code, Coded};
use crate::locate::Target;
use crate::output::{Table, cell, data, json, talk};
use crate::up::Plane;

/// Show objects as a node sees them, or saw them at a past revision or time
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  causeway get pods --node edge-1
  causeway get configmap greeting --node edge-1 -n hello -o yaml
  causeway get configmap greeting --node edge-1 -n hello --at 118 -o yaml
  causeway get pods --node edge-1 --at 2026-11-20T04:31:07Z
  causeway get pods --node edge-1 --at 5m            five minutes ago

Revisions are those that `causeway log NODE` shows. What lies before the history window of the
store asked is gone; the error says where it begins. The cloud keeps more: --from cloud.")]
pub(crate) struct Args {
    /// Kind, as kubectl writes it: pods, po, configmap, deployments.apps
    kind: String,
    /// Name of one object
    name: Option<String>,
    /// Name of the node
    #[arg(long)]
    node: String,
    /// Only this namespace
    #[arg(long, short)]
    namespace: Option<String>,
    /// Revision, RFC 3339 time, or how long ago (90s, 5m, 2h)
    #[arg(long, value_name = "REVISION|TIME")]
    at: Option<String>,
    /// How to show them
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
    /// The same as -o json
    #[arg(long, conflicts_with = "output")]
    json: bool,
    /// Whose store to read
    #[arg(long, value_enum, default_value = "edge")]
    from: Side,
    #[command(flatten)]
    target: Target,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table
    #[default]
    Table,
    /// A table with more columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Asks and prints.
pub(crate) async fn run(args: Args) -> Result<Code> {
    let server = match args.from {
        Side::Cloud => args.target.cloud()?,
        Side::Edge => args.target.edge(&args.node)?,
    };
    let kinds = Kinds::of(&Plane::Own(server.clone())).await?;
    let kind = kinds.named(&args.kind)?;
    let mut path = format!(
        "/causeway/v1/nodes/{}/objects?resource={}",
        args.node,
        kind.resource()
    );
    if let Some(namespace) = &args.namespace {
        path.push_str(&format!("&namespace={namespace}"));
    }
    if let Some(name) = &args.name {
        path.push_str(&format!("&name={name}"));
    }
    if let Some(at) = &args.at {
        path.push_str(&format!("&at={}", moment(at)?));
    }
    let answer = server
        .get(&path)
        .await
        .map_err(|error| match error.status() {
            Some(http::StatusCode::GONE) => gone(&args, &error),
            Some(_) | None => anyhow::Error::from(error),
        })?;
    let objects = answer["objects"].as_array().map_or(&[][..], Vec::as_slice);
    let output = if args.json { Output::Json } else { args.output };
    if let (Some(name), true) = (&args.name, objects.is_empty()) {
        let what = format!("{} had no {} {name:?}", args.node, kind.plural);
        return Err(Coded::failed(what).into());
    }
    print(objects, &answer, output, args.name.is_some())?;
    if objects.is_empty() && matches!(output, Output::Table | Output::Wide) {
        talk(format_args!("{} had no {}", args.node, kind.plural));
    }
    Ok(Code::Done)
}

fn gone(args: &Args, error: &HttpError) -> anyhow::Error {
    let coded = Coded::failed(format!("that is before the history window: {error}"));
    match args.from {
        Side::Edge => coded
            .hint("the cloud keeps more history: --from cloud")
            .into(),
        Side::Cloud => coded.into(),
    }
}

/// A revision and a time stay as they are; `5m` becomes the time five minutes ago.
fn moment(at: &str) -> Result<String> {
    if at.parse::<u64>().is_ok() {
        return Ok(at.to_owned());
    }
    if let Ok(time) = at.parse::<jiff::Timestamp>() {
        return Ok(time.to_string());
    }
    let Ok(ago) = causeway_daemon::config::parse_duration(at) else {
        let what = format!("--at {at:?} is no revision, no RFC 3339 time and no duration");
        return Err(Coded::usage(what).into());
    };
    let time = jiff::Timestamp::now().checked_sub(jiff::SignedDuration::try_from(ago)?);
    Ok(time
        .with_context(|| format!("--at {at:?} is too long ago"))?
        .to_string())
}

fn print(objects: &[Value], answer: &Value, output: Output, single: bool) -> Result<()> {
    match output {
        Output::Json => match objects {
            [only] if single => json(only)?,
            _ => json(answer)?,
        },
        Output::Yaml => {
            let yaml = match objects {
                [only] if single => serde_saphyr::to_string(only),
                _ => serde_saphyr::to_string(&json!({ "items": objects })),
            };
            data(yaml.context("cannot write YAML")?.trim_end())?;
        }
        Output::Table => table(objects, false).print()?,
        Output::Wide => table(objects, true).print()?,
    }
    Ok(())
}

fn table(objects: &[Value], wide: bool) -> Table {
    let mut columns = vec!["NAMESPACE", "NAME", "REVISION", "STATE"];
    if wide {
        columns.extend(["CREATED", "UID"]);
    }
    let mut table = Table::new(&columns);
    for object in objects {
        let mut row = vec![
            cell(object, "/metadata/namespace"),
            cell(object, "/metadata/name"),
            cell(object, "/metadata/resourceVersion"),
            state(object),
        ];
        if wide {
            row.push(cell(object, "/metadata/creationTimestamp"));
            row.push(cell(object, "/metadata/uid"));
        }
        table.row(row);
    }
    table
}

/// The one word that says most about an object.
fn state(object: &Value) -> String {
    if !object["metadata"]["deletionTimestamp"].is_null() {
        return "Terminating".to_owned();
    }
    if let Some(phase) = object.pointer("/status/phase").and_then(Value::as_str) {
        return phase.to_owned();
    }
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready");
    if let Some(ready) = ready {
        return if ready["status"] == "True" {
            "Ready"
        } else {
            "NotReady"
        }
        .to_owned();
    }
    match object["data"].as_object() {
        Some(data) => format!("{} keys", data.len()),
        None => "-".to_owned(),
    }
}
