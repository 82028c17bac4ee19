//! Processes of the host as the kernel shows them in `/proc`.

use std::fs;
use std::io;

use rustix::process::{Pid, Signal};

use super::record::{Alive, MARK};

/// Identifies this boot of the host; empty when the kernel does not say.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// When the kernel started a process, in clock ticks since boot; `None` when there is no such
/// process, or only its remains.
pub(crate) fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything, parentheses included.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // Field 22 of the line; the state was field 3.
    fields.nth(18)?.parse().ok()
}

/// Whether the recorded process is still the one that has its id.
pub(crate) fn is_alive(process: &Alive) -> bool {
    process.boot == boot() && start_ticks(process.pid) == Some(process.start_ticks)
}

/// Sends a signal to the group a container's process leads.
///
/// # Errors
/// The host's. That nobody is left is none.
pub(crate) fn signal_group(leader: i32, signal: Signal) -> io::Result<()> {
    let Some(group) = Pid::from_raw(leader).filter(|_| leader > 1) else {
        return Ok(());
    };
    match rustix::process::kill_process_group(group, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Processes that carry a container's mark in their environment, whatever group or session they
/// moved to.
pub(crate) fn marked(mark: &str) -> Vec<Pid> {
    let mark = format!("{MARK}={mark}");
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment
                    .split(|byte| *byte == 0)
                    .any(|entry| entry == mark.as_bytes())
            })
        })
        .filter_map(Pid::from_raw)
        .collect()
}

/// Ends, at once, every process that carries a container's mark. Returns how many there were.
pub(crate) fn sweep(mark: &str) -> usize {
    let found = marked(mark);
    for pid in &found {
        // One that is gone by now is what was wanted.
        let _ = rustix::process::kill_process(*pid, Signal::KILL);
    }
    found.len()
}

/// Children of this process.
pub(crate) fn children() -> Vec<Pid> {
    let own = std::process::id();
    fs::read_to_string(format!("/proc/{own}/task/{own}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw))
        .collect()
}
