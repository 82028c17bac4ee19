//! A container's output in the log format of CRI, as `kubectl logs` and log collectors know it:
//!
//! ```text
//! 2026-11-20T04:30:00.123456789Z stdout F a whole line
//! 2026-11-20T04:30:00.123456790Z stderr P the beginning of a very long one
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// A longer line is written in parts, as containerd does.
pub(super) const LINE_BYTES_MAX: usize = 16 << 10;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Stdout,
    Stderr,
}

impl Source {
    const fn word(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The files of one attempt: `N.log`, and older ones as `N.log.1`, `N.log.2`, …
pub(super) struct Log {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    bytes_max: u64,
    files_max: u32,
    /// Output that could not be written, and was not yet confessed to the reader of the log.
    lost: u64,
}

impl Log {
    pub(super) fn open(path: &Path, bytes_max: u64, files_max: u32) -> Self {
        let mut log = Self {
            path: path.to_owned(),
            file: None,
            bytes: 0,
            bytes_max: bytes_max.max(1),
            files_max: files_max.max(1),
            lost: 0,
        };
        // A container must not die because its log cannot be written: `write` tries again.
        let _ = log.reopen();
        log
    }

    /// Adds one line or part of one. What the disk does not take is counted as lost.
    pub(super) fn write(&mut self, now: Timestamp, source: Source, whole: bool, text: &[u8]) {
        if self.lost > 0 {
            let note = format!(
                "causeway: {} bytes of output were lost: the disk refused them",
                self.lost
            );
            if self
                .entry(now, Source::Stderr, true, note.as_bytes())
                .is_ok()
            {
                self.lost = 0;
            }
        }
        if self.lost > 0 || self.entry(now, source, whole, text).is_err() {
            self.lost += text.len() as u64;
        }
    }

    fn entry(
        &mut self,
        now: Timestamp,
        source: Source,
        whole: bool,
        text: &[u8],
    ) -> io::Result<()> {
        if self.bytes >= self.bytes_max {
            self.rotate()?;
        }
        if self.file.is_none() {
            self.reopen()?;
        }
        let tag = if whole { 'F' } else { 'P' };
        let mut entry = format!("{now:.9} {} {tag} ", source.word()).into_bytes();
        entry.extend_from_slice(text);
        entry.push(b'\n');
        let Some(file) = &mut self.file else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if let Err(error) = file.write_all(&entry) {
            // Part of it may be there; what follows begins on a line of its own.
            let _ = file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += entry.len() as u64;
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)?;
        self.bytes = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        for age in (1..self.files_max).rev() {
            let older = self.aged(age);
            let newer = if age == 1 {
                self.path.clone()
            } else {
                self.aged(age - 1)
            };
            match fs::rename(newer, older) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.files_max == 1 {
            fs::remove_file(&self.path)?;
        }
        self.reopen()
    }

    fn aged(&self, age: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{age}"));
        name.into()
    }
}

/// Cuts a stream of bytes into lines.
pub(super) struct Lines {
    source: Source,
    pending: Vec<u8>,
}

impl Lines {
    pub(super) const fn new(source: Source) -> Self {
        Self {
            source,
            pending: Vec::new(),
        }
    }

    /// Takes output as it comes.
    pub(super) fn feed(&mut self, now: Timestamp, mut bytes: &[u8], log: &mut Log) {
        while !bytes.is_empty() {
            let room = LINE_BYTES_MAX - self.pending.len();
            let window = &bytes[..bytes.len().min(room)];
            if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
                self.pending.extend_from_slice(&window[..end]);
                log.write(now, self.source, true, &self.pending);
                self.pending.clear();
                bytes = &bytes[end + 1..];
            } else {
                self.pending.extend_from_slice(window);
                bytes = &bytes[window.len()..];
                if self.pending.len() == LINE_BYTES_MAX {
                    log.write(now, self.source, false, &self.pending);
                    self.pending.clear();
                }
            }
        }
    }

    /// The stream has ended; what has no end of line is a line too.
    pub(super) fn finish(&mut self, now: Timestamp, log: &mut Log) {
        if !self.pending.is_empty() {
            log.write(now, self.source, true, &self.pending);
            self.pending.clear();
        }
    }
}

#[cfg(test)]
mod tests;
