//! `causeway link`: steers the link of a node of a running `up`.

use std::time::Duration;

use anyhow::Result;
use causeway_daemon::config::parse_duration;
use causeway_simulator::proxy::{CutMode, Link, Slow};
use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use crate::exit::Code;
use crate::locate::Target;
use crate::output::{json, talk};

/// Cut, heal, slow or flap the link between a node and the cloud
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  causeway link cut edge-1                         bytes vanish silently, as on a fading radio
  causeway link cut edge-1 --reset                 connections break at once
  causeway link slow edge-1 --delay 300ms --jitter 100ms --rate 16k
  causeway link flap edge-1 --up 5s --down 2s
  causeway link heal edge-1")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Carry nothing
    Cut {
        /// Break connections with a reset instead of letting them hang half-open
        #[arg(long)]
        reset: bool,
        #[command(flatten)]
        which: Which,
    },
    /// Carry everything at once again
    Heal {
        #[command(flatten)]
        which: Which,
    },
    /// Carry everything late
    Slow {
        /// Delay of each direction
        #[arg(long, default_value = "200ms", value_parser = duration)]
        delay: Duration,
        /// Up to so much more, drawn at random
        #[arg(long, default_value = "0ms", value_parser = duration)]
        jitter: Duration,
        /// Bytes a second in each direction, such as 500, 16k or 2m
        #[arg(long, value_parser = rate)]
        rate: Option<u64>,
        #[command(flatten)]
        which: Which,
    },
    /// Break and heal again and again
    Flap {
        /// How long it is whole each time
        #[arg(long, default_value = "5s", value_parser = duration)]
        up: Duration,
        /// How long it is cut each time
        #[arg(long, default_value = "2s", value_parser = duration)]
        down: Duration,
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Name of the node
    node: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Asks `up`.
pub(crate) async fn run(args: Args) -> Result<Code> {
    let (link, which) = match args.action {
        Action::Cut { reset, which } => (
            Link::Cut {
                mode: if reset {
                    CutMode::Reset
                } else {
                    CutMode::Silent
                },
            },
            which,
        ),
        Action::Heal { which } => (Link::Whole, which),
        Action::Slow {
            delay,
            jitter,
            rate,
            which,
        } => {
            let slow = Slow {
                delay_ms: ms(delay),
                jitter_ms: ms(jitter),
                bytes_per_second: rate,
                loss_per_mille: 0,
            };
            (Link::Slow(slow), which)
        }
        Action::Flap { up, down, which } => (
            Link::Flap {
                up_ms: ms(up).max(1),
                down_ms: ms(down).max(1),
            },
            which,
        ),
    };
    which.target.up()?.node(&which.node)?;
    let path = format!("/v1/links/{}", which.node);
    let answer = which
        .target
        .control()?
        .json(Method::PUT, &path, Some(&json!(link)))
        .await?;
    if which.json {
        json(&answer)?;
    } else {
        talk(format_args!(
            "the link of {} is {}",
            which.node,
            describe(&answer["link"])
        ));
    }
    Ok(Code::Done)
}

/// A link in words.
pub(crate) fn describe(link: &Value) -> String {
    let Ok(link) = serde_json::from_value(link.clone()) else {
        return "unknown".to_owned();
    };
    match link {
        Link::Whole => "whole".to_owned(),
        Link::Cut {
            mode: CutMode::Silent,
        } => "cut (silent)".to_owned(),
        Link::Cut {
            mode: CutMode::Reset,
        } => "cut (reset)".to_owned(),
        Link::Cut {
            mode: CutMode::ToEdge,
        } => "cut (to the edge)".to_owned(),
        Link::Cut {
            mode: CutMode::ToCloud,
        } => "cut (to the cloud)".to_owned(),
        Link::Slow(Slow {
            delay_ms,
            jitter_ms,
            bytes_per_second,
            loss_per_mille,
        }) => {
            let rate = bytes_per_second.map_or_else(String::new, |rate| format!(", {rate} B/s"));
            let loss = match loss_per_mille {
                0 => String::new(),
                loss => format!(", {loss} of 1000 lost"),
            };
            format!("slow ({delay_ms} ms + {jitter_ms} ms{rate}{loss})")
        }
        Link::Flap { up_ms, down_ms } => format!("flapping ({up_ms} ms up, {down_ms} ms down)"),
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

fn rate(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1000),
        None => match text.strip_suffix(['m', 'M']) {
            Some(digits) => (digits, 1_000_000),
            None => (text, 1),
        },
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "must be a number, with k or m".to_owned())?;
    match number.checked_mul(factor) {
        Some(rate) if rate > 0 => Ok(rate),
        Some(_) | None => Err("must be above zero and below 2^64".to_owned()),
    }
}
