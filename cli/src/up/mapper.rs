//! Virtual devices: each node of `up` has a mapper for them, a task of this process.

use std::future::pending;
use std::path::Path;

use causeway_daemon::tasks::{Task, spawn};
use causeway_mapper::thermostat::Thermostats;
use causeway_mapper::{Config, run};

use super::dir::Directory;
use super::site::Site;
use crate::output::talk;

/// Serves the virtual devices of all nodes until it is dropped. A node that is not there yet, or
/// was started anew, is waited for.
pub(super) fn serve(site: &Site, directory: &Directory) -> Vec<Task> {
    let nodes = site.nodes().iter();
    let mapper = |name: &str| one(name.to_owned(), config(&directory.node(name)));
    nodes
        .map(|node| spawn("mapper", mapper(node.name())))
        .collect()
}

fn config(dir: &Path) -> Config {
    Config {
        name: "thermostats".to_owned(),
        socket: dir.join("thermostats.sock"),
        node: dir.join("dmi.sock"),
    }
}

async fn one(node: String, config: Config) {
    // Everything else goes on without it.
    if let Err(error) = run(Thermostats, config, pending()).await {
        let why = causeway_daemon::telemetry::error_chain(&error);
        talk(format_args!("{node} has no virtual devices: {why}"));
    }
}
