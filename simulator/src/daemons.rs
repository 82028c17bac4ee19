//! How the daemons of one machine are started, for whoever runs several of them at once, and what
//! they leave running.

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{TimedOut, eventually};

/// What is killed is gone within this time, or the machine is in trouble.
const KILL_WAIT: Duration = Duration::from_secs(10);
/// The environment variable that every process of a container has: the directory of its start.
pub(crate) const CONTAINER_MARK: &[u8] = b"CAUSEWAY_CONTAINER=";
/// Ports that [`free_address`] tries.
const PORTS: (u16, u16) = (20_000, 12_000);

/// The arguments of `causeway` for a cloud.
#[must_use]
pub fn cloud(dir: &Path, api: SocketAddr, sync: SocketAddr) -> Vec<String> {
    let mut arguments = vec!["cloud".to_owned(), "--exit-with-parent".to_owned()];
    arguments.extend(flag("--dir", dir.display()));
    arguments.extend(flag("--api-listen", api));
    arguments.extend(flag("--sync-listen", sync));
    arguments
}

/// The arguments of `causeway` for an edge node that dials through `link`, whose API also listens on
/// TCP when there is an address.
#[must_use]
pub fn edge(node: &str, dir: &Path, link: SocketAddr, api: Option<SocketAddr>) -> Vec<String> {
    let mut arguments = vec!["edge".to_owned(), "--exit-with-parent".to_owned()];
    arguments.extend(flag("--node", node));
    arguments.extend(flag("--dir", dir.display()));
    arguments.extend(flag("--cloud", format_args!("ws://{link}")));
    let api = api.map_or_else(|| "off".to_owned(), |api| api.to_string());
    arguments.extend(flag("--api-listen", api));
    arguments
}

fn flag(name: &str, value: impl std::fmt::Display) -> [String; 2] {
    [name.to_owned(), value.to_string()]
}

/// A loopback address that nobody uses, outside the range the kernel gives to outgoing connections.
///
/// # Errors
/// When there is none.
pub fn free_address() -> io::Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let (first, count) = PORTS;
    // Processes of one machine start at different places.
    let start = u16::try_from(std::process::id() % 100).unwrap_or(0) * 100;
    for _ in 0..count {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = first + start.wrapping_add(next) % count;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return listener.local_addr();
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Every living process of Causeway, this one aside, that belongs to a directory: daemons and shims
/// that are told a path below it, and whatever runs in their containers. An editor or a shell that
/// stands there is none.
#[must_use]
pub fn processes_below(dir: &Path) -> Vec<i32> {
    let mine = i32::try_from(std::process::id()).unwrap_or(0);
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let below = processes.flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse::<i32>().ok()?;
        // Of a process that is gone by now there is nothing to read.
        let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        let ours = is_daemon_of(dir, &read("cmdline")) || is_contained_in(dir, &read("environ"));
        (pid != mine && ours).then_some(pid)
    });
    below.collect()
}

fn is_daemon_of(dir: &Path, arguments: &[u8]) -> bool {
    let mut arguments = arguments.split(|byte| *byte == 0).skip(1);
    let known = arguments
        .next()
        .is_some_and(|command| matches!(command, b"shim" | b"cloud" | b"edge" | b"edged"));
    known
        && arguments.any(|argument| {
            let path = argument.strip_prefix(b"--dir=").unwrap_or(argument);
            is_below(dir, path)
        })
}

fn is_contained_in(dir: &Path, environment: &[u8]) -> bool {
    let mut entries = environment.split(|byte| *byte == 0);
    entries.any(|entry| {
        let mark = entry.strip_prefix(CONTAINER_MARK);
        mark.is_some_and(|mark| is_below(dir, mark))
    })
}

fn is_below(dir: &Path, path: &[u8]) -> bool {
    Path::new(OsStr::from_bytes(path)).starts_with(dir)
}

/// Kills every process of [`processes_below`]; does not wait for their ends.
pub fn kill_all_below(dir: &Path) {
    for pid in processes_below(dir) {
        if let Some(pid) = Pid::from_raw(pid) {
            // One that is gone by now is what was wanted.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The same, until nobody is left.
///
/// # Errors
/// When somebody does not go.
pub async fn clear(dir: &Path) -> Result<(), TimedOut> {
    let what = format!("no process is left below {}", dir.display());
    eventually(&what, KILL_WAIT, async || {
        kill_all_below(dir);
        let left = processes_below(dir);
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?} live"))
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_of_causeway_belong_to_a_directory() {
        let dir = Path::new("/tmp/site");
        for ours in [
            &b"causeway\0cloud\0--dir\0/tmp/site/cloud\0"[..],
            b"causeway\0edge\0--node\0a\0--dir=/tmp/site/a\0",
            b"/proc/self/exe\0shim\0/tmp/site/a/edged/run/1/containers/main.0\0",
        ] {
            assert!(is_daemon_of(dir, ours), "{}", String::from_utf8_lossy(ours));
        }
        for other in [
            &b"tail\0-f\0/tmp/site/logs/cloud.log\0"[..],
            b"causeway\0cloud\0--dir\0/tmp/sites/cloud\0",
            b"causeway\0shim\0",
            b"",
        ] {
            assert!(
                !is_daemon_of(dir, other),
                "{}",
                String::from_utf8_lossy(other)
            );
        }
        let mark = b"PATH=/bin\0CAUSEWAY_CONTAINER=/tmp/site/a/edged/run/1/containers/main.0\0";
        assert!(is_contained_in(dir, mark));
        assert!(!is_contained_in(dir, b"PWD=/tmp/site\0HOME=/tmp/site\0"));
    }

    #[test]
    fn addresses_are_handed_out_once() {
        let (one, two) = (free_address().unwrap(), free_address().unwrap());
        assert_ne!(one, two);
    }

    #[test]
    fn daemons_are_told_where_they_are() {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let cloud = cloud(Path::new("/tmp/c"), at, at).join(" ");
        assert!(
            cloud.starts_with("cloud --exit-with-parent --dir /tmp/c --api-listen 127.0.0.1:1")
        );
        let edge = edge("a", Path::new("/tmp/a"), at, None).join(" ");
        assert!(
            edge.ends_with("--cloud ws://127.0.0.1:1 --api-listen off"),
            "{edge}"
        );
    }
}
