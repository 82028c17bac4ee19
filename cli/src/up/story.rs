//! What `up` prints once everything runs: addresses, kubeconfigs, and things to try.

use std::path::Path;

use anyhow::Result;
use causeway_simulator::http::Http;

use super::dir::Directory;
use super::site::Site;
use crate::output::{Table, data};

/// What of the example there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Example {
    /// The manifests applied are its.
    pub(super) is_applied: bool,
    /// The device is among them.
    pub(super) has_device: bool,
}

/// Prints it.
///
/// # Errors
/// When stdout is closed.
pub(super) async fn tell(site: &Site, dir: &Directory, example: Example) -> Result<()> {
    let up = site.describe();
    // What the first node sees at this moment, which will soon be the past.
    let moment = match up.nodes.first() {
        Some(node) => revision(&node.http()).await,
        None => None,
    };
    data("")?;
    let mut table = Table::new(&["", "KUBERNETES API", "KUBECONFIG", "LOG"]);
    let mut row = |name: &str, api, kubeconfig: &Path, log: &Path| {
        table.row(vec![
            name.to_owned(),
            format!("http://{api}"),
            near(kubeconfig),
            near(log),
        ]);
    };
    let cloud = site.cluster().map_or("cloud", |_| "cloud (mirror)");
    row(cloud, up.cloud.api, &up.cloud.kubeconfig, &up.cloud.log);
    for node in &up.nodes {
        row(&node.name, node.api, &node.kubeconfig, &node.log);
    }
    table.print()?;
    data("")?;
    for line in things_to_try(site, dir, example, moment) {
        data(line)?;
    }
    data("Ctrl-C stops everything.")?;
    Ok(())
}

fn things_to_try(site: &Site, dir: &Directory, example: Example, at: Option<u64>) -> Vec<String> {
    let Example {
        is_applied,
        has_device,
    } = example;
    let up = site.describe();
    let causeway = causeway(dir);
    let first = up.nodes.first();
    let node = first.map_or("edge-1", |node| node.name.as_str());
    let cloud = format!("kubectl --kubeconfig {}", near(&up.cloud.kubeconfig));
    let edge_config = first.map(|node| near(&node.kubeconfig)).unwrap_or_default();
    let edge = format!("kubectl --kubeconfig {edge_config}");
    let count = if has_device { "Six" } else { "Five" };
    let mut lines = vec![format!("{count} things to try, in another terminal:")];
    let mut thing = |title: &str, commands: &[String]| {
        lines.push(format!("\n  # {title}"));
        lines.extend(commands.iter().map(|command| format!("  {command}")));
    };
    let look = [
        format!("{cloud} get pods -A -o wide"),
        format!("{causeway} status"),
    ];
    thing("1. Look, from the cloud and at the whole", &look);
    let cut = format!("{causeway} link cut {node}");
    let mut heal = vec![
        format!("{causeway} link heal {node}"),
        format!("{causeway} digest {node} --wait 40s"),
    ];
    let goes_on = format!("{edge} get pods -A");
    let effect = if is_applied {
        let patch = r#"-p '{"data":{"message":"Written while the tide was in"}}'"#;
        let edit = format!("{cloud} patch configmap greeting -n hello {patch}");
        let stale = format!("{edge} get configmap greeting -n hello -o yaml");
        let cut_title = "2. Cut the link, edit in the cloud; the edge goes on with what it has";
        thing(cut_title, &[cut, edit, stale]);
        let pods = near(&dir.node(node).join("edged").join("pods"));
        Some(format!("tail -n 2 {pods}/hello_reader_*/reader/*.log"))
    } else {
        let cut_title = "2. Cut the link; the edge goes on with what it has";
        thing(cut_title, &[cut, goes_on.clone()]);
        None
    };
    let restart = [format!("{causeway} node restart {node}"), goes_on];
    let restart_title =
        "3. Kill the node's daemon while it is cut off: pods go on, its API is back";
    thing(restart_title, &restart);
    heal.extend(effect);
    thing(
        "4. Heal it: only what changed travels, both sides agree",
        &heal,
    );
    let mut read = vec![format!("{causeway} log {node}")];
    if is_applied {
        let at = at.map_or_else(String::new, |revision| format!(" --at {revision}"));
        let then = format!("{causeway} get cm greeting --node {node} -n hello{at} -o yaml");
        read.push(then);
    }
    thing("5. Read the story, and what the node saw before", &read);
    if has_device {
        let title = "6. Want another temperature of the thermostat, and see it reached";
        thing(title, &thermostat(&cloud));
    }
    lines.push(String::new());
    lines.extend(without_kubectl(&causeway, node));
    lines
}

/// What to do with the device of the example.
fn thermostat(cloud: &str) -> [String; 2] {
    let patch = r#"[{"op":"replace","path":"/spec/properties/0/desired/value","value":"25"}]"#;
    [
        format!("{cloud} patch device thermostat --type=json -p '{patch}'"),
        format!("{cloud} get devicestatus thermostat -o yaml"),
    ]
}

/// The revision a node's store is at.
async fn revision(node: &Http) -> Option<u64> {
    let list = node.get("/api/v1/namespaces?limit=1").await.ok()?;
    list["metadata"]["resourceVersion"].as_str()?.parse().ok()
}

/// What to do where kubectl is missing.
fn without_kubectl(causeway: &str, node: &str) -> Vec<String> {
    if in_path("kubectl") {
        return Vec::new();
    }
    vec![
        "kubectl is not installed here (Debian: apt-get install kubernetes-client);".to_owned(),
        format!("`{causeway} get pods --node {node}` shows pods without it."),
        String::new(),
    ]
}

/// How to call this program from here.
fn causeway(dir: &Directory) -> String {
    let name = match std::env::current_exe() {
        Ok(path) if !in_path("causeway") => match near(&path) {
            // A bare name would be looked for in PATH.
            name if !name.contains('/') => format!("./{name}"),
            path => path,
        },
        Ok(_) | Err(_) => "causeway".to_owned(),
    };
    let default = Path::new(".causeway").canonicalize();
    if default.is_ok_and(|default| default == dir.path()) {
        name
    } else {
        format!("CAUSEWAY_DIR={} {name}", near(dir.path()))
    }
}

fn in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// A path as seen from the working directory, when it is below it.
fn near(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here)
        .unwrap_or(path)
        .display()
        .to_string()
}
