//! `speed idle [NODES]`, `speed storm`: how fast worlds run; one JSON object a line, for
//! `cargo xtask bench`. Build it with `--profile sim`.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use causeway_log::replication::Moment;
use causeway_simulator::scenario::{Directory, Scenario, simulate};
use causeway_simulator::world::{Act, Options, Violation, World};
use serde_json::{Value, json};

/// What is measured, after this much virtual time in which everything starts.
const WARM: Duration = Duration::from_secs(120);
const LONG: Duration = Duration::from_secs(3600);
/// How often somebody edits something for one of the nodes.
const EDIT_EVERY: Duration = Duration::from_secs(60);

#[expect(clippy::print_stdout, reason = "a program, which measures")]
fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let measured = match args.next().as_deref() {
        Some("idle") => {
            let nodes = args.next().and_then(|arg| arg.parse().ok()).unwrap_or(100);
            idle(nodes).map_err(|violation| violation.to_string())
        }
        Some("storm") => storm(),
        Some(_) | None => Err("usage: speed idle [NODES] | speed storm".to_owned()),
    };
    match measured {
        Ok(measured) => {
            println!("{measured}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// An hour of nodes that run a pod each; once a minute one of them gets new configuration.
fn idle(nodes: usize) -> Result<Value, Violation> {
    let options = Options {
        nodes,
        ..Options::default()
    };
    let mut world = World::new(1, options);
    for n in 0..nodes {
        world.act(Act::Apply(config(n, 0)));
        world.act(Act::Apply(pod(n)));
    }
    world.run_until(Moment(WARM))?;
    let mut at = WARM + EDIT_EVERY / 2;
    for edit in 1.. {
        if at > WARM + LONG {
            break;
        }
        world.act_at(Moment(at), Act::Apply(config(edit % nodes, edit)));
        at += EDIT_EVERY;
    }
    let (began, before, own) = (Instant::now(), world.stats(), on_processor());
    world.run_until(Moment(WARM + LONG))?;
    let took = began.elapsed().as_secs_f64();
    let own = on_processor()
        .zip(own)
        .map(|(after, before)| after - before);
    let after = world.stats();
    Ok(json!({
        "node_seconds_per_s": LONG.as_secs_f64() * nodes as f64 / took,
        "events_per_s": (after.events - before.events) as f64 / took,
        "events": after.events - before.events,
        "seconds": took,
        "seconds_on_processor": own,
        "digest": format!("{:016x}", world.digest()),
    }))
}

/// Seconds that this thread had a processor for itself, where the system counts them.
fn on_processor() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}

/// The worked scenario of a thousand nodes that reconnect at once.
fn storm() -> Result<Value, String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/scenarios");
    let text = std::fs::read_to_string(directory.join("storm.yaml"))
        .map_err(|error| format!("storm.yaml: {error}"))?;
    let scenario = Scenario::parse("storm", &text, &Directory(directory))
        .map_err(|mistakes| mistakes.to_string())?;
    let began = Instant::now();
    let (outcome, system) = simulate(&scenario, scenario.seed, &mut |_| {});
    let took = began.elapsed().as_secs_f64();
    if !outcome.passed() {
        return Err("the storm does not go as its scenario says".to_owned());
    }
    let events = system.stats().events;
    Ok(json!({
        "seconds": took,
        "events_per_s": events as f64 / took,
        "events": events,
        "digest": format!("{:016x}", system.digest()),
    }))
}

fn pod(n: usize) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": format!("p{n}"), "namespace": "default"},
        "spec": {
            "nodeName": format!("n{n}"),
            "containers": [{
                "name": "main",
                "image": "app:1",
                "volumeMounts": [{"name": "config", "mountPath": "/config"}],
            }],
            "volumes": [{"name": "config", "configMap": {"name": format!("c{n}")}}],
        },
    })
}

fn config(n: usize, edit: usize) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": format!("c{n}"), "namespace": "default"},
        "data": {"edit": edit.to_string()},
    })
}
