//! Running a check that may never end.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// How a process went, and what it said on both its outputs.
#[derive(Debug)]
pub(super) enum Ran {
    /// It succeeded.
    Passed(String),
    /// It failed, or was ended by a signal.
    Failed(String),
    /// It took longer than it may, and was ended.
    Hung,
}

/// Runs a command to its end, or for as long as it may take.
pub(super) fn run(mut command: Command, patience: Duration) -> Result<Ran> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let (told, ends) = mpsc::channel();
    let texts = [
        listen(child.stdout.take(), &told),
        listen(child.stderr.take(), &told),
    ];
    drop(told);
    // Nobody sends: the channel ends when both outputs have.
    let is_over = matches!(
        ends.recv_timeout(patience),
        Err(RecvTimeoutError::Disconnected)
    );
    let status = end(child, is_over).with_context(|| format!("cannot wait for {program}"))?;
    let text = texts
        .into_iter()
        .map(|text| text.join().unwrap_or_default())
        .collect();
    Ok(match (is_over, status) {
        (true, true) => Ran::Passed(text),
        (true, false) => Ran::Failed(text),
        (false, _) => Ran::Hung,
    })
}

fn end(mut child: Child, is_over: bool) -> std::io::Result<bool> {
    if !is_over {
        child.kill()?;
    }
    Ok(child.wait()?.success())
}

/// Reads an output to its end, so that a process which says much is not held up.
fn listen(
    output: Option<impl Read + Send + 'static>,
    told: &mpsc::Sender<()>,
) -> thread::JoinHandle<String> {
    let told = told.clone();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut output) = output {
            // What was read until an error counts.
            let _ = output.read_to_end(&mut bytes);
        }
        drop(told);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, patience: Duration) -> Ran {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, patience).unwrap()
    }

    #[test]
    fn a_process_ends_well_or_badly_or_is_ended() {
        let long = Duration::from_secs(60);
        assert!(matches!(shell("echo a; echo b >&2", long), Ran::Passed(text) if text == "a\nb\n"));
        assert!(matches!(shell("echo why; exit 3", long), Ran::Failed(text) if text == "why\n"));
        let short = Duration::from_millis(50);
        assert!(matches!(shell("exec sleep 600", short), Ran::Hung));
    }
}
