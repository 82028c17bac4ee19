//! A look at fjall's journal files before fjall opens them.
//!
//! fjall ends the replay of a journal at the first thing it cannot read, and truncates there. That
//! is right for a tail which a crash tore before it was synced, and silent loss of synced batches
//! for damage in the middle. Here the two are told apart: after torn, never synced batches hardly
//! anything can follow, because every batch of ours is synced before the one after the next is
//! written; after damage the rest of the journal follows.
//!
//! Layout (fjall 3): batches of `1, items: u32, seqno: u64`, items, `3, xxh3-64 of the items: u64,
//! "FJL\x03"`; an item is `2, type: u8, compression: u8, keyspace: u64, key bytes: u16, value
//! bytes: u32, stored bytes: u32, key, value` or `4, keyspace: u64`; little-endian; zeros to the
//! end of the file.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::damaged_files;
use crate::error::{EngineError, OpenError};

const MAGIC: [u8; 4] = *b"FJL\x03";
/// Whole batches behind a gap that cannot all be unsynced: one of the writer's, one of a trim.
const UNSYNCED_BATCHES_MAX: usize = 2;
const READ_BYTES: usize = 64 * 1024;

/// Cuts a torn tail off the newest journal; gives its bytes.
pub(super) fn repair(path: &Path) -> Result<u64, OpenError> {
    let unreadable = |source: io::Error| OpenError::Engine {
        path: path.to_owned(),
        source: EngineError {
            action: "read the journal",
            source: Box::new(source),
        },
    };
    let mut torn = 0;
    let journals = journals(path).map_err(unreadable)?;
    for (position, journal) in journals.iter().enumerate() {
        let found = scan(journal, u64::MAX).map_err(unreadable)?;
        if found.rest_bytes == 0 {
            continue;
        }
        // Whatever an older journal holds was synced before the next one was made.
        let is_newest = position + 1 == journals.len();
        if !is_newest || found.batches_behind > UNSYNCED_BATCHES_MAX {
            return Err(damaged_files(
                path,
                journal.clone(),
                "synced batches follow a damaged one",
            ));
        }
        truncate(journal, found.valid_bytes).map_err(unreadable)?;
        torn += found.rest_bytes;
        tracing::warn!(
            journal = %journal.display(),
            bytes = found.rest_bytes,
            "cut a torn, never synced tail off the journal"
        );
    }
    Ok(torn)
}

/// Cuts the newest journal before the first batch with `seqno` or a later one.
pub(super) fn cut_from(path: &Path, seqno: u64) -> io::Result<()> {
    match journals(path)?.last() {
        Some(journal) => truncate(journal, scan(journal, seqno)?.valid_bytes),
        None => Ok(()),
    }
}

fn truncate(journal: &Path, bytes: u64) -> io::Result<()> {
    let file = File::options().write(true).open(journal)?;
    file.set_len(bytes)?;
    file.sync_all()
}

/// The journal files, oldest first.
fn journals(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|ext| ext == "jnl")) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// Whole batches from the beginning, up to here.
    valid_bytes: u64,
    /// From there to the last byte that is not zero.
    rest_bytes: u64,
    /// Ends of batches in that rest.
    batches_behind: usize,
}

/// Reads the whole batches with a sequence number below `before`, and looks at what follows.
fn scan(journal: &Path, before: u64) -> io::Result<Found> {
    let file = File::open(journal)?;
    let mut reader = Reader {
        inner: BufReader::with_capacity(READ_BYTES, file),
        position: 0,
    };
    let mut valid_bytes = 0;
    while reader.batch(before)? {
        valid_bytes = reader.position;
    }
    let mut file = reader.inner.into_inner();
    io::Seek::seek(&mut file, io::SeekFrom::Start(valid_bytes))?;
    let (rest_bytes, batches_behind) = look_behind(&mut file)?;
    Ok(Found {
        valid_bytes,
        rest_bytes,
        batches_behind,
    })
}

/// How far the rest of a file has other bytes than zero, and how many batches end there.
fn look_behind(file: &mut File) -> io::Result<(u64, usize)> {
    let mut block = vec![0; READ_BYTES];
    let (mut position, mut rest, mut ends) = (0, 0, 0);
    let mut last = [0_u8; 13];
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            return Ok((rest, ends));
        }
        let bytes = block.get(..read).unwrap_or_default();
        if bytes.iter().all(|byte| *byte == 0) {
            position += read as u64;
            last = [0; 13];
            continue;
        }
        for &byte in bytes {
            position += 1;
            last.rotate_left(1);
            last[12] = byte;
            if byte != 0 {
                rest = position;
            }
            if last[0] == 3 && last.ends_with(&MAGIC) {
                ends += 1;
            }
        }
    }
}

struct Reader {
    inner: BufReader<File>,
    position: u64,
}

impl Reader {
    /// Reads one batch; `false`: there is no whole one, or it is not before the given number.
    fn batch(&mut self, before: u64) -> io::Result<bool> {
        match self.try_batch(before) {
            Ok(is_whole) => Ok(is_whole),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn try_batch(&mut self, before: u64) -> io::Result<bool> {
        if self.take::<1>()? != [1] {
            return Ok(false);
        }
        let items = u32::from_le_bytes(self.take()?);
        let seqno = u64::from_le_bytes(self.take()?);
        if seqno >= before {
            return Ok(false);
        }
        let mut hasher = Xxh3::new();
        for _ in 0..items {
            let tag = self.hashed::<1>(&mut hasher)?;
            match tag {
                [2] => self.item(&mut hasher)?,
                [4] => drop(self.hashed::<8>(&mut hasher)?),
                _ => return Ok(false),
            }
        }
        if self.take::<1>()? != [3] {
            return Ok(false);
        }
        let checksum = u64::from_le_bytes(self.take()?);
        Ok(self.take()? == MAGIC && checksum == hasher.digest())
    }

    fn item(&mut self, hasher: &mut Xxh3) -> io::Result<()> {
        let head = self.hashed::<20>(hasher)?;
        let key_bytes = u16::from_le_bytes([head[10], head[11]]);
        let stored_bytes = u32::from_le_bytes([head[16], head[17], head[18], head[19]]);
        let mut left = u64::from(key_bytes) + u64::from(stored_bytes);
        let mut block = [0; 4096];
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
            let part = block.split_at_mut(want).0;
            self.inner.read_exact(part)?;
            hasher.update(part);
            self.position += want as u64;
            left -= want as u64;
        }
        Ok(())
    }

    fn hashed<const N: usize>(&mut self, hasher: &mut Xxh3) -> io::Result<[u8; N]> {
        let bytes = self.take::<N>()?;
        hasher.update(&bytes);
        Ok(bytes)
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.position += N as u64;
        Ok(bytes)
    }
}
