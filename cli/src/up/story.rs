//! What `up` prints once everything runs: addresses, kubeconfigs, and five things to try.

use std::path::Path;

use anyhow::Result;

use super::dir::Directory;
use super::site::Site;
use crate::output::{Table, data};

/// Prints it.
///
/// # Errors
/// When stdout is closed.
pub(super) fn tell(site: &Site, dir: &Directory, applied: bool, example: bool) -> Result<()> {
    let up = site.describe();
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
    row("cloud", up.cloud.api, &up.cloud.kubeconfig, &up.cloud.log);
    for node in &up.nodes {
        row(&node.name, node.api, &node.kubeconfig, &node.log);
    }
    table.print()?;
    data("")?;
    for line in things_to_try(site, dir, applied && example) {
        data(line)?;
    }
    data("Ctrl-C stops everything.")?;
    Ok(())
}

fn things_to_try(site: &Site, dir: &Directory, example: bool) -> Vec<String> {
    let up = site.describe();
    let causeway = causeway(dir);
    let node = up.nodes.first().map_or("edge-1", |node| node.name.as_str());
    let cloud = format!("kubectl --kubeconfig {}", near(&up.cloud.kubeconfig));
    let edge_config = up
        .nodes
        .first()
        .map(|node| near(&node.kubeconfig))
        .unwrap_or_default();
    let edge = format!("kubectl --kubeconfig {edge_config}");
    let pods = dir.node(node).join("edged").join("pods");
    let mut lines = vec!["Five things to try, in another terminal:".to_owned()];
    let mut thing = |title: &str, commands: Vec<String>| {
        lines.push(String::new());
        lines.push(format!("  # {title}"));
        lines.extend(commands.into_iter().map(|command| format!("  {command}")));
    };
    let look = vec![
        format!("{cloud} get pods -A -o wide"),
        format!("{causeway} status"),
    ];
    thing("1. Look, from the cloud and at the whole", look);
    if example {
        let edit = r#"-p '{"data":{"message":"Written while the tide was in"}}'"#;
        let commands = vec![
            format!("{causeway} link cut {node}"),
            format!("{cloud} patch configmap greeting -n hello {edit}"),
            format!("{edge} get configmap greeting -n hello -o yaml"),
        ];
        thing(
            "2. Cut the link, edit in the cloud; the edge goes on with what it has",
            commands,
        );
    } else {
        let commands = vec![
            format!("{causeway} link cut {node}"),
            format!("{edge} get all -A"),
        ];
        thing(
            "2. Cut the link; the edge goes on with what it has",
            commands,
        );
    }
    let commands = vec![
        format!("{causeway} node restart {node}"),
        format!("{edge} get pods -A"),
    ];
    thing(
        "3. Kill the node's daemon while it is cut off: pods go on, its API is back",
        commands,
    );
    let mut commands = vec![
        format!("{causeway} link heal {node}"),
        format!("{causeway} digest {node} --wait 40s"),
    ];
    if example {
        commands.push(format!(
            "tail -n 2 {}/hello_reader_*/reader/*.log",
            near(&pods)
        ));
    }
    thing(
        "4. Heal it: only what changed travels, both sides agree",
        commands,
    );
    let mut commands = vec![format!("{causeway} log {node}")];
    if example {
        commands.push(format!(
            "{causeway} get configmap greeting --node {node} -n hello --at 2m -o yaml"
        ));
    }
    thing(
        "5. Read the story, and what the node saw two minutes ago",
        commands,
    );
    lines.push(String::new());
    if !in_path("kubectl") {
        lines.push(
            "kubectl is not installed here (Debian: apt-get install kubernetes-client);".into(),
        );
        lines.push(format!(
            "`{causeway} get pods --node {node}` shows pods without it."
        ));
        lines.push(String::new());
    }
    lines
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
