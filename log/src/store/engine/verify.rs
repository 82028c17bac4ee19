//! The full check of a store, for a doctor's command.

use std::collections::{BTreeMap, BTreeSet};

use super::open::check_record;
use super::read::{Found, get_record, log_after};
use super::state::StreamState;
use super::trim::pending_of;
use super::{Engine, damage, damaged, get, read_error};
use crate::body::{Body, BodyHash};
use crate::error::{Damage, ReadError};
use crate::id::Revision;
use crate::store::codec::{self, BodyAt, Corrupt};
use crate::store::keys::{self, meta};
use crate::store::kv::{Kv, Space, View};

/// Damage listed in one report.
const DAMAGE_LISTED_MAX: usize = 100;

/// What a full verification read and found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Records read.
    pub records: u64,
    /// Hashed bodies read.
    pub bodies: u64,
    /// What is wrong, the first hundred.
    pub damage: Vec<Damage>,
}

impl VerifyReport {
    /// Whether everything is as it was written.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }

    fn note(&mut self, damage: Damage) {
        if self.damage.len() < DAMAGE_LISTED_MAX {
            self.damage.push(damage);
        }
    }

    /// Keeps damage, passes the engine's failures on.
    fn absorb<T>(&mut self, result: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(ReadError::Damaged(damage)) => {
                self.note(damage);
                Ok(None)
            }
            Err(error @ ReadError::Engine(_)) => Err(error),
        }
    }
}

impl<K: Kv> Engine<K> {
    /// Reads everything that is durable and checks every checksum, every index and every count.
    /// Takes as long as reading the whole store takes; nothing else has to stop.
    ///
    /// # Errors
    /// [`ReadError::Engine`] when the disk cannot be read; damage is in the report.
    pub fn verify(&self) -> Result<VerifyReport, ReadError> {
        // No stream changes between the copy and the view: the writing side is held.
        let writer = self.writer.lock();
        let streams: Vec<StreamState> = self.published.read().streams.values().cloned().collect();
        let dropped = self.published.read().dropped.clone();
        let view = self.kv.durable();
        drop(writer);
        let mut report = VerifyReport::default();
        let mut references = BTreeMap::new();
        for state in &streams {
            verify_log(&view, state, &mut report, &mut references)?;
            verify_index(&view, state, &mut report)?;
        }
        for no in dropped {
            for found in log_after(&view, no, Revision::ZERO) {
                if let Some(Found { value, .. }) = report.absorb(found)?
                    && let BodyAt::Hashed { hash, .. } = value.body
                {
                    *references.entry(hash).or_default() += 1;
                }
            }
        }
        verify_references(&view, &references, &mut report)?;
        verify_superseded(&view, &mut report)?;
        Ok(report)
    }
}

fn verify_log<V: View>(
    view: &V,
    state: &StreamState,
    report: &mut VerifyReport,
    references: &mut BTreeMap<BodyHash, u64>,
) -> Result<(), ReadError> {
    for found in log_after(view, state.value.no, Revision::ZERO) {
        report.records += 1;
        let Some(found) = report.absorb(found)? else {
            continue;
        };
        if let Err(damage) = check_record(view, state, &found) {
            report.note(damage);
        }
        if let BodyAt::Hashed { hash, .. } = found.value.body {
            *references.entry(hash).or_default() += 1;
        }
    }
    Ok(())
}

fn verify_index<V: View>(
    view: &V,
    state: &StreamState,
    report: &mut VerifyReport,
) -> Result<(), ReadError> {
    let no = state.value.no;
    for pair in view.scan(Space::Newest, &no.0.to_be_bytes(), &keys::after_stream(no)) {
        let (key, value) = pair.map_err(read_error)?;
        let newest = codec::open_newest(&key, &value)
            .map_err(|corrupt| damaged(Space::Newest, &key, corrupt));
        let Some(newest) = report.absorb(newest)? else {
            continue;
        };
        let record = get_record(view, no, newest.revision);
        let Some(record) = report.absorb(record)? else {
            continue;
        };
        let agrees = record.is_some_and(|Found { value, .. }| {
            let header = value.header;
            keys::newest(no, &header.key, header.op.slot()) == key
                && header.op == newest.op
                && value.since == newest.since
        });
        if !agrees {
            report.note(damage(
                Space::Newest,
                &key,
                Corrupt("the record it names is another"),
            ));
        }
    }
    let waiting: Result<BTreeSet<Revision>, ReadError> = pending_of(view, no)
        .map(|waiting| waiting.map(|(revision, ..)| revision))
        .collect();
    let Some(waiting) = report.absorb(waiting)? else {
        return Ok(());
    };
    for revision in waiting {
        let record = get_record(view, no, revision);
        if report
            .absorb(record)?
            .is_some_and(|record| record.is_none())
        {
            let key = keys::pending(no, revision);
            report.note(damage(
                Space::Meta,
                &key,
                Corrupt("waiting record is missing"),
            ));
        }
    }
    Ok(())
}

fn verify_references<V: View>(
    view: &V,
    references: &BTreeMap<BodyHash, u64>,
    report: &mut VerifyReport,
) -> Result<(), ReadError> {
    for (hash, expected) in references {
        let key = keys::references(hash);
        let count = get(view, Space::Meta, &key, codec::open_number);
        if report
            .absorb(count)?
            .is_some_and(|count| count != Some(*expected))
        {
            report.note(damage(
                Space::Meta,
                &key,
                Corrupt("wrong count of references"),
            ));
        }
        let bytes = get(view, Space::Bodies, hash.as_bytes(), codec::open_bytes);
        let Some(bytes) = report.absorb(bytes)? else {
            continue;
        };
        report.bodies += 1;
        if bytes.is_none_or(|bytes| Body::new(bytes).hash() != *hash) {
            let corrupt = Corrupt("body is missing or is not what its hash says");
            report.note(damage(Space::Bodies, hash.as_bytes(), corrupt));
        }
    }
    let (from, to) = keys::kind_range(meta::REFERENCES);
    for pair in view.scan(Space::Meta, &from, &to) {
        let (key, _) = pair.map_err(read_error)?;
        let known = key
            .get(1..)
            .and_then(|hash| hash.try_into().ok())
            .map(BodyHash::new);
        if known.is_none_or(|hash| !references.contains_key(&hash)) {
            report.note(damage(
                Space::Meta,
                &key,
                Corrupt("body that no record refers to"),
            ));
        }
    }
    Ok(())
}

fn verify_superseded<V: View>(view: &V, report: &mut VerifyReport) -> Result<(), ReadError> {
    let total_key = keys::single(meta::GARBAGE_BYTES);
    let total = get(view, Space::Meta, &total_key, codec::open_number);
    let Some(total) = report.absorb(total)? else {
        return Ok(());
    };
    let mut sum = 0;
    let (from, to) = keys::kind_range(meta::SUPERSEDED);
    for pair in view.scan(Space::Meta, &from, &to) {
        let (key, value) = pair.map_err(read_error)?;
        let entry = codec::open_superseded(&key, &value)
            .map_err(|corrupt| damaged(Space::Meta, &key, corrupt));
        if let Some(entry) = report.absorb(entry)? {
            sum += u64::from(entry.bytes);
        }
    }
    if sum != total.unwrap_or(0) {
        report.note(damage(
            Space::Meta,
            &total_key,
            Corrupt("wrong count of superseded bytes"),
        ));
    }
    Ok(())
}
