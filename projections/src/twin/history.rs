//! Which readings of a property are kept one by one, and how they travel.
//!
//! The twin itself keeps the latest value. A property whose past matters has a [`Policy`]; what it
//! keeps is collected into a [`Chunk`], the body of a `Fact` record: delivered once, in order, with
//! the times of its source.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use causeway_log::{Resource, WallTime};
use serde::{Deserialize, Serialize};

use super::value::number;
use super::{PROPERTIES_MAX, VALUE_BYTES_MAX, is_name};

/// The annotation of a Device that says which readings are kept:
/// `temperature=all, humidity=every:10s, power=change:0.5`. `*` names all other properties.
pub const HISTORY_ANNOTATION: &str = "causeway.dev/history";
/// Under this resource, with namespace, name and uid of the Device, chunks travel up.
pub const READINGS: (&str, &str) = ("causeway.dev", "devicereadings");

/// See [`READINGS`].
#[must_use]
pub fn readings() -> Resource {
    Resource::new(READINGS.0, READINGS.1)
}

/// Most readings in one chunk.
pub const CHUNK_READINGS_MAX: usize = 1024;
/// A chunk takes no reading from here on: most bytes of values in it, but for the last.
pub const CHUNK_BYTES_MAX: usize = 16 * 1024;
/// Longest encoded chunk that is read: escapes take up to six bytes each.
const CHUNK_ENCODED_BYTES_MAX: usize = 6 * (CHUNK_BYTES_MAX + VALUE_BYTES_MAX) + 256 * 1024;
/// The longest interval of [`Policy::Every`]: a year.
const EVERY_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Which readings of a property are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Policy {
    /// None: only the latest value counts.
    #[default]
    Latest,
    /// Every one.
    All,
    /// The first one, and the next after each such interval.
    Every(Duration),
    /// The first one, and each that is at least so far from the last one kept. Of values that are
    /// no numbers, each that is another.
    Change(f64),
}

/// The policies of a device's properties.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies {
    named: BTreeMap<Arc<str>, Policy>,
    others: Policy,
}

/// The text of an annotation is no list of policies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{item:?}: expected PROPERTY=all, PROPERTY=latest, PROPERTY=every:10s or PROPERTY=change:0.5"
)]
pub struct PolicyError {
    /// The item that is none, shortened.
    pub item: String,
}

impl Policies {
    /// Reads the value of [`HISTORY_ANNOTATION`].
    ///
    /// # Errors
    /// [`PolicyError`] names the first item that is no policy.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let mut policies = Self::default();
        let items = text.split(',').map(str::trim);
        for item in items.filter(|item| !item.is_empty()) {
            let refused = || PolicyError {
                item: item.chars().take(64).collect(),
            };
            let (name, policy) = item.split_once('=').ok_or_else(refused)?;
            let policy = Policy::parse(policy.trim()).ok_or_else(refused)?;
            match name.trim() {
                "*" => policies.others = policy,
                name if is_name(name) && policies.named.len() < PROPERTIES_MAX => {
                    policies.named.insert(name.into(), policy);
                }
                _ => return Err(refused()),
            }
        }
        Ok(policies)
    }

    /// The properties that are named.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(|name| &**name)
    }

    /// The policy of a property.
    #[must_use]
    pub fn of(&self, name: &str) -> Policy {
        self.named.get(name).copied().unwrap_or(self.others)
    }
}

impl Policy {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None => match text {
                "all" => Some(Self::All),
                "latest" => Some(Self::Latest),
                _ => None,
            },
            Some(("every", span)) => {
                let every = duration(span)?;
                (!every.is_zero() && every <= EVERY_MAX).then_some(Self::Every(every))
            }
            Some(("change", least)) => number(least)
                .filter(|least| *least >= 0.0)
                .map(Self::Change),
            Some(_) => None,
        }
    }
}

/// `250ms`, `10s`, `5m`, `1h`, `1d`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|it: char| !it.is_ascii_digit())?;
    let (count, unit) = text.split_at(digits);
    let count: u64 = count.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return None,
    };
    Some(Duration::from_millis(count.checked_mul(millis)?))
}

/// Decides of one property which readings are kept.
#[derive(Clone, Debug, Default)]
pub struct Sampler {
    /// When the last one was kept, and what it was.
    last: Option<(Duration, Arc<str>)>,
}

impl Sampler {
    /// Whether to keep this reading. `now` is monotonic time since any fixed moment: clocks that
    /// jump neither lose readings nor make more of them.
    pub fn keeps(&mut self, policy: Policy, value: &Arc<str>, now: Duration) -> bool {
        let keeps = match (policy, &self.last) {
            (Policy::Latest, _) => false,
            (Policy::All, _) | (_, None) => true,
            (Policy::Every(every), Some((at, _))) => now.saturating_sub(*at) >= every,
            (Policy::Change(least), Some((_, last))) => match (number(value), number(last)) {
                (Some(value), Some(last)) => value != last && (value - last).abs() >= least,
                _ => value != last,
            },
        };
        if keeps {
            self.last = Some((now, Arc::clone(value)));
        }
        keeps
    }
}

/// One reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// When its source says it was.
    pub time: WallTime,
    /// The value.
    pub value: Arc<str>,
}

/// Readings of one device, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    series: BTreeMap<Arc<str>, Vec<Reading>>,
    dropped: u64,
    readings: usize,
    bytes: usize,
}

/// Columns: times as differences, each from the one before.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Series {
    times: Vec<i64>,
    values: Vec<Arc<str>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    #[serde(default, skip_serializing_if = "is_zero")]
    dropped: u64,
    series: BTreeMap<Arc<str>, Series>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the shape serde asks for"
)]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Bytes that are no chunk of readings.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// Longer than a chunk may be.
    #[error("a chunk of {bytes} bytes exceeds the limit of {CHUNK_ENCODED_BYTES_MAX}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// Not the JSON of a chunk.
    #[error("the chunk is malformed")]
    Malformed(#[source] serde_json::Error),
    /// Columns of different lengths, or more readings than a chunk holds.
    #[error("the chunk's columns do not fit")]
    Columns,
}

impl Chunk {
    /// No readings, after `dropped` that were kept by policy and then given up for want of room
    /// since the chunk before.
    #[must_use]
    pub fn after(dropped: u64) -> Self {
        Self {
            dropped,
            ..Self::default()
        }
    }

    /// How many readings of this device were given up since the chunk before.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds a reading. `false`: the chunk is full, and the reading is not in it.
    #[must_use]
    pub fn push(&mut self, name: &Arc<str>, reading: Reading) -> bool {
        if self.readings >= CHUNK_READINGS_MAX || self.bytes >= CHUNK_BYTES_MAX {
            return false;
        }
        self.insert(name, reading);
        true
    }

    fn insert(&mut self, name: &Arc<str>, reading: Reading) {
        self.readings += 1;
        self.bytes += reading.value.len();
        self.series
            .entry(Arc::clone(name))
            .or_default()
            .push(reading);
    }

    /// Says how many readings of this device were given up since the chunk before.
    pub const fn set_dropped(&mut self, dropped: u64) {
        self.dropped = dropped;
    }

    /// Adds the readings of the chunk that comes next. `false`: they do not fit, or some were given
    /// up before them; then nothing was added.
    #[must_use]
    pub fn append(&mut self, next: Self) -> bool {
        if next.dropped > 0
            || self.readings + next.readings > CHUNK_READINGS_MAX
            || self.bytes + next.bytes > CHUNK_BYTES_MAX
        {
            return false;
        }
        self.readings += next.readings;
        self.bytes += next.bytes;
        for (name, readings) in next.series {
            self.series.entry(name).or_default().extend(readings);
        }
        true
    }

    /// How many readings there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.readings
    }

    /// Whether there are none, and none were given up.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.readings == 0 && self.dropped == 0
    }

    /// The readings of each property, in order.
    pub fn series(&self) -> impl Iterator<Item = (&Arc<str>, &[Reading])> {
        self.series
            .iter()
            .map(|(name, readings)| (name, readings.as_slice()))
    }

    /// The canonical JSON of the chunk.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let columns = |readings: &Vec<Reading>| {
            let mut before = 0;
            let times = readings.iter().map(|reading| {
                let time = i64::try_from(reading.time.unix_millis()).unwrap_or(i64::MAX);
                time - std::mem::replace(&mut before, time)
            });
            Series {
                times: times.collect(),
                values: readings.iter().map(|it| Arc::clone(&it.value)).collect(),
            }
        };
        let encoded = Encoded {
            dropped: self.dropped,
            series: self
                .series
                .iter()
                .map(|(name, readings)| (Arc::clone(name), columns(readings)))
                .collect(),
        };
        serde_json::to_vec(&encoded).expect("a chunk has only string keys")
    }

    /// Reads the body of a record.
    ///
    /// # Errors
    /// [`ChunkError`] when it is too long, malformed or not of one shape. Never panics.
    pub fn decode(bytes: &[u8]) -> Result<Self, ChunkError> {
        if bytes.len() > CHUNK_ENCODED_BYTES_MAX {
            return Err(ChunkError::TooLong { bytes: bytes.len() });
        }
        let encoded: Encoded = serde_json::from_slice(bytes).map_err(ChunkError::Malformed)?;
        let mut chunk = Self::after(encoded.dropped);
        for (name, series) in encoded.series {
            if series.times.len() != series.values.len() {
                return Err(ChunkError::Columns);
            }
            let mut time = 0_i64;
            for (step, value) in series.times.into_iter().zip(series.values) {
                time = time.checked_add(step).ok_or(ChunkError::Columns)?;
                let millis = u64::try_from(time).map_err(|_| ChunkError::Columns)?;
                let time = WallTime::from_unix_millis(millis);
                chunk.insert(&name, Reading { time, value });
            }
        }
        // Which one was the last does not show.
        let is_within_bounds = chunk.readings <= CHUNK_READINGS_MAX
            && chunk.bytes <= CHUNK_BYTES_MAX + VALUE_BYTES_MAX;
        if !is_within_bounds {
            return Err(ChunkError::Columns);
        }
        Ok(chunk)
    }
}
